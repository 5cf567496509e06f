"""Grades texts: text to answer to scores to reward. Rollouts, training, evaluation and inference all use it (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from trlt.task.answer import Answer
from trlt.task.prompt_form import PromptForm
from trlt.task.reward import Weights, reward
from trlt.task.sample import Sample
from trlt.task.score import Scores, score


class Grade(NamedTuple):
    """The grade of one completion."""

    answer: Answer
    scores: Scores
    reward: float
    """Weighted sum (Eq. 1 to 3 of the paper)."""


@dataclass(frozen=True, slots=True)
class Grader:
    """What completions earn in one stage of a recipe (`Recipe.grader`)."""

    form: PromptForm
    weights: Weights = Weights()

    def grade(self, asked: Sequence[tuple[Sample, Sequence[str]]]) -> list[list[Grade]]:
        """Grades of some samples' completions.

        Args:
            asked: Samples, each with its completions' texts.

        Returns:
            For each sample, a grade per completion.
        """
        return [[self._one(sample, text) for text in texts] for sample, texts in asked]

    def _one(self, sample: Sample, text: str) -> Grade:
        answer = self.form.read(sample, text)
        scores = score(answer, sample, self.form.open_threshold)
        return Grade(answer, scores, reward(sample, text, answer, scores, self.weights))
