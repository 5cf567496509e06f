"""What the leaderboard's table, files and page say alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from trlt.report.leaderboard.board import Cell, Column, Leaderboard

NONE = "—"
"""A benchmark that a run doesn't have."""
BY = {
    "paper": "by the paper's protocol (what is inside the tags)",
    "official": "by each benchmark's own rule",
    "lenient": "by the lenient protocol (what outputs state in any spelling)",
}
WIDE = 6
"""Benchmark columns side by side on paper and in a terminal; more go into another block."""


def blocks(columns: Sequence[Column]) -> Iterator[Sequence[Column]]:
    """The columns, so many at a time; the last block may have fewer."""
    for first in range(0, max(1, len(columns)), WIDE):
        yield columns[first : first + WIDE]


def title(board: Leaderboard) -> str:
    """What the values are."""
    return f"Percent, {BY[board.protocol]}, with 95% intervals from a bootstrap over videos."


def average_words(board: Leaderboard) -> str | None:
    """What the average is over; without one, why there is none."""
    if board.averages is not None:
        benches = ", ".join(board.averaged)
        return f"Average: the plain mean over the {len(board.averaged)} benchmarks that all runs have ({benches})."
    if len({column.bench for column in board.columns}) > 1:
        return "There is no average: fewer than two benchmarks are in all runs."
    return None


def count_words(column: Column, cell: Cell) -> str:
    """The number of questions where it isn't that of the whole column."""
    return "" if column.n is not None else f"n = {cell.n:,}"


def bounds_words(cell: Cell) -> str:
    """The interval; empty where there is none."""
    return f"{cell.interval[0]:.1f} to {cell.interval[1]:.1f}" if cell.interval else ""
