"""What each rule of a selection took and left, in the terminal and as Markdown: the funnel, targets, balances, measures."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from trlt.report.bars import bar
from trlt.report.markdown_latex import markdown_table, markdown_text
from trlt.select import BinsCell, Measured, RulesReport

NAMES = {
    "correct": "right answers",
    "delta_iou": "IoU, max - mean",
    "mean_iou": "IoU, mean",
    "best_iou": "IoU, best",
    "pass_rate": "right answers of n",
    "mean_reward": "mean reward",
    "deviation": "deviation of the rewards",
    "format_rate": "share in the right form",
    "first_word": "first word",
    "answer_type": "kind of answer",
}
"""Measures and balances in words; others by their own name."""
_WIDTH = 24


def named(measure: str) -> str:
    """A measure or a balance in words."""
    return NAMES.get(measure, measure)


def funnel_rows(report: RulesReport) -> list[list[str]]:
    """One row per rule: what it left out and what stayed, by task; then the totals. The first row is that of all samples."""
    tasks = list(report.steps[0].left) if report.steps else []
    rows, left = [], {task: _started(report, task) for task in tasks}
    rows.append(["probed samples", "", *(f"{left[task]:,}" for task in tasks), f"{sum(left.values()):,}"])
    for step in report.steps:
        out = {task: sum(step.left_out.get(task, {}).values()) for task in tasks}
        if any(out.values()):
            parts = [f"-{out[task]:,}" if out[task] else "" for task in tasks]
            rows.append([step.rule, step.said, *parts, f"-{sum(out.values()):,}"])
        left = step.left
    rows.append(["taken", "", *(f"{left[task]:,}" for task in tasks), f"{sum(left.values()):,}"])
    return rows


def funnel_head(report: RulesReport) -> list[str]:
    """The columns of `funnel_rows`."""
    return ["rule", "left out", *(report.steps[0].left if report.steps else ()), "all"]


def rules_table(report: RulesReport) -> Group:
    """The funnel, then each target and balance with what was asked for and taken, then measures before and after."""
    head, (first, *rows) = funnel_head(report), funnel_rows(report)
    table = Table(title="What each rule left out", title_justify="left")
    for place, name in enumerate(head):
        table.add_column(name, justify="right" if place > 1 else "left", overflow="fold")
    table.add_row(*map(Text, first), style="bold", end_section=True)
    for place, row in enumerate(rows):
        last = place == len(rows) - 1
        table.add_row(*map(Text, row), style="bold" if last else None, end_section=place == len(rows) - 2)
    parts: list[RenderableType] = [table]
    for kind, cells in (("target", report.targets), ("balance", report.balances)):
        for cell in cells:
            parts += ["", _bins_table(kind, cell)]
    for one in report.measures:
        if any(one.after) and sum(map(bool, one.before)) > 1:  # one bar alone tells nothing
            parts += ["", _measured_table(one)]
    return Group(*parts)


def rules_markdown(report: RulesReport) -> str:
    """The funnel, targets and balances as Markdown."""
    parts = [
        "## What each rule left out",
        markdown_table(funnel_head(report), [_texts(row) for row in funnel_rows(report)], texts=2),
    ]
    for kind, cells in (("Target", report.targets), ("Balance", report.balances)):
        for cell in cells:
            parts.append(f"**{kind}: {cell.task} ({cell.klass}), {markdown_text(named(cell.by))}{_apart(cell)}**")
            rows = [[markdown_text(one.name), f"{one.available:,}", f"{one.wanted:,}", f"{one.taken:,}"] for one in cell.bins]
            parts.append(markdown_table([named(cell.by), "available", "wanted", "taken"], rows, texts=1))
    return "\n\n".join(parts)


def _texts(row: Sequence[str]) -> list[str]:
    return [markdown_text(cell) for cell in row]


def _started(report: RulesReport, task: str) -> int:
    first = report.steps[0]
    return first.left[task] + sum(first.left_out.get(task, {}).values())


def _apart(cell: BinsCell) -> str:
    apart = cell.apart()
    return f": {apart:.1%} in other bins than wanted" if apart is not None else ""


def _bins_table(kind: str, cell: BinsCell) -> Table:
    """Bars of what was taken, beside what was wanted."""
    title = f"{kind.capitalize()}: {cell.task} ({cell.klass}), {named(cell.by)}{_apart(cell)}"
    table = Table(show_edge=False, box=None, pad_edge=False, title=title, title_justify="left", title_style="cyan")
    table.add_column("", style="dim", min_width=16)
    table.add_column("taken", min_width=_WIDTH)
    for name in ("taken", "wanted", "available"):
        table.add_column(name, justify="right")
    most = max((max(one.taken, one.wanted) for one in cell.bins), default=0) or 1
    for one in cell.bins:
        if one.available or one.wanted:
            counts = (f"{one.taken:,}", f"{one.wanted:,}", f"{one.available:,}")
            short = "yellow" if one.taken < one.wanted and one.taken == one.available else None
            table.add_row(Text(one.name), Text(bar(one.taken / most, _WIDTH)), *counts, style=short)
    return table


def _measured_table(one: Measured) -> Table:
    """Shares before and after, as bars."""
    title = f"{one.task}: {named(one.of)}, before and after"
    table = Table(show_edge=False, box=None, pad_edge=False, title=title, title_justify="left", title_style="cyan")
    table.add_column("", style="dim", min_width=16)
    sides = [(name, counts, sum(counts) or 1) for name, counts in (("before", one.before), ("after", one.after))]
    for name, _, _ in sides:
        table.add_column(name, min_width=_WIDTH)
        table.add_column("", justify="right")
    most = max(max(counts, default=0) / whole for _, counts, whole in sides) or 1
    for place, name in enumerate(one.names):
        if any(counts[place] for _, counts, _ in sides):
            cells = []
            for _, counts, whole in sides:
                share = counts[place] / whole
                cells += [Text(bar(share / most, _WIDTH)), Text(f"{counts[place]:,} ({share:.1%})")]
            table.add_row(Text(name), *cells)
    return table
