"""Histograms of one probe, and the shift from one probe to another (pure).

Knows rows as `trlt.rollout` writes them and a recipe's `select` section; neither files nor drawings.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from trlt.errors import DataError
from trlt.recipe import Select
from trlt.select import CLASSES, Class, classify, histogram
from trlt.stats.intervals import paired_difference
from trlt.task.sample import TASKS, Task

STEPS = 10
"""Bars of a histogram of IoUs, each 0.1 wide; the last includes 1.0."""
_ROUNDING = 1e-9  # a mean of exactly 0.3 may come out a hair below

Counts = dict[str, dict[Class, list[int]]]
"""Histogram (`correct`, `delta_iou`, `mean_iou`) to the counts of each class."""


class Digest(NamedTuple):
    """The few numbers of a row that metrics need: half a million must fit in memory."""

    task: Task
    klass: Class
    n: int
    """Answers."""
    correct: int | None
    delta_iou: float | None
    mean_iou: float | None
    mean: float
    """Mean reward."""

    def row(self) -> dict[str, Any]:
        """The digest as a row without its lists."""
        return {**self._asdict(), "error": None}


def digest(row: Mapping[str, Any], settings: Select) -> Digest | None:
    """The numbers of a row; None for one with an error.

    Raises:
        DataError: a row that lacks what its task needs.
    """
    if row.get("error") is not None:
        return None
    klass = classify(row, settings)
    task: Task = row["task"]
    n, mean = row.get("n"), row.get("mean")
    if type(n) is not int or not isinstance(mean, (int, float)):
        raise DataError(f"probe row {row.get('id')!r}: n {n!r}, mean {mean!r}: expected numbers; rows come from `trlt probe`")
    correct = None if task == "grounding" else int(row["correct"])
    if task == "multi_choice":
        return Digest(task, klass, n, correct, None, None, float(mean))
    return Digest(task, klass, n, correct, float(row["delta_iou"]), mean_iou(row), float(mean))


def mean_iou(row: Mapping[str, Any]) -> float:
    """Mean of the answers' IoUs, from 0 to 1.

    Raises:
        DataError: a row without IoUs.
    """
    ious = row.get("ious")
    if row.get("mean_iou") is not None and ious is None:
        return float(row["mean_iou"])
    if not isinstance(ious, list) or not ious or not all(isinstance(value, (int, float)) for value in ious):
        raise DataError(f"probe row {row.get('id')!r}: ious: expected a list of numbers, got {ious!r}; rows are `trlt probe`'s")
    return math.fsum(ious) / len(ious)


def histograms(rows: Iterable[Mapping[str, Any]], settings: Select) -> dict[str, Any]:
    """`trlt.select.histogram`, and what the plots need in addition (Fig. 4 of the paper); reads the rows once.

    Returns:
        The same, and by task: `n` (maximum number of answers per row), `mean_iou` (rows in ten steps of 0.1, the last with 1.0;
        empty for multi-choice) and `by_class` (`correct`, `delta_iou` and `mean_iou`, each as class to counts).
    """
    most: dict[Task, int] = {}
    counts: dict[Task, dict[tuple[str, Class, int], int]] = {}

    def watched() -> Iterator[Mapping[str, Any]]:
        for row in rows:
            found = digest(row, settings)
            if found is not None:
                most[found.task] = max(most.get(found.task, 0), found.n)
                of_task = counts.setdefault(found.task, {})
                for name, place in _places(found):
                    of_task[name, found.klass, place] = of_task.get((name, found.klass, place), 0) + 1
            yield row

    result = histogram(watched(), settings)
    for task in most:
        by_class = _by_class(task, most[task], counts[task])
        means = [sum(column) for column in zip(*by_class.get("mean_iou", {}).values(), strict=True)]
        result["tasks"][task] |= {"n": most[task], "mean_iou": means, "by_class": by_class}
    return result


def _places(found: Digest) -> Iterator[tuple[str, int]]:
    """A row's bar in each histogram."""
    if found.correct is not None:
        yield "correct", found.correct
    for name, value in (("delta_iou", found.delta_iou), ("mean_iou", found.mean_iou)):
        if value is not None:
            yield name, min(int(STEPS * (value + _ROUNDING)), STEPS - 1)


def _by_class(task: Task, n: int, counts: Mapping[tuple[str, Class, int], int]) -> Counts:
    sizes = {} if task == "grounding" else {"correct": n + 1}
    if task != "multi_choice":
        sizes |= {"delta_iou": STEPS, "mean_iou": STEPS}
    return {
        name: {klass: [counts.get((name, klass, place), 0) for place in range(size)] for klass in CLASSES[task]}
        for name, size in sizes.items()
    }


