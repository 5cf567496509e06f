"""Histograms of measures before and after a selection, from one pass over the rows. Keeps no rows."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from trlt.select.classes import ROUNDING
from trlt.select.rules_report import Measured
from trlt.task.sample import TASKS, Task

STEPS = 10
"""Bars of an IoU, each 0.1 wide; the last includes 1.0."""
KINDS: dict[Task, tuple[str, ...]] = {
    "multi_choice": ("correct",),
    "grounding": ("mean_iou", "delta_iou"),
    "grounded_qa": ("correct", "mean_iou", "delta_iou"),
}
"""What is drawn of each task."""
Bars = tuple[int, ...]
"""A row's bar in each of its task's histograms; -1 where the row has no value."""


class RowMeasures:
    """Counts rows by their bars."""

    def __init__(self) -> None:
        self._before: dict[Task, Counter[Bars]] = {task: Counter() for task in TASKS}
        self._known: dict[Bars, Bars] = {}

    def bars(self, row: Mapping[str, Any], task: Task) -> Bars:
        """Counts a row and gives its bars; equal bars are one object, since half a million are kept."""
        found = tuple(_bar(row, kind) for kind in KINDS[task])
        bars = self._known.setdefault(found, found)
        self._before[task][bars] += 1
        return bars

    def measured(self, taken: Mapping[Task, Iterable[Bars]]) -> tuple[Measured, ...]:
        """The histograms before and after; only those with values."""
        result = []
        for task in TASKS:
            after = Counter(taken.get(task, ()))
            for place, kind in enumerate(KINDS[task]):
                sides = [_counted(counts, place) for counts in (self._before[task], after)]
                most = max(sides[0], default=-1)
                if most < 0:
                    continue
                names = [str(c) for c in range(most + 1)] if kind == "correct" else tenths()
                before, later = (tuple(side.get(bar, 0) for bar in range(len(names))) for side in sides)
                result.append(Measured(task=task, of=kind, names=tuple(names), before=before, after=later))
        return tuple(result)


def tenths() -> list[str]:
    """Names of the bars of an IoU."""
    return [f"{step / STEPS:.1f} to {(step + 1) / STEPS:.1f}" for step in range(STEPS)]


def binned(values: Iterable[float], edges: Sequence[float]) -> list[int]:
    """Counts of values between edges; a bin includes its upper edge, the last has no end."""
    counts = [0] * (len(edges) + 1)
    for value in values:
        counts[edge_bin(value, edges)] += 1
    return counts


def edge_bin(value: float, edges: Sequence[float]) -> int:
    """The bin of a value, as TimeLens's code has it: the first whose upper edge isn't below the value."""
    return next((place for place, edge in enumerate(edges) if value <= edge), len(edges))


def edge_names(edges: Sequence[float], unit: str) -> list[str]:
    """Names of the bins between edges."""
    lower = [0.0, *edges]
    return [f"{low:g} to {high:g} {unit}" for low, high in zip(lower, edges, strict=False)] + [f"over {edges[-1]:g} {unit}"]


def _bar(row: Mapping[str, Any], kind: str) -> int:
    value: Any = row.get(kind)
    if kind == "mean_iou" and value is None:
        ious = row.get("ious")
        known = isinstance(ious, list) and ious and all(type(one) in (int, float) for one in ious)
        value = math.fsum(ious) / len(ious) if known and ious else None
    if type(value) not in (int, float) or value != value:
        return -1
    return int(value) if kind == "correct" else max(0, min(int(STEPS * (value + ROUNDING)), STEPS - 1))


def _counted(counts: Mapping[Bars, int], place: int) -> dict[int, int]:
    found: dict[int, int] = {}
    for bars, count in counts.items():
        if bars[place] >= 0:
            found[bars[place]] = found.get(bars[place], 0) + count
    return found
