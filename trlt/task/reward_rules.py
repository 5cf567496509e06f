"""How answers earn where a recipe departs from the paper: which measure a span, a number or words are paid by (pure).

The defaults are the paper's rewards. Knows samples, answers and scores; neither weights' sums nor recipes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

from trlt.errors import DataError, shown
from trlt.task.answer import Answer, plain, token_f1
from trlt.task.choices import ChoicesRule, credit
from trlt.task.numbers import parse_number, plain_relative_accuracy
from trlt.task.sample import Sample, Span, Task
from trlt.task.score import Scores
from trlt.task.span_rewards import STEPS, Pay, diou, giou, matched, stepped, timestamp_iou, union_iou

SpanRule = Literal["tiou", "timestamp_iou", "giou", "diou", "steps"]
SeveralRule = Literal["first", "union", "matched", "union_and_matched"]
NumericRule = Literal["mean_relative", "relative", "exact"]
WordsRule = Literal["threshold", "f1"]


@dataclass(frozen=True, slots=True)
class TaskWeight:
    """What a task's reward weighs, and its format in it."""

    weight: float = 1.0
    """Of the whole reward, further parts included."""
    format: float | None = None
    """Weight of the format for this task; None is that of all."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What answers are paid by; the defaults are the paper's."""

    span: SpanRule = "tiou"
    steps: tuple[float, ...] = STEPS
    """Thresholds of `steps`."""
    several: SeveralRule = "first"
    """Of the answer to a question that asks for several spans."""
    choices: ChoicesRule = "exact"
    """Of questions that ask for all options that apply."""
    numeric: NumericRule = "mean_relative"
    words: WordsRule = "threshold"
    """Of the answer in words to a question without options."""
    multiply: bool = False
    """Whether the format multiplies what the answer earns, in place of being added."""
    tasks: Mapping[Task, TaskWeight] = field(default_factory=dict)

    @property
    def noted(self) -> tuple[str, ...]:
        """Names under which rows and logs have what was paid in place of a score."""
        span = self.span != "tiou" or self.several != "first"
        answer = self.numeric != "mean_relative" or self.words != "threshold" or self.choices != "exact"
        return tuple(name for name, is_noted in (("span", span), ("answer", answer)) if is_noted)

    def scale(self, task: Task) -> float:
        """What the whole reward of a task is multiplied by."""
        return self.tasks[task].weight if task in self.tasks else 1.0

    def of_span(self, sample: Sample, answer: Answer, scores: Scores, tiou_from: float | None = None) -> float | None:
        """What the stated span or spans earn; None for a task without.

        Of one span the gold one that it earns most with counts, as for the tIoU.

        Args:
            sample: The question.
            answer: The completion's.
            scores: Its scores.
            tiou_from: Threshold that makes an IoU 0 or 1.

        Raises:
            DataError: the rule divides by a duration that is unknown.
        """
        if scores.tiou is None:
            return None
        gold = sample.spans or ()

        def discrete(iou: float) -> float:
            if self.span == "steps":
                return stepped(iou, self.steps)
            return iou if tiou_from is None else float(iou >= tiou_from)

        if not sample.several or self.several == "first":
            if self.span in ("tiou", "steps"):
                return discrete(scores.tiou)
            pay = pays(self.span, sample)
            return max((pay(answer.span, one) for one in gold), default=0.0) if answer.span else 0.0
        union = discrete(union_iou(answer.spans, gold))
        if self.several == "union":
            return union

        def pair(said: Span, one: Span) -> float:
            return discrete(said.tiou(one))

        each = matched(answer.spans, gold, pair if self.span in ("tiou", "steps") else pays(self.span, sample))
        return each if self.several == "matched" else (union + each) / 2

    def iou(self, sample: Sample, answer: Answer, scores: Scores) -> float | None:
        """The IoU that selection goes by: the tIoU, or that of all spans with all gold ones where all of them are paid."""
        if sample.several and self.several != "first" and scores.tiou is not None:
            return union_iou(answer.spans, sample.spans or ())
        return scores.tiou

    def of_answer(self, sample: Sample, answer: Answer, scores: Scores) -> float | None:
        """What the answer earns; None for grounding."""
        if scores.accuracy is None or answer.payload is None:
            return scores.accuracy
        if sample.answer_indices is not None:
            return credit(answer, sample, self.choices)
        gold = sample.answer or ""
        if sample.numeric and self.numeric != "mean_relative":
            said, right = parse_number(answer.payload), parse_number(gold) or 0.0
            return float(said == right) if self.numeric == "exact" else plain_relative_accuracy(said, right)
        if not sample.numeric and sample.options is None and self.words == "f1":
            return 1.0 if plain(answer.payload) == plain(gold) else token_f1(answer.payload, gold)
        return scores.accuracy


def pays(rule: Literal["timestamp_iou", "giou", "diou"] | SpanRule, sample: Sample) -> Pay:
    """What a span earns with a gold one by a rule that needs both, and not their tIoU alone.

    Raises:
        DataError: the rule divides by a duration that is unknown.
    """
    if rule == "timestamp_iou":
        return partial(timestamp_iou, duration=duration_of(sample))
    return giou if rule == "giou" else diou


def duration_of(sample: Sample) -> float:
    """Seconds of a sample's clip: as annotated, else of its bounds.

    Raises:
        DataError: neither is known.
    """
    if sample.duration is not None:
        return sample.duration
    if sample.clip is not None:
        return sample.clip.length
    raise DataError(
        f"sample {shown(sample.id)}: duration: is unknown, and timestamp_iou divides by it; add it to the samples, as "
        "`trlt prepare` with --videos does, or reward another measure (reward.span: tiou) in a new run"
    )
