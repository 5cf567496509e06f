"""What a selection found and took: counts by task, source and class, and a sentence for each shortfall."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import ConfigDict, Field

from trlt.files.forms import Count, Form, Texts
from trlt.recipe import Select
from trlt.select.classes import Class
from trlt.select.rules_report import RulesReport
from trlt.task.sample import Task


class TaskTotal(Form):
    """Totals of a task."""

    task: Task
    available: Count
    """Rows without an error, of any class."""
    share: Count
    """Its size, or its share of the budget."""
    taken: Count
    redistributed: int
    """As in a cell, but between tasks; only a budget is filled across tasks."""


class SelectionCell(TaskTotal):
    """The rows of one task, source and class; `share` is what each source would give if all gave the same, 0 at random.

    Above 0, `redistributed` is what the source gave beyond its share; below 0, what the other sources gave in its place.
    """

    model_config = ConfigDict(validate_by_name=True)
    source: str
    klass: Class = Field(alias="class")


class SelectionReport(Form):
    """What a selection saw and took: `<samples>.report.json`."""

    rows: Count
    errors: Count
    """Rows whose probe failed; never selected."""
    taken: Count
    settings: dict[str, Any]
    wanted: dict[str, dict[str, int]] = {}
    """Target size by task and class; with a budget, it includes what other tasks couldn't fill."""
    tasks: Annotated[tuple[TaskTotal, ...], Field(strict=False)]
    cells: Annotated[tuple[SelectionCell, ...], Field(strict=False)]
    shortfalls: Texts
    """A sentence for each size that wasn't reached, and for each source that ran dry."""
    histograms: dict[str, Any] = {}
    """Histograms of all rows, as `histogram` gives them."""
    rules: RulesReport | None = None
    """What each rule took and left, where rules beyond the paper's are set."""

    def to_json(self) -> dict[str, Any]:
        """The report as JSON values."""
        return self.model_dump(mode="json", by_alias=True, exclude={"rules"} if self.rules is None else None)


def class_shortfalls(cells: list[SelectionCell], size: int, settings: Select) -> Iterator[str]:
    """Says which sources gave less than an even share, and whether the size was reached.

    Args:
        cells: All of one task and class.
        size: The target.
        settings: Of the selection.
    """
    if not size or not cells:
        return
    what = f"{cells[0].task} ({cells[0].klass})"
    for cell in cells if len(cells) > 1 else ():
        if cell.taken < cell.share:
            filled = _filled("sources", cell.share - cell.taken, -cell.redistributed)
            yield f"{what}: {cell.source} has {cell.taken:,} of an even share of {cell.share:,}; {filled}"
    there = sum(cell.available for cell in cells)
    if there < size:
        remedy = "probe more samples" + (" or widen the thresholds" if settings.by == "rules" else "")
        remedy += " or loosen the rules" if settings.narrows() else ""
        yield f"{what}: {there:,} of {size:,}: the pool holds no more; {remedy}"


def budget_shortfalls(totals: Mapping[Task, TaskTotal], settings: Select) -> Iterator[str]:
    """Says which tasks gave less than their share of the budget, what the others filled in, and whether it was reached."""
    if settings.budget is None:
        return
    for task, total in totals.items():
        if total.taken < total.share:
            filled = _filled("tasks", total.share - total.taken, -total.redistributed)
            yield f"budget: {task} has {total.taken:,} of its share of {total.share:,}; {filled}"
    taken = sum(total.taken for total in totals.values())
    if taken < settings.budget:
        yield f"budget: {taken:,} of {settings.budget:,}: no task can give more; the lines above say what each lacks"


FEW = "easy begins at"


def few_answers(n: int, settings: Select) -> str:
    """Says that rows have fewer answers than `easy` requires, and what to set; also if `hard` leaves no medium."""
    sets = f"--set select.easy={n}"
    if n - 1 <= settings.hard:
        sets += f" --set select.hard={max(0, n - 2)}"
    return (
        f"{FEW} {settings.easy} right answers, but rows have only n = {n}, all of which must be right; "
        f"thresholds for so few: {sets}"
    )


_BY: dict[Task, tuple[str, ...]] = {
    "multi_choice": ("hard", "easy", "ratio"),
    "grounding": ("delta_iou",),
    "grounded_qa": ("hard", "easy", "grounded_delta_iou"),
}
"""The settings that select a task's rows."""


def nothing_taken(report: SelectionReport) -> list[str]:
    """Why a selection took nothing: by task, what there is, what is wanted, and the settings behind it.

    Args:
        report: The report of such a selection.
    """
    lines = []
    for total in report.tasks:
        there: dict[str, int] = {}
        for cell in report.cells:
            if cell.task == total.task and cell.available:
                there[cell.klass] = there.get(cell.klass, 0) + cell.available
        if not there:
            continue
        found = ", ".join(f"{count:,} {klass}" for klass, count in there.items())
        wanted = [klass for klass, size in report.wanted[total.task].items() if size]
        if not wanted:
            lines.append(f"{total.task}: {found}; none are wanted (select.sizes.{total.task}=0)")
            continue
        keys = ["by"] if report.settings["by"] != "rules" else _BY[total.task]
        sets = ", ".join(f"select.{key}={report.settings[key]}" for key in keys)
        lines.append(f"{total.task}: {found}; only {' and '.join(wanted)} are taken ({sets})")
    return [*lines, *(line for line in report.shortfalls if line.startswith(FEW))]


def _filled(others: str, missing: int, filled: int) -> str:
    if filled == missing:
        return f"the other {others} fill in {filled:,}"
    if not filled:
        return f"the other {others} hold no more"
    return f"the other {others} fill in {filled:,} of the missing {missing:,}"
