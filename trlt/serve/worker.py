"""The one thread in which the model runs: questions are queued, and their results are streamed.

Knows paths, clips and prompts; neither connections nor the meaning of answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from trlt.errors import TrltError
from trlt.serve.streaming import Answerer, Cancelled, PromptReply
from trlt.video.clip import Clip

if TYPE_CHECKING:
    from trlt.engine.request_queue import PromptRequest
    from trlt.engine.sampling import Sampling

logger = logging.getLogger(__name__)

MOST_WAITING = 16
"""Questions that wait at most; further ones are turned away."""


class Busy(Exception):
    """Too many questions wait already."""


@dataclass(frozen=True, slots=True)
class VideoQuestion:
    """A question about a video."""

    video: Path | Clip
    name: str
    """Of the video; stands in errors instead of its path."""
    request: PromptRequest
    sampling: Sampling


class Waiting(NamedTuple):
    """Others are before."""

    ahead: int


class VideoRead(NamedTuple):
    """The video was read, and the model begins."""

    clip: Clip


class Piece(NamedTuple):
    """Something was added to a completion."""

    number: int
    """Of the completion."""
    text: str


class Finished(NamedTuple):
    """All completions are there."""

    reply: PromptReply
    clip: Clip


class Failed(NamedTuple):
    """There is no answer."""

    message: str
    ours: bool
    """It is a fault of this program, not of what was sent."""


Event = Waiting | VideoRead | Piece | Finished | Failed


class _QuestionJob:
    def __init__(self, question: VideoQuestion) -> None:
        self.question = question
        self.cancelled = threading.Event()
        self._loop = asyncio.get_running_loop()
        self.events: asyncio.Queue[Event] = asyncio.Queue()

    def tell(self, event: Event) -> None:
        """From any thread."""
        with contextlib.suppress(RuntimeError):  # the loop has ended, and nobody listens
            self._loop.call_soon_threadsafe(self.events.put_nowait, event)


class Worker:
    """Answers one question after the other.

    Args:
        answerer: The model; used by the worker's thread alone.
        load: Reads a video; as `ClipLoader.load`.
    """

    def __init__(self, answerer: Answerer, load: Callable[[Path], Clip]) -> None:
        self._answerer, self._load = answerer, load
        self._waiting: deque[_QuestionJob] = deque()
        self._current: _QuestionJob | None = None
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="trlt-model", daemon=True)

    def start(self) -> None:
        """Begins to answer."""
        self._thread.start()

    def close(self, patience_s: float = 10.0) -> None:
        """Ends the thread, after the step that the model is at; what waits is dropped."""
        with self._changed:
            self._closed = True
            for job in (*self._waiting, *([self._current] if self._current else [])):
                job.cancelled.set()
                job.tell(Failed("the server is stopping", ours=True))
            self._waiting.clear()
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(patience_s)

    def ask(self, question: VideoQuestion) -> AsyncGenerator[Event]:
        """Puts a question in line; gives everything that happens to it, up to `Finished` or `Failed`. Closing it cancels.

        Raises:
            Busy: too many questions wait.
        """
        job = _QuestionJob(question)
        with self._changed:
            if len(self._waiting) >= MOST_WAITING or self._closed:
                raise Busy
            ahead = len(self._waiting) + (self._current is not None)
            self._waiting.append(job)
            self._changed.notify_all()
        return self._follow(job, ahead)

    async def _follow(self, job: _QuestionJob, ahead: int) -> AsyncGenerator[Event]:
        try:
            if ahead:
                yield Waiting(ahead)
            while True:
                event = await job.events.get()
                yield event
                if isinstance(event, (Finished, Failed)):
                    return
        finally:
            job.cancelled.set()
            with self._changed, contextlib.suppress(ValueError):
                self._waiting.remove(job)

    def _run(self) -> None:
        while (job := self._next()) is not None:
            try:
                self._answer(job)
            except Cancelled:
                continue
            except TrltError as error:
                video = job.question.video
                shown = str(error).replace(str(video), job.question.name) if isinstance(video, Path) else str(error)
                job.tell(Failed(shown, ours=False))
            except Exception:
                logger.exception("a question failed")
                job.tell(Failed("something went wrong in the server; what, stands in its log", ours=True))

    def _next(self) -> _QuestionJob | None:
        with self._changed:
            self._current = None
            self._changed.wait_for(lambda: self._waiting or self._closed)
            if self._closed:
                return None
            self._current = self._waiting.popleft()
            return self._current

    def _answer(self, job: _QuestionJob) -> None:
        question = job.question
        clip = question.video if isinstance(question.video, Clip) else self._load(question.video)
        if job.cancelled.is_set():
            raise Cancelled
        job.tell(VideoRead(clip))
        reply = self._answerer.answer(
            clip, question.request, question.sampling, lambda number, text: job.tell(Piece(number, text)), job.cancelled.is_set
        )
        job.tell(Finished(reply, clip))
