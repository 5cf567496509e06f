"""Moment retrieval with several gold and predicted windows: recall of the first, average precision of the list. Pure.

Follows the rules of QVHighlights' `standalone_eval/eval.py`, query by query: its figures are means of these values.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate

from trlt.task.sample import Span

MOST = 10
"""Predicted windows that count, in the order of the list."""
RECALLS = (0.5, 0.7)
THRESHOLDS = tuple(percent / 100 for percent in range(50, 100, 5))
"""Of the IoU: the average precision is a mean over these."""
SHOWN = (0.5, 0.75)
"""Thresholds whose average precision is a metric by itself."""


def window_values(predicted: Sequence[Span], gold: Sequence[Span], scores: Sequence[float] | None = None) -> dict[str, float]:
    """The metrics of one query, each from 0 to 1.

    Recalls are of the first window in the list, whatever its score, with the gold window that it overlaps most.

    Args:
        predicted: Windows in the order of the list; none is 0 in each metric.
        gold: At least one.
        scores: Of the windows, by which the first ten of the list are ranked; None ranks them by their order.
    """
    best, precisions = _values(tuple(predicted[:MOST]), tuple(gold), None if scores is None else tuple(scores[:MOST]))
    by_threshold = dict(zip(THRESHOLDS, precisions, strict=True))
    return {
        **{f"R1@{k}": float(best >= k) for k in RECALLS},
        "mAP": math.fsum(precisions) / len(precisions),
        **{f"mAP@{k}": by_threshold[k] for k in SHOWN},
    }


# Metrics, intervals and items ask for the same values several times.
@lru_cache(maxsize=1 << 15)
def _values(
    predicted: tuple[Span, ...], gold: tuple[Span, ...], scores: tuple[float, ...] | None
) -> tuple[float, tuple[float, ...]]:
    """IoU of the first window, and the average precision at each threshold."""
    first = max((predicted[0].tiou(one) for one in gold), default=0.0) if predicted else 0.0
    order = range(len(predicted))
    ranked = order if scores is None else sorted(order, key=lambda place: -scores[place])
    ious = [[_iou(predicted[place], one) for one in gold] for place in ranked]
    return first, tuple(average_precision(ious, threshold) for threshold in THRESHOLDS)


def average_precision(ious: Sequence[Sequence[float]], threshold: float) -> float:
    """Area under the envelope of precision over recall (VOC 2011), from 0 to 1.

    Each window, from the first rank on, takes the gold window that it overlaps most among those that are free, if their IoU
    reaches (>=) the threshold.

    Args:
        ious: For each predicted window by rank, its IoU with each gold window.
        threshold: Of the IoU.
    """
    free = set(range(len(ious[0]) if ious else 0))
    wanted, right, at = len(free), 0, list[float]()
    for rank, row in enumerate(ious, 1):
        best = max(free, key=lambda place: (row[place], place), default=None)
        if best is not None and row[best] >= threshold:
            free.remove(best)
            right += 1
            at.append(right / rank)
    # Precision at a recall is the best that any longer list reaches.
    reached = accumulate(reversed(at), max)
    return math.fsum(reached) / wanted if wanted else 0.0


def _iou(a: Span, b: Span) -> float:
    """Intersection over the sum of lengths less the intersection; 0 for an empty or inverted window."""
    inter = min(a.end, b.end) - max(a.start, b.start)
    return inter / (a.length + b.length - inter) if inter > 0 and a.length > 0 and b.length > 0 else 0.0
