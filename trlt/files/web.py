"""One HTTP request with bounds on total time and size, whatever the server sends. Knows URLs and bytes."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable, Collection, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import IO, TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import ssl

T = TypeVar("T")


class ReplyTooLarge(Exception):
    """The response is larger than allowed."""


class Elsewhere(Exception):
    """The address, or one that a redirection leads to, isn't at an allowed host."""


class Unanswered(Exception):
    """No connection, or an incomplete response."""

    def __init__(self, words: str, *, refused: bool = False) -> None:
        super().__init__(words)
        self.refused = refused
        """Nobody listens at that address."""


@dataclass(frozen=True, slots=True)
class HttpReply:
    """A server's response."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    content: bytes
    """The body; empty if it was written to a file."""
    size: int
    """Bytes of the body."""


def send(
    method: str,
    url: str,
    *,
    timeout_s: float,
    most_bytes: int,
    silence_s: float | None = None,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    into: IO[bytes] | None = None,
    outside: bool = False,
    origins: Collection[str] | None = None,
    begun: Callable[[int, Mapping[str, str]], None] | None = None,
) -> HttpReply:
    """Sends one request on a new connection.

    Args:
        method: `GET` or `POST`.
        url: An http or https address.
        timeout_s: Total limit for name lookup, connection, request and response.
        most_bytes: Maximum size of the response's body.
        silence_s: Longest time without a byte; None: `timeout_s`.
        headers: In addition to the usual ones.
        body: The posted body.
        into: File for the body of a response with a status below 300.
        outside: Use the environment's proxies, and follow redirects to http and https only.
        origins: Schemes and hosts, such as `https://example.org`, that the address and redirects may lead to; None: all.
        begun: Called with status and headers (names in lower case) before the first byte of a body.

    Raises:
        TimeoutError: the response isn't complete in time.
        ReplyTooLarge: it is larger.
        Elsewhere: it would come from another host; that one isn't asked.
        Unanswered: no connection, a broken response, or no HTTP.
    """
    import httpx2

    async def allowed(request: httpx2.Request) -> None:
        origin = f"{request.url.scheme}://{request.url.netloc.decode('ascii', 'replace')}"
        if origins is not None and origin not in origins:
            raise Elsewhere(origin)

    async def answered() -> HttpReply:
        sent = {"Accept-Encoding": "identity", "User-Agent": "trlt", **(headers or {})}
        try:
            async with (
                # The library's own limits are ones of silence: headers or a body that trickle would never end by them.
                asyncio.timeout(timeout_s),
                httpx2.AsyncClient(
                    timeout=silence_s or timeout_s,
                    trust_env=outside,
                    follow_redirects=outside,
                    verify=_context(),
                    event_hooks={"request": [allowed]},
                ) as client,
                client.stream(method, url, headers=sent, content=body) as answer,
            ):
                kept, size = [], 0
                if begun is not None:
                    begun(answer.status_code, answer.headers)
                async for block in answer.aiter_raw():
                    size += len(block)
                    if size > most_bytes:
                        raise ReplyTooLarge
                    if into is not None and answer.status_code < 300:
                        into.write(block)
                    else:
                        kept.append(block)
                return HttpReply(answer.status_code, dict(answer.headers), b"".join(kept), size)
        except httpx2.TimeoutException:
            raise Unanswered(f"nothing came for {silence_s or timeout_s:g} s") from None
        except (httpx2.HTTPError, httpx2.InvalidURL, UnicodeError) as error:
            cause = _system_error(error)
            raise Unanswered(_words(error, cause), refused=cause is not None and cause.errno == errno.ECONNREFUSED) from None

    return _run(answered())


def _system_error(error: BaseException) -> OSError | None:
    """What the system said, among what an error was raised from."""
    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, BaseExceptionGroup):
            inner = inner.exceptions[0]
        elif isinstance(inner, OSError) and inner.errno is not None and inner.strerror:
            return inner
        else:
            inner = inner.__cause__ or inner.__context__
    return None


def _words(error: BaseException, cause: OSError | None) -> str:
    """The system's message if there is one: "Connection refused", not "All connection attempts failed"."""
    import ssl

    if isinstance(cause, ssl.SSLError):  # whose numbers aren't the system's
        return "it doesn't speak TLS; is it http:// ?" if cause.reason == "WRONG_VERSION_NUMBER" else f"TLS: {cause.reason}"
    if cause is not None and cause.errno is not None:
        return os.strerror(cause.errno) if cause.errno > 0 else str(cause.strerror)
    return str(error) or type(error).__name__


@cache
def _context() -> ssl.SSLContext:
    """Created once, since it reads the machine's certificates."""
    import httpx2

    return httpx2.create_ssl_context()


def _run(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine, even if a loop already runs in this thread, as in a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()
