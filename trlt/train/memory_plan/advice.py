"""What to change in a recipe so that it fits: each candidate is tried by the same formulas, and only what helps is named."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from trlt.engine.families.shape import Architecture
from trlt.recipe import Lora, Recipe
from trlt.train.memory_plan.limits import can_fit

MOST_PROCESSES = 64
"""Processes up to which more are suggested."""
MOST_LINES = 6
"""Changes of equally many keys that are named; those that don't change a run's outcome come first."""

Step = tuple[str, Any, Any]
"""Dotted key, value now, another one."""


@dataclass(frozen=True, slots=True)
class RecipeChange:
    """One or more keys of a recipe with which it fits."""

    keys: tuple[tuple[str, Any, Any], ...]
    """Dotted key, value now, value that fits."""

    def __str__(self) -> str:
        """As flags of `trlt train`, to be pasted behind the command."""
        return " ".join(f"--set {shlex.quote(f'{key}={_written(new)}')}" for key, _, new in self.keys)


def advise(model: Architecture, recipe: Recipe, processes: int, gpu: int) -> list[RecipeChange]:
    """Changes that make a recipe fit, once its limits are lowered (`lower_limits`), the mildest of each key.

    With the GPUs that there are: single changes where there are any, else pairs, and so on, and where these are adapters alone,
    what else there is; behind them, where it helps, `train.launch.processes`, for whoever has more. Empty where nothing helps.

    Args:
        model: Its shape.
        recipe: One that doesn't fit.
        processes: N.
        gpu: Bytes of the GPU.
    """
    tried = _Tried(model, recipe, processes, gpu)
    ladders = [list(steps) for steps in _ladders(model, recipe, processes)]
    found = _fewest(tried, ladders)
    if all(any(key == "train.lora" for key, _, _ in change.keys) for change in found):
        found = _fewest(tried, [ladder for ladder in ladders if ladder[0][0] != "train.lora"]) + found
    return found + _with_more(tried, ladders, list(_more_processes(recipe, processes)))


def _fewest(tried: _Tried, ladders: list[list[Step]]) -> list[RecipeChange]:
    """All changes of as few keys as suffice."""
    for count in range(1, len(ladders) + 1):
        some = combinations(ladders, count)
        if found := [change for chosen in some if (change := tried.mildest(chosen)) is not None]:
            return found[:MOST_LINES]
    return []


def _with_more(tried: _Tried, ladders: list[list[Step]], more: list[Step]) -> list[RecipeChange]:
    """More processes alone, or else with one other key which alone isn't enough."""
    if not more:
        return []
    if alone := tried.mildest([more]):
        return [alone]
    pairs = [change for ladder in ladders if (change := tried.mildest([ladder, more])) is not None]
    return [change for change in pairs if not tried.fits(change.keys[:-1])][:MOST_LINES]


@dataclass(frozen=True, slots=True)
class _Tried:
    """A recipe, and what it is held to."""

    model: Architecture
    recipe: Recipe
    processes: int
    gpu: int

    def fits(self, steps: Sequence[Step]) -> bool:
        """Whether it fits with some keys changed, and its limits lowered."""
        changed, count = self.recipe, self.processes
        for key, _, value in steps:
            changed = _with(changed, key, value)
            count = value if key == "train.launch.processes" else count
        return can_fit(self.model, changed, count, self.gpu)

    def mildest(self, ladders: Sequence[list[Step]]) -> RecipeChange | None:
        """Climbs all ladders together until the recipe fits, and then down each as far as it still does."""
        for rung in range(max(map(len, ladders))):
            steps = [ladder[min(rung, len(ladder) - 1)] for ladder in ladders]
            if not self.fits(steps):
                continue
            for place, ladder in reversed([*enumerate(ladders)]):
                for step in reversed(ladder[: ladder.index(steps[place])]):
                    if not self.fits([*steps[:place], step, *steps[place + 1 :]]):
                        break
                    steps[place] = step
            return RecipeChange(tuple(steps))
        return None


