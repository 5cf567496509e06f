"""The metric of plain temporal grounding, shared by its benchmarks: mIoU and R1@{0.3, 0.5, 0.7}, micro over queries. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trlt.data.datasets._metrics import Item, benchmark_entry, best_iou, find_span, official_text, paper_tiou

RECALLS = (0.3, 0.5, 0.7)


def values(item: Item) -> dict[str, float]:
    """The metrics of one query, from the tags."""
    return grounding_values(paper_tiou(item))


def official(item: Item) -> dict[str, float]:
    """The same metrics; without tags, from the first span in the text."""
    span = item.answer.span or find_span(official_text(item))
    return grounding_values(best_iou(span, item.sample.spans or ()))


def metrics(items: Sequence[Item]) -> dict[str, Any]:
    """The benchmark's part of `results.json`, in percent."""
    return benchmark_entry(items, paper=values, official=official, answered=lambda item: item.answer.span is not None)


def grounding_values(iou: float) -> dict[str, float]:
    """A query's IoU, and whether it reaches (>=) each threshold."""
    return {"mIoU": iou, **{f"R1@{k}": float(iou >= k) for k in RECALLS}}
