"""The shape of a model, and what follows from it: parameters, bytes of a token's keys and values, widths. Needs no torch.

Symbols: d width, f width of the MLP, a = heads x head size, k = KV heads x head size, V vocabulary; E experts of width m, of
which each token takes some; v and m width and MLP of the vision tower.
"""

from __future__ import annotations

from dataclasses import dataclass

TIME_TOKENS = 12
"""Of a temporal patch's time in Qwen3-VL: `<`, five digits (up to 27 hours), `.`, a digit, ` seconds`, `>`, and two marks."""


@dataclass(frozen=True, slots=True)
class Experts:
    """MLPs of which a router gives each token a few; they stand in the place of a layer's MLP."""

    layers: int
    """How many of the layers; the others have one MLP for all tokens."""
    count: int
    """E, in each layer."""
    chosen: int
    """That a token takes."""
    width: int
    """m."""

    def parameters(self, hidden: int) -> int:
        """Of a layer: E MLPs (3 d m each) and the router (E d)."""
        return self.count * (3 * hidden * self.width + hidden)


@dataclass(frozen=True, slots=True)
class LinearAttention:
    """Layers that keep a state of fixed size in place of keys and values: the gated delta rule, behind a short convolution."""

    layers: int
    """How many of the layers; the others have attention."""
    key_heads: int
    value_heads: int
    key_head: int = 128
    """Numbers of a head."""
    value_head: int = 128
    kernel: int = 4
    """Inputs that the convolution sees."""

    @property
    def mixed(self) -> int:
        """Numbers a token that the convolution runs over: queries, keys and values."""
        return 2 * self.key_heads * self.key_head + self.values

    @property
    def values(self) -> int:
        """Numbers of a token's values, and of its gate z: value heads x head size."""
        return self.value_heads * self.value_head

    def matrices(self, hidden: int) -> int:
        """Numbers of a layer's matrices: to queries, keys and values, to z, to two numbers a value head, and back to d."""
        return hidden * (self.mixed + 2 * self.values + 2 * self.value_heads)

    def parameters(self, hidden: int) -> int:
        """Of a layer: matrices, convolution, two numbers a value head, and the norm of a head's values."""
        return self.matrices(hidden) + self.kernel * self.mixed + 2 * self.value_heads + self.value_head

    def state(self, size: int) -> int:
        """Bytes of a sequence in one layer: a float32 matrix a value head, and the convolution's inputs in `size` bytes."""
        return 4 * self.value_heads * self.key_head * self.value_head + size * (self.kernel - 1) * self.mixed