@dataclass(frozen=True, slots=True)
class Paired:
    """Two probes over their common samples; the lists have one entry per sample."""

    ids: Sequence[str]
    a: Sequence[Digest]
    b: Sequence[Digest]
    errors: int
    """Common samples whose video one of the probes couldn't read; they are left out."""
    only_a: int
    """Samples only in the first probe; they are left out."""
    only_b: int


def pair(a: Iterable[Mapping[str, Any]], b: Iterable[Mapping[str, Any]], settings: Select) -> Paired:
    """Pairs the rows of two probes by id, in the order of b; keeps a few numbers per row.

    Raises:
        DataError: an id that occurs twice in one probe, or with different tasks in the two; a row that lacks a needed value.
    """
    before: dict[str, Digest | None] = {}
    for row in a:
        if row["id"] in before:
            raise DataError(f"A: probe row {row['id']!r}: occurs twice; ids are unique, keep one of the rows")
        before[row["id"]] = digest(row, settings)
    seen: set[str] = set()
    ids: list[str] = []
    left: list[Digest] = []
    right: list[Digest] = []
    errors = 0
    for row in b:
        id = row["id"]
        if id in seen:
            raise DataError(f"B: probe row {id!r}: occurs twice; ids are unique, keep one of the rows")
        seen.add(id)
        if id not in before:
            continue
        old, new = before[id], digest(row, settings)
        if old is None or new is None:
            errors += 1
            continue
        if old.task != new.task:
            raise DataError(f"probe row {id!r}: is {old.task} in A and {new.task} in B; compare probes of the same samples")
        ids.append(id)
        left.append(old)
        right.append(new)
    shared = len(ids) + errors
    return Paired(ids, left, right, errors, len(before) - shared, len(seen) - shared)


@dataclass(frozen=True, slots=True)
class Measure:
    """One number of each sample in both probes, as means."""

    a: float
    b: float
    difference: float
    """b - a."""
    ci95: tuple[float, float] | None
    """95% interval of the difference, resampled by video; None if videos are unknown, or there is only one."""


@dataclass(frozen=True, slots=True)
class TaskShift:
    """What changed among the samples of one task."""

    n: int
    videos: int | None
    """Number of their videos; None if unknown."""
    measures: dict[str, Measure]
    """`reward`; `right` (share of right answers) except for grounding; `mean_iou` and `delta_iou` except for multi-choice."""
    transitions: dict[Class, dict[Class, int]]
    """Class in A to class in B to number of samples, for every class of the task."""

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def shift(paired: Paired, videos: Mapping[str, str] | None) -> dict[Task, TaskShift]:
    """The change from the first probe to the second, by task; samples of one video are resampled together.

    Args:
        paired: Both probes.
        videos: Id to its footage; None if unknown, which gives no intervals.
    """
    places: dict[Task, list[int]] = {task: [] for task in TASKS}
    for place, found in enumerate(paired.a):
        places[found.task].append(place)
    result: dict[Task, TaskShift] = {}
    for task, there in places.items():
        if not there:
            continue
        old, new = [paired.a[place] for place in there], [paired.b[place] for place in there]
        clusters = [videos[paired.ids[place]] for place in there] if videos is not None else None
        transitions = {klass: dict.fromkeys(CLASSES[task], 0) for klass in CLASSES[task]}
        for x, y in zip(old, new, strict=True):
            transitions[x.klass][y.klass] += 1
        before, after = _numbers(old), _numbers(new)
        measures = {name: _measure(before[name], after[name], clusters) for name in before}
        result[task] = TaskShift(len(there), len(set(clusters)) if clusters else None, measures, transitions)
    return result


def _numbers(found: Sequence[Digest]) -> dict[str, list[float]]:
    """The compared numbers, one list per measure."""
    numbers = {"reward": [one.mean for one in found]}
    if found[0].correct is not None:
        numbers["right"] = [(one.correct or 0) / one.n for one in found]
    if found[0].mean_iou is not None:
        numbers["mean_iou"] = [one.mean_iou or 0.0 for one in found]
        numbers["delta_iou"] = [one.delta_iou or 0.0 for one in found]
    return numbers


def _measure(a: Sequence[float], b: Sequence[float], clusters: Sequence[str] | None) -> Measure:
    means = math.fsum(a) / len(a), math.fsum(b) / len(b)
    gain = math.fsum(y - x for x, y in zip(a, b, strict=True)) / len(a)
    if clusters is None or len(set(clusters)) < 2:
        return Measure(*means, gain, None)
    interval = paired_difference(b, a, clusters)
    return Measure(*means, gain, (interval.low, interval.high))
