"""Difficulty of rows as counts. Keeps no rows."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from trlt.recipe import Select
from trlt.select.classes import CLASSES, ROUNDING, Class, classify, delta_of, field_of, task_of
from trlt.task.sample import TASKS, Task


def histogram(rows: Iterable[Mapping[str, Any]], settings: Select) -> dict[str, Any]:
    """Difficulty of rows, which a report draws before and after training.

    Returns:
        `rows`, `errors`, and by task: `rows`, `mean_reward`, `classes` (name to count), `correct` (count of right
        answers to rows), `delta_iou` (rows in ten steps of 0.1, the last with 1.0), each empty if the task has none.
    """
    tally = DifficultyCounter()
    for row in rows:
        tally.add(row, task_of(row), None if row.get("error") is not None else classify(row, settings))
    return tally.to_json()


class DifficultyCounter:
    """Counts for `histogram`, one row at a time."""

    def __init__(self) -> None:
        self.rows = self.errors = 0
        self.counts: dict[Task, Counter[tuple[str, str | int]]] = {}
        self.rewards: dict[Task, list[float]] = {}

    def add(self, row: Mapping[str, Any], task: Task, klass: Class | None) -> None:
        """Counts a row; its class, by rules, is None if its probe failed."""
        self.rows += 1
        if klass is None:
            self.errors += 1
            return
        counts = self.counts.setdefault(task, Counter())
        counts["classes", klass] += 1
        if task != "grounding":
            counts["correct", int(field_of(row, "correct", int))] += 1
        if task != "multi_choice":
            counts["delta_iou", min(int(10 * (delta_of(row) + ROUNDING)), 9)] += 1
        if row.get("mean") is not None:
            self.rewards.setdefault(task, []).append(float(field_of(row, "mean", float)))

    def to_json(self) -> dict[str, Any]:
        """The counts as `histogram` gives them."""
        tasks = {task: self._task(task) for task in TASKS if task in self.counts}
        return {"rows": self.rows, "errors": self.errors, "tasks": tasks}

    def _task(self, task: Task) -> dict[str, Any]:
        counts, rewards = self.counts[task], self.rewards.get(task, [])
        most = max((int(key) for kind, key in counts if kind == "correct"), default=-1)
        return {
            "rows": sum(counts["classes", klass] for klass in CLASSES[task]),
            "mean_reward": math.fsum(rewards) / len(rewards) if rewards else None,
            "classes": {klass: counts["classes", klass] for klass in CLASSES[task]},
            "correct": {str(c): counts["correct", c] for c in range(most + 1)},
            "delta_iou": [counts["delta_iou", step] for step in range(10)] if task != "multi_choice" else [],
        }
