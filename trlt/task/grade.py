"""Grades texts: text to answer to scores to reward. Rollouts, training, evaluation and inference all use it (pure)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from trlt.errors import VideoError
from trlt.errors.faults import fault_of
from trlt.task.answer import Answer
from trlt.task.parts import Read, RewardPart, with_parts
from trlt.task.prompt_form import PromptForm
from trlt.task.reward import Weights, earned, weighed
from trlt.task.reward_rules import Rules
from trlt.task.sample import Sample
from trlt.task.score import Scores, score


class Grade(NamedTuple):
    """The grade of one completion."""

    answer: Answer
    scores: Scores
    reward: float
    """Weighted sum (Eq. 1 to 3 of the paper), and of the recipe's own parts."""
    parts: Mapping[str, float | None] = {}
    """What each of the recipe's own parts gave, by name; None where it doesn't apply, and adds nothing. Where another rule than
    the paper's pays spans or answers, first what it paid in place of the score (`Rules.noted`)."""
    iou: float | None = None
    """What selection goes by (`Rules.iou`); None for multi-choice."""


@dataclass(frozen=True, slots=True)
class Grader:
    """What completions earn in one stage of a recipe (`Recipe.grader`)."""

    form: PromptForm
    weights: Weights = Weights()
    parts: tuple[RewardPart, ...] = ()
    """Parts beside the paper's, in the order in which they are added."""
    rules: Rules = Rules()
    """What spans, numbers and words are paid by."""

    @property
    def noted(self) -> tuple[str, ...]:
        """Names of what a grade notes beside scores, in `Grade.parts`."""
        return (*self.rules.noted, *(part.name for part in self.parts))

    def timed(self, sample: Sample, length_s: float | None) -> Sample:
        """A sample with its clip's length, where the reward divides by a duration that its annotation doesn't state.

        Args:
            sample: The sample as it is.
            length_s: Seconds of the clip as it was decoded; None if it wasn't.
        """
        divides = self.rules.span == "timestamp_iou" or any(part.name == "timestamp_iou" for part in self.parts)
        if not divides or sample.duration is not None or length_s is None or sample.task == "multi_choice":
            return sample
        return replace(sample, duration=length_s)

    def grade(self, asked: Sequence[tuple[Sample, Sequence[str]]]) -> list[list[Grade]]:
        """Grades of some samples' completions.

        Args:
            asked: Samples, each with its completions' texts.

        Returns:
            For each sample, a grade per completion.

        Raises:
            VideoError: the first fault of `outcomes`.
            RewardError: likewise.
        """
        found = []
        for outcome in self.outcomes(asked):
            if isinstance(outcome, VideoError):
                raise outcome
            found.append(outcome)
        return found

    def outcomes(self, asked: Sequence[tuple[Sample, Sequence[str]]]) -> list[list[Grade] | VideoError]:
        """Grades of some samples' completions, or in their place why a sample's can't be graded.

        Parts that take lists are given all completions together.

        Raises:
            RewardError: a part gave what is no reward.
            Exception: what concerns the machine, see `fault_of`.
        """
        read: dict[int, Read] = {}
        base: dict[int, list[dict[str, float]]] = {}
        found: dict[int, list[Grade] | VideoError] = {}
        for place, (sample, texts) in enumerate(asked):
            try:
                answers = [self.form.read(sample, text) for text in texts]
                scores = [score(answer, sample, self.form.open_threshold) for answer in answers]
                one = Read(sample, texts, answers, scores)
                each = zip(texts, answers, scores, strict=True)
                base[place] = [earned(sample, *three, self.weights, self.rules) for three in each]
            except Exception as error:  # of this sample alone
                found[place] = fault_of(error)
            else:
                read[place] = one
        paid: dict[int, dict[str, list[float | None]]] = {place: {} for place in read}
        for part in self.parts:
            going = [place for place in read if place not in found]
            if not going:
                break
            for place, values in zip(going, part.values([read[place] for place in going]), strict=True):
                if isinstance(values, VideoError):
                    found[place] = values
                else:
                    paid[place][part.name] = values
        for place, one in read.items():
            if place not in found:
                found[place] = self._grades(one, base[place], paid[place])
        return [found[place] for place in range(len(asked))]

    def _grades(
        self, read: Read, base: Sequence[Mapping[str, float]], paid: Mapping[str, Sequence[float | None]]
    ) -> list[Grade]:
        grades = []
        task = read.sample.task
        for i, values in enumerate(base):
            own = {name: some[i] for name, some in paid.items()}
            values = _with_verdict(values, self.parts, own)
            total = weighed(task, values, self.weights, self.rules)
            total = with_parts(total, self.parts, own, self.rules.scale(task))
            notes = {name: values.get(_SCORE_OF[name]) for name in self.rules.noted}
            answer, scores = read.answers[i], read.scores[i]
            grades.append(Grade(answer, scores, total, notes | own, self.rules.iou(read.sample, answer, scores)))
        return grades


def total_reward(
    sample: Sample,
    text: str,
    answer: Answer,
    scores: Scores,
    grader: Grader,
    parts: Sequence[RewardPart],
    own: Mapping[str, float | None],
) -> float:
    """A completion's reward by a grader's weights and rules, with parts that may be others than its own.

    Args:
        sample: The question.
        text: The completion.
        answer: What was read from it.
        scores: Of it.
        grader: Whose weights and rules count.
        parts: Further parts.
        own: What they gave, by name.
    """
    values = _with_verdict(earned(sample, text, answer, scores, grader.weights, grader.rules), parts, own)
    total = weighed(sample.task, values, grader.weights, grader.rules)
    return with_parts(total, parts, own, grader.rules.scale(sample.task))


def _with_verdict(
    values: Mapping[str, float], parts: Sequence[RewardPart], own: Mapping[str, float | None]
) -> Mapping[str, float]:
    """What the paper's parts give, with the value of one that stands in for the accuracy in its place."""
    for part in parts:
        if part.instead and "accuracy" in values and (value := own[part.name]) is not None:
            values = {**values, "accuracy": value}
    return values


_SCORE_OF = {"span": "tiou", "answer": "accuracy"}
