"""Videos that samples name by http(s) address: refused, or downloaded once into a folder of the recipe. Decodes nothing."""

from __future__ import annotations

import hashlib
from http.client import responses
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from trlt.errors import VideoError, shown
from trlt.files import open_atomic
from trlt.files.web import ReplyTooLarge, Unanswered, send

MOST_BYTES = 8 << 30
"""A video that is larger is not downloaded."""
SILENCE_S = 30.0
"""A server that sends nothing for this long is given up."""


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
    try:
        with open_atomic(path, "wb") as out:
            reply = send(
                "GET",
                url,
                timeout_s=timeout_s,
                most_bytes=most_bytes,
                silence_s=min(SILENCE_S, timeout_s),
                into=out,
                outside=True,
            )
            if reply.status >= 300:
                raise VideoError(f"{url}: can't be downloaded (HTTP {reply.status}, {responses.get(reply.status, '')})")
    except ReplyTooLarge:
        raise VideoError(f"{url}: larger than {most_bytes / 1e9:.1f} GB, not downloaded") from None
    except TimeoutError:
        raise VideoError(f"{url}: not downloaded in {timeout_s:g} s, given up") from None
    except Unanswered as error:
        raise VideoError(f"{url}: can't be downloaded ({error})") from None
    return path
