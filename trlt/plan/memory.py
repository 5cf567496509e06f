"""Memory of one GPU during training, by formulas: what is held all the time, and what a pass and a rollout take on top.

Bytes throughout; a GB is 10^9 bytes, so that 80 GB is below what an 80 GB card reports (about 85). Symbols: P parameters, T
those that are trained, A those of adapters, N processes, d width, f width of the MLP, V vocabulary, B prompts a pass, G
completions a prompt, L tokens of a prompt with its video, C tokens of a completion. `c` is the size of a computed number (2 in
BF16, else 4), `s` that of the residual stream: 4 where float32 weights are computed with under autocast (one process, DDP), `c`
where a pass sees BF16 weights (FSDP2, ZeRO).

The formulas follow the trainer: float32 weights and AdamW states, one decoder layer or vision block computed again at a time,
logits in chunks of `CHUNK` tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from trlt.plan.architecture import Architecture
from trlt.plan.sizes import Sizes, sizes
from trlt.recipe import Lora, Recipe
from trlt.recipe.sections import Vllm

GB = 10**9
CHUNK = 2048
"""Tokens whose logits are held at once: `trlt.shared_prefix.CHUNK`, which a test holds this to."""
PREFILL_TOKENS = 65_536
"""Most video tokens that the engine prefills by one pass: `trlt.engine.forest.PREFILL_TOKENS`."""
CONTEXT = 2 * GB
"""What is assumed for the CUDA context, NCCL's buffers and the kernels' work space."""
FRAGMENTS = 0.1
"""Share of the rest that the allocator is assumed to lose between its blocks."""
IN_4_BITS = 0.5 + 0.127 / 8
"""Bytes of a number in NF4 with twice quantised scales: 4 bits and 0.127 bits of scales (QLoRA, arXiv 2305.14314)."""
BUCKET = 500_000_000
"""Numbers in DeepSpeed's bucket of gradients, its default; there are two."""
LIVE = 1_000_000_000
"""Parameters that ZeRO-3 keeps gathered at most, its default."""

When = Literal["held", "pass", "rollout"]


@dataclass(frozen=True, slots=True)
class Line:
    """One part of the memory."""

    when: When
    """`held` all the time; in each forward and backward `pass`; during a `rollout`."""
    name: str
    size: int
    """Bytes."""
    formula: str
    """How it was computed, in the symbols of the module."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Of one GPU, and of the host while it loads."""

    lines: tuple[Line, ...]
    gpu: int
    """Bytes of the GPU."""
    host: int
    """Bytes of the machine's memory that one process takes while it reads the weights: 4 P, with adapters c P."""
    start: int
    """Bytes before the weights are sharded: each GPU holds all of them, as `host`; under FSDP2 the reference model's too."""

    def of(self, when: When) -> int:
        """Sum of the lines of one kind."""
        return sum(line.size for line in self.lines if line.when == when)

    @property
    def peak(self) -> int:
        """What the GPU must have: held + the larger of pass and rollout, or the start; `FRAGMENTS` and `CONTEXT` on top."""
        most = max(self.of("held") + max(self.of("pass"), self.of("rollout")), self.start)
        return int(most * (1 + FRAGMENTS)) + CONTEXT

    @property
    def headroom(self) -> int:
        """What is left; below 0 where it doesn't fit."""
        return self.gpu - self.peak

    @property
    def fits(self) -> bool:
        """Whether the GPU is large enough."""
        return self.headroom >= 0


