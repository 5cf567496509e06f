"""What several outputs to one question say together: the one that stands for most, and how far they agree (pure).

The gold answer is never looked at, but for whether it is a number.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import NamedTuple

from trlt.task.answer import Answer
from trlt.task.sample import Sample, Span


class Majority(NamedTuple):
    """The output that stands for all."""

    place: int
    """Its index among the outputs: the majority is always an answer that was given."""
    agreement: float
    """From 0 to 1: the share of outputs with this answer, itself included; for spans the mean IoU of the others with it."""


def majority(sample: Sample, answers: Sequence[Answer]) -> Majority:
    """The majority of the answers to a question; outputs without a readable answer agree with nothing.

    The most frequent option (of grounded QA, the medoid span among its outputs); of spans the medoid, which has the largest
    sum of IoUs with the others (where several were asked for, by the first); of numbers the median (of two middle ones the
    lower); of other open answers the most frequent text. Ties go to the first output.

    Args:
        sample: The question.
        answers: Its outputs, parsed; at least one.
    """
    if sample.task == "grounding":
        return _medoid([answer.span for answer in answers], range(len(answers)))
    if sample.options is not None:
        named = [answer.choices or answer.option for answer in answers]
        place, agreement = _most_frequent(named)
        if sample.task != "grounded_qa" or named[place] is None:
            return Majority(place, agreement)
        alike = [other for other, one in enumerate(named) if one == named[place]]
        return Majority(_medoid([answer.span for answer in answers], alike).place, agreement)
    said = [answer.payload for answer in answers]
    if _number(sample.answer) is None:
        return _most_frequent([None if text is None else " ".join(text.casefold().split()) for text in said])
    numbers = [_number(text) for text in said]
    read = [number for number in numbers if number is not None]
    if not read:
        return Majority(0, 0.0)
    middle = statistics.median_low(read)
    return Majority(numbers.index(middle), numbers.count(middle) / len(numbers))


def _most_frequent(values: Sequence[object]) -> Majority:
    read = [value for value in values if value is not None]
    if not read:
        return Majority(0, 0.0)
    most = max(read, key=read.count)  # the first of those that are as frequent
    return Majority(values.index(most), read.count(most) / len(values))


def _medoid(spans: Sequence[Span | None], among: Sequence[int]) -> Majority:
    read = {place: span for place in among if (span := spans[place]) is not None}
    if not read:
        return Majority(among[0], 0.0)
    sums = {place: sum(span.tiou(other) for beside, other in read.items() if beside != place) for place, span in read.items()}
    place = max(sums, key=lambda one: sums[one])
    return Majority(place, sums[place] / (len(among) - 1) if len(among) > 1 else 1.0)


def _number(text: str | None) -> float | None:
    """A text that is a number; None if it isn't."""
    try:
        value = float((text or "").strip().replace(",", ""))
    except ValueError:
        return None
    return value if abs(value) < float("inf") else None
