"""Which server is asked next, which is set aside, and when it comes back. Knows failures and clocks; nothing of requests."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from trlt.engine.servers.messages import Form
from trlt.errors import ServerError
from trlt.files.server_call import ServerAddress, TransientFault

LONGEST_PAUSE_S = 60.0
"""Waits grow up to this."""
SHORTEST_PAUSE_S = 0.05
"""A busy server is left alone for this long at least, whatever it asks for."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is asked at once, and how long failures are put up with."""

    concurrency: int = 32
    """Requests under way at one server."""
    timeout_s: float = 600.0
    """For one request, its time in the server's own queue included."""
    attempts: int = 10
    """Failures after which a request is given up, and the run with it."""
    strikes: int = 3
    """Failures in a row after which a server is set aside."""
    backoff_s: float = 1.0
    """Wait after a first failure; doubled with each further one, give or take half."""
    patience_s: float = 600.0
    """How long all servers may be away or busy."""
    gone_s: float = 20.0
    """How long nobody may listen at any of their addresses: a server that was ended, or died."""
    health_s: float = 10.0
    """Until a server that was set aside is looked at again; doubled each time."""


Kind = Literal["vllm", "sglang", "trlt"]
"""Program at an address. One of another name is taken for vLLM, whose form most others copy."""


@dataclass(eq=False)
class Server:
    """One server, and how it has behaved."""

    address: ServerAddress
    kind: Kind = "vllm"
    proven: bool = False
    """It was seen to take videos at their rate."""
    many: bool = True
    """It gives several completions to one request, and the tokens of each."""
    template: int = 0
    """Tokens that its chat template adds to the texts."""
    bare_template: int = 0
    """The same for a prompt without a system text."""
    openings: dict[bool | None, str] = field(default_factory=dict)
    """What its chat template begins of a completion, by whether reasoning is asked for; it's no part of an answer there."""
    textless: range = range(0)
    """Ids that stand for no text, and are kept out of the draw."""
    active: int = 0
    failures: int = 0
    """In a row."""
    aside: bool = False
    looked: int = 0
    """Times that it was looked at since it was set aside."""
    next_look: float = 0.0
    busy: bool = False
    """Its last answer was that it is."""
    resting: float = 0.0
    """Until when it asked to be left alone."""
    last: str = ""
    """What went wrong last."""
    said: str = ""
    """The last of it that the server said itself."""
    absent: bool = False
    """Nobody listened there, the last time."""

    @property
    def form(self) -> Form:
        """How it is asked."""
        return "sglang" if self.kind == "sglang" else "vllm"

    def note(self, fault: Exception) -> None:
        """Remembers what went wrong."""
        self.last = str(fault)
        self.absent = isinstance(fault, TransientFault) and fault.absent
        if not isinstance(fault, TransientFault) or fault.spoken:
            self.said = self.last


