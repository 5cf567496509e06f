"""A file of rows that survives a kill: rows are appended and flushed one by one; resuming cuts off an incomplete tail.

Knows JSONL and ids; nothing of what a row means.
"""

from __future__ import annotations

import fcntl
import json
import os
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from trlt.errors import DataError, ResumeError, shown
from trlt.files import HALF_PAIRS, append, iter_jsonl, open_atomic
from trlt.files.bounded_json import loads
from trlt.files.forms import RowForm, hold
from trlt.files.renamed import ROW, renew

CHECKSUM = "checksum"
"""Last key of a row: CRC-32 of its line without it. Rows of older runs have none."""
CHANGED = f"the row was changed after it was written; run its sample again, or remove its {CHECKSUM!r} if that was on purpose"


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a finished run.

    Raises:
        DataError: unreadable, or lines that are no rows or were changed; lists all of them, after the last line.
    """
    for _, row in iter_jsonl(path, _row):
        yield row


def _row(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict) or not isinstance(value.get("id"), str):
        raise DataError(f"{where}: no row (an object with an id); give the rows that `trlt probe` wrote")
    known = unsealed(value)
    if known is None:
        raise DataError(f"{where}: {CHANGED}")
    return hold(renew(known, ROW, where.rpartition(":")[0]), RowForm, where, "give the rows that `trlt probe` wrote")


@dataclass(frozen=True, slots=True)
class RowPosition:
    """The position of a row in its file."""

    id: str
    offset: int
    """Bytes before it."""
    length: int
    """Bytes, including the line's end."""
    failed: bool
    """The row has an error."""


def encode(row: dict[str, Any]) -> bytes:
    """The line of a row, with its checksum; an output may contain half a surrogate pair."""
    body = _body(row)
    # Put in before the last brace, so that the line without it is what was summed up.
    return body[:-1] + f', "{CHECKSUM}": "{zlib.crc32(body):08x}"}}\n'.encode()


def unsealed(row: dict[str, Any]) -> dict[str, Any] | None:
    """A row as read, without its checksum; None if it was changed after writing."""
    if CHECKSUM not in row:
        # A flipped bit may have changed the very name.
        changed = any(len(key) == len(CHECKSUM) and sum(map(str.__ne__, key, CHECKSUM)) == 1 for key in row)
        return None if changed else row
    rest = {key: value for key, value in row.items() if key != CHECKSUM}
    # The row is written out again: JSON gives back the keys in their order, and floats to the last digit.
    return rest if row[CHECKSUM] == f"{zlib.crc32(_body(row)):08x}" else None


def _body(row: dict[str, Any]) -> bytes:
    rest = {key: value for key, value in row.items() if key != CHECKSUM}
    return json.dumps(rest, ensure_ascii=False).encode("utf-8", HALF_PAIRS)


def scan(file: BinaryIO, path: Path, known: frozenset[str] | None, *, skip_damaged: bool = False) -> Iterator[RowPosition]:
    """The rows of a file, up to an incomplete tail left by a kill.

    Args:
        file: Open at its beginning.
        path: Its name, for messages.
        known: The samples' ids; None: whatever they are.
        skip_damaged: Skip lines that are no rows, instead of raising.

    Raises:
        ResumeError: a row of another sample.
        DataError: a line that is no row.
    """
    offset = 0
    for number, line in enumerate(file, 1):
        # The last line lacks its end where a kill tore it: its sample is asked again.
        if not line.endswith(b"\n"):
            return
        try:
            row = loads(line)
        except ValueError:
            row = None
        if isinstance(row, dict) and isinstance(row.get("id"), str) and unsealed(row) is not None:
            # Raised before anything is cut off or written: the file of another run stays as it is.
            if known is not None and row["id"] not in known:
                raise ResumeError(
                    f"{path}:{number}: a row of {shown(row['id'])}, which isn't a sample's; give another --out, or --fresh"
                )
            yield RowPosition(row["id"], offset, len(line), row.get("error") is not None)
        elif not skip_damaged:
            raise DataError(f"{path}:{number}: damaged, not a row as written; delete the line, or start anew with --fresh")
        offset += len(line)


class RowFile:
    """Rows of a run, by the ids of its samples; a context manager.

    Args:
        path: The JSONL file; created if it doesn't exist.
        ids: The samples' ids, in the order of the finished file.
        retry_errors: Discard rows with an error, so that those samples are asked again.

    Raises:
        ResumeError: the file holds rows of other samples, or another process is writing to it.
        DataError: the file is damaged before its last line.
    """

    def __init__(self, path: Path, ids: Sequence[str], *, retry_errors: bool = False) -> None:
        self.path = path
        self._ids = ids
        self._places: dict[str, tuple[int, int]] = {}
        """Id -> offset and length of its line in bytes."""
        self.errors = 0
        """Number of rows with an error."""
        path.parent.mkdir(parents=True, exist_ok=True)
        # Two handles: reading moves and buffers the one, and rows leave by the other at once.
        self._file: BinaryIO = path.open("a+b")
        self._out = path.open("ab", buffering=0)
        try:
            # Before `_read`, which cuts off a torn tail: that might be a line which another process is writing.
            self._lock()
            self._read(frozenset(ids), retry_errors)
        except BaseException:
            self._close()
            raise

    def __contains__(self, id: str) -> bool:
        """Whether the row is there already."""
        return id in self._places

    def __len__(self) -> int:
        """How many rows are there."""
        return len(self._places)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._close()

    def append(self, row: dict[str, Any]) -> None:
        """Writes a row at once: a later kill doesn't lose it.

        Raises:
            OSError: for example, the disk is full; the file ends with the previous row.
        """
        line = encode(row)
        place = append(self._out, line, self.path)
        # After it was written: where the disk is full, the row doesn't count as there.
        self._places[row["id"]] = (place, len(line))
        self.errors += row["error"] is not None

    def finish(self) -> None:
        """Puts the rows in the order of the samples, in one step.

        The file of a resumed run then equals that of an uninterrupted one.
        """
        places = [self._places[id] for id in self._ids if id in self._places]
        # In order already, and nothing else in the file: a large one isn't written a second time.
        if places == sorted(places) and sum(length for _, length in places) == self._file.seek(0, os.SEEK_END):
            return
        with open_atomic(self.path, "wb") as out:
            for offset, length in places:
                self._file.seek(offset)
                out.write(self._file.read(length))
        # The handles are those of the file that was replaced: a row that came now would go nowhere.
        self._close()

    def _close(self) -> None:
        self._file.close()
        self._out.close()

    def _lock(self) -> None:
        """Two writers would take each other's rows for their own; a kill ends the lock with the process."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ResumeError(
                f"{self.path}: another process is writing to it; wait for its end, or end it and let several share the work "
                "(--processes)"
            ) from None
        except OSError:
            return  # a file system without locks

    def _read(self, known: frozenset[str], retry_errors: bool) -> None:
        self._file.seek(0)
        end = 0
        failed: dict[str, bool] = {}
        for line in scan(self._file, self.path, known):
            end = line.offset + line.length
            # It stays in the file until the new row is behind it: a kill before that loses nothing.
            if line.failed and retry_errors:
                continue
            # Of a sample that was asked again, the later row counts.
            self._places[line.id] = (line.offset, line.length)
            # By id, since a sample that was asked again has two rows.
            failed[line.id] = line.failed
        self.errors = sum(failed.values())
        self._file.truncate(end)
