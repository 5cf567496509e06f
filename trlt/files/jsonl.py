"""JSON line by line: a kill while writing can damage only the last line, and reading reports every bad line."""

from __future__ import annotations

import codecs
import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from trlt.errors import DataError
from trlt.files.atomic import HALF_PAIRS, append, open_atomic
from trlt.files.bounded_json import MARKS, MOST_LINE, loads, parse_json
from trlt.files.forms import LogLineForm, hold
from trlt.files.renamed import LOG, renew

T = TypeVar("T")
SHOWN = 20
"""Number of bad lines that a message lists; it counts the others."""


def write_jsonl(path: Path, values: Iterable[Any]) -> None:
    """Writes values as JSONL, atomically, one at a time."""
    with open_atomic(path) as out:
        out.writelines(map(to_line, values))


def append_jsonl(path: Path, *values: Any, sync: bool = False) -> None:
    """Adds values to a file of JSONL, all or none; with `sync`, they are on the disk afterwards."""
    with path.open("ab", buffering=0) as out:
        append(out, "".join(map(to_line, values)).encode("utf-8", HALF_PAIRS), path)
        if sync:
            os.fsync(out.fileno())


def to_line(value: Any) -> str:
    """A JSON value as a line of JSONL."""
    return json.dumps(value, ensure_ascii=False) + "\n"


def mend_tail(path: Path) -> None:
    """Removes the last line of a JSONL file if a kill left it incomplete."""
    with path.open("rb+") as file:
        size = end = file.seek(0, os.SEEK_END)
        while end > 0:
            begin = max(0, end - (1 << 16))
            file.seek(begin)
            found = file.read(end - begin).rfind(b"\n")
            if found >= 0:
                end = begin + found + 1
                break
            end = begin
        if end < size:
            file.truncate(end)


class Faults:
    """Faults in the lines of one or more files: the first `SHOWN` in full, and the number of others."""

    def __init__(self) -> None:
        self.count = 0
        self._told: list[str] = []

    def add(self, fault: str) -> None:
        """Notes a fault, which names its line."""
        self.count += 1
        if self.count <= SHOWN:
            self._told.append(fault)

    def end(self, *more: str) -> None:
        """Raises the faults, if any.

        Raises:
            DataError: there were faults; `more` follows them, one line each.
        """
        if self.count:
            rest = [f"… and {self.count - SHOWN:,} more lines"] if self.count > SHOWN else []
            raise DataError("\n".join([*self._told, *rest, *more])) from None


def iter_jsonl(
    path: Path, check: Callable[[Any, str], T] | None = None, faults: Faults | None = None
) -> Iterator[tuple[int, T]]:
    """(line number from 1, value) of each non-blank line.

    Bad lines are skipped until all lines are read, so that the message can list them. If none of the first `SHOWN` lines is
    usable, reading stops; a binary file isn't read at all.

    Args:
        path: The file.
        check: Converts a line's JSON, given its place (`file:line`); raises DataError if it is unusable.
        faults: Collects the bad lines, for the caller to raise; None raises them after the last line.

    Raises:
        DataError: no such file, or a binary one; or bad lines, each with its file and number.
    """
    found, used = faults or Faults(), False
    try:
        handle = path.open("rb")  # so that bytes that aren't UTF-8 are a fault of their line
    except OSError as error:
        raise DataError(f"{path}: can't be read ({error.strerror}); give the path of a JSONL file") from None
    with handle:
        for number, line in bounded_lines(handle):
            where = f"{path}:{number}"
            if not line.strip():
                continue
            if line.count(0) > 1 and not used and not found.count and not line.startswith(tuple(MARKS)):
                raise DataError(f"{path}: a binary file (its first line holds zero bytes); give the path of a JSONL file")
            try:
                if len(line) > MOST_LINE:
                    raise DataError(f"{where}: a line of more than {MOST_LINE >> 20} MB; one object per line is expected")
                value: Any = parse_json(line, where, expected="one object per line is expected")
                value = check(value, where) if check else value
            except DataError as error:
                if not used and not found.count and (said := _over_several_lines(line, handle)):
                    raise DataError(f"{path}: {said}") from None
                found.add(str(error))
                if found.count >= SHOWN and not used:
                    found.end(f"{path}: none of its first lines can be used, so no more were read; is it the right file?")
                continue
            used = True
            yield number, value
    if faults is None:
        found.end(*([] if used or found.count < 2 else [f"{path}: none of its lines can be used; is it the right file?"]))


def _over_several_lines(first: bytes, handle: BinaryIO) -> str | None:
    """Message for a file whose first value continues on the next line; the handle's position is kept."""
    begun = first.strip().removeprefix(codecs.BOM_UTF8)
    if not begun.startswith((b"{", b"[")) or not begun.endswith((b"{", b"[", b",")) or not handle.seekable():
        return None
    here = handle.tell()
    after = next((line.lstrip() for _, line in bounded_lines(handle) if line.strip()), b"")
    handle.seek(here)
    if begun.startswith(b"["):
        return "a JSON list over several lines; write one object per line" if after else None
    # Behind a line that a kill tore, another object begins.
    return "one object over several lines; write one object per line" if after and not after.startswith(b"{") else None


def bounded_lines(handle: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """The lines of a file with their numbers from 1; of an overlong line, slightly more than `MOST_LINE` bytes."""
    number = 0
    while line := handle.readline(MOST_LINE + 1):
        number += 1
        if len(line) > MOST_LINE:
            while (rest := handle.readline(MOST_LINE)) and not rest.endswith(b"\n"):
                pass
        yield number, line


def read_log(path: Path, form: Callable[..., Any] = LogLineForm) -> list[dict[str, Any]]:
    """The lines of a file that a run appends to, without incomplete or malformed ones."""
    rows = []
    for line in path.read_bytes().split(b"\n"):
        with suppress(ValueError, DataError):
            rows.append(hold(renew(loads(line), LOG, path), form, str(path), "it is left out"))
    return rows
