"""What a selection saw and took, as a table."""

from __future__ import annotations

from rich.console import Group
from rich.table import Table
from rich.text import Text

from trlt.selection import SelectionReport


def selection_table(report: SelectionReport) -> Group:
    """A line for each task, source and class with rows in it, the totals, and every shortfall in words."""
    table = Table(title="Selection", title_justify="left")
    for name in ("task", "class", "source"):
        table.add_column(name)
    for name in ("available", "taken"):
        table.add_column(name, justify="right")
    for cell in report.cells:
        if cell.available:
            style = None if cell.taken else "dim"
            table.add_row(cell.task, cell.klass, Text(cell.source), f"{cell.available:,}", f"{cell.taken:,}", style=style)
    table.add_section()
    table.add_row("all", "", "", f"{report.rows - report.errors:,}", f"{report.taken:,}", style="bold")
    notes = [Text(f"  {line}", style="yellow") for line in report.shortfalls]
    if report.errors:
        notes.insert(0, Text(f"  {report.errors:,} rows hold an error and were left out", style="yellow"))
    return Group(table, *notes)
