"""One answer over HTTP, bounded in time and size whatever a server sends and however slowly. Knows addresses and bytes."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import IO, TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import ssl

T = TypeVar("T")


class ReplyTooLarge(Exception):
    """An answer has more bytes than allowed."""


class Unanswered(Exception):
    """No connection, or what came isn't a whole answer."""


@dataclass(frozen=True, slots=True)
class HttpReply:
    """What a server answered."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    content: bytes
    """The body; empty where it was written to a file."""
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
) -> HttpReply:
    """Sends one request, on a connection of its own.

    Args:
        method: `GET` or `POST`.
        url: An http or https address.
        timeout_s: For all of it: name, connection, request and answer.
        most_bytes: Of the answer's body.
        silence_s: Longest time without a byte; None: `timeout_s`.
        headers: Beside the usual ones.
        body: What is posted.
        into: Gets the body of an answer below 300 as it comes.
        outside: Takes the proxies that the environment names, and follows redirections, to http and https only.

    Raises:
        TimeoutError: the answer isn't whole in time.
        TooLarge: it has more bytes.
        Unanswered: no connection, a broken answer, or no HTTP.
    """
    import httpx2

    async def answered() -> HttpReply:
        sent = {"Accept-Encoding": "identity", "User-Agent": "trlt", **(headers or {})}
        try:
            async with (
                # The library's own limits are ones of silence: headers or a body that trickle would never end by them.
                asyncio.timeout(timeout_s),
                httpx2.AsyncClient(
                    timeout=silence_s or timeout_s, trust_env=outside, follow_redirects=outside, verify=_context()
                ) as client,
                client.stream(method, url, headers=sent, content=body) as answer,
            ):
                kept, size = [], 0
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
            raise Unanswered(_words(error)) from None

    return _run(answered())


def _words(error: BaseException) -> str:
    """What the system says, where it has a word in it: "Connection refused", not "All connection attempts failed"."""
    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, BaseExceptionGroup):
            inner = inner.exceptions[0]
        elif isinstance(inner, OSError) and inner.errno is not None and inner.strerror:
            return os.strerror(inner.errno) if inner.errno > 0 else inner.strerror
        else:
            inner = inner.__cause__ or inner.__context__
    return str(error) or type(error).__name__


@cache
def _context() -> ssl.SSLContext:
    """Made once: it reads the machine's certificates."""
    import httpx2

    return httpx2.create_ssl_context()


def _run(work: Coroutine[Any, Any, T]) -> T:
    """The outcome of a coroutine, also where a loop runs already in this thread, as in a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()
