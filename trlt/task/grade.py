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
from trlt.task.reward import Weights, reward
from trlt.task.sample import Sample
from trlt.task.score import Scores, score


class Grade(NamedTuple):
    """The grade of one completion."""

    answer: Answer
    scores: Scores
    reward: float
    """Weighted sum (Eq. 1 to 3 of the paper), and of the recipe's own parts."""
    parts: Mapping[str, float | None] = {}
    """What each of the recipe's own parts gave, by name; None where it doesn't apply, and adds nothing."""


@dataclass(frozen=True, slots=True)
class Grader:
    """What completions earn in one stage of a recipe (`Recipe.grader`)."""

    form: PromptForm
    weights: Weights = Weights()
    parts: tuple[RewardPart, ...] = ()
    """Parts beside the paper's, in the order in which they are added."""

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
        found: dict[int, list[Grade] | VideoError] = {}
        for place, (sample, texts) in enumerate(asked):
            try:
                answers = [self.form.read(sample, text) for text in texts]
                scores = [score(answer, sample, self.form.open_threshold) for answer in answers]
                one = Read(sample, texts, answers, scores)
                for each in zip(texts, answers, scores, strict=True):
                    reward(sample, *each, self.weights)  # what fails here is told before the parts are asked
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
                found[place] = self._grades(one, paid[place])
        return [found[place] for place in range(len(asked))]

    def _grades(self, read: Read, paid: Mapping[str, Sequence[float | None]]) -> list[Grade]:
        grades = []
        for i, (answer, scores) in enumerate(zip(read.answers, read.scores, strict=True)):
            values = {name: some[i] for name, some in paid.items()}
            total = total_reward(read.sample, read.texts[i], answer, scores, self.weights, self.parts, values)
            grades.append(Grade(answer, scores, total, values))
        return grades


def total_reward(
    sample: Sample,
    text: str,
    answer: Answer,
    scores: Scores,
    weights: Weights,
    parts: Sequence[RewardPart],
    values: Mapping[str, float | None],
) -> float:
    """A completion's reward: the paper's, and what further parts gave; one that stands in for the accuracy does so.

    Args:
        sample: The question.
        text: The completion.
        answer: What was read from it.
        scores: Of it.
        weights: Of the paper's parts.
        parts: Further parts.
        values: What they gave, by name.
    """
    for part in parts:
        if part.instead and scores.accuracy is not None and (value := values[part.name]) is not None:
            scores = replace(scores, accuracy=value)
    return with_parts(reward(sample, text, answer, scores, weights), parts, values)
