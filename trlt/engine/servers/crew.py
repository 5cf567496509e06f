"""Threads that ask servers side by side. Knows jobs and their outcomes; nothing of servers."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # torch loads with the first run
    from trlt.engine.forest import Completion, PromptRequest
    from trlt.engine.sampling import Sampling
    from trlt.engine.servers.messages import Videos

Place = tuple[int, int, int]
"""Tree, request, first branch."""


@dataclass(frozen=True)
class ServerJob:
    """Completions of one request that are asked for together."""

    place: Place
    request: PromptRequest
    videos: Videos
    n: int
    sampling: Sampling
    stop: threading.Event


class Crew:
    """Threads that do jobs, as many as there are jobs, up to a limit.

    Args:
        work: Does a job.
        most: Threads at most.
    """

    def __init__(self, work: Callable[[ServerJob], list[Completion]], most: int) -> None:
        self.stop = threading.Event()
        self._work, self._most = work, most
        self._todo: queue.SimpleQueue[ServerJob | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[tuple[ServerJob, list[Completion] | BaseException]] = queue.SimpleQueue()
        self._threads = self._open = 0

    def give(self, job: ServerJob) -> None:
        """Hands out a job."""
        self._todo.put(job)
        self._open += 1
        if self._threads < min(self._open, self._most):
            self._threads += 1
            # Daemons: a server that hangs must not keep an interrupted run alive.
            threading.Thread(target=self._run, daemon=True).start()

    def take(self) -> tuple[ServerJob, list[Completion] | Exception]:
        """A job that is done, and its outcome, or what went wrong with it; raises what ends a thread."""
        job, answer = self._done.get()
        self._open -= 1
        if isinstance(answer, BaseException) and not isinstance(answer, Exception):
            raise answer
        return job, answer

    def dismiss(self) -> None:
        """Ends the threads, each after its job."""
        for _ in range(self._threads):
            self._todo.put(None)

    def _run(self) -> None:
        while (job := self._todo.get()) is not None and not self.stop.is_set():
            try:
                self._done.put((job, self._work(job)))
            except BaseException as error:  # told by `take`, in the thread that asked
                self._done.put((job, error))
            del job
