"""What a forward and backward pass takes: activations, the layer that is worked on, logits. Symbols: see `lines`.

The formulas follow the trainer: one decoder layer or vision block computed again at a time, logits in chunks of `CHUNK_BYTES`.
"""

from __future__ import annotations

from trlt.engine.families.shape import Architecture
from trlt.recipe import Lora
from trlt.train.memory_plan.lines import CHUNK_BYTES, PER_LOGIT, MemoryLine
from trlt.train.memory_plan.sizes import ModelSizes
from trlt.train.memory_plan.weights import copies


def layer_activations(model: Architecture, size: ModelSizes, lora: Lora | None = None) -> int:
    """Bytes that one decoder layer saves for its backward pass.

    A token: the inputs of both norms in float32 and their normalised form, 2 d (4 + s); inputs of the matrices and queries,
    5 d c; the MLP, 4 f c. Attention: keys and values repeated for all heads, of the prompts 2 d c B L, and for completions
    joined with their prompt's, 2 d c B G (L + C), with the mask of these, B G C (L + C) (1 + c). Beside adapters, norms don't
    need their normalised form; what stands between an adapter's two matrices adds rank x c, and under autocast each adapter has
    an input of its own, of which three don't stand in for another's, 3 d c.
    """
    d, f, c, s = model.hidden, model.intermediate, size.computed, size.stream
    per_token = 2 * d * (4 + s) + 5 * d * c + 4 * f * c
    if lora:
        mlp = lora.targets == "all"
        per_token -= 2 * d * s
        per_token += (7 if mlp else 4) * lora.rank * c + ((3 if mlp else 2) * d * c if c < 4 else 0)
    rows = size.prompts * size.completions
    joined = rows * (size.prompt + size.new)
    if not size.shared:
        return size.tokens * per_token + 2 * d * c * joined
    attention = 2 * d * c * (size.prompts * size.prompt + joined) + joined * size.new * (1 + c)
    return size.tokens * per_token + attention


def block_activations(model: Architecture, size: ModelSizes) -> int:
    """Bytes that one vision block saves: as a decoder layer, with plain attention (q, k, v, its output: 4 v c a patch)."""
    v, c = model.vision_hidden, size.computed
    per_patch = 2 * v * (4 + size.stream) + 6 * v * c + 4 * model.vision_intermediate * c
    return size.clips * size.video * model.merged * per_patch


def saved_activations(
    model: Architecture, size: ModelSizes, lora: Lora | None = None, *, frozen_vision: bool = False
) -> tuple[int, int]:
    """Bytes saved between forward and backward pass by the language model and by the vision tower.

    With checkpointing one residual a layer, and two around them, d s a token; without, all of `layer_activations`. A frozen
    tower saves nothing.
    """
    patches = size.clips * size.video * model.merged
    if size.checkpointing:
        text = (model.layers + 2) * size.tokens * model.hidden * size.stream
        vision = (model.vision_layers + 4) * patches * model.vision_hidden * size.stream
    else:
        text = model.layers * layer_activations(model, size, lora)
        vision = model.vision_layers * block_activations(model, size)
    return text, 0 if frozen_vision else vision


def chunk_tokens(vocabulary: int) -> int:
    """Tokens whose logits are held at once: `trlt.engine.shared_prefix.chunk_tokens`."""
    return max(1, CHUNK_BYTES // (PER_LOGIT * vocabulary))


def pass_lines(
    model: Architecture, size: ModelSizes, lora: Lora | None, *, frozen_vision: bool, features: bool = False
) -> list[MemoryLine]:
    """What a forward and backward pass takes on top.

    The layer that is worked on adds what it saves (with checkpointing) and the gradients of its MLP, 3 f c a token. The
    logits of a chunk: three float32 tensors and the head's output, V (12 + c) a token; hidden states of completions, 4 d s a
    token. Pixels: the batch's in float32, and the tower's copy in c; a frozen tower's `features` stand in for them, 4 d a
    token, and it doesn't run.
    """
    text, vision = saved_activations(model, size, lora, frozen_vision=frozen_vision)
    patches = size.clips * size.video * model.merged
    layer = layer_activations(model, size, lora) if size.checkpointing else 0
    layer += 3 * model.intermediate * size.computed * size.tokens
    block = block_activations(model, size) if size.checkpointing or frozen_vision else 0
    block += 3 * model.vision_intermediate * size.computed * patches
    pixels = model.patch_values * (4 * size.prompts * size.video * model.merged + size.computed * patches)
    if frozen_vision and features:
        block, pixels = 0, 4 * model.hidden * size.prompts * size.video
    rows = size.prompts * size.completions * size.new
    kept = "checkpoints, d s a token and layer" if size.checkpointing else "all layers"
    chunk = min(chunk_tokens(model.vocabulary), rows)
    logits = chunk * model.vocabulary * (12 + size.computed) + 4 * rows * model.hidden * size.stream
    return [
        MemoryLine("pass", "weights in use", *copies(model, size, lora)),
        MemoryLine("pass", "activations, language", text, kept),
        MemoryLine("pass", "activations, vision", vision + pixels, "the same, and pixels"),
        MemoryLine("pass", "layer at work", max(layer, block), "what it saves + 3 f c a token"),
        MemoryLine("pass", "logits", logits, f"V (12 + c) for {chunk} tokens at once, + 4 d s a token"),
    ]
