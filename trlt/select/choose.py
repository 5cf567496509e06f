"""The selection itself: classifies rows one by one, splits sizes, and chooses within a source by chance or variance."""

from __future__ import annotations

import hashlib
import heapq
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from trlt.errors import DataError
from trlt.recipe import Select
from trlt.select.classes import Class, classes_of, classify, deviation, field_of, task_of
from trlt.select.histogram import DifficultyCounter
from trlt.select.selection_report import (
    SelectionCell,
    SelectionReport,
    TaskTotal,
    budget_shortfalls,
    class_shortfalls,
    few_answers,
)
from trlt.select.shares import apportion, by_class, redistributed, task_shares, task_sizes, water_fill
from trlt.task.sample import TASKS, Task


@dataclass(frozen=True, slots=True)
class Selection:
    """The kept ids, in the order of their rows, and the report."""

    ids: tuple[str, ...]
    report: SelectionReport


class _Candidate(NamedTuple):
    """What is kept of a row: half a million must fit in memory. The smallest are taken first."""

    order: float
    """By variance, minus the rewards' deviation; else 0."""
    rank: bytes
    id: str
    position: int


_Pool = dict[tuple[Task, Class], dict[str, list[_Candidate]]]
"""Candidates by task and class, then by source."""


class _RowsPass(NamedTuple):
    """The result of one pass over the rows."""

    pool: _Pool
    tally: DifficultyCounter
    fewest: float
    """Smallest n of a row."""


def select(rows: Iterable[Mapping[str, Any]], settings: Select) -> Selection:
    """Chooses what to train on (3.2 to 3.4 and appendix A of the paper).

    Each task has its size, multi-choice split by the easy:medium:hard ratio. A size is shared evenly among the
    sources (`water_fill`); within a source, chance decides: a hash of seed and id, so that rows in another order, or
    more rows of another source, give the same rank. A shortage in one class isn't filled from another.

    By variance, the rewards' standard deviation comes before chance and replaces classes and thresholds. At random, chance
    alone decides: all of a task's rows without an error are equally likely, whatever their source.

    Raises:
        DataError: a row that lacks what selection needs, or an id that occurs twice.
    """
    pool, tally, fewest = _read(rows, settings)
    counts = {key: {source: len(found) for source, found in sorted(by_source.items())} for key, by_source in pool.items()}
    sizes = task_sizes(
        {task: {klass: sum(counts[task, klass].values()) for klass in classes_of(task, settings)} for task in TASKS}, settings
    )
    wanted = {task: by_class(task, size, settings) for task, size in sizes.items()}
    kept: list[_Candidate] = []
    cells: list[SelectionCell] = []
    shortfalls: list[str] = []
    for (task, klass), available in counts.items():
        size = wanted[task].get(klass, 0)
        at_random = settings.by == "random"
        quota = _drawn(pool[task, klass], size) if at_random else water_fill(available, size)
        for source, count in quota.items():
            if count:
                kept += sorted(pool[task, klass][source])[:count]
        shares = apportion(size, dict.fromkeys(available, 0 if at_random else 1))
        moved = dict.fromkeys(quota, 0) if at_random else redistributed(shares, quota)
        found = [
            SelectionCell(
                task=task,
                available=there,
                share=shares[name],
                taken=quota[name],
                redistributed=moved[name],
                source=name,
                klass=klass,
            )
            for name, there in available.items()
        ]
        shortfalls += class_shortfalls(found, size, settings)
        cells += found
    totals = _totals(cells, settings)
    shortfalls += budget_shortfalls(totals, settings)
    if settings.by == "rules" and fewest < settings.easy:
        shortfalls.append(few_answers(int(fewest), settings))
    ids = tuple(candidate.id for candidate in sorted(kept, key=lambda candidate: candidate.position))
    report = SelectionReport(
        rows=tally.rows,
        errors=tally.errors,
        taken=len(ids),
        settings=settings.model_dump(mode="json"),
        wanted={task: {str(klass): size for klass, size in sizes.items()} for task, sizes in wanted.items()},
        tasks=tuple(totals.values()),
        cells=tuple(cells),
        shortfalls=tuple(shortfalls),
        histograms=tally.to_json(),
    )
    return Selection(ids, report)


def _read(rows: Iterable[Mapping[str, Any]], settings: Select) -> _RowsPass:
    """One pass over the rows; of each, only a candidate is kept."""
    classes = {task: classes_of(task, settings) for task in TASKS}
    pool: _Pool = {(task, klass): {} for task in TASKS for klass in classes[task]}
    tally = DifficultyCounter()
    seen: set[str] = set()
    fewest = math.inf
    for position, row in enumerate(rows):
        name, task, source = str(field_of(row, "id", str)), task_of(row), str(field_of(row, "source", str))
        if name in seen:
            raise DataError(f"probe row {name!r}: occurs twice; ids are unique, keep one of the rows")
        seen.add(name)
        klass = None if row.get("error") is not None else classify(row, settings)
        tally.add(row, task, klass)
        if klass is None:
            continue
        order = 0.0
        if settings.by == "variance":
            order = -deviation(row)
            klass = "varied" if order < 0 else "flat"
        elif settings.by == "random":
            klass = "any"
        fewest = min(fewest, row.get("n", math.inf))
        if source not in pool[task, klass]:
            for other in classes[task]:  # so that a source without any row of a class is reported with 0
                pool[task, other].setdefault(source, [])
        pool[task, klass][source].append(_Candidate(order, _rank(settings.seed, name), name, position))
    return _RowsPass(pool, tally, fewest)


def _drawn(by_source: Mapping[str, Sequence[_Candidate]], size: int) -> dict[str, int]:
    """Number of rows of each source among the first `size` of all."""
    first = heapq.nsmallest(size, ((candidate, source) for source, found in by_source.items() for candidate in found))
    counts = Counter(source for _, source in first)
    return {source: counts[source] for source in sorted(by_source)}


def _totals(cells: Iterable[SelectionCell], settings: Select) -> dict[Task, TaskTotal]:
    """Totals of each task that has rows or a size."""
    shares = task_shares(settings)
    available, taken = dict.fromkeys(TASKS, 0), dict.fromkeys(TASKS, 0)
    for cell in cells:
        available[cell.task] += cell.available
        taken[cell.task] += cell.taken
    moved = redistributed(shares, taken)
    return {
        task: TaskTotal(task=task, available=available[task], share=shares[task], taken=taken[task], redistributed=moved[task])
        for task in TASKS
        if available[task] or shares[task]
    }


def _rank(seed: int, name: str) -> bytes:
    return hashlib.blake2b(f"{seed}\0{name}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
