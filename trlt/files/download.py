"""Files from the web that survive cut connections: continued where they ended, checked, and put in place as a whole.

Knows addresses and bytes; nothing of what they mean.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import time
from collections.abc import Callable, Collection, Mapping
from http.client import responses
from pathlib import Path
from typing import IO

from trlt.errors import DataError, TrltError
from trlt.errors.system import named
from trlt.files.atomic import BLOCK
from trlt.files.web import Elsewhere, ReplyTooLarge, Unanswered, send

Tell = Callable[[int, int], None]
"""Is told how many bytes of how many are there; 0 of an unknown number."""

LONGEST_S = 7 * 24 * 3600.0
SILENCE_S = 60.0
"""A server that sends nothing for this long is asked again."""
TRIES = 4
AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses of a server that may answer later."""
SPARE = 64 << 20
"""Bytes of a disk that are left free."""
_PART = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


def download(
    url: str,
    path: Path,
    *,
    origins: Collection[str],
    most_bytes: int,
    digest: str = "",
    tell: Tell | None = None,
    wait_s: float = 1.0,
) -> str:
    """Puts the file at an address in place; what an earlier call has fetched of it is kept and continued.

    Args:
        url: The address.
        path: Where it goes; replaced in one step at the end.
        origins: Schemes and hosts that the address and redirections may lead to.
        most_bytes: Largest size.
        digest: What it must have: `sha256:...`, or `git:...`, the id of git's blob; empty: nothing is known.
        tell: Progress.
        wait_s: Before the second try; doubled before each further one.

    Returns:
        Its SHA-256.

    Raises:
        DataError: another file than the digest's.
        TrltError: unreachable, refused, too large, or no room for it.
    """
    part = path.with_name(f".{path.name[:200]}.part")
    part.parent.mkdir(parents=True, exist_ok=True)
    continued = _fetch(url, part, origins, most_bytes, tell, wait_s)
    found = file_digests(part)
    if continued and digest and digest not in found:  # the file there may have changed since it was begun
        _remove(part)
        _fetch(url, part, origins, most_bytes, tell, wait_s)
        found = file_digests(part)
    if digest and digest not in found:
        _remove(part)
        raise DataError(f"{url}: not the file that is known: {found[0]} instead of {digest}; it isn't kept")
    part.replace(path)
    _mark(part).unlink(missing_ok=True)
    return found[0].removeprefix("sha256:")


def file_digests(path: Path) -> tuple[str, str]:
    """A file's digests: `sha256:...` and `git:...`, the SHA-1 that git names its content by."""
    plain, blob = hashlib.sha256(), hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            plain.update(block)
            blob.update(block)
    return f"sha256:{plain.hexdigest()}", f"git:{blob.hexdigest()}"


def check_room(folder: Path, wanted: int) -> None:
    """Ends where a disk hasn't this many bytes free.

    Raises:
        TrltError: it hasn't.
    """
    free = shutil.disk_usage(folder).free
    if wanted > free - SPARE:
        raise TrltError(
            f"{folder}: {wanted / 1e9:.2f} GB are needed and {free / 1e9:.2f} GB are free; make room there, or give another "
            "folder; what was fetched is kept, and the same command goes on from it"
        )


def _mark(part: Path) -> Path:
    """Where the validator lies by which the server knows what a part is of."""
    return part.with_name(f"{part.name}.etag")


def _remove(part: Path) -> None:
    part.unlink(missing_ok=True)
    _mark(part).unlink(missing_ok=True)


def _fetch(url: str, part: Path, origins: Collection[str], most_bytes: int, tell: Tell | None, wait_s: float) -> bool:
    """Fetches all of it, in as many tries as it takes; returns whether something was there before."""
    continued = False
    for tried in range(1, TRIES + 1):
        try:
            continued |= _go_on(url, part, origins, most_bytes, tell)
            return continued
        except Elsewhere as error:
            raise TrltError(f"{url}: leads to {error}, which isn't a known host of this file; nothing was fetched") from None
        except ReplyTooLarge:
            _remove(part)
            raise TrltError(f"{url}: larger than {most_bytes / 1e6:,.0f} MB, which it shouldn't be; it isn't kept") from None
        except (Unanswered, TimeoutError) as error:
            continued = True
            if tried == TRIES:
                have = part.stat().st_size if part.exists() else 0
                if not have:
                    _remove(part)
                raise TrltError(
                    f"{url}: can't be fetched ({error}), tried {TRIES} times; the same command goes on from {have:,} bytes "
                    "where there is a network"
                ) from None
            time.sleep(wait_s * 2 ** (tried - 1))
    raise AssertionError("unreachable")


def _go_on(url: str, part: Path, origins: Collection[str], most_bytes: int, tell: Tell | None) -> bool:
    """One request for what is missing; returns whether something was there before.

    Raises:
        Unanswered: cut off, or a server that may answer later.
    """
    have = part.stat().st_size if part.exists() else 0
    mark = _mark(part)
    validator = mark.read_text(encoding="latin-1") if mark.exists() else ""
    headers = {"Range": f"bytes={have}-", "If-Range": validator} if have and validator else {}
    kept = 0
    with named(part), part.open("ab") as out:

        def begun(status: int, headers: Mapping[str, str]) -> None:
            nonlocal kept
            if status >= 300:
                return
            length = int(headers.get("content-length", 0))
            if status == 206:
                told = _PART.fullmatch(headers.get("content-range", ""))
                if told is None or int(told[1]) != have:
                    mark.unlink(missing_ok=True)  # the next try begins anew
                    raise Unanswered("the server sends another part than was asked for")
                kept = have
            else:
                out.truncate(0)
                _keep(mark, headers.get("etag", ""))
            if kept + length > most_bytes:
                raise ReplyTooLarge
            check_room(part.parent, length)
            counting.begin(kept, kept + length if length else 0)

        counting = _Counting(out, tell)
        reply = send(
            "GET",
            url,
            timeout_s=LONGEST_S,
            silence_s=SILENCE_S,
            most_bytes=most_bytes,
            headers=headers,
            into=counting,  # type: ignore[arg-type]  # of which only `write` is used
            outside=True,
            origins=origins,
            begun=begun,
        )
    if reply.status == 416:  # what is there has no rest: whole already, or longer than the file there is
        if reply.headers.get("content-range", "") == f"bytes */{have}":
            return True
        _remove(part)
        raise Unanswered("the file there is another than the one that was begun")
    if reply.status in AGAIN:
        raise Unanswered(f"HTTP {reply.status} {responses.get(reply.status, '')}".rstrip())
    if reply.status >= 300:
        _remove(part)
        raise TrltError(f"{url}: HTTP {reply.status} {responses.get(reply.status, '')}; the file isn't there any more".rstrip())
    return kept > 0


def _keep(mark: Path, etag: str) -> None:
    """Keeps a validator that holds byte for byte; a weak one doesn't."""
    if etag.startswith('"'):
        mark.write_text(etag, encoding="latin-1")
    else:
        mark.unlink(missing_ok=True)


class _Counting:
    """A file that tells how much was written to it."""

    def __init__(self, out: IO[bytes], tell: Tell | None) -> None:
        self._out, self._tell = out, tell
        self._done = self._total = 0

    def begin(self, done: int, total: int) -> None:
        self._done, self._total = done, total

    def write(self, block: bytes) -> None:
        self._out.write(block)
        self._done += len(block)
        if self._tell is not None:
            self._tell(self._done, self._total)
