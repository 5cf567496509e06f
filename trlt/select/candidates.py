"""Reads rows into candidates: the few numbers of a row that a selection needs, so that half a million fit in memory."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from trlt.errors import DataError
from trlt.recipe import ROW_MEASURES, Select
from trlt.select.classes import ROUNDING, Class, classes_of, classify, deviation, field_of, task_of
from trlt.select.histogram import DifficultyCounter
from trlt.select.measured import Bars, RowMeasures
from trlt.select.measures import row_measure
from trlt.select.rules_report import Funnel
from trlt.select.shares import by_class
from trlt.task.sample import TASKS, Task


class Candidate(NamedTuple):
    """What is kept of a row. The smallest are taken first."""

    order: float
    """By variance, minus the rewards' deviation; else 0."""
    rank: bytes
    id: str
    position: int
    bars: Bars
    """Its bar in each histogram of measures."""
    value: float
    """The target's measure; NaN without one, or if it is the sample's."""


Pool = dict[tuple[Task, Class], dict[str, list[Candidate]]]
"""Candidates by task and class, then by source."""


@dataclass
class RowsPass:
    """The result of one pass over the rows."""

    pool: Pool
    tally: DifficultyCounter
    funnel: Funnel
    measures: RowMeasures
    fewest: float = math.inf
    """Smallest n of a row."""
    most: dict[Task, int] = field(default_factory=dict)
    """Largest n of a row, by task."""


def wanted_classes(settings: Select) -> dict[Task, set[Class]]:
    """The classes of which samples are taken, by task; none of a task with size 0."""
    wanted = {}
    for task in TASKS:
        size = getattr(settings.sizes, task)
        wanted[task] = {klass for klass, part in by_class(task, 1_000_000, settings).items() if part} if size else set()
    return wanted


def read(rows: Iterable[Mapping[str, Any]], settings: Select) -> RowsPass:
    """One pass over the rows; of each, only a candidate is kept. Rows that a bound leaves out are counted.

    Rows of classes that aren't taken stay in the pool, for the report's counts.

    Raises:
        DataError: a row that lacks what selection needs, or an id that occurs twice.
    """
    classes = {task: classes_of(task, settings) for task in TASKS}
    wanted = wanted_classes(settings)
    pool: Pool = {(task, klass): {} for task in TASKS for klass in classes[task]}
    found = RowsPass(pool, DifficultyCounter(), Funnel(settings), RowMeasures())
    bounds = {
        task: [(name, low - ROUNDING, high + ROUNDING) for name, (low, high) in sorted(of_task.items()) if name in ROW_MEASURES]
        for task, of_task in settings.within.items()
    }
    targets = {task: target.of for task, target in settings.target.items() if target.of in ROW_MEASURES}
    seen: set[str] = set()
    for position, row in enumerate(rows):
        name, task, source = str(field_of(row, "id", str)), task_of(row), str(field_of(row, "source", str))
        if name in seen:
            raise DataError(f"probe row {name!r}: occurs twice; ids are unique, keep one of the rows")
        seen.add(name)
        found.funnel.row(task)
        klass = None if row.get("error") is not None else classify(row, settings)
        found.tally.add(row, task, klass)
        if klass is None:
            found.funnel.leave_out("error", task, source)
            continue
        order = 0.0
        if settings.by == "variance":
            order = -deviation(row)
            klass = "varied" if order < 0 else "flat"
        elif settings.by in ("random", "all"):
            klass = "any"
        n = row.get("n", math.inf)
        found.fewest = min(found.fewest, n)
        if type(n) is int and n > found.most.get(task, 0):
            found.most[task] = n
        bars = found.measures.bars(row, task)
        if source not in pool[task, klass]:
            for other in classes[task]:  # so that a source without any row of a class is reported with 0
                pool[task, other].setdefault(source, [])
        value = math.nan
        if klass not in wanted[task]:
            found.funnel.leave_out("by" if wanted[task] else "sizes", task, source)
        else:
            outside = next((of for of, low, high in bounds.get(task, ()) if not low <= row_measure(row, of) <= high), None)
            if outside is not None:
                found.funnel.leave_out(f"within.{outside}", task, source)
                continue
            if task in targets:
                value = row_measure(row, targets[task])
        pool[task, klass][source].append(Candidate(order, rank(settings.seed, name), name, position, bars, value))
    return found


def rank(seed: int, name: str) -> bytes:
    """Chance, which rows in another order or more rows of another source don't change."""
    return hashlib.blake2b(f"{seed}\0{name}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
