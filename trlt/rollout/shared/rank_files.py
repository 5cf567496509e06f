"""The files of a run that several processes write together: the one file of rows, and one part per rank beside it.

Knows rows and their files; nothing of leases, except that a folder with parts exists until the work is done:
`.<rows>.work/parts/<rank>.jsonl`.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from trlt.files.bounded_json import loads
from trlt.rollout.rows_file import RowFile, RowPosition, scan
from trlt.rollout.shared.leases import Gone, at_work, gone_if_missing, make, remove

RETRY = "retry"
"""Mark of a work that asks samples with an error again."""
MOST_FILES = 200
"""Maximum number of open parts; each rank of each interrupted run leaves one."""
BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class RowLocation:
    """The place of a row."""

    path: Path
    line: RowPosition


def work_folder(out: Path) -> Path:
    """Folder of the ranks' rows and leases until the work is done.

    Args:
        out: The file of rows.
    """
    return out.with_name(f".{out.name}.work")


def part_file(folder: Path, token: str) -> Path:
    """The rows of one rank."""
    return folder / "parts" / f"{token}.jsonl"


def prepare(out: Path, ids: Sequence[str], *, retry_errors: bool = False) -> int:
    """Creates the folder of a work, unless it exists or nothing is left to ask.

    Args:
        out: The file of rows.
        ids: Of the samples.
        retry_errors: Rows with an error don't count as there. An interrupted work resumes with its own setting.

    Returns:
        Rows in `out` that count as there; `len(ids)` when nothing is left to ask.

    Raises:
        ResumeError: `out` holds rows of other samples.
        DataError: `out` is damaged.
    """
    known, folder = frozenset(ids), work_folder(out)
    under_way = folder.is_dir()
    retry = (folder / RETRY).exists() if under_way else retry_errors
    there = {line.id for line in base_lines(out, known) if not (line.failed and retry)}
    if len(there) < len(known) and not under_way:
        # The mark lies in it from the beginning, so that all ranks that join agree, whatever they were started with.
        make(folder, (RETRY,) if retry else ())
    if len(there) == len(known) and not at_work(folder):
        remove(folder)  # where the last rank was killed after it had merged
    return len(there)


def absorb(rows: RowFile, ids: Sequence[str], *, retry_errors: bool = False) -> None:
    """Appends the rows of ranks that are no longer at work, and removes their folder."""
    folder, known = work_folder(rows.path), frozenset(ids)
    for path in _parts(folder) if folder.is_dir() else ():
        with path.open("rb") as file:
            # A kill on the way, or before the folder is removed, does no harm:
            # the next start passes over rows that are there already.
            for line in list(part_lines(path, known)):
                if line.id not in rows and not (line.failed and retry_errors):
                    file.seek(line.offset)
                    rows.append(loads(file.read(line.length)))
    remove(folder)


def settle(out: Path, ids: Sequence[str]) -> None:
    """Ends an interrupted work without asking anything: its rows go into `out`. Does nothing while ranks are at work.

    Raises:
        ResumeError: rows of other samples, or another process writes to `out`.
        DataError: `out` is damaged.
    """
    if work_folder(out).is_dir() and not at_work(work_folder(out)):
        with RowFile(out, ids) as rows:
            absorb(rows, ids)


def base_lines(out: Path, known: frozenset[str]) -> Iterator[RowPosition]:
    """The rows of the one file; for a sample that was asked again, the later one counts.

    Raises:
        ResumeError: a row of another sample.
        DataError: a line that is no row.
    """
    yield from _lines(out, known, skip_damaged=False)


def part_lines(path: Path, known: frozenset[str]) -> Iterator[RowPosition]:
    """The rows of a part, none if it is missing; samples with damaged rows are asked again.

    Raises:
        ResumeError: a row of another sample.
    """
    yield from _lines(path, known, skip_damaged=True)


def places(out: Path, known: frozenset[str]) -> dict[str, RowLocation]:
    """The place of each sample's row. Of rows that two ranks wrote, one counts; with exact draws they are equal.

    Raises:
        Gone: there is no folder of parts.
        ResumeError: a row of another sample.
        DataError: `out` is damaged.
    """
    folder = work_folder(out)
    retry = (folder / RETRY).exists()
    found = {line.id: RowLocation(out, line) for line in base_lines(out, known) if not (line.failed and retry)}
    for path in _parts(folder):
        for line in part_lines(path, known):
            # Two ranks may have written it, where a slow one was taken for dead: one of the two counts.
            found.setdefault(line.id, RowLocation(path, line))
    return found


def merge(out: Path, rows: Sequence[RowLocation]) -> None:
    """Writes rows in order to a file, and waits until it is on the disk.

    Raises:
        OSError: a file is gone.
    """
    files: dict[Path, BinaryIO] = {}
    try:
        with out.open("wb") as merged:
            for place in rows:
                if place.path not in files:
                    if len(files) == MOST_FILES:
                        files.pop(next(iter(files))).close()
                    files[place.path] = place.path.open("rb")
                files[place.path].seek(place.line.offset)
                merged.write(files[place.path].read(place.line.length))
            # On the disk before it gets its name: after a power failure, the name mustn't stand for an empty file.
            merged.flush()
            os.fsync(merged.fileno())
    finally:
        for file in files.values():
            file.close()


class RowCounter:
    """Counts the rows over the files of all ranks; each call reads only new data.

    Args:
        out: The file of rows.
        there: Rows in it that count.
        total: Of the run.
    """

    def __init__(self, out: Path, there: int, total: int) -> None:
        self._folder = work_folder(out) / "parts"
        self._there, self._total = there, total
        self._read: dict[str, tuple[int, int]] = {}
        """Bytes and lines read of each part."""

    def count(self) -> int:
        """Number of rows; one that two ranks wrote counts twice until the end."""
        with contextlib.suppress(Gone), gone_if_missing():
            for name in os.listdir(self._folder):
                size, lines = self._read.get(name, (0, 0))
                with (self._folder / name).open("rb") as file:
                    file.seek(size)
                    # Line ends are counted and nothing is parsed. A torn line has none.
                    while block := file.read(BLOCK):
                        size, lines = size + len(block), lines + block.count(b"\n")
                self._read[name] = size, lines
        return min(self._total, self._there + sum(lines for _, lines in self._read.values()))


def _parts(folder: Path) -> list[Path]:
    with gone_if_missing():
        return sorted(folder / "parts" / name for name in os.listdir(folder / "parts"))


def _lines(path: Path, known: frozenset[str], *, skip_damaged: bool) -> Iterator[RowPosition]:
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        yield from scan(file, path, known, skip_damaged=skip_damaged)
