"""Grades a text: text to answer to scores to reward. Rollouts, training, evaluation and inference all use it (pure)."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from trlt.task.answer import Answer, AnswerFormat, parse
from trlt.task.prompt import asked_as, asked_format
from trlt.task.reward import Weights, reward
from trlt.task.sample import Sample
from trlt.task.score import Scores, score


class PromptSettings(Protocol):
    """Settings of a sample's prompt; sections of a recipe have them."""

    @property
    def think(self) -> bool:
        """With reasoning before the answer."""

    @property
    def answer_format(self) -> AnswerFormat:
        """Answer format of questions with options."""

    @property
    def open_threshold(self) -> float:
        """Minimum similarity at which an open answer names an option."""


class Grade(NamedTuple):
    """The grade of one completion."""

    answer: Answer
    scores: Scores
    reward: float
    """Weighted sum (Eq. 1 to 3 of the paper)."""


def read_answer(sample: Sample, text: str, asked: PromptSettings, *, as_gqa: bool = False) -> Answer:
    """Parses a completion by the template of the sample's prompt.

    Args:
        sample: The question.
        text: The completion, without its end mark.
        asked: The prompt's settings.
        as_gqa: Multi-choice questions use the grounded QA template.
    """
    return parse(
        text,
        task=asked_as(sample, as_gqa=as_gqa),
        think=asked.think,
        options=sample.options,
        answer_format=asked_format(sample, asked.answer_format),
        open_threshold=asked.open_threshold,
    )


def grade(sample: Sample, text: str, asked: PromptSettings, weights: Weights, *, as_gqa: bool = False) -> Grade:
    """Reads, scores and rewards a completion; the arguments are `read_answer`'s, and the rewards' weights."""
    answer = read_answer(sample, text, asked, as_gqa=as_gqa)
    scores = score(answer, sample, asked.open_threshold)
    return Grade(answer, scores, reward(scores, sample.task, weights))
