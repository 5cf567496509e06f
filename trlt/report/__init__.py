"""Rows and results -> what a person reads in the terminal. Knows rich; neither models nor videos.

Texts that come from data are `Text`, never markup: an answer such as `[red]` must show as it is.
"""

from trlt.report.comparison import comparison_table
from trlt.report.figures import PAPER, gain_table, results_table
from trlt.report.histogram import histogram_table
from trlt.report.lmms_eval import lmms_eval_results, lmms_eval_samples
from trlt.report.prepared import prepared_markdown
from trlt.report.reading import reading_table
from trlt.report.selection import selection_table
from trlt.report.statistics import statistics_view
from trlt.report.tables import latex, markdown
from trlt.report.timeline import timeline
from trlt.report.verdict import ComparisonVerdict, verdict

__all__ = [
    "PAPER",
    "ComparisonVerdict",
    "comparison_table",
    "gain_table",
    "histogram_table",
    "latex",
    "lmms_eval_results",
    "lmms_eval_samples",
    "markdown",
    "prepared_markdown",
    "reading_table",
    "results_table",
    "selection_table",
    "statistics_view",
    "timeline",
    "verdict",
]
