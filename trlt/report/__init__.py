"""Rows and results -> what a person reads in the terminal. Knows rich; neither models nor videos.

Texts that come from data are `Text`, never markup: an answer such as `[red]` must show as it is.
"""

from trlt.report.figures import PAPER, gain_table, results_table
from trlt.report.histogram import histogram_table
from trlt.report.prepared import prepared_markdown
from trlt.report.reading import reading_table
from trlt.report.selection import selection_table
from trlt.report.statistics import statistics_view
from trlt.report.timeline import timeline

__all__ = [
    "PAPER",
    "gain_table",
    "histogram_table",
    "prepared_markdown",
    "reading_table",
    "results_table",
    "selection_table",
    "statistics_view",
    "timeline",
]
