"""Records that `trlt prepare` read, kept, repaired and dropped, as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

_EXAMPLE = 38


def reading_table(sources: Sequence[Mapping[str, Any]]) -> Table:
    """One line per source, and below it each reason with its count and first example.

    Args:
        sources: Entries of a prepare manifest: `dataset`, `split`, `read`, `kept`, `repaired`, `dropped` (both reason to
            count), `examples` (reason to texts) and `paper` (the paper's count, or null).
    """
    table = Table(title="Prepared", title_justify="left")
    for name in ("source", "split"):
        table.add_column(name, no_wrap=True)
    for name in ("read", "kept", "repaired", "dropped", "paper"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("first example", no_wrap=True)
    for source in sources:
        repaired, dropped = source["repaired"], source["dropped"]
        counts = (source["read"], source["kept"], sum(repaired.values()), sum(dropped.values()))
        paper = f"{source['paper']:,}" if source["paper"] is not None else "-"
        table.add_row(Text(source["dataset"]), Text(source["split"]), *(f"{count:,}" for count in counts), paper, "")
        for place, reasons in ((4, repaired), (5, dropped)):
            for reason, count in sorted(reasons.items(), key=lambda item: (-item[1], item[0])):
                cells: list[str | Text] = [""] * 8
                cells[0], cells[place] = Text(f"  {reason}", style="dim"), f"{count:,}"
                cells[7] = Text(shorten(next(iter(source["examples"].get(reason, [])), "")), style="dim")
                table.add_row(*cells)
    return table


def shorten(text: str) -> str:
    """An example's beginning in one line; the report has it in full."""
    line = " ".join(text.split())
    return line if len(line) <= _EXAMPLE else line[: _EXAMPLE - 1] + "…"
