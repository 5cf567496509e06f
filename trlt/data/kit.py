"""What the file of a data set outside of the package may import: stable names for reading annotation and for metrics.

`values`, `official` and `metrics` are the usual metrics by a question's task; the rest builds others. What isn't listed here
may change in any version. Used as in `docs/adding-a-dataset.md`.
"""

from trlt.data.datasets._by_task import metrics, official, values
from trlt.data.datasets._common import (
    Collector,
    Example,
    Files,
    Purpose,
    Reading,
    amount,
    clean,
    columns,
    didemo_key,
    get,
    holding,
    pair,
    without_instruction,
    youtube_key,
)
from trlt.data.datasets._metrics import (
    Item,
    benchmark_entry,
    best_iop,
    best_iou,
    find_span,
    find_spans,
    is_answered,
    mean_values,
    official_observed,
    official_option,
    official_text,
    paper_accuracy,
    paper_tiou,
    union_iou,
)
from trlt.data.datasets._options import bare, choose, split_options
from trlt.data.datasets._spans import repair_span, repair_spans
from trlt.data.datasets._windows import window_values
from trlt.task.answer import parse_option, parse_span, parse_spans
from trlt.task.sample import Sample, Span, Task

__all__ = [
    "Collector",
    "Example",
    "Files",
    "Item",
    "Purpose",
    "Reading",
    "Sample",
    "Span",
    "Task",
    "amount",
    "bare",
    "benchmark_entry",
    "best_iop",
    "best_iou",
    "choose",
    "clean",
    "columns",
    "didemo_key",
    "find_span",
    "find_spans",
    "get",
    "holding",
    "is_answered",
    "mean_values",
    "metrics",
    "official",
    "official_observed",
    "official_option",
    "official_text",
    "pair",
    "paper_accuracy",
    "paper_tiou",
    "parse_option",
    "parse_span",
    "parse_spans",
    "repair_span",
    "repair_spans",
    "split_options",
    "union_iou",
    "values",
    "window_values",
    "without_instruction",
    "youtube_key",
]
