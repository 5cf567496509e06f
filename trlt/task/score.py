"""Scores of an answer against the gold one (pure).

The reward and the evaluation call the same `score`. Knows no prompts and no tensors.
"""

from __future__ import annotations

from dataclasses import dataclass

from trlt.task.answer import Answer, plain, token_f1
from trlt.task.choices import credit
from trlt.task.numbers import parse_number, relative_accuracy
from trlt.task.sample import Sample


@dataclass(frozen=True, slots=True)
class Scores:
    """Each from 0 to 1; None if the task has no such score."""

    format: float
    """R_format: 1 if the whole completion matches the task's template."""
    accuracy: float | None
    """R_acc (Eq. 1); of a number the mean relative accuracy; None for grounding."""
    tiou: float | None
    """R_IoU (Eq. 2), the maximum over the gold spans; None for multi-choice. Of an answer's several spans the first counts."""


def score(answer: Answer, sample: Sample, open_threshold: float = 0.5) -> Scores:
    """Scores of one completion; an unparsable part scores 0.

    Args:
        answer: The parsed completion.
        sample: The question with its gold answer and spans.
        open_threshold: Minimum token F1 with the gold answer, for a question without options.
    """
    accuracy = None
    if sample.numeric:
        said = None if answer.payload is None else parse_number(answer.payload)
        accuracy = relative_accuracy(said, parse_number(sample.answer or "") or 0.0)
    elif sample.task != "grounding":
        accuracy = float(_is_right(answer, sample, open_threshold))
    tiou = None
    if sample.task != "multi_choice":
        tiou = max((answer.span.tiou(gold) for gold in sample.spans or ()), default=0.0) if answer.span else 0.0
    return Scores(float(answer.well_formed), accuracy, tiou)


def _is_right(answer: Answer, sample: Sample, open_threshold: float) -> bool:
    if sample.answer_indices is not None:
        return credit(answer, sample) == 1
    gold = sample.answer or ""
    if sample.options is None:
        said = answer.payload
        return said is not None and (plain(said) == plain(gold) or token_f1(said, gold) >= open_threshold)
    # By text, not by index: some rows of the real data hold the gold option twice.
    return answer.option is not None and plain(sample.options[answer.option]) == plain(gold)
