"""The leaderboard for a terminal. Knows rich."""

from __future__ import annotations

from rich.console import Group
from rich.table import Table
from rich.text import Text

from trlt.errors import counted
from trlt.report.leaderboard.board import Cell, Column, Leaderboard
from trlt.report.leaderboard.words import NONE, average_words, blocks, bounds_words, count_words, title

_STYLES = {"highest": "bold green", "level": "underline", "below": "", "unmarked": ""}
MARKS = {"highest": "*", "level": "=", "below": "", "unmarked": ""}
"""Beside the styles, which a file or a colour-blind reader doesn't see."""
EXPLAINED = (
    "* the highest value; = not significantly different from it (paired by question, over videos); without a mark: "
    "significantly lower, or not paired with it"
)


def leaderboard_table(board: Leaderboard) -> Group:
    """One row per run and one column per benchmark, in blocks that fit; then footnotes and caveats."""
    tables = []
    parts = list(blocks(board.columns))
    for columns in parts:
        table = Table("run", title="Leaderboard" if columns is parts[0] else None, title_justify="left")
        for column in columns:
            count = f"\nn = {column.n:,}" if column.n is not None else ""
            table.add_column(Text(f"{column.bench}\n{column.metric}{count}"), justify="right")
        last = columns is parts[-1] and board.averages is not None
        if last:
            table.add_column(f"average\nof {len(board.averaged)}", justify="right")
        for place, name in enumerate(board.names):
            cells = [_cell(column, column.cells[place]) for column in columns]
            if last and board.averages is not None:
                cells.append(Text(f"{board.averages[place]:.1f}"))
            table.add_row(Text(name), *cells)
        tables.append(table)
    said = [Text(title(board), style="dim"), Text(EXPLAINED, style="dim")]
    if words := average_words(board):
        said.append(Text(words, style="dim"))
    said += [Text(f"  ({letter}) {text}", style="yellow") for letter, text in board.footnotes.items()]
    said += [Text(f"  {note}", style="yellow") for note in board.notes]
    if board.caveats:
        said.append(Text(f"  {counted(len(board.caveats), 'caveat')} of single values: in the page", style="dim"))
    return Group(*tables, *said)


def _cell(column: Column, cell: Cell | None) -> Text:
    if cell is None:
        return Text(NONE, style="dim")
    value = Text(f"{cell.value:.1f}{MARKS[cell.standing]}", style=_STYLES[cell.standing])
    letters = f" ({', '.join(cell.notes)})" if cell.notes else ""
    below = [words for words in (bounds_words(cell), count_words(column, cell)) if words]
    return Text.assemble(value, Text(letters, style="yellow"), *(Text(f"\n{words}", style="dim") for words in below))
