"""Probe rows become the ids to train on, with a report of what was taken and what fell short (pure).

Knows rows as `trlt.rollout` writes them and a recipe's `select` section; neither samples' texts nor videos.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple, get_args

from trlt.errors import DataError, did_you_mean
from trlt.recipe import Select
from trlt.sample import TASKS, Task

Difficulty = Literal["easy", "medium", "hard"]
Class = Literal["easy", "medium", "hard", "flat", "varied"]
"""What a row is to selection: a difficulty; or by the spread of its IoUs `varied` or `flat`.

Grounding is varied or flat. Grounded QA is flat where it is medium, but its IoUs spread too little.
"""
CLASSES: dict[Task, tuple[Class, ...]] = {
    "multi_choice": ("easy", "medium", "hard"),
    "grounding": ("varied", "flat"),
    "grounded_qa": ("medium", "flat", "easy", "hard"),
}

_ROUNDING = 1e-9  # max - mean of 0.7 and 0.1 comes out a hair below 0.3


@dataclass(frozen=True, slots=True)
class Cell:
    """The rows of one task, source and class."""

    task: Task
    source: str
    klass: Class
    available: int
    taken: int


@dataclass(frozen=True, slots=True)
class SelectionReport:
    """What a selection saw and took."""

    rows: int
    errors: int
    """Rows whose probe failed; never selected."""
    taken: int
    settings: dict[str, Any]
    wanted: dict[str, dict[str, int]]
    """Size aimed at, by task and class."""
    cells: tuple[Cell, ...]
    shortfalls: tuple[str, ...]
    """A sentence for each size that wasn't reached, and for each source that ran dry."""
    histograms: dict[str, Any]
    """Of all rows, as `histogram` gives them."""

    def to_json(self) -> dict[str, Any]:
        """The report as JSON values."""
        return asdict(self) | {
            "cells": [{("class" if key == "klass" else key): value for key, value in asdict(c).items()} for c in self.cells],
            "shortfalls": list(self.shortfalls),
        }


@dataclass(frozen=True, slots=True)
class Selection:
    """The kept ids, in the order in which their rows came, and the report."""

    ids: tuple[str, ...]
    report: SelectionReport


class _Candidate(NamedTuple):
    """What is kept of a row: half a million of them have to fit."""

    rank: bytes
    position: int
    id: str


def select(rows: Iterable[Mapping[str, Any]], settings: Select) -> Selection:
    """Chooses what to train on (3.2 to 3.4 and appendix A of the paper).

    Each task has its size, multi-choice split by the easy:medium:hard ratio. A size is shared evenly among the
    sources (`water_fill`); within a source, chance decides: a hash of seed and id, so that rows in another order, or
    more rows of another source, give the same rank. A class that is short isn't made up from another.

    Raises:
        DataError: a row that lacks what selection needs, or an id that occurs twice.
    """
    candidates: dict[tuple[Task, Class], dict[str, list[_Candidate]]] = {
        (task, klass): {} for task in TASKS for klass in CLASSES[task]
    }
    tally = _Tally()
    seen: set[str] = set()
    fewest = math.inf
    for position, row in enumerate(rows):
        name, task, source = str(_field(row, "id", str)), _task(row), str(_field(row, "source", str))
        if name in seen:
            raise DataError(f"probe row {name!r}: stands twice; ids are unique, keep one of the rows")
        seen.add(name)
        klass = None if row.get("error") is not None else classify(row, settings)
        tally.add(row, task, klass)
        if klass is not None:
            fewest = min(fewest, row.get("n", math.inf))
            for other in CLASSES[task]:  # so that a source without any row of a class is reported with 0
                candidates[task, other].setdefault(source, [])
            candidates[task, klass][source].append(_Candidate(_rank(settings.seed, name), position, name))

    wanted = _wanted(settings)
    kept: list[_Candidate] = []
    cells: list[Cell] = []
    shortfalls: list[str] = []
    for (task, klass), by_source in candidates.items():
        available = {source: len(found) for source, found in sorted(by_source.items())}
        size = wanted[task].get(klass, 0)
        quota = water_fill(available, size)
        for source, count in quota.items():
            kept += sorted(by_source[source])[:count]
        cells += [Cell(task, source, klass, available[source], quota[source]) for source in available]
        shortfalls += _shortfalls(f"{task} ({klass})", available, size)
    if fewest < settings.easy:
        shortfalls.append(f"easy begins at {settings.easy} right answers, but rows have only n = {fewest}: lower `select.easy`")
    ids = tuple(candidate.id for candidate in sorted(kept, key=lambda candidate: candidate.position))
    report = SelectionReport(
        rows=len(seen),
        errors=tally.errors,
        taken=len(ids),
        settings=settings.model_dump(mode="json"),
        wanted={task: {str(klass): size for klass, size in sizes.items()} for task, sizes in wanted.items()},
        cells=tuple(cells),
        shortfalls=tuple(shortfalls),
        histograms=tally.to_json(),
    )
    return Selection(ids, report)


def difficulty(row: Mapping[str, Any], settings: Select) -> Difficulty:
    """Hard up to `hard` correct answers of n, easy from `easy` on, medium between (appendix A of the paper).

    The paper's text has the two names swapped, which would leave no medium.

    Raises:
        DataError: a row without a count of correct answers.
    """
    correct = int(_field(row, "correct", int))
    return "hard" if correct <= settings.hard else "easy" if correct >= settings.easy else "medium"


