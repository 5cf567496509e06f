"""The shape of a Qwen2.5-VL, from its config.json or from published facts, and how many parameters it has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from trlt.engine.model import check_config, config_at


@dataclass(frozen=True, slots=True)
class Architecture:
    """What the number of parameters and the size of activations depend on."""

    hidden: int
    """Width d of the language model."""
    intermediate: int
    """Width of its MLP."""
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

    @property
    def kv_width(self) -> int:
        """Numbers of a token's keys, and of its values, in one layer: KV heads x head size."""
        return self.hidden // self.heads * self.kv_heads

    @property
    def layer(self) -> int:
        """Parameters of a decoder layer.

        q (d^2 + d), k and v (2 (d kv + kv)), o (d^2), MLP (3 d f), two norms (2 d).
        """
        d, kv = self.hidden, self.kv_width
        return 2 * d * d + d + 2 * (d + 1) * kv + 3 * d * self.intermediate + 2 * d

    def adapters(self, rank: int, *, mlp: bool) -> int:
        """Parameters of low-rank adapters on all layers: rank x (in + out) a matrix; q and o, k and v, and the MLP's three."""
        d, kv, f = self.hidden, self.kv_width, self.intermediate
        return self.layers * rank * (4 * d + 2 * (d + kv) + (3 * (d + f) if mlp else 0))

    @property
    def matrices(self) -> int:
        """Numbers of all decoder layers' matrices, which 4 bits can hold: 2 d^2 + 2 d kv + 3 d f a layer."""
        return self.layers * (2 * self.hidden**2 + 2 * self.hidden * self.kv_width + 3 * self.hidden * self.intermediate)

    @property
    def norms(self) -> int:
        """Parameters of all norms: 2 d a layer and d behind them, 2 v a block and v in the merger."""
        return (2 * self.layers + 1) * self.hidden + (2 * self.vision_layers + 1) * self.vision_hidden

    @property
    def embedding(self) -> int:
        """Parameters of the embedding: vocabulary x d."""
        return self.vocabulary * self.hidden

    @property
    def head(self) -> int:
        """Parameters of the head; none of its own where it is the embedding."""
        return 0 if self.tied else self.embedding

    @property
    def language(self) -> int:
        """Parameters of the language model without its head: layers, embedding, last norm (d)."""
        return self.layers * self.layer + self.embedding + self.hidden

    @property
    def vision_layer(self) -> int:
        """Parameters of a vision block: qkv (3 v^2 + 3 v), projection (v^2 + v), MLP (3 v m + 2 m + v), two norms (2 v)."""
        v, m = self.vision_hidden, self.vision_intermediate
        return 4 * v * v + 4 * v + 3 * v * m + 2 * m + v + 2 * v

    @property
    def vision(self) -> int:
        """Parameters of the vision tower: blocks, patch embedding (v x patch), merger (norm v, then 4v -> 4v -> d)."""
        wide = self.merged * self.vision_hidden
        merger = self.vision_hidden + wide * wide + wide + wide * self.hidden + self.hidden
        return self.vision_layers * self.vision_layer + self.vision_hidden * self.patch_values + merger

    @property
    def parameters(self) -> int:
        """All of them; a tied head counts once."""
        return self.language + self.head + self.vision


PUBLISHED: Mapping[str, Architecture] = {
    "3B": Architecture(2048, 11008, 36, 16, 2, 151936, True),
    "7B": Architecture(3584, 18944, 28, 28, 4, 152064, False),
    "32B": Architecture(5120, 27648, 64, 40, 8, 152064, False, vision_intermediate=3456),
    "72B": Architecture(8192, 29568, 80, 64, 8, 152064, False, vision_intermediate=3456),
}
"""The released sizes of Qwen2.5-VL, from their model cards' configurations; used only where a config.json isn't at hand."""


def find_architecture(name: str) -> Architecture | None:
    """The shape of a model; None where neither its config.json is at hand nor its size published.

    Args:
        name: `model.path` of a recipe: a folder, also of a run or an adapter, a hub id, or `miniature`.

    Raises:
        ModelError: a config.json that isn't a Qwen2.5-VL's.
    """
    config = config_at(name)
    if config is not None:
        return _read(config)
    for size, architecture in PUBLISHED.items():
        if f"qwen2.5-vl-{size}".lower() in name.rpartition("/")[2].lower():
            return replace(architecture, source=f"that published for Qwen2.5-VL-{size}; its config.json isn't at hand")
    return None


def _read(path: Path) -> Architecture:
    """From the published layout (the language model's keys at the top) or from the one that transformers 5 writes."""
    config = check_config(path)
    text, vision = config.get("text_config") or config, config["vision_config"]
    return Architecture(
        hidden=text["hidden_size"],
        intermediate=text["intermediate_size"],
        layers=text["num_hidden_layers"],
        heads=text["num_attention_heads"],
        kv_heads=text["num_key_value_heads"],
        vocabulary=text["vocab_size"],
        tied=bool(config.get("tie_word_embeddings", text.get("tie_word_embeddings", False))),
        vision_hidden=vision["hidden_size"],
        vision_intermediate=vision["intermediate_size"],
        vision_layers=vision["depth"],
        patch_values=vision.get("in_chans", vision.get("in_channels", 3))
        * vision["temporal_patch_size"]
        * vision["patch_size"] ** 2,
        merged=vision["spatial_merge_size"] ** 2,
        source=str(path),
    )
