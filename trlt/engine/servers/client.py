"""OpenAI-compatible servers of the model (vLLM, SGLang) in place of the engine.

Many requests at once, spread over the servers; failures are retried, on another server if there is one; a server that keeps
failing is set aside until it is well. Frames are sent as the loader made them, and each answer is checked for having seen all
of them. Knows trees, requests and servers; never answers or rewards.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from trlt.engine.families import FAMILIES
from trlt.engine.marks import VISION_TOKENS
from trlt.engine.servers.asking import Asker
from trlt.engine.servers.crew import Crew, ServerJob
from trlt.engine.servers.messages import Videos
from trlt.engine.servers.pool import Limits, Server, ServerPool
from trlt.engine.servers.proof import Proof
from trlt.errors import ModelError, ServerError, UsageError
from trlt.errors.faults import fault_of
from trlt.files.server_call import ServerAddress, TransientFault

if TYPE_CHECKING:  # torch loads with the first run
    from trlt.engine.families import Family
    from trlt.engine.forest import Answered, Completion, Tree
    from trlt.engine.sampling import Sampling

__all__ = ["Limits", "ServerError", "Servers"]


class Servers:
    """Sends servers the requests for the engine.

    Args:
        urls: Where they listen: `http://host:8000`, with or without `/v1`.
        model: Name of the model there; None uses the only one that they serve.
        family: Of the model, where the servers' own word on it can't be read from here; None: Qwen2.5-VL.
        limits: See `Limits`.
        on_event: Called when a server is set aside or comes back; from any thread.
        gone: Of an address, what is known of the end of the program that listened there; None while it runs, or where
            that isn't known. What has ended isn't waited for.
        key: Of the servers; None takes it from the environment (`TRLT_API_KEY`, `OPENAI_API_KEY`).

    Raises:
        UsageError: an address that can't be used.
    """

    def __init__(
        self,
        urls: Sequence[str],
        *,
        model: str | None = None,
        family: Family | None = None,
        limits: Limits | None = None,
        on_event: Callable[[str], None] | None = None,
        gone: Callable[[str], str | None] | None = None,
        key: str | None = None,
    ) -> None:
        if not urls:
            raise UsageError("--server: give at least one address")
        self.parity: None = None
        """Servers make their inputs themselves."""
        self.limits = limits or Limits()
        servers = [Server(address) for address in dict.fromkeys(ServerAddress.parse(url) for url in urls)]
        self._asker = Asker(model, self.limits, family or FAMILIES[0], key)
        self._proof = Proof(self._asker)
        self._pool = ServerPool(servers, self.limits, self._proof.look, on_event or (lambda _: None), gone)

    @property
    def model(self) -> str | None:
        """Name of the model at the servers; None until they were checked, unless it was given."""
        return self._asker.model

    @model.setter
    def model(self, name: str | None) -> None:
        self._asker.model = name

    @property
    def family(self) -> Family:
        """Of the model at the servers, by which frames must be cut; known once they were checked."""
        return self._asker.family

    def check(self) -> None:
        """Identifies the servers and proves that they see whole videos at their rate; to be called before `generate`.

        Unreachable servers are set aside, as long as one is reachable.

        Raises:
            ServerError: none can be reached, or one serves another model, ignores videos, or changes their frames or rate.
        """
        for server in self._pool.servers:
            try:
                self._proof.prove(server)
            except TransientFault as fault:
                self._pool.set_aside(server, fault)
        if all(server.aside for server in self._pool.servers):
            raise ServerError(f"no server can be used; start one, or correct --server:\n{self._pool.complaints()}")

    def identity(self) -> dict[str, Any]:
        """The identity of the model in a manifest: its name at the servers (their weights can't be seen from here)."""
        return {"served": self.model}

    def describe(self) -> list[dict[str, Any]]:
        """The servers, for a manifest; without keys."""
        return [{"url": str(server.address), "kind": server.kind} for server in self._pool.servers]

    def generate(self, trees: Sequence[Tree], sampling: Sampling, *, max_sequences: int = 256) -> list[list[list[Completion]]]:
        """Completions by tree, request and branch; see `stream`, whose errors are raised here."""
        from trlt.engine.forest import by_tree

        return by_tree(trees, self.stream(trees, sampling, max_sequences=max_sequences))

    def stream(
        self,
        trees: Iterable[Tree],
        sampling: Sampling,
        *,
        max_sequences: int = 256,
        ended: Callable[[int], None] | None = None,
    ) -> Iterator[Answered]:
        """Requests in the order in which they are done, with at most `max_sequences` (or one request's n) under way.

        Each request has a seed of its own, which depends on the sampling seed and the request alone. Whether a server respects
        it is up to the server.

        Raises:
            ServerError: a server refuses a request or doesn't see its whole video, or no server is left.
            ModelError: a question that holds a mark of the vision tower.
        """
        from trlt.engine.forest import Answered

        crew = Crew(self._answer, self.limits.concurrency * len(self._pool.servers))
        parts: dict[tuple[int, int], dict[int, list[Completion]]] = {}
        failed = set[tuple[int, int]]()
        jobs, waiting, under_way = self._jobs(trees, sampling, crew.stop), None, 0
        self._pool.begin()
        try:
            while True:
                # Nothing but the crew holds on to jobs: a clip's encoding goes with the last of its own.
                while (waiting := waiting or next(jobs, None)) and (not under_way or under_way + waiting.n <= max_sequences):
                    under_way += waiting.n
                    crew.give(waiting)
                    waiting = None
                if not under_way:
                    return
                job, completions = crew.take()
                under_way -= job.n
                t, r, branch = job.place
                # Another part of it has failed, and was its answer.
                if (t, r) in failed:
                    continue
                if isinstance(completions, Exception):
                    failed.add((t, r))
                    yield Answered(t, r, [], fault_of(completions))
                    continue
                if ended:
                    ended(len(completions))
                of_request = parts.setdefault((t, r), {})
                of_request[branch] = completions
                if sum(map(len, of_request.values())) == job.request.n:
                    del parts[t, r]
                    yield Answered(t, r, [one for first in sorted(of_request) for one in of_request[first]])
        finally:
            # Also when the caller leaves early: threads that wait for a server or between two tries end then.
            crew.stop.set()
            crew.dismiss()

    def _jobs(self, trees: Iterable[Tree], sampling: Sampling, stop: threading.Event) -> Iterator[ServerJob]:
        from trlt.video.clip import Clip

        for t, tree in enumerate(trees):
            assert isinstance(tree.clip, Clip), "servers are sent frames"
            videos = Videos(tree.clip)
            for r, request in enumerate(tree.requests):
                if any(mark in request.system + request.user for mark in VISION_TOKENS):
                    raise ModelError(f"prompt {request.key!r}: holds a mark of the vision tower; take it out of the question")
                # One by one as soon as one server needs it, because a job may go to any of them. The seeds are the same.
                step = request.n if all(server.many for server in self._pool.servers) else 1
                for branch in range(0, request.n, step):
                    yield ServerJob((t, r, branch), request, videos, step, sampling, stop)

    def _answer(self, job: ServerJob) -> list[Completion]:
        """Asks until there is an answer."""
        failed = 0
        last: Server | None = None
        while True:
            server = self._pool.take(job.stop, avoid=last)
            try:
                completions = self._asker.ask(server, job)
            except TransientFault as fault:
                self._pool.give_back(server, fault)
                # Doesn't count as a failure, and the same server may be asked again.
                if fault.busy:
                    continue
                last, failed = server, failed + 1
                if failed >= self.limits.attempts:
                    raise ServerError(
                        f"{server.address}: sample {job.request.key!r} failed {failed} times, the last time with: {fault}; "
                        "see the server's log, then run the command again: it goes on where it stopped"
                    ) from None
                job.stop.wait(self._pool.pause(failed))
            # What ends the run included: the server's count of open requests has to come down.
            except BaseException:
                self._pool.give_back(server)
                raise
            else:
                self._pool.give_back(server)
                return completions
