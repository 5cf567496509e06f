"""What a forward and backward pass takes: activations, the layer that is worked on, logits. Symbols: see `lines`.

The formulas follow the trainer: one decoder layer or vision block computed again at a time, logits in chunks of `CHUNK_BYTES`.
"""

from __future__ import annotations

from trlt.engine.families.shape import Architecture
from trlt.recipe import Lora
from trlt.train.memory_plan.lines import CHUNK, CHUNK_BYTES, PER_LOGIT, MemoryLine
from trlt.train.memory_plan.sizes import ModelSizes
from trlt.train.memory_plan.weights import copies


def layer_activations(model: Architecture, size: ModelSizes, lora: Lora | None = None) -> int:
    """Bytes that one decoder layer with attention saves for its backward pass.

    A token: the inputs of both norms in float32 and their normalised form, 2 d (4 + s); inputs of the matrices, queries and
    what attention gives, (3 d + 2 a) c; the MLP, 4 f c (`_mlp`). Norms of heads: (a + k) (4 + c); a gate of attention: 3 a c.
    Attention: keys and values repeated for all heads, of the prompts 2 a c B L, and for completions joined with their prompt's,
    2 a c B G (L + C), with the mask of these, B G C (L + C) (1 + c). Beside adapters, norms don't need their normalised form;
    what stands between an adapter's two matrices adds rank x c, and under autocast each adapter has an input of its own, of
    which three don't stand in for another's, 3 d c. Experts that have adapters are saved as these change them, c each.
    """
    a, c = model.query_width, size.computed
    per_token = _around(model, size, lora) + 2 * a * c + (3 * a * c if model.gated else 0)
    if model.head_norms:
        form = 4 if model.float_norms else c
        per_token += (a + model.kv_width) * (4 + (0 if lora else form))
    rows = size.prompts * size.completions
    joined = rows * (size.prompt + size.new)
    attention = 2 * a * c * joined
    if size.shared:
        attention += 2 * a * c * size.prompts * size.prompt + joined * size.new * (1 + c)
    changed = c * model.mlp if model.experts and lora and lora.targets == "all" else 0
    return size.tokens * per_token + attention + changed


