"""Memory of one GPU during training, by formulas: what is held all the time, and what a pass and a rollout take on top.

Symbols: see `lines`. A run starts with less: policy and reference model are read straight to where they stay.
"""

from __future__ import annotations

from dataclasses import dataclass

from trlt.engine.families.shape import Architecture
from trlt.errors import counted
from trlt.recipe import Lora, Recipe
from trlt.recipe.training import Vllm
from trlt.train.memory_plan.activations import pass_lines, prefill_work
from trlt.train.memory_plan.lines import CONTEXT, COPIES, DRAWN, FRAGMENTS, PREFILL_TOKENS, MemoryLine, When
from trlt.train.memory_plan.sizes import ModelSizes, sizes
from trlt.train.memory_plan.weights import copies, held, held_with_adapters


@dataclass(frozen=True, slots=True)
class Memory:
    """Of one GPU, and of the machine."""

    lines: tuple[MemoryLine, ...]
    gpu: int
    """Bytes of the GPU."""
    loading: int
    """Bytes of the machine's memory that a process takes while it loads: one weight, or its slice of it, on its way."""
    saving: int
    """Bytes of the machine's memory that the first process takes while it writes a checkpoint or the final model."""

    def of(self, when: When) -> int:
        """Sum of the lines of one kind."""
        return sum(line.size for line in self.lines if line.when == when)

    @property
    def start(self) -> int:
        """What is on the GPU once policy and reference model are loaded."""
        return sum(line.size for line in self.lines if line.name in ("weights", "adapters", "reference model"))

    @property
    def peak(self) -> int:
        """What the GPU must have: held + the larger of pass and rollout; `FRAGMENTS` and `CONTEXT` on top."""
        return int((self.of("held") + max(self.of("pass"), self.of("rollout"))) * (1 + FRAGMENTS)) + CONTEXT

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
        processes: N, one per GPU.
        gpu: Bytes of the GPU.
    """
    train, size = recipe.train, sizes(recipe, processes, model)
    grpo = train.method == "grpo"
    trained = model.parameters - (model.vision if train.freeze_vision else 0)
    if train.lora:
        lines = held_with_adapters(model, size, train.lora)
    else:
        lines = held(model, size, trained, reference=grpo and train.beta > 0)
    lines += pass_lines(model, size, train.lora, frozen_vision=train.tower_is_frozen, features=grpo)
    if grpo and train.rollouts == "vllm":
        lines += _by_vllm(model, size, train.vllm, gpu)
    elif grpo:
        sequences = min(train.max_sequences, max(1, train.prompts_per_step // processes) * train.group_size)
        most = max(sequences, min(train.group_size, train.max_sequences))
        lines += _rollout(model, size, most, train.lora)
    return Memory(
        tuple(line for line in lines if line.size), gpu, _loading(model, size), _saving(model, size, trained, train.lora)
    )


def _loading(model: Architecture, size: ModelSizes) -> int:
    """A weight is converted on its way to the GPU, the largest (embedding, head, a layer's experts) 4 V d, FSDP2 4 V d/N."""
    return 4 * model.largest // (size.processes if size.strategy == "fsdp2" else 1)


def _saving(model: Architecture, size: ModelSizes, trained: int, lora: Lora | None) -> int:
    """FSDP2: AdamW's states, put together on the first process, 8 T, with adapters 8 A; ZeRO-3: the final weights, c P."""
    if size.strategy == "fsdp2":
        return 8 * (model.adapters(lora.rank, mlp=lora.targets == "all") if lora else trained)
    return size.computed * model.parameters if size.strategy == "zero3" else 0


def cache_bytes(model: Architecture, size: ModelSizes, tokens: int) -> int:
    """Keys and values of tokens in all layers that have any: 2 k c a layer."""
    return model.cache(size.computed) * tokens


def state_bytes(model: Architecture, size: ModelSizes, prompts: int, sequences: int) -> int:
    """What linear layers carry on: once a prompt, and twice a completion, before and after a step (`COPIES`)."""
    return model.state(size.computed) * (prompts + COPIES * sequences)


def drawing_bytes(model: Architecture, size: ModelSizes, sequences: int) -> int:
    """Logits of all sequences, joined (2 c V each), and six float64 tensors of those that are drawn from at once (`DRAWN`)."""
    at_once = min(sequences, max(1, DRAWN // model.vocabulary))
    return model.vocabulary * (48 * at_once + 2 * size.computed * sequences)


def _rollout(model: Architecture, size: ModelSizes, sequences: int, lora: Lora | None) -> list[MemoryLine]:
    """What sampling takes on top; `sequences` completions grow side by side.

    Weights: sharded ones are counted whole in c, c P, since each process samples at its own pace. Keys and values: each
    prompt once, each completion its own, half as many again while finished ones are dropped. States of linear
    layers: `state_bytes`. Prefill: `prefill_work` a token, and DeepStack's features, d s each.
    """
    clips = -(-sequences // size.per_clip)
    prefilled = min(clips * size.prompt, max(PREFILL_TOKENS, size.prompt))
    deep = model.feature_width - model.hidden
    prefill = prefilled * (prefill_work(model, size) + deep * size.stream)
    patches = prefilled * model.merged
    vision = patches * (3 * model.vision_intermediate * size.computed + 8 * model.vision_hidden * 4 + 4 * model.patch_values)
    gathered = size.strategy in ("fsdp2", "zero3")
    weights = (size.computed * model.parameters, "c P, gathered") if gathered else copies(model, size, lora)
    states = state_bytes(model, size, clips, sequences)
    cached = cache_bytes(model, size, clips * size.prompt) + cache_bytes(model, size, sequences * size.new) * 3 // 2
    return [
        MemoryLine("rollout", "weights in use", *weights),
        MemoryLine("rollout", "keys and values", cached, f"{counted(clips, 'prompt')}, {counted(sequences, 'completion')}"),
        MemoryLine("rollout", "states of linear layers", states, "1 a prompt, 2 a completion"),
        MemoryLine("rollout", "prefill", max(prefill, vision), f"{prefilled} tokens"),
        MemoryLine("rollout", "drawing", drawing_bytes(model, size, sequences), "48 V a completion drawn at once, 2 c V each"),
    ]


def vllm_least(model: Architecture, recipe: Recipe, processes: int) -> int:
    """Bytes that vLLM's share of the GPU has to hold: weights, c P, and keys, values and states of one sequence.

    Its activations come on top. What is left of the share it fills with keys, values and states of more.
    """
    size = sizes(recipe, processes, model)
    return size.computed * model.parameters + cache_bytes(model, size, size.prompt + size.new) + model.state(size.computed)


def _by_vllm(model: Architecture, size: ModelSizes, vllm: Vllm, gpu: int) -> list[MemoryLine]:
    """The same where vLLM samples: its share of the GPU, all the time where it doesn't sleep, and a context of its own.

    Keys, values and states of linear layers are within the share; whether it holds them at all, `vllm_least` says.
    """
    gathered = size.strategy in ("fsdp2", "zero3")
    return [
        MemoryLine("held", "vLLM's context", CONTEXT, "assumed"),
        MemoryLine(
            "rollout", "weights in use", *((size.computed * model.parameters, "c P, gathered") if gathered else (0, ""))
        ),
        MemoryLine("rollout" if vllm.sleep else "held", "vLLM", int(vllm.memory * gpu), f"{vllm.memory:g} of the GPU"),
    ]