class ServerPool:
    """Servers that threads share.

    Args:
        servers: All of them.
        limits: See `Limits`.
        look: Asks a server that was set aside whether it is well; raises Fault or ServerError when not.
        on_event: Is told when a server is set aside or comes back.
        gone: Of an address, what is known of the end of the program there; None while it runs, or where that isn't known.
    """

    def __init__(
        self,
        servers: Sequence[Server],
        limits: Limits,
        look: Callable[[Server], None],
        on_event: Callable[[str], None],
        gone: Callable[[str], str | None] | None = None,
    ) -> None:
        self.servers = servers
        self._limits = limits
        self._look = look
        self._on_event = on_event
        self._gone = gone or (lambda _: None)
        self._ready = threading.Condition()
        self._dark: float | None = None
        """Since when all servers are away or busy."""

    def begin(self) -> None:
        """Starts to count the time in which no server is of use."""
        with self._ready:
            self._dark = None

    def take(self, stop: threading.Event, avoid: Server | None = None) -> Server:
        """The least busy of the servers that can be asked, rather not `avoid`; waits for one. To be given back.

        Raises:
            ServerError: none has been of use for too long, or `stop` is set.
        """
        while True:
            with self._ready:
                now = time.monotonic()
                if stop.is_set():
                    raise ServerError("stopped")
                due = next((one for one in self.servers if one.aside and one.next_look <= now), None)
                if due is None:
                    self._lose_patience(now)
                    free = [one for one in self.servers if self._is_free(one, now)]
                    if free:
                        best = min(free, key=lambda one: (one is avoid, one.active))
                        best.active += 1
                        return best
                    # With a limit, because nobody notifies when a server's rest ends or `stop` is set.
                    self._ready.wait(0.05)
                    continue
                # Marked while the lock is held and asked after it is released: one
                # thread looks at a server, and if that takes long, the others go on.
                due.looked += 1
                due.next_look = now + min(LONGEST_PAUSE_S, self._limits.health_s * 2.0**due.looked)
            self._revive(due)

    def _is_free(self, server: Server, now: float) -> bool:
        return not server.aside and server.resting <= now and server.active < self._limits.concurrency

    def _lose_patience(self, now: float) -> None:
        # By what they answer, not by how long they ask to be left alone: that may be no time at all, or a year.
        if not all(one.aside or one.busy for one in self.servers):
            return
        self._dark = self._dark or now
        ends = [self._gone(str(one.address)) for one in self.servers]
        if all(ends):
            told = "\n".join(f"  {one.address}: {end}" for one, end in zip(self.servers, ends, strict=True))
            raise ServerError(f"no server is left; the same command goes on where it stopped\n{told}")
        # A server that is there and unwell may recover; where nobody listens any more, it takes somebody to start it.
        absent = all(one.aside and one.absent for one in self.servers)
        patience = min(self._limits.gone_s, self._limits.patience_s) if absent else self._limits.patience_s
        if now - self._dark > patience:
            raise ServerError(
                f"no server could be used for {patience:g} s; start one, then run the command again: "
                f"it goes on where it stopped\n{self.complaints()}"
            )

    def _revive(self, server: Server) -> None:
        try:
            self._look(server)
        except (TransientFault, ServerError) as error:
            server.note(error)
            return
        with self._ready:
            # One more failure sets it aside again.
            server.aside, server.busy, server.failures, self._dark = False, False, self._limits.strikes - 1, None
            self._ready.notify_all()
        self._on_event(f"{server.address}: back")

    def give_back(self, server: Server, fault: TransientFault | None = None) -> None:
        """Says that a request has ended, and how."""
        out = False
        with self._ready:
            server.active -= 1
            if fault is None:
                server.failures, server.busy, self._dark = 0, False, None
            # Busy is no failure: the server is well, and only patience with all of them is bounded.
            elif fault.busy:
                server.note(fault)
                server.busy = True
                wait_s = min(fault.wait_s or self.pause(1), self._limits.patience_s)
                server.resting = time.monotonic() + max(SHORTEST_PAUSE_S, wait_s)
            else:
                server.note(fault)
                server.busy = False
                server.failures += 1
                out = server.failures >= self._limits.strikes and not server.aside
                if out:
                    self._leave_out(server)
            self._ready.notify_all()
        # Told outside the lock, which all threads wait for.
        if out:
            self._on_event(f"{server.address}: set aside ({fault})")

    def set_aside(self, server: Server, fault: TransientFault) -> None:
        """Leaves a server out until it is well."""
        with self._ready:
            server.note(fault)
            self._leave_out(server)
        self._on_event(f"{server.address}: set aside ({fault})")

    def _leave_out(self, server: Server) -> None:
        server.aside, server.looked = True, 0
        server.next_look = time.monotonic() + self._limits.health_s

    def pause(self, failed: int) -> float:
        """Seconds to wait after so many failures; jitter keeps requests that failed together from coming back together."""
        return min(LONGEST_PAUSE_S, self._limits.backoff_s * 2.0 ** (failed - 1)) * random.uniform(0.5, 1.5)

    def complaints(self) -> str:
        """What each server did wrong last, a line each; of one that is gone, what it last said, too."""
        lines = []
        for one in self.servers:
            before = f"; the last that it said was: {one.said}" if one.said and one.said != one.last else ""
            lines.append(f"  {one.address}: {one.last or 'busy'}{before}")
        return "\n".join(lines)
