"""The selection itself: rows become candidates, rules narrow them, sizes are split, and chance or variance decides the rest."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trlt.recipe import Select
from trlt.select.apply_rules import draw_cell, narrow
from trlt.select.candidates import Candidate, read
from trlt.select.classes import classes_of
from trlt.select.measured import Bars
from trlt.select.rules_report import BinsCell, RulesReport, bins_sentences
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
    rules: RulesReport
    """What each rule took and left; `report` holds it where rules beyond the paper's are set."""


def select(
    rows: Iterable[Mapping[str, Any]], settings: Select, samples: Iterable[Mapping[str, Any]] | None = None
) -> Selection:
    """Chooses what to train on (3.2 to 3.4 and appendix A of the paper).

    Each task has its size, multi-choice split by the easy:medium:hard ratio. A size is shared evenly among the
    sources (`water_fill`); within a source, chance decides: a hash of seed and id, so that rows in another order, or
    more rows of another source, give the same rank. A shortage in one class isn't filled from another.

    By variance, the rewards' standard deviation comes before chance and replaces classes and thresholds. At random, chance
    alone decides: all of a task's rows without an error are equally likely, whatever their source.

    Further rules, in this order: bounds of measures (`within`), near-duplicates (`question_overlap`, `per_question`), samples
    of a clip or video (`per_clip`, `per_video`), and a target distribution in place of chance (`target`, `balance`).

    Args:
        rows: As `trlt.rollout` writes them.
        settings: A recipe's section `select`.
        samples: JSON values of the probed samples, in any order, for rules that need them (`Select.needs_samples`).

    Raises:
        DataError: a row that lacks what selection needs, or an id that occurs twice; a rule that needs samples without them.
    """
    found = read(rows, settings)
    pool, tally = found.pool, found.tally
    narrowed = narrow(found, samples, settings)
    counts = {key: {source: len(there) for source, there in sorted(by_source.items())} for key, by_source in pool.items()}
    sizes = task_sizes(
        {task: {klass: sum(counts[task, klass].values()) for klass in classes_of(task, settings)} for task in TASKS}, settings
    )
    wanted = {task: by_class(task, size, settings) for task, size in sizes.items()}
    kept: list[Candidate] = []
    bars: dict[Task, list[Bars]] = {task: [] for task in TASKS}
    cells: list[SelectionCell] = []
    shortfalls: list[str] = []
    targets: list[BinsCell] = []
    balances: list[BinsCell] = []
    for (task, klass), available in counts.items():
        size = wanted[task].get(klass, 0)
        at_random = settings.by == "random"
        taken: dict[str, list[Candidate]]
        if narrowed.draws(task):
            drawn = draw_cell(pool[task, klass], size, task, klass, narrowed, settings)
            taken = drawn.taken
            targets += drawn.targets
            balances += drawn.balances
        else:
            split = _drawn(pool[task, klass], size) if at_random else water_fill(available, size)
            taken = {source: sorted(pool[task, klass][source])[:count] if count else [] for source, count in split.items()}
        quota = {source: len(taken[source]) for source in available}
        for source in quota:
            kept += taken[source]
            bars[task] += (candidate.bars for candidate in taken[source])
            if klass in narrowed.wanted[task]:
                found.funnel.leave_out("drawn", task, source, available[source] - quota[source])
        uneven = at_random or settings.balance[:1] != ("source",)
        shares = apportion(size, dict.fromkeys(available, 0 if uneven else 1))
        moved = dict.fromkeys(quota, 0) if uneven else redistributed(shares, quota)
        here = [
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
        shortfalls += class_shortfalls(here, size, settings)
        cells += here
    totals = _totals(cells, settings)
    shortfalls += budget_shortfalls(totals, settings)
    shortfalls += bins_sentences(targets, kind="target")
    shortfalls += bins_sentences(balances, kind="balance")
    shortfalls += narrowed.sentences
    if settings.by == "rules" and found.fewest < settings.easy:
        shortfalls.append(few_answers(int(found.fewest), settings))
    ids = tuple(candidate.id for candidate in sorted(kept, key=lambda candidate: candidate.position))
    rules = RulesReport(
        steps=found.funnel.steps(),
        targets=tuple(targets),
        balances=tuple(balances),
        measures=(*found.measures.measured(bars), *narrowed.measured(ids)),
    )
    report = SelectionReport(
        rows=tally.rows,
        errors=tally.errors,
        taken=len(ids),
        settings=settings.told(),
        wanted={task: {str(klass): size for klass, size in sizes.items()} for task, sizes in wanted.items()},
        tasks=tuple(totals.values()),
        cells=tuple(cells),
        shortfalls=tuple(shortfalls),
        histograms=tally.to_json(),
        rules=rules if settings.goes_beyond() else None,
    )
    return Selection(ids, report, rules)


def _drawn(by_source: Mapping[str, Sequence[Candidate]], size: int) -> dict[str, int]:
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
