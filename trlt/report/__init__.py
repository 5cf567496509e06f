"""Rows and results -> tables and views for the terminal. Knows rich; neither models nor videos.

Texts that come from data are `Text`, never markup: an answer such as `[red]` must show as it is.
"""

from trlt.report.compare_table import comparison_table
from trlt.report.difficulty_table import histogram_table
from trlt.report.lmms_eval import lmms_eval_results, lmms_eval_samples
from trlt.report.markdown_latex import latex, markdown
from trlt.report.prepare_table import reading_table
from trlt.report.prepared import prepared_markdown
from trlt.report.results_table import PAPER, gain_table, results_table
from trlt.report.samples_table import statistics_view
from trlt.report.selection_table import selection_table
from trlt.report.span_bar import timeline
from trlt.report.verdict import ComparisonVerdict, brief, verdict

__all__ = [
    "PAPER",
    "ComparisonVerdict",
    "brief",
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
