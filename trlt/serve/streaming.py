"""The engine with streamed output, stopping when nobody listens any more.

Knows clips, prompts and tokens; neither connections nor answers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from trlt.engine.cohort import Branch
from trlt.engine.forest import Completion, Engine
from trlt.engine.request_queue import PromptRequest, Tree
from trlt.engine.sampling import Sampling
from trlt.serve.stops import before_stop
from trlt.video.clip import Clip

Write = Callable[[int, str], None]
"""Is told the number of a completion and what was added to its text."""
PROVED_TOKENS = 16
"""Of the invented question's answer."""


class Cancelled(Exception):
    """Nobody waits for the answer any more."""


@dataclass(frozen=True, slots=True)
class PromptReply:
    """The result of a prompt."""

    completions: Sequence[Completion]
    prompt_tokens: int
    """Of the video, its prompt and the chat template."""


class Answerer(Protocol):
    """Whatever answers one prompt at a time: the engine."""

    def answer(
        self,
        clip: Clip,
        request: PromptRequest,
        sampling: Sampling,
        write: Write,
        is_cancelled: Callable[[], bool],
        stops: Sequence[str] = (),
    ) -> PromptReply:
        """The completions, whose pieces are told to `write` as they come; each ends before the first of `stops`.

        Raises:
            Cancelled: `is_cancelled` gave True.
            TrltError: the prompt can't be asked.
        """
        ...


class _AllEnded(Exception):
    """Each completion has ended, those that the engine would go on with by a stop text."""


class EngineAnswerer:
    """An `Answerer` by an engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def answer(
        self,
        clip: Clip,
        request: PromptRequest,
        sampling: Sampling,
        write: Write,
        is_cancelled: Callable[[], bool],
        stops: Sequence[str] = (),
    ) -> PromptReply:
        """As `Answerer` says; tokens, and so texts, are those of `generate`, up to a stop text.

        Raises:
            Cancelled: `is_cancelled` gave True.
            ModelError: the memory doesn't suffice, or the prompt holds a mark of the vision tower.
        """
        builder = self._engine.builder
        inputs = builder.clip(clip)
        prompt = builder.prompt(request.system, request.user, inputs, think=request.think)
        opening = prompt.opening
        told: dict[int, str] = {}
        ended: dict[int, Completion] = {}

        def tell(index: int, text: str) -> None:
            before = told.get(index, "")
            if len(text) > len(before) and text.startswith(before):
                told[index] = text
                write(index, text[len(before) :])

        def step(branches: Sequence[Branch]) -> None:
            if is_cancelled():
                raise Cancelled
            for branch in branches:
                if branch.index in ended:
                    continue
                text = builder.decode(branch.tokens[:-1] if branch.finished else branch.tokens)
                # The last character may be one of which some bytes are still to come.
                ready, stopped = before_stop(text.rstrip("\ufffd"), stops)
                tell(branch.index, opening + ready)
                if stopped:
                    ended[branch.index] = Completion(opening + ready, tuple(branch.tokens), True, tuple(branch.logps))
                elif branch.finished and stops:
                    text, _ = before_stop(text, stops, whole=True)
                    ended[branch.index] = Completion(opening + text, tuple(branch.tokens), True, tuple(branch.logps))
            if len(ended) == request.n:
                raise _AllEnded

        try:
            [[completions]] = self._engine.generate([Tree(inputs, (request,))], sampling, on_token=step)
        except _AllEnded:
            completions = [ended[index] for index in range(request.n)]
        else:
            completions = [ended.get(index) or _cut(one, opening, stops) for index, one in enumerate(completions)]
        for index, completion in enumerate(completions):
            tell(index, completion.text)
        return PromptReply(completions, len(prompt.prefix) + len(prompt.suffix))

    def prove(self) -> None:
        """Asks an invented question about an invented clip, whose first completion is held to the library's own forward.

        The clip lasts longer than its prompt has words, so that a wrong rule of positions shows.

        Raises:
            ParityError: they differ.
            ModelError: the memory doesn't suffice.
        """
        geometry = self._engine.family.geometry
        side = 4 * geometry.side
        frames = np.random.default_rng(0).integers(0, 256, (16, 3, side, side), dtype=np.uint8)
        times = 10 * np.arange(16, dtype=np.float64)
        clip = Clip.of(frames, times, sample_fps=0.1, duration=160.0, geometry=geometry)
        request = PromptRequest("an invented clip", "", "What is shown?")
        self._engine.generate([Tree(clip, (request,))], Sampling(max_new_tokens=PROVED_TOKENS))


def _cut(completion: Completion, opening: str, stops: Sequence[str]) -> Completion:
    # Stop texts are looked for in what was drawn: the opening is the prompt's.
    text, stopped = before_stop(completion.text.removeprefix(opening), stops, whole=True)
    return replace(completion, text=opening + text, finished=True) if stopped else completion