def classify(row: Mapping[str, Any], settings: Select) -> Class:
    """The class of a row that has no error; the first of `CLASSES` but for multi-choice is the one trained on.

    Raises:
        DataError: a row that lacks what its task's rule needs.
    """
    task = _task(row)
    if task == "grounding":
        return "varied" if _delta(row) >= settings.delta_iou - _ROUNDING else "flat"
    level = difficulty(row, settings)
    if task == "grounded_qa" and level == "medium" and _delta(row) < settings.grounded_delta_iou - _ROUNDING:
        return "flat"
    return level


def water_fill(available: Mapping[str, int], total: int) -> dict[str, int]:
    """Shares a total evenly: every source gives the same until it runs dry, the rest is shared by the others.

    What can't be shared evenly goes to the sources that come first by name. The sum is `total`, or all there is.
    """
    taken = dict.fromkeys(sorted(available), 0)
    open_names = [name for name in taken if available[name] > 0]
    left = total
    while open_names and left > 0:
        share, extra = divmod(left, len(open_names))
        dry = [name for name in open_names if available[name] <= share]
        if not dry:
            return taken | {name: share + (place < extra) for place, name in enumerate(open_names)}
        for name in dry:
            taken[name] = available[name]
            left -= available[name]
        open_names = [name for name in open_names if name not in dry]
    return taken


def histogram(rows: Iterable[Mapping[str, Any]], settings: Select) -> dict[str, Any]:
    """How difficult rows are: what a report draws before and after training.

    Returns:
        `rows`, `errors`, and by task: `rows`, `mean_reward`, `classes` (name to count), `correct` (count of right
        answers to rows), `delta_iou` (rows in ten steps of 0.1, the last with 1.0), each empty where the task has none.
    """
    tally = _Tally()
    for row in rows:
        tally.add(row, _task(row), None if row.get("error") is not None else classify(row, settings))
    return tally.to_json()


class _Tally:
    """Counts for `histogram`, one row at a time."""

    def __init__(self) -> None:
        self.rows = self.errors = 0
        self.counts: dict[Task, Counter[tuple[str, str | int]]] = {}
        self.rewards: dict[Task, list[float]] = {}

    def add(self, row: Mapping[str, Any], task: Task, klass: Class | None) -> None:
        self.rows += 1
        if klass is None:
            self.errors += 1
            return
        counts = self.counts.setdefault(task, Counter())
        counts["classes", klass] += 1
        if task != "grounding":
            counts["correct", int(_field(row, "correct", int))] += 1
        if task != "multi_choice":
            counts["delta_iou", min(int(10 * (_delta(row) + _ROUNDING)), 9)] += 1
        if row.get("mean") is not None:
            self.rewards.setdefault(task, []).append(float(_field(row, "mean", float)))

    def to_json(self) -> dict[str, Any]:
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


def _wanted(settings: Select) -> dict[Task, dict[Class, int]]:
    """Sizes by task and class; the ratio is rounded by largest remainder, so that they add up."""
    levels = get_args(Difficulty)
    parts = [int(part) for part in settings.ratio.split(":")]
    size, whole = settings.sizes.multi_choice, sum(parts)
    shares = [size * part // whole for part in parts]
    by_remainder = sorted(range(3), key=lambda place: -(size * parts[place] % whole))
    for place in by_remainder[: size - sum(shares)]:
        shares[place] += 1
    return {
        "multi_choice": dict(zip(levels, shares, strict=True)),
        "grounding": {"varied": settings.sizes.grounding},
        "grounded_qa": {"medium": settings.sizes.grounded_qa},
    }


def _shortfalls(what: str, available: Mapping[str, int], size: int) -> Iterator[str]:
    """Says which sources gave less than an even share, and whether the size was reached."""
    if not size:
        return
    if len(available) > 1:
        share = size // len(available)
        for source, count in available.items():
            if count < share:
                yield f"{what}: {source} has {count:,} of an even share of {share:,}; the other sources fill in where they can"
    there = sum(available.values())
    if there < size:
        yield f"{what}: {there:,} of {size:,}: the pool holds no more; probe more samples or widen the thresholds"


def _rank(seed: int, name: str) -> bytes:
    return hashlib.blake2b(f"{seed}\0{name}".encode("utf-8", "surrogatepass"), digest_size=8).digest()


def _task(row: Mapping[str, Any]) -> Task:
    task = row.get("task")
    for known in TASKS:
        if task == known:
            return known
    raise DataError(f"probe row {row.get('id')!r}: task: {task!r} is unknown; {did_you_mean(str(task), TASKS)}")


def _delta(row: Mapping[str, Any]) -> float:
    return float(_field(row, "delta_iou", float))


def _field(row: Mapping[str, Any], key: str, kind: type) -> Any:
    value = row.get(key)
    fits = isinstance(value, (int, float) if kind is float else kind) and not isinstance(value, bool)
    if not fits or value != value:
        raise DataError(
            f"probe row {row.get('id')!r}: {key}: expected {kind.__name__}, got {value!r}; rows come from `trlt probe`"
        )
    return value
