"""The result of a selection as a table in the terminal and as a Markdown file.

"Redistributed" is what a source, or a task, gave in place of others (+), or what others gave in its place (-).
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group
from rich.table import Table
from rich.text import Text

from trlt.errors import counted
from trlt.report.markdown_latex import markdown_table, markdown_text
from trlt.report.rules_table import rules_markdown
from trlt.select import SelectionCell, SelectionReport, TaskTotal

_NAMES = ("task", "class", "source")
_COUNTS = ("even share", "redistributed", "available", "taken")


def selection_table(report: SelectionReport) -> Group:
    """One line per task, source and class with rows, the totals, and every shortfall in words."""
    table = Table(*_NAMES, title="Selection", title_justify="left")
    for name in _COUNTS:
        table.add_column(name, justify="right")
    for total in report.tasks:
        for cell in shown_cells(report, total):
            style = None if cell.taken or cell.share else "dim"
            table.add_row(cell.task, cell.klass, Text(cell.source), *line_counts(cell), style=style)
        table.add_row(total.task, "all", "", *line_counts(total), style="bold", end_section=True)
    there = sum(total.available for total in report.tasks)
    table.add_row("all", "", "", "", "", f"{there:,}", f"{report.taken:,}", style="bold")
    return Group(table, *(Text(f"  {line}", style="yellow") for line in selection_notes(report)))


def selection_markdown(report: SelectionReport) -> str:
    """The same in Markdown, to document where the training set comes from."""
    rows: list[list[str]] = []
    for total in report.tasks:
        rows += [[cell.task, cell.klass, markdown_text(cell.source), *line_counts(cell)] for cell in shown_cells(report, total)]
        rows.append([f"**{total.task}**", "all", "", *line_counts(total)])
    table = markdown_table([*_NAMES, *_COUNTS], rows, texts=len(_NAMES))
    head = f"{report.taken:,} of {report.rows:,} probed samples. An even share is what each source would give if all gave the "
    head += "same; the others fill in for a source that ran dry (redistributed: + in place of others, - by others)."
    lines = "\n".join(f"- {markdown_text(line)}" for line in selection_notes(report))
    settings = markdown_text(", ".join(f"{key}: {value}" for key, value in report.settings.items()))
    rules = rules_markdown(report.rules) if report.rules is not None else ""
    parts = ("# Selection", head, table, rules, lines, f"`select`: {settings}")
    return "\n\n".join(part for part in parts if part) + "\n"


def shown_cells(report: SelectionReport, total: TaskTotal) -> list[SelectionCell]:
    """Cells worth showing: with rows, or with a share that they couldn't give."""
    return [cell for cell in report.cells if cell.task == total.task and (cell.available or cell.share)]


def line_counts(line: SelectionCell | TaskTotal) -> Sequence[str]:
    """Even share, redistributed, available and taken; an empty text for a share or a move of 0."""
    share = f"{line.share:,}" if line.share else ""
    moved = f"{line.redistributed:+,}" if line.redistributed else ""
    return share, moved, f"{line.available:,}", f"{line.taken:,}"


def selection_notes(report: SelectionReport) -> list[str]:
    """Errors that were left out, and every shortfall."""
    errors = [f"{counted(report.errors, 'row')} with an error left out"] if report.errors else []
    return [*errors, *report.shortfalls]
