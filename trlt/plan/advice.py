"""What to change in a recipe so that it fits: each candidate is tried by the same formulas, and only what helps is named."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from trlt.plan.architecture import Architecture
from trlt.plan.memory import estimate
from trlt.recipe import Lora, Recipe

MOST_PROCESSES = 64
"""Processes up to which more are suggested."""


@dataclass(frozen=True, slots=True)
class Change:
    """One or more keys of a recipe with which it fits."""

    keys: tuple[tuple[str, Any, Any], ...]
    """Dotted key, value now, value that fits."""

    def __str__(self) -> str:
        return ", ".join(f"{key} {_written(old)} -> {_written(new)}" for key, old, new in self.keys)


def advise(model: Architecture, recipe: Recipe, processes: int, gpu: int) -> list[Change]:
    """Changes that make a recipe fit, the mildest of each key.

    Single changes where there are any; else pairs, with `train.launch.processes` among them; else all that lower the need,
    together. Empty where nothing helps.

    Args:
        model: Its shape.
        recipe: One that doesn't fit.
        processes: N.
        gpu: Bytes of the GPU.
    """
    ladders = [list(steps) for steps in _ladders(recipe, processes)]
    found = [change for ladder in ladders if (change := _mildest(model, recipe, processes, gpu, (ladder,)))]
    if found:
        return found
    for count in range(2, len(ladders) + 1):
        found = [
            change
            for some in combinations(ladders, count)
            if (change := _mildest(model, recipe, processes, gpu, some)) is not None
        ]
        if found:
            return found
    return []


Step = tuple[str, Any, Any]


def _mildest(model: Architecture, recipe: Recipe, processes: int, gpu: int, ladders: tuple[list[Step], ...]) -> Change | None:
    """Climbs all ladders together until the recipe fits."""
    for rung in range(max(map(len, ladders))):
        steps = tuple(ladder[min(rung, len(ladder) - 1)] for ladder in ladders)
        changed, count = recipe, processes
        for key, _, value in steps:
            changed = _with(changed, key, value)
            count = value if key == "train.launch.processes" else count
        if estimate(model, changed, count, gpu).fits:
            return Change(steps)
    return None


def _ladders(recipe: Recipe, processes: int) -> Iterator[list[Step]]:
    """For each key that has a say, its values from mild to drastic; those that don't change the outcome of a run come first."""
    train = recipe.train
    grpo = train.method == "grpo"
    if not train.gradient_checkpointing:
        yield [("train.gradient_checkpointing", False, True)]
    if processes > 1 and train.launch.strategy != "fsdp2":
        yield [("train.launch.strategy", train.launch.strategy, "fsdp2")]
    if grpo and not train.shared_prefix:
        yield [("train.shared_prefix", False, True)]
    passes = [n for n in range(train.prompts_per_pass - 1, 0, -1) if train.prompts_per_step % (n * processes) == 0]
    if passes:
        yield [("train.prompts_per_pass", train.prompts_per_pass, n) for n in passes]
    if grpo and train.max_sequences > train.group_size:
        yield [("train.max_sequences", train.max_sequences, n) for n in _halves(train.max_sequences, train.group_size)]
    batch = train.prompts_per_step if grpo else train.sft.batch
    more = [n for n in range(processes + 1, MOST_PROCESSES + 1) if batch % (n * train.prompts_per_pass) == 0]
    if more:
        yield [("train.launch.processes", processes, n) for n in more]
    if grpo and train.beta > 0:
        yield [("train.beta", train.beta, 0.0)]
    if train.lora is None:
        yield [("train.lora", None, Lora())]
    if train.max_new_tokens > 128:
        yield [("train.max_new_tokens", train.max_new_tokens, n) for n in _round_values(train.max_new_tokens, 128)]
    if recipe.video.max_tokens > 256:
        yield [("video.max_tokens", recipe.video.max_tokens, n) for n in _round_values(recipe.video.max_tokens, 256)]


def _halves(value: int, least: int) -> Iterator[int]:
    while value > least:
        value = max(value // 2, least)
        yield value


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
        return f"{{rank: {value.rank}}}"
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)
