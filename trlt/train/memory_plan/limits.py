"""Limits of a recipe that never change an outcome, lowered until the recipe fits by the same formulas.

`train.max_sequences` says how many completions are drawn at once, and `train.prompts_per_pass` or `train.tokens_per_pass` how
many groups share a pass: of the first nothing that is drawn depends, of the others how sums are rounded. With `train.loss:
bnpo`, which averages over a pass, passes stay as they are. See docs/decisions/memory-plan.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from trlt.engine.families.shape import Architecture
from trlt.recipe import Recipe, Train
from trlt.train.memory_plan.gpu_memory import estimate
from trlt.train.memory_plan.sizes import sizes


@dataclass(frozen=True, slots=True)
class Lowered:
    """A limit that was lowered."""

    key: str
    """Dotted."""
    asked: int
    taken: int

    def __str__(self) -> str:
        return f"{self.key} {self.asked} -> {self.taken}"


def lower_limits(model: Architecture, recipe: Recipe, processes: int, gpu: int) -> Recipe:
    """The recipe with limits as low as it needs to fit, each no lower; where nothing helps, with all at their lowest.

    Passes and rollouts don't overlap, so each limit is looked for beside the lowest of the others.

    Args:
        model: Its shape.
        recipe: As resolved: its values are the most that is taken.
        processes: N.
        gpu: Bytes of the GPU.
    """
    if estimate(model, recipe, processes, gpu).fits:
        return recipe
    ladders = _ladders(model, recipe, processes)
    lowest = {key: values[0] for key, values in ladders.items()}
    chosen = dict(lowest)
    for key, values in ladders.items():

        def fits(value: int, key: str = key) -> bool:
            return estimate(model, _with(recipe, {**lowest, key: value}), processes, gpu).fits

        chosen[key] = _largest(values, fits)
    return _with(recipe, chosen)


def can_fit(model: Architecture, recipe: Recipe, processes: int, gpu: int) -> bool:
    """Whether a recipe fits with all limits at their lowest; arguments as for `lower_limits`."""
    lowest = {key: values[0] for key, values in _ladders(model, recipe, processes).items()}
    return estimate(model, _with(recipe, lowest), processes, gpu).fits


def lowered(asked: Recipe, taken: Recipe) -> list[Lowered]:
    """The limits by which two recipes differ."""
    pairs = [(key, getattr(asked.train, key), getattr(taken.train, key)) for key in _keys(asked.train)]
    return [Lowered(f"train.{key}", before, after) for key, before, after in pairs if before != after]


def least(recipe: Recipe, others: Sequence[dict[str, int]]) -> Recipe:
    """The recipe with the lowest of each limit that several processes have chosen for themselves; see `limits_of`."""
    return _with(recipe, {key: min(other[key] for other in others) for key in _keys(recipe.train)})


def limits_of(recipe: Recipe) -> dict[str, int]:
    """The values of a recipe's limits."""
    return {key: getattr(recipe.train, key) for key in _keys(recipe.train)}


def _keys(train: Train) -> list[str]:
    """Keys of `train` that can be lowered."""
    found = ["max_sequences"] if train.method == "grpo" and train.rollouts == "engine" else []
    if train.loss != "bnpo" or train.method == "sft":
        found.append("tokens_per_pass" if train.method == "grpo" and train.tokens_per_pass else "prompts_per_pass")
    return found


def _ladders(model: Architecture, recipe: Recipe, processes: int) -> dict[str, list[int]]:
    """For each limit what it can be, from its least to the recipe's value."""
    return {key: _values(model, recipe, key, processes) for key in _keys(recipe.train)}


def _values(model: Architecture, recipe: Recipe, key: str, processes: int) -> list[int]:
    train = recipe.train
    asked = getattr(train, key)
    if key == "max_sequences":
        group = train.group_size  # whole groups, or else a part of one
        return sorted({*range(1, min(group, asked)), *range(group, asked, group), asked})
    if key == "prompts_per_pass":
        step = train.prompts_per_step if train.method == "grpo" else train.sft.batch
        return [rows for rows in range(1, asked) if step % (rows * processes) == 0] + [asked]
    size = sizes(recipe, processes, model)
    each = size.prompt + train.group_size * train.max_new_tokens
    return sorted({*(min(groups * each, asked) for groups in range(1, size.prompts)), asked})


def _largest(values: list[int], fits: Callable[[int], bool]) -> int:
    """The largest of rising values that fits; the first where none does. Bisects: what fits does so with less, too."""
    low, high = 0, len(values)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(values[middle]) else (low, middle)
    return values[low]


def _with(recipe: Recipe, values: dict[str, int]) -> Recipe:
    return recipe.model_copy(update={"train": recipe.train.model_copy(update=values)})
