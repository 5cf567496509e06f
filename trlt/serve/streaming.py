"""The engine with streamed output, stopping when nobody listens any more.

Knows clips, prompts and tokens; neither connections nor answers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from trlt.engine.cohort import Branch
from trlt.engine.forest import Completion, Engine
from trlt.engine.request_queue import PromptRequest, Tree
from trlt.engine.sampling import Sampling
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
        self, clip: Clip, request: PromptRequest, sampling: Sampling, write: Write, is_cancelled: Callable[[], bool]
    ) -> PromptReply:
        """The completions, whose pieces are told to `write` as they come.

        Raises:
            Cancelled: `is_cancelled` gave True.
            TrltError: the prompt can't be asked.
        """
        ...


class EngineAnswerer:
    """An `Answerer` by an engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def answer(
        self, clip: Clip, request: PromptRequest, sampling: Sampling, write: Write, is_cancelled: Callable[[], bool]
    ) -> PromptReply:
        """As `Answerer` says; tokens, and so texts, are those of `generate`.

        Raises:
            Cancelled: `is_cancelled` gave True.
            ModelError: the memory doesn't suffice, or the prompt holds a mark of the vision tower.
        """
        builder = self._engine.builder
        inputs = builder.clip(clip)
        prompt = builder.prompt(request.system, request.user, inputs)
        told: dict[int, str] = {}

        def step(branches: Sequence[Branch]) -> None:
            if is_cancelled():
                raise Cancelled
            for branch in branches:
                text = builder.decode(branch.tokens[:-1] if branch.finished else branch.tokens)
                # The last character may be one of which some bytes are still to come.
                ready, before = text.rstrip("\ufffd"), told.get(branch.index, "")
                if len(ready) > len(before) and ready.startswith(before):
                    told[branch.index] = ready
                    write(branch.index, ready[len(before) :])

        [[completions]] = self._engine.generate([Tree(inputs, (request,))], sampling, on_token=step)
        for index, completion in enumerate(completions):
            before = told.get(index, "")
            if completion.text.startswith(before) and completion.text != before:
                write(index, completion.text[len(before) :])
        return PromptReply(completions, len(prompt.prefix) + len(prompt.suffix))

    def prove(self) -> None:
        """Asks an invented question about an invented clip, whose first completion is held to the library's own forward.

        The clip lasts longer than its prompt has words, so that a wrong rule of positions shows.

        Raises:
            ParityError: they differ.
            ModelError: the memory doesn't suffice.
        """
        frames = np.random.default_rng(0).integers(0, 256, (16, 3, 112, 112), dtype=np.uint8)
        clip = Clip.of(frames, 10 * np.arange(16, dtype=np.float64), sample_fps=0.1, duration=160.0)
        request = PromptRequest("an invented clip", "", "What is shown?")
        self._engine.generate([Tree(clip, (request,))], Sampling(max_new_tokens=PROVED_TOKENS))
