"""Many evaluated runs in one table: a row per run, a column per benchmark, and which runs can't be told from the highest."""

from trlt.report.leaderboard.board import Cell, Column, Leaderboard, build
from trlt.report.leaderboard.files import leaderboard_latex, leaderboard_markdown
from trlt.report.leaderboard.page import leaderboard_page
from trlt.report.leaderboard.terminal import leaderboard_table

__all__ = [
    "Cell",
    "Column",
    "Leaderboard",
    "build",
    "leaderboard_latex",
    "leaderboard_markdown",
    "leaderboard_page",
    "leaderboard_table",
]
