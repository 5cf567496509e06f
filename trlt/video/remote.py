"""Videos that samples name by http(s) address: refused, or downloaded once into a folder of the recipe. Decodes nothing."""

from __future__ import annotations

import hashlib
import http.client
import os
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from trlt.errors import VideoError, shown
from trlt.limited import TooLarge, limit_answers

MOST_BYTES = 8 << 30
"""A video that is larger is not downloaded."""
SILENCE_S = 30.0
"""A server that sends nothing for this long is given up."""
_BLOCK = 1 << 20
_HEAD_BYTES = 1 << 20
"""Of all that an answer has beside its body."""


def is_remote(video: str) -> bool:
    """Whether a sample's video is an address and not a path."""
    return "://" in video


def fetch(url: str, folder: Path | None, *, timeout_s: float = 600.0, most_bytes: int = MOST_BYTES) -> Path:
    """The file that an address stands for; downloaded where it isn't there yet, and only as a whole.

    Args:
        url: An http or https address.
        folder: Where downloads go; None refuses them all.
        timeout_s: Longest that one download may take.
        most_bytes: Largest file.

    Raises:
        VideoError: refused, unreachable, too slow or too large; names the address and the remedy.
    """
    try:
        parts = urlsplit(url)
        known = parts.scheme in ("http", "https") and parts.hostname
    except ValueError as error:
        raise VideoError(f"{shown(url)}: no address ({error}); correct it, or give a file") from None
    if not known:
        raise VideoError(f"{url}: only files and http(s) addresses are read")
    if folder is None:
        raise VideoError(
            f"{url}: an address, and downloads are not allowed; set video.downloads to a folder, or download it yourself"
        )
    suffix = PurePosixPath(parts.path).suffix.lower()
    path = folder / (
        hashlib.sha256(url.encode("utf-8", "surrogatepass")).hexdigest()[:32] + (suffix if suffix[1:].isalnum() else "")
    )
    if path.is_file():
        return path
    deadline = time.monotonic() + timeout_s
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle, partial = tempfile.mkstemp(dir=folder, prefix=".new-")
        try:
            with (
                os.fdopen(handle, "wb") as out,
                _opener(deadline, most_bytes).open(url, timeout=min(SILENCE_S, timeout_s)) as answer,
            ):
                size = 0
                # `read` would wait for a whole block, however slowly it comes.
                while block := answer.read1(_BLOCK):
                    size += len(block)
                    if size > most_bytes:
                        raise TooLarge
                    out.write(block)
                promised = answer.headers.get("Content-Length")
                if promised is not None and size != int(promised):
                    raise VideoError(f"{url}: cut off after {size} of {promised} bytes; try again")
            os.replace(partial, path)
        except BaseException:
            Path(partial).unlink(missing_ok=True)
            raise
    except TooLarge:
        raise VideoError(f"{url}: larger than {most_bytes / 1e9:.1f} GB, not downloaded") from None
    except (OSError, ValueError, http.client.HTTPException) as error:
        if time.monotonic() > deadline:
            raise VideoError(f"{url}: not downloaded in {timeout_s:g} s, given up") from None
        why = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error) or type(error).__name__
        code = ""
        if isinstance(error, urllib.error.HTTPError):
            code = f"HTTP {error.code}, "
            error.close()
        raise VideoError(f"{url}: can't be downloaded ({code}{why})") from None
    return path


def _opener(deadline: float, most_bytes: int) -> Any:
    """Follows redirects to http and https only: no handler for `file:` or `ftp:` is there to follow another.

    What comes ends by the deadline of the monotonic clock, headers included.
    """

    def limited(kind: type[http.client.HTTPConnection]) -> Callable[..., http.client.HTTPConnection]:
        def connect(*args: Any, **given: Any) -> http.client.HTTPConnection:
            connection = kind(*args, **given)
            limit_answers(connection, deadline, most_bytes + _HEAD_BYTES)
            return connection

        return connect

    class Plain(urllib.request.HTTPHandler):
        def http_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
            return self.do_open(limited(http.client.HTTPConnection), request)

    class Secure(urllib.request.HTTPSHandler):
        def https_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
            return self.do_open(limited(http.client.HTTPSConnection), request)

    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        Plain(),
        Secure(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    opener.addheaders = [("User-Agent", "trlt")]
    return opener
