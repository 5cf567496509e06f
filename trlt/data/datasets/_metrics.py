"""Shared scoring code of benchmarks: an item, its two readings, and means over items. Pure.

Two protocols from the same predictions. `paper`: tags first, then the shared parser. `official`: the benchmark's own rule
on the text inside the tags, or on the whole text without tags. Unanswered questions count as wrong in both. The third,
`lenient`, is `values` of the same items with their answers read leniently (`trlt.evaluate.lenient_items`): no benchmark needs
to know of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from types import ModuleType
from typing import Any, Literal

from trlt.errors import DataError
from trlt.stats.groups import group_weights
from trlt.task.answer import BETWEEN, LETTERS, Answer, parse_option, parse_span, parse_spans
from trlt.task.numbers import parse_number
from trlt.task.sample import Sample, Span
from trlt.task.score import score


@dataclass(frozen=True, slots=True)
class Item:
    """One question of a benchmark and a model's output."""

    sample: Sample
    text: str
    """The raw output; empty if there is none."""
    answer: Answer
    """The same, parsed."""


Values = Callable[[Item], dict[str, float]]
"""Named metrics of one item, each from 0 to 1; a benchmark's metric is 100 times their mean over the items that have it."""


def item_values(
    module: ModuleType, items: Sequence[Item], rule: Literal["values", "official"] = "values"
) -> list[dict[str, float]]:
    """The named metrics of each item by a benchmark's `values` or `official`, with those that items have only together.

    Args:
        module: The benchmark's; its `together(items, rows)`, if it has one, adds metrics of groups of questions.
        items: All questions.
        rule: The function to take.
    """
    rows: list[dict[str, float]] = [getattr(module, rule)(item) for item in items]
    return module.together(items, rows) if hasattr(module, "together") else rows


def benchmark_entry(
    items: Sequence[Item],
    *,
    paper: Values,
    official: Values,
    answered: Callable[[Item], bool],
    by: Mapping[str, Callable[[Sample], str]] | None = None,
    group: Callable[[Sample], str] | None = None,
    micro: Sequence[str] = (),
) -> dict[str, Any]:
    """A benchmark's part of `results.json`, in percent.

    Args:
        items: All questions, including unanswered ones.
        paper: The paper's metrics of an item.
        official: The benchmark's own.
        answered: Whether an item has a parsed answer.
        by: Name of a breakdown to a function that gives a sample's group in it.
        group: The group of a sample, whose means weigh alike in a metric (`group_weights`); None weighs all items alike.
        micro: Metrics that weigh all items alike nevertheless.

    Raises:
        DataError: no items.
    """
    if not items:
        raise DataError("no question is left to score; are all of the videos missing?")
    groups: dict[str, dict[str, Any]] = {}
    for name, key in (by or {}).items():
        parts: dict[str, list[Item]] = {}
        for item in items:
            parts.setdefault(key(item.sample), []).append(item)
        groups[name] = {part: {"n": len(parts[part]), **mean_values(parts[part], paper)} for part in sorted(parts)}
    weights = group_weights([group(item.sample) for item in items]) if group else None
    return {
        "n": len(items),
        "unanswered": sum(not answered(item) for item in items),
        "paper": mean_values(items, paper, weights, micro),
        "official": mean_values(items, official, weights, micro),
        "by": groups,
    } | ({"micro": list(micro)} if micro else {})


def mean_values(
    items: Sequence[Item], values: Values, weights: Sequence[float] | None = None, micro: Sequence[str] = ()
) -> dict[str, float]:
    """Weighted mean of each named metric over the items that have it, in percent; the first items' names come first.

    Args:
        items: The items.
        values: Their metrics.
        weights: One per item; None weighs all alike.
        micro: Metrics in which all items weigh alike nevertheless.
    """
    sums: dict[str, float] = {}
    whole: dict[str, float] = {}
    for weight, item in zip(weights or [1.0] * len(items), items, strict=True):
        for key, value in values(item).items():
            mine = 1.0 if key in micro else weight
            sums[key] = sums.get(key, 0.0) + mine * value
            whole[key] = whole.get(key, 0.0) + mine
    return {key: 100 * total / whole[key] for key, total in sums.items()}


