"""The usual metrics by a question's task, for users' own questions and for files outside of the package. Pure.

mIoU and R1@{0.3, 0.5, 0.7} of grounding, beside them mAP, mAP@0.5 and mAP@0.75 where a question asks for several spans, acc of
multi-choice, both of grounded QA; a metric is the mean over the questions that
have it. `official` is the rule of the package's own benchmarks: without tags, the whole text is read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from trlt.data.datasets._grounding import grounding_values
from trlt.data.datasets._metrics import (
    Item,
    benchmark_entry,
    best_iou,
    find_span,
    find_spans,
    is_answered,
    official_observed,
    official_option,
    official_text,
    paper_accuracy,
    paper_tiou,
)
from trlt.data.datasets._windows import window_values
from trlt.task.sample import Sample, Span
from trlt.task.score import score


def values(item: Item) -> dict[str, float]:
    """The metrics of one question, from the tags."""
    return _values(item, lambda: paper_tiou(item), lambda: paper_accuracy(item)) | _windows(item, item.answer.spans)


def official(item: Item) -> dict[str, float]:
    """The same metrics; without tags, from the first span and the option in the text."""
    found = _values(item, lambda: _official_iou(item), lambda: _official_accuracy(item))
    return found | _windows(item, item.answer.spans or find_spans(official_text(item)))


def metrics(items: Sequence[Item]) -> dict[str, Any]:
    """The part of `results.json`, in percent: by task and by source too, where there are several.

    `questions` says how many questions have a metric, where not all do.
    """
    parts: dict[str, Callable[[Sample], str]] = {"task": lambda sample: sample.task, "source": lambda sample: sample.source}
    by = {name: part for name, part in parts.items() if len({part(item.sample) for item in items}) > 1}
    entry = benchmark_entry(items, paper=values, official=official, answered=is_answered, by=by)
    counts = Counter(key for item in items for key in values(item))
    some = {key: counts[key] for key in entry["paper"] if counts[key] < len(items)}
    return entry | ({"questions": some} if some else {})


def _values(item: Item, iou: Callable[[], float], right: Callable[[], float]) -> dict[str, float]:
    task = item.sample.task
    spans = {} if task == "multi_choice" else grounding_values(iou())
    return spans | ({} if task == "grounding" else {"acc": right()})


def _windows(item: Item, spans: Sequence[Span]) -> dict[str, float]:
    """Average precision of a list of spans, where one was asked for; the recalls are those of its first."""
    found = window_values(spans, item.sample.spans or ()) if item.sample.several else {}
    return {key: value for key, value in found.items() if key.startswith("mAP")}


def _official_iou(item: Item) -> float:
    text = official_observed(item) if item.sample.task == "grounded_qa" else official_text(item)
    return best_iou(item.answer.span or find_span(text), item.sample.spans or ())


def _official_accuracy(item: Item) -> float:
    if item.sample.options is None:
        read = replace(item.answer, payload=official_text(item))
    else:
        read = replace(item.answer, option=official_option(item))
    return score(read, item.sample).accuracy or 0.0
