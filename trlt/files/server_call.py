"""One call over HTTP, and what may have gone wrong with it. Knows addresses, JSON and errors; nothing of models."""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http.client import responses
from typing import Any
from urllib.parse import urlsplit

from trlt.errors import UsageError
from trlt.files.bounded_json import loads
from trlt.files.web import ReplyTooLarge, Unanswered, send

MOST_BYTES = 64 << 20
"""Of an answer; sixteen completions of 8192 tokens with their ids have 3 MB."""
_SAID_BYTES = 1 << 16
"""Of an error, as far as it is looked at."""


class TransientFault(Exception):
    """A failure that may pass: worth another try, here or elsewhere."""

    def __init__(
        self, words: str, *, busy: bool = False, wait_s: float | None = None, spoken: bool = False, absent: bool = False
    ) -> None:
        super().__init__(words)
        self.busy = busy
        """The server is well, and asks for patience."""
        self.wait_s = wait_s
        """Seconds that it asks for; 0 where it asks to be tried again at once."""
        self.spoken = spoken
        """The server said so itself."""
        self.absent = absent
        """Nobody listens at its address."""


class Refused(Exception):
    """An answer that will be the same next time (4xx)."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(f"{status}: {words}")
        self.status = status


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """Where a server listens."""

    scheme: str
    host: str
    port: int
    path: str
    """Before `/v1` and `/health`, without a slash at the end."""

    @classmethod
    def parse(
        cls, url: str, *, named: str = "--server", key: str = "in the environment variable TRLT_API_KEY"
    ) -> ServerAddress:
        """Takes `http://host:8000`, with or without `/v1`.

        Args:
            url: As it was typed.
            named: Begins messages.
            key: Where a key belongs instead.

        Raises:
            UsageError: no http(s) address, or one with a password, a query or a fragment (which it doesn't repeat).
        """
        parts = urlsplit(url.strip())
        shown = f"{named} {parts.scheme}://{parts.hostname or ''}"
        if parts.scheme not in ("http", "https") or not parts.hostname:
            if not set("@?#") & set(url):  # it holds no secret, and may be shown as it was typed
                shown = f"{named} {url.strip()}"
            raise UsageError(f"{shown}: give an http or https address, such as http://localhost:8000")
        if "@" in parts.netloc or parts.query or parts.fragment:
            raise UsageError(
                f"{shown}: holds a user, a password or a query, which would end up in manifests; "
                f"give the plain address, and a key {key}"
            )
        try:
            port = parts.port
        except ValueError:
            raise UsageError(f"{shown}: the port is no number from 0 to 65535") from None
        path = parts.path.rstrip("/").removesuffix("/v1")
        return cls(parts.scheme, parts.hostname, port or (443 if parts.scheme == "https" else 80), path)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.path}"


def call(
    address: ServerAddress,
    path: str,
    *,
    key: str | None,
    timeout_s: float,
    body: Mapping[str, Any] | None = None,
    wordless: bool = False,
) -> dict[str, Any]:
    """The JSON object that a server answers with.

    A connection is made for each call: next to the frames it costs nothing, and none can be stale.

    Args:
        address: The server.
        path: From its root, such as `/v1/models`.
        key: Sent as a bearer token, and blotted out of whatever the server says.
        timeout_s: For the whole call.
        body: Posted as JSON; None asks with GET.
        wordless: Only the status counts; gives `{}`.

    Raises:
        TransientFault: no connection, no answer in time, a broken one, 408, 429 or 5xx.
        Refused: another 4xx, or a redirection.
    """
    headers = {"Accept": "application/json"}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    data = None
    if body is not None:
        data = json.dumps(body).encode()
        headers["Content-Type"] = "application/json"
    method = "GET" if data is None else "POST"
    try:
        # One limit of time and size for all of it. A library's own limits
        # bound silence, which an answer that trickles never reaches.
        reply = send(method, f"{address}{path}", timeout_s=timeout_s, most_bytes=MOST_BYTES, headers=headers, body=data)
    except ReplyTooLarge:
        raise TransientFault(f"an answer of more than {MOST_BYTES / 1e6:.0f} MB, not read to its end") from None
    except TimeoutError:
        raise TransientFault(f"no whole answer in {timeout_s:g} s") from None
    except Unanswered as error:
        raise TransientFault(str(error), absent=error.refused) from None
    if reply.status >= 300:
        _raise(reply.status, reply.headers, _words(reply.content, key))
    return {} if wordless else _parse(reply.content, key)


def _raise(status: int, headers: Mapping[str, str], words: str) -> None:
    said = f"{status} {responses.get(status, '')}".strip() + (f": {words}" if words else "")
    wait = _wait(headers.get("retry-after"))
    # Without Retry-After, a 503 may as well be a server that is broken: it counts as a failure.
    if status == 429 or (status == 503 and wait is not None):
        raise TransientFault(said, busy=True, wait_s=wait, spoken=True)
    if status == 408 or status >= 500:
        raise TransientFault(said, spoken=True)
    if status < 400:
        raise Refused(status, f"sends on to {headers.get('location')}; give that address")
    raise Refused(status, words or responses.get(status, ""))


def _wait(value: str | None) -> float | None:
    """Seconds of a Retry-After header, which holds seconds or a date; None where it holds neither."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, TypeError, OverflowError):
            return None
    # `float` reads "inf" and "nan", too.
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _parse(content: bytes, key: str | None) -> dict[str, Any]:
    try:
        value = loads(content)
    except ValueError:
        raise TransientFault(f"the answer is no JSON: {_words(content, key)}") from None
    if not isinstance(value, dict):
        raise TransientFault(f"the answer is no JSON object: {_words(content, key)}")
    return value


def _words(content: bytes, key: str | None) -> str:
    """What a server said of an error, in one short line without the key."""
    text = content[:_SAID_BYTES].decode("utf-8", "replace")
    try:
        value = loads(text)
    except ValueError:
        text = re.sub(r"<style.*?</style>|<[^>]*>", " ", text, flags=re.DOTALL)
    else:
        while isinstance(value, dict):
            value = next((value[name] for name in ("error", "message", "detail") if value.get(name)), str(value))
        text = str(value)
    text = " ".join(text.split())
    return (text.replace(key, "***") if key else text)[:300]
