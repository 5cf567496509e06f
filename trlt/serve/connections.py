"""How long a connection may take to ask, and to take its answer. Knows uvicorn's protocol; nothing of what is asked.

uvicorn itself waits for a request's head without end, so that a few dozen connections that say nothing would keep everyone out.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from trlt.serve.guard import error_values

HEAD_S = 10.0
"""From the connection, or the end of the last answer, to the whole head of a request; what still comes of a body that was
answered already falls into it too."""
READ_S = 60.0
"""In which whoever asks must take some of an answer that doesn't fit into the system's buffers any more."""
MOST_SILENT = 64
"""Connections without a request that are kept; beyond it, the one that was silent for longest goes."""


class Patient(H11Protocol):
    """uvicorn's protocol with an end to its patience."""

    _late: asyncio.TimerHandle | None = None
    """Ends a connection that has no request under way."""
    _unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A connection opens."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Something came."""
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """An answer was given."""
        super().on_response_complete()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """A connection has ended."""
        self._stop_waiting()
        if self._unread is not None:
            self._unread.cancel()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """The other side reads more slowly than is written."""
        super().pause_writing()
        self._unread = self.loop.call_later(READ_S, self.transport.abort)

    def resume_writing(self) -> None:
        """The other side reads on."""
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None
        super().resume_writing()

    def _watch(self) -> None:
        """Begins to wait where no request is under way, and stops where one is."""
        if (self.cycle is not None and not self.cycle.response_complete) or self.transport.is_closing():
            self._stop_waiting()
        elif self._late is None:
            self._late = self.loop.call_later(HEAD_S, self._give_up)
            silent = {other._late.when(): other for other in self.connections if isinstance(other, Patient) and other._late}
            if len(silent) > MOST_SILENT:
                silent[min(silent)]._give_up()

    def _stop_waiting(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _give_up(self) -> None:
        """Closes the connection; where part of a head came, with a word."""
        self._stop_waiting()
        if self.transport.is_closing():
            return
        if self.conn.our_state is h11.IDLE and self.conn.trailing_data[0]:
            self._say(408, f"no whole request in {HEAD_S:g} s")
        self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """What came is no HTTP."""
        self._say(400, msg)
        self.transport.close()

    def _say(self, status: int, message: str) -> None:
        data = json.dumps(error_values(status, message)).encode()
        headers: list[Any] = [(b"content-type", b"application/json"), (b"content-length", str(len(data)).encode())]
        head = h11.Response(status_code=status, headers=[*headers, (b"connection", b"close")])
        for event in (head, h11.Data(data=data), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