def _ladders(model: Architecture, recipe: Recipe, processes: int) -> Iterator[list[Step]]:
    """For each key that has a say, its values from mild to drastic; those that don't change the outcome of a run come first."""
    train = recipe.train
    grpo = train.method == "grpo"

    def lora_goes(lora: Lora) -> bool:
        # Experts aren't held in 4 bits: `fit_adapters` refuses it.
        unfit = lora.quantize and (train.rollouts == "vllm" or model.experts)
        return train.launch.strategy != "zero3" and not unfit

    if not train.gradient_checkpointing:
        yield [("train.gradient_checkpointing", False, True)]
    if processes > 1 and train.launch.strategy != "fsdp2":
        yield [("train.launch.strategy", train.launch.strategy, "fsdp2")]
    elif processes > 1:
        # Beside adapters: to sample, each process has all weights anyway, and under FSDP2 its slice of them once more.
        yield [("train.launch.strategy", "fsdp2", "ddp")]
    if grpo and not train.shared_prefix:
        yield [("train.shared_prefix", False, True)]
    passes = [n for n in range(train.prompts_per_pass - 1, 0, -1) if train.prompts_per_step % (n * processes) == 0]
    if passes and grpo and train.loss == "bnpo":  # else they are lowered without being asked
        yield [("train.prompts_per_pass", train.prompts_per_pass, n) for n in passes]
    if grpo and train.lora is None and train.beta > 0:
        yield [("train.beta", train.beta, 0.0)]
    if train.lora is None:
        plain = Lora(targets="attention") if model.experts else Lora()
        yield [("train.lora", None, lora) for lora in (plain, Lora(quantize="nf4")) if lora_goes(lora)]
    elif train.lora.quantize is None and lora_goes(Lora(quantize="nf4")):
        yield [("train.lora.quantize", None, "nf4")]
    elif model.experts and train.lora.targets == "all":
        yield [("train.lora.targets", "all", "attention")]
    if train.max_new_tokens > 128:
        yield [("train.max_new_tokens", train.max_new_tokens, n) for n in _round_values(train.max_new_tokens, 128)]
    if model.time_tokens and recipe.video.max_frames > 64:
        yield [("video.max_frames", recipe.video.max_frames, n) for n in _round_values(recipe.video.max_frames, 64)]
    if recipe.video.max_tokens > 256:
        yield [("video.max_tokens", recipe.video.max_tokens, n) for n in _round_values(recipe.video.max_tokens, 256)]


def _more_processes(recipe: Recipe, processes: int) -> Iterator[Step]:
    """Numbers of processes over which a step's prompts can be spread."""
    train = recipe.train
    batch = train.prompts_per_step if train.method == "grpo" else train.sft.batch
    for count in range(processes + 1, MOST_PROCESSES + 1):
        if batch % (count * train.prompts_per_pass) == 0:
            yield "train.launch.processes", processes, count


def _round_values(value: int, least: int) -> Iterator[int]:
    """Powers of two and one and a half times these, below a value: 768 -> 512, 384, 256, 192, 128."""
    power = 1 << (value - 1).bit_length()
    while power >= least:
        for candidate in (power, power * 3 // 4):
            if least <= candidate < value:
                yield candidate
        power //= 2


def _with(recipe: Recipe, dotted: str, value: Any) -> Recipe:
    """The recipe with one key changed."""
    first, *rest = dotted.split(".")
    section: Any = getattr(recipe, first)
    if len(rest) == 1:
        return recipe.model_copy(update={first: section.model_copy(update={rest[0]: value})})
    inner = getattr(section, rest[0]).model_copy(update={rest[1]: value})
    return recipe.model_copy(update={first: section.model_copy(update={rest[0]: inner})})


def _written(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, Lora):
        said = {"rank": value.rank, "targets": value.targets if value.targets != "all" else None, "quantize": value.quantize}
        return f"{{{', '.join(f'{key}: {told}' for key, told in said.items() if told is not None)}}}"
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)
