"""Answers from a file, to be given places in groups (`train.offline`): tokenised and chosen from, step by step.

They are tokenised as the engine's completions are: without what the chat template has begun, with the end mark, and of tokens
that it may draw. Knows samples and tokens; neither groups nor weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from random import Random

from trlt.engine.forest import Engine
from trlt.engine.inputs import InputBuilder
from trlt.errors import DataError
from trlt.files import Faults
from trlt.recipe import Offline, Train
from trlt.task.prompt_form import PromptForm
from trlt.task.sample import Sample
from trlt.train.answer_lines import AnswerLine, read_answers
from trlt.train.given_answers import GivenAnswer


def offline_answers(
    train: Train, samples: Sequence[Sample], engine: Engine, form: PromptForm, told: Callable[[str], None]
) -> OfflineAnswers | None:
    """The answers of `train.offline`; None without.

    Args:
        train: The recipe's section.
        samples: Of the training set.
        engine: Of the policy.
        form: How samples are asked.
        told: Is told what users are to know of the file.

    Raises:
        DataError: a line can't be used, or an answer can't be a completion of this model.
    """
    if train.offline is None:
        return None
    lines, words = read_answers(train.offline, [sample.id for sample in samples])
    if words:
        told(words)
    return OfflineAnswers(
        lines,
        samples,
        train.offline,
        builder=engine.builder,
        form=form,
        banned=lambda token: bool(engine.banned[token]),
        limit=train.max_new_tokens,
        seed=train.seed,
    )


class OfflineAnswers:
    """Gives each group its answers of the file; the same in every process, and after a resumption.

    Args:
        lines: Of `read_answers`.
        samples: Of the training set, by their places.
        settings: How many a group takes.
        builder: Of the model's inputs.
        form: How samples are asked.
        banned: Whether a token is one that the engine never draws.
        limit: `train.max_new_tokens`.
        seed: Fixes which answers are taken where there are more than places.

    Raises:
        DataError: answers that can't be completions of this model, each with its place.
    """

    def __init__(
        self,
        lines: Mapping[str, Sequence[AnswerLine]],
        samples: Sequence[Sample],
        settings: Offline,
        *,
        builder: InputBuilder,
        form: PromptForm,
        banned: Callable[[int], bool],
        limit: int,
        seed: int,
    ) -> None:
        self._samples, self._most, self._seed = samples, settings.per_group, seed
        self._answers: dict[str, list[GivenAnswer]] = {}
        self._builder, self._banned, self._limit = builder, banned, limit
        faults = Faults()
        for sample in samples:
            if not (own := lines.get(sample.id)):
                continue
            words = form.prompt(sample)
            opening = builder.opening(words.system, words.user, words.think)
            for line in own:
                try:
                    self._answers.setdefault(sample.id, []).append(self._tokenised(line, opening))
                except DataError as fault:
                    faults.add(str(fault))
        faults.end()

    def _tokenised(self, line: AnswerLine, opening: str) -> GivenAnswer:
        try:
            tokens = (*self._builder.encode(line.text, opening), self._builder.end_tokens[0])
        except ValueError as error:  # what the chat template has begun
            raise DataError(f"{line.place}: text: {error}, as the model's chat template has every answer begin") from None
        if len(tokens) > self._limit:
            raise DataError(
                f"{line.place}: text: {len(tokens)} tokens with the end mark, and train.max_new_tokens is {self._limit}; raise "
                "it, or leave the answer out"
            )
        if any(map(self._banned, tokens)):
            raise DataError(f"{line.place}: text: holds a mark of a video, which no answer may have; take it out")
        if line.logps and len(line.logps) != len(tokens):
            raise DataError(
                f"{line.place}: logps: {len(line.logps)} of them, and the answer has {len(tokens)} tokens with the end mark by "
                "this model's tokenizer; give one for each, or leave them out"
            )
        return GivenAnswer(line.text, tokens, True, line.logps)

    def __call__(self, index: int, step: int) -> list[GivenAnswer]:
        """The answers to a sample at a step: all there are, or as many as there are places, drawn anew each time."""
        id = self._samples[index].id
        there = self._answers.get(id, [])
        if len(there) <= self._most:
            return there
        places = Random(f"{self._seed}:{id}@{step}".encode("utf-8", "surrogatepass")).sample(range(len(there)), self._most)
        return [there[place] for place in sorted(places)]