def is_answered(item: Item) -> bool:
    """Whether all parts of the answer could be read from the output."""
    said: object = item.answer.payload if item.sample.options is None else item.answer.option
    if item.sample.answer_indices is not None:
        said = item.answer.choices or None
    if item.sample.numeric and item.answer.payload is not None:
        said = parse_number(item.answer.payload)
    option, span = said is not None, item.answer.span is not None
    return {"multi_choice": option, "grounding": span, "grounded_qa": option and span}[item.sample.task]


def paper_tiou(item: Item) -> float:
    """Temporal IoU, the maximum over the gold spans."""
    return score(item.answer, item.sample).tiou or 0.0


def paper_accuracy(item: Item) -> float:
    """1 for the right option (by text: some rows hold it twice)."""
    return score(item.answer, item.sample).accuracy or 0.0


def accuracy_values(item: Item) -> dict[str, float]:
    """Whether one question is right, from the tags."""
    return {"acc": paper_accuracy(item)}


def official_text(item: Item) -> str:
    """Text inside the answer tags, or the whole text without tags."""
    return item.text if item.answer.payload is None else item.answer.payload


def official_option(item: Item) -> int | None:
    """The option named inside the answer tags (as the item was parsed), or by the whole text without tags."""
    if item.answer.payload is not None or item.sample.options is None:
        return item.answer.option
    return parse_option(item.text, item.sample.options)


def official_observed(item: Item) -> str:
    """Text inside the last complete `<observe>` (or the marks that the prompt asked for), or the whole text without one."""
    return item.text if item.answer.observed is None else item.answer.observed


_TIME = r"\d+(?::\d+)*(?:\.\d+)?"
_PAIR = re.compile(rf"{_TIME}(?:\s?(?:s|secs?|seconds?)\b)?(?:\s?(?:-|–|—|,)\s?|\s(?:to|and|until)\s){_TIME}", re.IGNORECASE)


def find_span(text: str) -> Span | None:
    """The span that a text is, else the first that it holds (`the clip from 3 to 5 seconds shows …`)."""
    whole = parse_span(text)
    if whole is not None:
        return whole
    spans = (parse_span(match[0]) for match in _PAIR.finditer(text))
    return next((span for span in spans if span), None)


def find_spans(text: str) -> tuple[Span, ...]:
    """The list of spans that a text is, else all that it holds, in their order."""
    return parse_spans(text) or tuple(span for match in _PAIR.finditer(text) if (span := parse_span(match[0])))


def best_iou(span: Span | None, gold: Sequence[Span]) -> float:
    """Maximum IoU over the gold spans; 0 without a span."""
    return max((span.tiou(one) for one in gold), default=0.0) if span else 0.0


def best_iop(span: Span | None, gold: Sequence[Span]) -> float:
    """Maximum intersection over prediction; a prediction of zero length has 1 inside a gold span, else 0."""
    return max((_iop(span, one) for one in gold), default=0.0) if span else 0.0


def _iop(span: Span, gold: Span) -> float:
    if span.length <= 0:
        return float(span.length == 0 and gold.start <= span.start <= gold.end)
    return max(0.0, min(span.end, gold.end) - max(span.start, gold.start)) / span.length


def union_iou(span: Span | None, gold: Sequence[Span]) -> float:
    """IoU of one span with the union of the gold spans; overlapping gold counts once."""
    if span is None or span.length <= 0:
        return 0.0
    covered = inter = 0.0
    reached = float("-inf")
    for one in sorted(gold):
        start = max(one.start, reached)
        if one.end > start:
            covered += one.end - start
            inter += max(0.0, min(one.end, span.end) - max(start, span.start))
            reached = one.end
    return inter / (covered + span.length - inter)


def gold_text(sample: Sample) -> str:
    """The gold answer in the no-think template, with times in full precision: it scores full marks by definition."""
    said = (sample.answer or "") if sample.options is None else LETTERS[sample.answer_index or 0]
    # Through Decimal: every digit, and never an exponent, which no template has.
    spans = (sample.spans or ())[: None if sample.several else 1]
    when = f"{BETWEEN} ".join(" to ".join(f"{Decimal(repr(time)):f}" for time in span) for span in spans)
    if sample.task == "grounding":
        return f"<answer> {when} </answer>"
    observed = f"<observe> {when} </observe> " if sample.task == "grounded_qa" else ""
    return f"{observed}<answer> {said} </answer>"