def linear_activations(model: Architecture, size: ModelSizes, lora: Lora | None = None) -> int:
    """The same of a layer that keeps a state, with h heads of u numbers of a key and w of a value; 0 where there are none.

    Norms and MLP as beside attention. The convolution's input and output: 2 c (2 keys + h w). The rule, in float32, as torch
    computes it (kernels made for it save less): in chunks of 64 tokens 4 h (5 x 64 + 8 u + 5 w + u w / 64) a token; the gated
    norm behind it, 4 h 5 w. Completions start from copies of their prompt's state: 2 x 4 h u w each.
    """
    linear = model.linear
    if linear is None:
        return 0
    heads, key, value = linear.value_heads, linear.key_head, linear.value_head
    rule = 4 * heads * (5 * CHUNK + 8 * key + 5 * value + key * value // CHUNK)
    per_token = _around(model, size, lora) + 2 * linear.mixed * size.computed + rule + 4 * linear.values * 5
    branches = size.prompts * size.completions if size.shared else 0
    return size.tokens * per_token + branches * 2 * 4 * heads * key * value


def _around(model: Architecture, size: ModelSizes, lora: Lora | None) -> int:
    """Bytes a token that either kind of layer saves: norms, inputs of matrices, MLP."""
    d, c, s = model.hidden, size.computed, size.stream
    form = 4 if model.float_norms else s
    per_token = 2 * d * (4 + form) + 3 * d * c + _mlp(model, size)
    if lora:
        mlp = lora.targets == "all" and not model.experts  # what is added to experts is added to their weights
        per_token -= 2 * d * form
        per_token += (7 if mlp else 4) * lora.rank * c + ((3 if mlp else 2) * d * c if c < 4 else 0)
    return per_token


def _mlp(model: Architecture, size: ModelSizes) -> int:
    """Bytes a token that an MLP saves: 4 f c.

    Experts are computed in s, as autocast has no say in them: 4 f s, their inputs and outputs 2 d s for each that a token
    takes, and what the router gives to all of them, 4 E.
    """
    if experts := model.experts:
        return (4 * model.mlp_width + 2 * experts.chosen * model.hidden) * size.stream + 4 * experts.count
    return 4 * model.intermediate * size.computed


def layer_work(model: Architecture, size: ModelSizes) -> int:
    """Bytes a token that a layer at work takes beside what it saves: 3 f c; of experts 3 f s, and 2 d s for each."""
    if experts := model.experts:
        return (3 * model.mlp_width + 2 * experts.chosen * model.hidden) * size.stream
    return 3 * model.intermediate * size.computed


def prefill_work(model: Architecture, size: ModelSizes) -> int:
    """Bytes a token that a layer takes while prompts are read, beside keys and values: 4 d s, and 3 f c of an MLP.

    Of experts 4 d s for each that a token takes. A linear layer has more than its MLP: in float32 4 h (3 x 64 + 5 u + 4 w) of
    the rule, and 3 c (2 keys + h w) around it (symbols of `linear_activations`).
    """
    work = 3 * model.intermediate * size.computed
    if experts := model.experts:
        work = 4 * experts.chosen * model.hidden * size.stream
    if linear := model.linear:
        rule = 4 * linear.value_heads * (3 * CHUNK + 5 * linear.key_head + 4 * linear.value_head)
        work = max(work, rule + 3 * linear.mixed * size.computed)
    return work + 4 * model.hidden * size.stream


def block_activations(model: Architecture, size: ModelSizes) -> int:
    """Bytes that one vision block saves.

    With gated MLPs as a decoder layer, with plain attention (q, k, v, its output: 4 v c a patch). With MLPs of two matrices 10
    v c + 3 m c, and where c is BF16, LayerNorm's inputs in float32, 8 v.
    """
    v, c = model.vision_hidden, size.computed
    per_patch = 2 * v * (4 + size.stream) + 6 * v * c + 4 * model.vision_intermediate * c
    if not model.vision_gated:
        per_patch = 10 * v * c + 3 * model.vision_intermediate * c + (8 * v if c < 4 else 0)
    return size.clips * size.video * model.merged * per_patch


def saved_activations(
    model: Architecture, size: ModelSizes, lora: Lora | None = None, *, frozen_vision: bool = False
) -> tuple[int, int]:
    """Bytes saved between forward and backward pass by the language model and by the vision tower.

    With checkpointing one residual a layer, and two around them, d s a token; in the tower as many, and 4 v s a patch for the
    merger. Without, all of `layer_activations`. Each DeepStack merger adds 4 v c a patch, and its features d s a token. A
    frozen tower saves nothing.
    """
    d, v, s = model.hidden, model.vision_hidden, size.stream
    patches = size.clips * size.video * model.merged
    if size.checkpointing:
        text = (model.layers + 2) * size.tokens * d * s
        vision = (model.vision_layers + 4) * patches * v * s
    else:
        text = model.attention_layers * layer_activations(model, size, lora)
        text += model.linear.layers * linear_activations(model, size, lora) if model.linear else 0
        vision = model.vision_layers * block_activations(model, size)
    vision += model.deepstack * (4 * patches * v * size.computed + size.clips * size.video * d * s)
    return text, 0 if frozen_vision else vision


def chunk_tokens(vocabulary: int) -> int:
    """Tokens whose logits are held at once: `trlt.engine.shared_prefix.chunk_tokens`."""
    return max(1, CHUNK_BYTES // (PER_LOGIT * vocabulary))


def pass_lines(
    model: Architecture, size: ModelSizes, lora: Lora | None, *, frozen_vision: bool, features: bool = False
) -> list[MemoryLine]:
    """What a forward and backward pass takes on top.

    The layer that is worked on adds what it saves (with checkpointing) and the gradients of its MLP (`layer_work`). The
    logits of a chunk: three float32 tensors and the head's output, V (12 + c) a token; hidden states of completions, 4 d s a
    token. Pixels: the batch's in float32, and the tower's copy in c; a frozen tower's `features` stand in for them, 4 d a
    token, with DeepStack more, and it doesn't run.
    """
    text, vision = saved_activations(model, size, lora, frozen_vision=frozen_vision)
    patches = size.clips * size.video * model.merged
    layer = max(layer_activations(model, size, lora), linear_activations(model, size, lora)) if size.checkpointing else 0
    layer += layer_work(model, size) * size.tokens
    block = block_activations(model, size) if size.checkpointing or frozen_vision else 0
    block += 3 * model.vision_intermediate * size.computed * patches
    pixels = model.patch_values * (4 * size.prompts * size.video * model.merged + size.computed * patches)
    if frozen_vision and features:
        block, pixels = 0, 4 * model.feature_width * size.prompts * size.video
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
