"""How selection sees one probe row: its difficulty, its class, the deviation of its rewards. Knows no other rows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

from trlt.errors import DataError, did_you_mean
from trlt.recipe import Select
from trlt.task.sample import TASKS, Task

Difficulty = Literal["easy", "medium", "hard"]
Class = Literal["easy", "medium", "hard", "flat", "varied", "any"]
"""A row's class: a difficulty; or, by its Δ_IoU or the deviation of its rewards, `varied` or `flat`.

Grounding is varied or flat. Grounded QA is flat if it is medium but its Δ_IoU is too small. By variance, rows of every task are
varied, or flat if all rewards are the same. At random, and where all are taken, all rows are `any`.
"""
CLASSES: dict[Task, tuple[Class, ...]] = {
    "multi_choice": ("easy", "medium", "hard"),
    "grounding": ("varied", "flat"),
    "grounded_qa": ("medium", "flat", "easy", "hard"),
}

ROUNDING = 1e-9  # max - mean of 0.7 and 0.1 comes out a hair below 0.3
_DIGITS = 9  # so that deviations that are equal but for rounding are a tie, and equal rewards have none


def classes_of(task: Task, settings: Select) -> tuple[Class, ...]:
    """The classes of a task's rows."""
    return {"rules": CLASSES[task], "variance": ("varied", "flat")}.get(settings.by, ("any",))


def difficulty(row: Mapping[str, Any], settings: Select) -> Difficulty:
    """Hard up to `hard` correct answers of n, easy from `easy` on, medium between (appendix A of the paper).

    The paper's text swaps the two names, which would leave no medium. A sample with only right answers is easy even if n is
    below `easy`: as with no right answer, its rewards don't differ.

    Raises:
        DataError: a row without a count of correct answers.
    """
    correct, n = int(field_of(row, "correct", int)), row.get("n")
    if type(n) is int and 0 < n <= correct:
        return "easy"
    return "hard" if correct <= settings.hard else "easy" if correct >= settings.easy else "medium"


def classify(row: Mapping[str, Any], settings: Select) -> Class:
    """The class, by rules, of a row without error; except for multi-choice, the first of `CLASSES` is trained on.

    Raises:
        DataError: a row that lacks what its task's rule needs.
    """
    task = task_of(row)
    if task == "grounding":
        return "varied" if delta_of(row) >= settings.delta_iou - ROUNDING else "flat"
    level = difficulty(row, settings)
    if task == "grounded_qa" and level == "medium" and delta_of(row) < settings.grounded_delta_iou - ROUNDING:
        return "flat"
    return level


def deviation(row: Mapping[str, Any]) -> float:
    """Population standard deviation of a row's rewards: the divisor in Eq. 3 of the paper.

    Raises:
        DataError: a row without rewards.
    """
    rewards = field_of(row, "rewards", list)
    if not rewards or not all(type(value) in (float, int) and math.isfinite(value) for value in rewards):
        raise DataError(
            f"probe row {row.get('id')!r}: rewards: expected finite numbers, got {rewards!r}; rows come from `trlt probe`"
        )
    mean = math.fsum(rewards) / len(rewards)
    return round(math.sqrt(math.fsum((value - mean) ** 2 for value in rewards) / len(rewards)), _DIGITS)


def task_of(row: Mapping[str, Any]) -> Task:
    """A row's task.

    Raises:
        DataError: it has none.
    """
    task = row.get("task")
    for known in TASKS:
        if task == known:
            return known
    raise DataError(f"probe row {row.get('id')!r}: task: {task!r} is unknown; {did_you_mean(str(task), TASKS)}")


def delta_of(row: Mapping[str, Any]) -> float:
    """Max - mean of a row's IoUs (3.3 of the paper).

    Raises:
        DataError: it has none.
    """
    return float(field_of(row, "delta_iou", float))


def field_of(row: Mapping[str, Any], key: str, kind: type) -> Any:
    """A row's value with its required type; an int is also a float, but a bool is no number.

    Raises:
        DataError: it is missing, or has another type.
    """
    value = row.get(key)
    fits = isinstance(value, (int, float) if kind is float else kind) and not isinstance(value, bool)
    if not fits or value != value:
        raise DataError(
            f"probe row {row.get('id')!r}: {key}: expected {kind.__name__}, got {value!r}; rows come from `trlt probe`"
        )
    return value
