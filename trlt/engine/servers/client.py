"""OpenAI-compatible servers of the model (vLLM, SGLang) in place of the engine.

Many requests at once, spread over the servers; failures are retried, on another server if there is one; a server that keeps
failing is set aside until it is well. Frames are sent as the loader made them, and each answer is checked for having seen all
of them. Knows trees, requests and servers; never answers or rewards.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trlt.engine.marks import VISION_TOKENS
from trlt.engine.servers.messages import ServerCompletion, Videos, check_tokens, first_seed, pattern, question, read, remedy
from trlt.engine.servers.pool import Limits, Server, ServerPool
from trlt.engine.servers.transport import Refused, ServerAddress, TransientFault, call
from trlt.errors import ModelError, ServerError, UsageError
from trlt.errors.faults import fault_of
from trlt.recipe import advice

if TYPE_CHECKING:  # torch loads with the first run
    from trlt.engine.forest import Answered, Completion, PromptRequest, Tree
    from trlt.engine.sampling import Sampling
    from trlt.video.clip import Clip

__all__ = ["Limits", "ServerError", "Servers"]

KEYS = ("TRLT_API_KEY", "OPENAI_API_KEY")
"""Environment variables for a key, the first that is set; it is never written."""
PROBE_FRAMES = (2, 40)
"""Of the clips that a server is tried with; more than the 32 that vLLM takes of a video unless it is told otherwise."""


_Place = tuple[int, int, int]
"""Tree, request, first branch."""


@dataclass(frozen=True)
class _ServerJob:
    place: _Place
    request: PromptRequest
    videos: Videos
    n: int
    sampling: Sampling
    stop: threading.Event


class Servers:
    """Sends servers the requests for the engine.

    Args:
        urls: Where they listen: `http://host:8000`, with or without `/v1`.
        model: Name of the model there; None uses the only one that they serve.
        limits: See `Limits`.
        on_event: Called when a server is set aside or comes back; from any thread.

    Raises:
        UsageError: an address that can't be used.
    """

    def __init__(
        self,
        urls: Sequence[str],
        *,
        model: str | None = None,
        limits: Limits | None = None,
        on_event: Callable[[str], None] | None = None,
    ) -> None:
        if not urls:
            raise UsageError("--server: give at least one address")
        self.model = model
        self.parity: None = None
        """Servers make their inputs themselves."""
        self.limits = limits or Limits()
        servers = [Server(address) for address in dict.fromkeys(ServerAddress.parse(url) for url in urls)]
        self._pool = ServerPool(servers, self.limits, self._look, on_event or (lambda _: None))
        self._key = next((os.environ[name] for name in KEYS if os.environ.get(name)), None)

    def check(self) -> None:
        """Identifies the servers and checks that they accept whole videos; to be called before `generate`.

        Unreachable servers are set aside, as long as one is reachable.

        Raises:
            ServerError: none can be reached, or one serves another model, ignores videos or changes their frames.
        """
        for server in self._pool.servers:
            try:
                self._prove(server)
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

        crew = _Crew(self._answer, self.limits.concurrency * len(self._pool.servers))
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

    def _jobs(self, trees: Iterable[Tree], sampling: Sampling, stop: threading.Event) -> Iterator[_ServerJob]:
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
                    yield _ServerJob((t, r, branch), request, videos, step, sampling, stop)

    def _answer(self, job: _ServerJob) -> list[Completion]:
        """Asks until there is an answer."""
        failed = 0
        last: Server | None = None
        while True:
            server = self._pool.take(job.stop, avoid=last)
            try:
                completions = self._ask(server, job)
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

    def _ask(self, server: Server, job: _ServerJob) -> list[Completion]:
        try:
            if job.n > 1 and server.many:
                said = self._together(server, job)
                if said is not None and said.counted:
                    return said.completions
                server.many = False  # from here on one by one, with the seeds that it would have counted up itself
            return [one for index in range(job.n) for one in self._request(server, job, index, 1).completions]
        except Refused as refused:
            raise self._refusal(server, refused) from None

    def _together(self, server: Server, job: _ServerJob) -> ServerCompletion | None:
        """All completions by one request; None where the server refuses that."""
        try:
            return self._request(server, job, 0, job.n)
        except Refused as refused:
            if refused.status in (400, 422):  # if n isn't why, a single one will be refused as well
                return None
            raise

    def _request(self, server: Server, job: _ServerJob, index: int, n: int) -> ServerCompletion:
        clip, request = job.videos.clip, job.request
        video, seed = job.videos.of(server.kind), first_seed(job.sampling.seed, request) + job.place[2] + index
        body = question(server.kind, self.model or "", request, clip, video, job.sampling, n=n, seed=seed)
        answer = self._call(server, "/v1/chat/completions", body)
        try:
            said = read(answer, n)
            check_tokens(said, request, clip, server.kind, server.template)
        except ServerError as error:
            raise ServerError(f"{server.address}: {error}") from None
        return said

    def _refusal(self, server: Server, refused: Refused) -> ServerError:
        hint = {
            401: f"; set the key in {KEYS[0]}",
            403: f"; set the key in {KEYS[0]}",
            404: f"; is {self.model!r} the name of the model there?",
            413: f"; let the server take larger requests, or {advice('lower video.max_tokens')}",
        }.get(refused.status, "")
        return ServerError(f"{server.address}: refused a request with {refused}{hint}")

    def _call(self, server: Server, path: str, body: dict[str, Any] | None = None, timeout_s: float | None = None) -> Any:
        return call(server.address, path, key=self._key, timeout_s=timeout_s or self.limits.timeout_s, body=body)

    def _look(self, server: Server) -> None:
        """Raises if a server isn't well, has another model by now, or can't take videos."""
        if not server.proven:
            self._prove(server)
            return
        try:
            call(server.address, "/health", key=self._key, timeout_s=10.0, wordless=True)
        except Refused as refused:
            if refused.status not in (404, 405):  # not every server has it
                raise self._refusal(server, refused) from None
        self._models(server)

    def _models(self, server: Server) -> None:
        """Learns the model's name and the kind of the server."""
        try:
            answer = self._call(server, "/v1/models", timeout_s=30.0)
            owners = {str(card["id"]): str(card.get("owned_by", "")) for card in answer["data"]}
        except Refused as refused:
            raise self._refusal(server, refused) from None
        except (KeyError, TypeError, AttributeError):
            raise TransientFault("/v1/models doesn't list models as OpenAI's does") from None
        names = ", ".join(owners) or "none"
        if self.model is None and len(owners) == 1:
            self.model = next(iter(owners))
        if self.model is None:
            raise ServerError(f"{server.address}: serves {len(owners)} models ({names}); name one with --model")
        if owners and self.model not in owners:  # one that lists none may still know the name
            raise ServerError(f"{server.address}: doesn't serve {self.model!r}, but {names}; all servers must serve one model")
        server.kind = "sglang" if owners.get(self.model) == "sglang" else "vllm"

    def _prove(self, server: Server) -> None:
        """Tries a server with two small clips: its prompts must grow by the tokens of the frames, no more and no less."""
        self._models(server)
        # SGLang may draw the completions of one request from one seed: it is asked for them one by one.
        server.many = server.kind == "vllm"
        server.template = 0
        few, many = (pattern(frames) for frames in PROBE_FRAMES)
        first = self._try(server, few)
        # The difference of two clips, in which template and texts cancel out.
        grown, due = self._try(server, many) - first, many.tokens - few.tokens
        if grown != due:
            frames = PROBE_FRAMES[1] - PROBE_FRAMES[0]
            raise ServerError(
                f"{server.address}: {frames} more frames added {grown} tokens to a prompt, not {due}; {remedy(server.kind)}"
            )
        server.template = first - few.tokens - 2  # the two texts were a token each
        server.proven = True

    def _try(self, server: Server, clip: Clip) -> int:
        """Tokens of a prompt with a clip; finds out, too, whether completions can be asked for together."""
        from trlt.engine.forest import PromptRequest
        from trlt.engine.sampling import Sampling

        job = _ServerJob(
            (0, 0, 0), PromptRequest("check", "?", "?"), Videos(clip), 2, Sampling(max_new_tokens=1), threading.Event()
        )
        if server.many:
            self._ask(server, job)
        try:
            return self._request(server, job, 0, 1).prompt_tokens
        except Refused as refused:
            raise self._refusal(server, refused) from None


class _Crew:
    """Threads that do jobs, as many as there are jobs, up to a limit.

    Args:
        work: Does a job.
        most: Threads at most.
    """

    def __init__(self, work: Callable[[_ServerJob], list[Completion]], most: int) -> None:
        self.stop = threading.Event()
        self._work, self._most = work, most
        self._todo: queue.SimpleQueue[_ServerJob | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[tuple[_ServerJob, list[Completion] | BaseException]] = queue.SimpleQueue()
        self._threads = self._open = 0

    def give(self, job: _ServerJob) -> None:
        """Hands out a job."""
        self._todo.put(job)
        self._open += 1
        if self._threads < min(self._open, self._most):
            self._threads += 1
            # Daemons: a server that hangs must not keep an interrupted run alive.
            threading.Thread(target=self._run, daemon=True).start()

    def take(self) -> tuple[_ServerJob, list[Completion] | Exception]:
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