def estimate(model: Architecture, recipe: Recipe, processes: int, gpu: int) -> Memory:
    """Memory of one GPU for a recipe.

    Args:
        model: Its shape.
        recipe: The resolved recipe.
        processes: N, one a GPU.
        gpu: Bytes of the GPU.
    """
    train, size = recipe.train, sizes(recipe, processes)
    grpo = train.method == "grpo"
    if train.lora:
        lines, read = _held_adapters(model, size, train.lora)
        start = read
    else:
        trained, reference = model.parameters - (model.vision if train.freeze_vision else 0), grpo and train.beta > 0
        lines, read = _held(model, size, trained, reference=reference), 4 * model.parameters
        # TRL shards the reference model as one piece, while the policy is still whole.
        start = 2 * read if reference and size.strategy == "fsdp2" else read
    lines += _pass(model, size, frozen_vision=train.tower_is_frozen, adapted=train.lora is not None, features=grpo)
    if grpo and train.rollouts == "vllm":
        lines += _by_vllm(model, size, train.vllm, gpu)
    elif grpo:
        sequences = min(train.max_sequences, max(1, train.prompts_per_step // processes) * train.group_size)
        most = max(sequences, min(train.group_size, train.max_sequences))
        lines += _rollout(model, size, most, adapted=train.lora is not None)
    return Memory(tuple(line for line in lines if line.size), gpu, read, start)


def _held(model: Architecture, size: Sizes, trained: int, *, reference: bool) -> list[Line]:
    """Weights, gradients, AdamW states and the reference model.

    FSDP2 shards all in float32: 4 P/N, 4 T/N, 8 T/N, and 4 P/N for the reference. DDP and one process hold them whole, DDP
    with its buckets beside the gradients (4 T more). DeepSpeed computes in c and keeps float32 masters in shards: ZeRO-2
    c P + 4 T/N, ZeRO-3 (c P + 4 T)/N; gradients 4 T/N and two buckets.
    """
    p, t, n, c = model.parameters, trained, size.processes, size.computed
    weights, gradients, states, kept = {
        "single": ((4 * p, "4 P"), (4 * t, "4 T"), (8 * t, "8 T"), (4 * p, "4 P")),
        "ddp": ((4 * p, "4 P"), (8 * t, "8 T, with buckets"), (8 * t, "8 T"), (4 * p, "4 P")),
        "fsdp2": ((4 * p // n, "4 P/N"), (4 * t // n, "4 T/N"), (8 * t // n, "8 T/N"), (4 * p // n, "4 P/N")),
        "zero2": (
            (c * p + 4 * t // n, "c P + 4 T/N"),
            (4 * t // n + 2 * c * min(t, BUCKET), "4 T/N + 2 buckets"),
            (8 * t // n, "8 T/N"),
            (c * p, "c P"),
        ),
        "zero3": (
            ((c * p + 4 * t) // n, "(c P + 4 T)/N"),
            (4 * t // n + 2 * c * min(t, BUCKET), "4 T/N + 2 buckets"),
            (8 * t // n, "8 T/N"),
            (c * p // n, "c P/N"),
        ),
    }[size.strategy]
    return [
        Line("held", "weights", *weights),
        Line("held", "gradients", *gradients),
        Line("held", "AdamW states", *states),
        Line("held", "reference model", *(kept if reference else (0, ""))),
    ]


def _held_adapters(model: Architecture, size: Sizes, lora: Lora) -> tuple[list[Line], int]:
    """What LoRA holds, and the bytes of the base: c P, or matrices in 4 bits, `IN_4_BITS` each, and the rest in c.

    A adapters' parameters in float32, with gradients and AdamW states: 4 A, 4 A, 8 A. The reference is the base itself.
    FSDP2 and ZeRO-3 shard all of it, ZeRO-2 the states.
    """
    a, c, n = model.adapters(lora.rank, mlp=lora.targets == "all"), size.computed, size.processes
    base, formula = c * model.parameters, "c P"
    if lora.quantize:
        base = int(IN_4_BITS * model.matrices) + c * (model.parameters - model.matrices)
        formula = "4 bits a matrix, c the rest"
    shards = n if size.strategy in ("fsdp2", "zero3") else 1
    states = n if size.strategy == "zero2" else shards
    over = "/N" if shards > 1 else ""
    return [
        Line("held", "weights", base // shards, f"({formula}){over}"),
        Line("held", "adapters", 4 * a // shards, f"4 A{over}"),
        Line("held", "gradients", 4 * a // shards, f"4 A{over}"),
        Line("held", "AdamW states", 8 * a // states, "8 A/N" if states > 1 else "8 A"),
    ], base


def _copies(model: Architecture, size: Sizes, *, adapted: bool = False) -> tuple[int, str]:
    """Weights in c beside the held ones that one pass needs; with adapters the held ones are in c already.

    Autocast (one process, DDP) keeps a copy of every matrix: c (P - V d), with a tied head c P. FSDP2 gathers two layers
    at a time, and holds a layer's gradient until it is reduced, in float32: (3 c + 8) layer; likewise embedding and head:
    (3 c + 4) V d. ZeRO-3 keeps up to `LIVE` parameters. ZeRO-2 has them already.
    """
    p, c, vd = model.parameters, size.computed, model.embedding
    if adapted:
        gathered = size.strategy in ("fsdp2", "zero3")
        return (2 * c * (model.layer + vd), "2 c (layer + V d)") if gathered else (0, "")
    match size.strategy:
        case "single" | "ddp" if c == 4:
            return 0, ""
        case "single" | "ddp":
            return (c * p, "c P") if model.tied else (c * (p - vd), "c (P - V d)")
        case "fsdp2":
            return (3 * c + 8) * model.layer + (3 * c + 4) * vd, "(3 c + 8) layer + (3 c + 4) V d"
        case "zero3":
            return c * min(p, LIVE), f"c min(P, {LIVE:.0e})"
    return 0, ""


def layer_activations(model: Architecture, size: Sizes) -> int:
    """Bytes that one decoder layer saves for its backward pass.

    A token: the inputs of both norms in float32 and their normalised form, 2 d (4 + s); inputs of the matrices and queries,
    5 d c; the MLP, 4 f c. Attention: keys and values repeated for all heads, of the prompts 2 d c B L, and for completions
    joined with their prompt's, 2 d c B G (L + C), with the mask of these, B G C (L + C) (1 + c).
    """
    d, c, s = model.hidden, size.computed, size.stream
    per_token = 2 * d * (4 + s) + 5 * d * c + 4 * model.intermediate * c
    rows = size.prompts * size.completions
    joined = rows * (size.prompt + size.new)
    if not size.shared:
        return size.tokens * per_token + 2 * d * c * joined
    attention = 2 * d * c * (size.prompts * size.prompt + joined) + joined * size.new * (1 + c)
    return size.tokens * per_token + attention


def block_activations(model: Architecture, size: Sizes) -> int:
    """Bytes that one vision block saves: as a decoder layer, with plain attention (q, k, v, its output: 4 v c a patch)."""
    v, c = model.vision_hidden, size.computed
    per_patch = 2 * v * (4 + size.stream) + 6 * v * c + 4 * model.vision_intermediate * c
    return size.clips * size.video * model.merged * per_patch


def saved_activations(model: Architecture, size: Sizes, *, frozen_vision: bool = False) -> tuple[int, int]:
    """Bytes saved between forward and backward pass by the language model and by the vision tower.

    With checkpointing one residual a layer, and two around them, d s a token; without, all of `layer_activations`. A frozen
    tower saves nothing.
    """
    patches = size.clips * size.video * model.merged
    if size.checkpointing:
        text = (model.layers + 2) * size.tokens * model.hidden * size.stream
        vision = (model.vision_layers + 4) * patches * model.vision_hidden * size.stream
    else:
        text = model.layers * layer_activations(model, size)
        vision = model.vision_layers * block_activations(model, size)
    return text, 0 if frozen_vision else vision


def _pass(
    model: Architecture, size: Sizes, *, frozen_vision: bool, adapted: bool = False, features: bool = False
) -> list[Line]:
    """What a forward and backward pass takes on top.

    The layer that is worked on adds what it saves (with checkpointing) and the gradients of its MLP, 3 f c a token. The
    logits of a chunk: three float32 tensors and the head's output, CHUNK V (12 + c); hidden states of completions, 4 d s a
    token. Pixels: the batch's in float32, and the tower's copy in c; a frozen tower's `features` stand in for them, 4 d a
    token, and it doesn't run.
    """
    text, vision = saved_activations(model, size, frozen_vision=frozen_vision)
    patches = size.clips * size.video * model.merged
    layer = layer_activations(model, size) if size.checkpointing else 0
    layer += 3 * model.intermediate * size.computed * size.tokens
    block = block_activations(model, size) if size.checkpointing or frozen_vision else 0
    block += 3 * model.vision_intermediate * size.computed * patches
    pixels = model.patch_values * (4 * size.prompts * size.video * model.merged + size.computed * patches)
    if frozen_vision and features:
        block, pixels = 0, 4 * model.hidden * size.prompts * size.video
    rows = size.prompts * size.completions * size.new
    kept = "checkpoints, d s a token and layer" if size.checkpointing else "all layers"
    logits = min(CHUNK, rows) * model.vocabulary * (12 + size.computed) + 4 * rows * model.hidden * size.stream
    return [
        Line("pass", "weights in use", *_copies(model, size, adapted=adapted)),
        Line("pass", "activations, language", text, kept),
        Line("pass", "activations, vision", vision + pixels, "the same, and pixels"),
        Line("pass", "layer at work", max(layer, block), "what it saves + 3 f c a token"),
        Line("pass", "logits", logits, "CHUNK V (12 + c) + 4 d s a token"),
    ]


def cache_bytes(model: Architecture, size: Sizes, tokens: int) -> int:
    """Keys and values of tokens in all layers: 2 c x layers x KV heads x head size."""
    return 2 * size.computed * model.layers * model.kv_width * tokens


def _rollout(model: Architecture, size: Sizes, sequences: int, *, adapted: bool = False) -> list[Line]:
    """What sampling takes on top; `sequences` completions grow side by side.

    Weights: sharded ones are counted whole in c, c P, since each process samples at its own pace. Keys and values: each
    prompt once, each completion its own, half as many again while finished ones are dropped. Prefill: the MLP of a pass,
    3 f c + 4 d s a token. Drawing: eight float64 tensors of (sequences, V).
    """
    clips = -(-sequences // size.completions)
    prefilled = min(clips * size.prompt, max(PREFILL_TOKENS, size.prompt))
    prefill = prefilled * (3 * model.intermediate * size.computed + 4 * model.hidden * size.stream)
    patches = prefilled * model.merged
    vision = patches * (3 * model.vision_intermediate * size.computed + 8 * model.vision_hidden * 4 + 4 * model.patch_values)
    gathered = size.strategy in ("fsdp2", "zero3")
    weights = (size.computed * model.parameters, "c P, gathered") if gathered else _copies(model, size, adapted=adapted)
    cached = cache_bytes(model, size, clips * size.prompt) + cache_bytes(model, size, sequences * size.new) * 3 // 2
    return [
        Line("rollout", "weights in use", *weights),
        Line("rollout", "keys and values", cached, f"{clips} prompts, {sequences} completions"),
        Line("rollout", "prefill", max(prefill, vision), f"{prefilled} tokens"),
        Line("rollout", "drawing", 64 * sequences * model.vocabulary, "64 V a completion"),
    ]


def _by_vllm(model: Architecture, size: Sizes, vllm: Vllm, gpu: int) -> list[Line]:
    """The same where vLLM samples: its share of the GPU, all the time where it doesn't sleep, and a context of its own."""
    gathered = size.strategy in ("fsdp2", "zero3")
    return [
        Line("held", "vLLM's context", CONTEXT, "assumed"),
        Line("rollout", "weights in use", *((size.computed * model.parameters, "c P, gathered") if gathered else (0, ""))),
        Line("rollout" if vllm.sleep else "held", "vLLM", int(vllm.memory * gpu), f"{vllm.memory:g} of the GPU"),
    ]