@dataclass(frozen=True, slots=True)
class Architecture:
    """What the number of parameters and the size of activations depend on; by default what Qwen2.5-VL is like."""

    hidden: int
    """Width d of the language model."""
    intermediate: int
    """Width f of its MLP."""
    layers: int
    heads: int
    kv_heads: int
    vocabulary: int
    tied: bool
    """Whether the head is the embedding."""
    vision_hidden: int = 1280
    vision_intermediate: int = 3420
    vision_layers: int = 32
    patch_values: int = 3 * 2 * 14 * 14
    """Numbers a patch: channels x frames x height x width."""
    merged: int = 4
    """Patches a token."""
    source: str = ""
    """Where these facts are from."""
    head_dim: int = 0
    """Numbers of a head; 0: d / heads."""
    biases: bool = True
    """Whether queries, keys and values have a bias."""
    head_norms: bool = False
    """Whether queries and keys are normalised, head by head."""
    gated: bool = False
    """Whether attention's output is gated, by a second half of the queries' matrix."""
    experts: Experts | None = None
    linear: LinearAttention | None = None
    vision_gated: bool = True
    """Whether the tower has gated MLPs of three matrices and norms without bias; else MLPs of two, and LayerNorm."""
    patch_bias: bool = False
    """Whether the tower's first layer has a bias."""
    vision_positions: int = 0
    """Positions that the tower has learned."""
    deepstack: int = 0
    """Blocks of the tower whose results are merged, too, and added behind the first layers of the language model."""
    time_tokens: int = 0
    """Tokens of text and marks a temporal patch, at most, beside those of the video itself."""
    float_norms: bool = False
    """Whether norms multiply by their weights in float32, whatever they are held in."""

    # -- widths ---------------------------------------------------------------------------------------------------

    @property
    def head_size(self) -> int:
        """Numbers of a head."""
        return self.head_dim or self.hidden // self.heads

    @property
    def query_width(self) -> int:
        """Numbers a of a token's queries, and of what attention gives: heads x head size, which needn't be d."""
        return self.heads * self.head_size

    @property
    def kv_width(self) -> int:
        """Numbers k of a token's keys, and of its values, in one layer: KV heads x head size."""
        return self.head_size * self.kv_heads

    @property
    def feature_width(self) -> int:
        """Numbers of a video token's features: d from the tower's end, and d from each DeepStack merger beside it."""
        return (1 + self.deepstack) * self.hidden

    @property
    def mlp_width(self) -> int:
        """Numbers f that a token's MLP computes: of all experts that it takes, together."""
        return self.experts.chosen * self.experts.width if self.experts else self.intermediate

    # -- what a sequence keeps -------------------------------------------------------------------------------------

    @property
    def attention_layers(self) -> int:
        """Layers with keys and values."""
        return self.layers - (self.linear.layers if self.linear else 0)

    def cache(self, size: int) -> int:
        """Bytes of a token's keys and values in all layers: 2 k a layer that has any, of `size` bytes each."""
        return 2 * size * self.attention_layers * self.kv_width

    def state(self, size: int) -> int:
        """Bytes that a sequence keeps whatever its length, in all linear layers; 0 where there are none."""
        return self.linear.layers * self.linear.state(size) if self.linear else 0

    # -- parameters ------------------------------------------------------------------------------------------------

    @property
    def attention_matrices(self) -> int:
        """Numbers of a layer's matrices: q (d a, twice that with a gate), k and v (2 d k), o (a d)."""
        return self.hidden * ((3 if self.gated else 2) * self.query_width + 2 * self.kv_width)

    @property
    def attention(self) -> int:
        """Parameters of a layer's attention: matrices, biases (a + 2 k), norms of heads (2 x head size)."""
        biases = self.query_width + 2 * self.kv_width if self.biases else 0
        return self.attention_matrices + biases + (2 * self.head_size if self.head_norms else 0)

    @property
    def mlp(self) -> int:
        """Parameters of a layer's MLP, 3 d f, or of all its experts and their router."""
        return self.experts.parameters(self.hidden) if self.experts else 3 * self.hidden * self.intermediate

    @property
    def all_experts(self) -> int:
        """Parameters of all layers' experts and routers."""
        return self.experts.layers * self.experts.parameters(self.hidden) if self.experts else 0

    @property
    def mlps(self) -> int:
        """Parameters of all layers' MLPs, experts and routers included."""
        return self.all_experts + self.plain_mlps

    @property
    def plain_mlps(self) -> int:
        """Parameters of those that aren't experts, 3 d f each."""
        return (self.layers - (self.experts.layers if self.experts else 0)) * 3 * self.hidden * self.intermediate

    @property
    def layer(self) -> int:
        """Parameters of a decoder layer, the larger kind where there are two: attention, MLP, two norms (2 d)."""
        linear = self.linear.parameters(self.hidden) if self.linear else 0
        return max(self.attention, linear) + self.mlp + 2 * self.hidden

    @property
    def mixers(self) -> int:
        """Parameters of all layers' attention, of either kind."""
        linear = self.linear.layers * self.linear.parameters(self.hidden) if self.linear else 0
        return self.attention_layers * self.attention + linear

    def adapters(self, rank: int, *, mlp: bool) -> int:
        """Parameters of low-rank adapters on all layers: rank x (in + out) a matrix.

        q, k, v and o; of linear layers those to queries, keys and values, to z, and back. The MLP's three with `mlp`, or of
        experts two each: that to gate and up is one, d -> 2 m.
        """
        d, a = self.hidden, self.query_width
        numbers = self.attention_layers * ((2 if self.gated else 1) * a + d + a + d + 2 * (d + self.kv_width))
        if self.linear:
            numbers += self.linear.layers * (d + self.linear.mixed + 2 * (d + self.linear.values))
        if mlp:
            numbers += (self.layers - (self.experts.layers if self.experts else 0)) * 3 * (d + self.intermediate)
            numbers += self.experts.layers * self.experts.count * (2 * d + 3 * self.experts.width) if self.experts else 0
        return rank * numbers

    @property
    def matrices(self) -> int:
        """Numbers of all decoder layers' matrices that 4 bits can hold: of attention, and of MLPs that aren't experts."""
        linear = self.linear.layers * self.linear.matrices(self.hidden) if self.linear else 0
        return self.attention_layers * self.attention_matrices + linear + self.plain_mlps

    @property
    def embedding(self) -> int:
        """Parameters of the embedding: V d."""
        return self.vocabulary * self.hidden

    @property
    def head(self) -> int:
        """Parameters of the head; none of its own where it is the embedding."""
        return 0 if self.tied else self.embedding

    @property
    def language(self) -> int:
        """Parameters of the language model without its head: layers, embedding, last norm (d)."""
        return self.mixers + self.mlps + (2 * self.layers + 1) * self.hidden + self.embedding

    @property
    def vision_layer(self) -> int:
        """Parameters of a vision block: qkv (3 v^2 + 3 v), projection (v^2 + v), MLP, two norms.

        Gated: 3 v m + 2 m + v and 2 v; else 2 v m + m + v and 4 v.
        """
        v, m = self.vision_hidden, self.vision_intermediate
        return 4 * v * v + 4 * v + ((3 * v * m + 2 * m) if self.vision_gated else (2 * v * m + m)) + v + self._norm(2 * v)

    @property
    def vision(self) -> int:
        """Parameters of the vision tower: blocks, patch embedding (v x patch), positions, mergers.

        A merger has a norm of v numbers, in those of DeepStack of 4 v, and two matrices, 4 v -> 4 v -> d.
        """
        v = self.vision_hidden
        wide = self.merged * v
        merger = wide * wide + wide + wide * self.hidden + self.hidden
        patches = v * (self.patch_values + (1 if self.patch_bias else 0))
        mergers = self._norm(v) + merger + self.deepstack * (self._norm(wide) + merger)
        return self.vision_layers * self.vision_layer + patches + self.vision_positions * v + mergers

    @property
    def parameters(self) -> int:
        """All of them; a tied head counts once."""
        return self.language + self.head + self.vision

    @property
    def largest(self) -> int:
        """Numbers of the largest weight: the embedding, or a layer's experts' first matrices, which are one weight."""
        return max(self.embedding, 2 * self.experts.count * self.experts.width * self.hidden if self.experts else 0)

    @property
    def active(self) -> int:
        """Those that a token meets: all but the experts that it doesn't take."""
        if not self.experts:
            return self.parameters
        idle = self.experts.layers * (self.experts.count - self.experts.chosen)
        return self.parameters - idle * 3 * self.hidden * self.experts.width

    @property
    def unrounded(self) -> int:
        """Parameters that autocast doesn't round, all but those of linear layers and convolutions over pixels.

        Embedding, norms and positions; experts with their router; and of linear attention the convolution, two numbers a value
        head, and the norm.
        """
        norms = (2 * self.layers + 1) * self.hidden + (2 * self.head_size * self.attention_layers if self.head_norms else 0)
        norms += self.all_experts
        if self.linear:
            norms += self.linear.layers * (self.linear.parameters(self.hidden) - self.linear.matrices(self.hidden))
        tower = self._norm((2 * self.vision_layers + 1) * self.vision_hidden)
        tower += self.deepstack * self._norm(self.merged * self.vision_hidden) + self.vision_positions * self.vision_hidden
        return self.embedding + norms + tower

    def _norm(self, width: int) -> int:
        """Parameters of a norm of the tower."""
        return width if self.vision_gated else 2 * width
