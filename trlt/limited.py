"""Answers over HTTP that are bounded in time and size, whatever a server sends and however slowly. Knows sockets alone."""

from __future__ import annotations

import http.client
import io
import socket
import time
from collections.abc import Callable
from typing import Any


class TooLarge(Exception):
    """An answer has more bytes than allowed."""


class _Limited(io.RawIOBase):
    """What comes from a socket.

    The socket's own limit is one of silence: a trickle of headers, of chunks' sizes or of a body would never end by it.
    """

    def __init__(self, sock: socket.socket, deadline: float, most_bytes: int) -> None:
        # This keeps the socket open when its connection lets go of it at the end of the headers.
        self._raw: Any = sock.makefile("rb", buffering=0)
        self._sock, self._deadline, self._left = sock, deadline, most_bytes

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left_s = self._deadline - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        silence_s = self._sock.gettimeout()
        self._sock.settimeout(left_s if silence_s is None else min(left_s, silence_s))
        count: int | None = self._raw.readinto(buffer)
        self._left -= count or 0
        if self._left < 0:
            raise TooLarge
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Source:
    """Stands for a socket where only `makefile` is wanted of it."""

    def __init__(self, raw: _Limited) -> None:
        self._raw = raw

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(self._raw)


def limit_answers(connection: http.client.HTTPConnection, deadline: float, most_bytes: int) -> None:
    """Makes a connection's answers end by a time of the monotonic clock, and within so many bytes, headers included.

    Reading then raises TimeoutError or `TooLarge`.
    """

    def answer(sock: socket.socket, *args: Any, **given: Any) -> http.client.HTTPResponse:
        return http.client.HTTPResponse(_Source(_Limited(sock, deadline, most_bytes)), *args, **given)  # type: ignore[arg-type]

    make: Callable[..., http.client.HTTPResponse] = answer
    connection.response_class = make  # type: ignore[assignment]
