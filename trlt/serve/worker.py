"""The one thread in which the model runs: questions are queued, and their results are streamed.

Knows paths, clips and prompts; neither connections nor the meaning of answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
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

MOST_WAITING = 64
"""Questions that wait at most; further ones are turned away. Twice what `trlt probe --server` asks at once; the last of them is
answered within ten minutes, after which most clients give up, if each takes nine seconds."""
USUAL_S = 5.0
"""How long an answer is taken to need before there was one."""
LONGEST_S = 60.0
"""After which whoever was turned away may come back at the latest; OpenAI's clients obey no longer waits."""


class Busy(Exception):
    """Too many questions wait already.

    Args:
        wait_s: Seconds until some of them are answered.
    """

    def __init__(self, wait_s: float) -> None:
        super().__init__("too many questions wait already; try again in a moment")
        self.wait_s = wait_s


@dataclass(frozen=True, slots=True)
class VideoQuestion:
    """A question about a video."""

    video: Path | Clip
    name: str
    """Of the video; stands in errors instead of its path."""
    request: PromptRequest
    sampling: Sampling
    stops: tuple[str, ...] = ()
    """Texts before which a completion ends."""


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


class Events:
    """What happens to a question, up to `Finished` or `Failed`; whoever asked has to close it.

    Args:
        job: The question.
        leave: Takes it out of the line, and stops its answer.
    """

    def __init__(self, job: _QuestionJob, leave: Callable[[_QuestionJob], None]) -> None:
        self._job, self._leave = job, leave
        self._ended = False

    def __aiter__(self) -> Events:
        return self

    async def __anext__(self) -> Event:
        if self._ended:
            raise StopAsyncIteration
        event = await self._job.events.get()
        self._ended = isinstance(event, (Finished, Failed))
        return event

    def close(self) -> None:
        """Nobody listens any more."""
        self._leave(self._job)


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
        self._took_s = USUAL_S
        """Seconds for an answer, those of the last ones above all."""
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

    def ask(self, question: VideoQuestion) -> Events:
        """Puts a question in line; gives everything that happens to it.

        Raises:
            Busy: too many questions wait.
        """
        job = _QuestionJob(question)
        with self._changed:
            if len(self._waiting) >= MOST_WAITING or self._closed:
                # Those that are turned away at once shouldn't all come back for the next free place.
                raise Busy(min(max(1.0, len(self._waiting) / 4 * self._took_s), LONGEST_S))
            if ahead := len(self._waiting) + (self._current is not None):
                job.events.put_nowait(Waiting(ahead))
            self._waiting.append(job)
            self._changed.notify_all()
        return Events(job, self._leave)

    def _leave(self, job: _QuestionJob) -> None:
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
        question, began = job.question, time.monotonic()
        clip = question.video if isinstance(question.video, Clip) else self._load(question.video)
        if job.cancelled.is_set():
            raise Cancelled
        job.tell(VideoRead(clip))
        reply = self._answerer.answer(
            clip,
            question.request,
            question.sampling,
            lambda number, text: job.tell(Piece(number, text)),
            job.cancelled.is_set,
            question.stops,
        )
        self._took_s += (time.monotonic() - began - self._took_s) / 4
        job.tell(Finished(reply, clip))
