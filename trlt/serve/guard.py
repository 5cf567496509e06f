"""Access rules: names of this server, pages of this server, bodies up to a size and a time; headers of every response.

A page of anyone's can make a browser send requests to this machine. So each request must name this server as its host (a name
that was pointed here afterwards, DNS rebinding, isn't one), and what changes something must come from a page of this server, or
from no page at all.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import math
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; media-src blob:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_SAFE = ("GET", "HEAD")
SILENCE_S = 20.0
"""In which some of a body must come."""
BODY_S, LEAST_RATE = 30.0, 16_384
"""A body may take these seconds, and one more for each so many bytes."""
MOST_REQUESTS = 96
"""Requests that are under way at once; further ones are turned away. Questions that wait (`worker.MOST_WAITING`) leave room for
the page, and for videos that are still coming."""
RETRY_S = 5
"""What those that are turned away are told to wait, where nothing better is known."""


class Guard:
    """Wraps an application; refuses what doesn't belong here, and adds the headers.

    Args:
        app: The application.
        host: Name that the server was bound to; addresses and `localhost` are always its own.
    """

    def __init__(self, app: ASGIApp, host: str) -> None:
        self._app, self._host = app, host.lower()
        self._under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        reason = self._fault(scope)
        if reason is not None:
            await error_response(403, reason)(scope, receive, send_guarded)
            return
        if self._under_way >= MOST_REQUESTS:
            await error_response(503, "too many requests are under way; try again in a moment")(scope, receive, send_guarded)
            return
        self._under_way += 1
        try:
            await self._app(scope, receive, send_guarded)
        finally:
            self._under_way -= 1

    def _fault(self, scope: Scope) -> str | None:
        """Why a request is refused; None where it isn't."""
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not self._is_own(host):
            return f"{host!r} is no name of this server; use its address, or name it with --host"
        if scope["method"] in _SAFE:
            return None
        origin, site = headers.get("origin"), headers.get("sec-fetch-site", "none")
        if (origin is not None and origin.lower() != f"http://{host}".lower()) or site not in ("none", "same-origin"):
            return "requests from pages of other servers are refused"
        return None

    def _is_own(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        if name in ("localhost", self._host):
            return bool(name)
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True  # no name, so none that could have been pointed here


def error_values(status: int, message: str, param: str | None = None, code: str | None = None) -> dict[str, Any]:
    """An error in the form that OpenAI's clients read, and our page too.

    Args:
        status: Of the answer.
        message: For a person.
        param: Field of the request that is at fault.
        code: Kind of the fault for programs, as OpenAI names it.
    """
    kind = "invalid_request_error" if status < 500 else "server_error"
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def error_response(
    status: int,
    message: str,
    headers: Mapping[str, str] | None = None,
    *,
    param: str | None = None,
    code: str | None = None,
    wait_s: float = RETRY_S,
) -> JSONResponse:
    """An error as an answer; whoever is turned away for now (503) is told for how long."""
    later = {"Retry-After": str(math.ceil(wait_s))} if status == 503 else {}
    return JSONResponse(error_values(status, message, param, code), status, {**later, **(headers or {})})


class EventStream(StreamingResponse):
    """An answer that goes on.

    Args:
        events: Texts of `sent_event`.
        held: What is closed at the end, also where whoever asked is gone before the first text.
    """

    media_type = "text/event-stream"

    def __init__(self, events: AsyncIterator[str], held: ExitStack) -> None:
        super().__init__(events)
        self._held = held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        with self._held:
            await super().__call__(scope, receive, send)


def sent_event(value: Any) -> str:
    """A server-sent event of a JSON value; a text goes as it is."""
    return f"data: {value if isinstance(value, str) else json.dumps(value)}\n\n"


class Stalled(Exception):
    """A body doesn't come."""


class BodyTooLarge(Exception):
    """A body is larger than allowed."""


async def bounded_body(request: Request, most: int, add: Callable[[int], None] = lambda _: None) -> bytes:
    """The whole body.

    Args:
        request: As it comes.
        most: Bytes.
        add: Is told how many bytes more are held, before they are; may raise.

    Raises:
        BodyTooLarge: it has more than `most` bytes, or says so.
    """
    if stated_size(request) > most:
        raise BodyTooLarge
    parts, size = [], 0
    async for block in blocks(request):
        size += len(block)
        if size > most:
            raise BodyTooLarge
        add(len(block))
        parts.append(block)
    return b"".join(parts)


def stated_size(request: Request) -> int:
    """Bytes that a request says it has; 0 where it doesn't."""
    stated = request.headers.get("content-length", "")
    return int(stated) if stated.isascii() and stated.isdigit() else 0


async def blocks(request: Request) -> AsyncIterator[bytes]:
    """The body as it comes.

    Raises:
        Stalled: nothing comes any more, or too little.
    """
    clock, size, stream = asyncio.get_running_loop().time, 0, request.stream()
    began = clock()
    while True:
        try:
            async with asyncio.timeout_at(min(clock() + SILENCE_S, began + BODY_S + size / LEAST_RATE)):
                block = await anext(stream, None)
        except TimeoutError:
            raise Stalled(f"the rest of the request didn't come ({size:,} bytes did)") from None
        if block is None:
            return
        size += len(block)
        if block:
            yield block
