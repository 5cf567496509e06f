"""The rows of a work that several processes share: in their files, and in parts of each rank until the work is done.

Knows rows and their files; nothing of leases, except that a folder with parts exists until the work is done.
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from trlt.errors import ResumeError
from trlt.files.bounded_json import loads
from trlt.rollout.rows_file import RowFile, RowPosition, scan
from trlt.rollout.shared.leases import Gone, at_work, gone_if_missing, make, remove
from trlt.rollout.shared.work_files import OF, RETRY, RowKey, WorkFiles, set_of

MOST_FILES = 200
"""Maximum number of open parts; each rank of each interrupted run leaves one per file of rows."""
BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class RowLocation:
    """The place of a row."""

    path: Path
    line: RowPosition


def prepare(work: WorkFiles, *, retry_errors: bool = False) -> dict[str, int]:
    """Creates the folder of a work, unless it exists or nothing is left to ask.

    Args:
        work: Its files.
        retry_errors: Rows with an error don't count as there. An interrupted work resumes with its own setting.

    Returns:
        Number of rows that count as there, by set; all of them when nothing is left to ask.

    Raises:
        ResumeError: a file holds rows of other samples, or others are at work on other sets.
        DataError: a file is damaged.
    """
    under_way = work.folder.is_dir()
    if under_way:
        _turn_to(work)
    retry = (work.folder / RETRY).exists() if under_way else retry_errors
    there = {
        name: len({line.id for line in base_lines(path, frozenset(work.ids[name])) if not (line.failed and retry)})
        for name, path in work.files.items()
    }
    left = sum(there.values()) < len(work)
    if left and not under_way:
        # The marks lie in it from the beginning, so that all ranks that join agree, whatever they were started with.
        make(work.folder, (*sorted(work.marks), *((RETRY,) if retry else ())))
    if not left and work.folder.is_dir() and not at_work(work.folder):
        # Where the last rank was killed after it had merged.
        _leave_others_rows(work)
        remove(work.folder)
    return there


def _turn_to(work: WorkFiles) -> None:
    """Has an interrupted work go on with these sets, where it was about others: its rows count, whatever set they are of.

    Raises:
        ResumeError: ranks are at work on the others.
    """
    with contextlib.suppress(FileNotFoundError):  # it is over just now
        there = {name for name in os.listdir(work.folder) if name.startswith(OF)}
        if there == work.marks:
            return
        if at_work(work.folder):
            names = ", ".join(sorted(name.removeprefix(OF) for name in there))
            raise ResumeError(
                f"{work.folder.parent}: other processes are at work on {names}; wait for their end, or give another --out"
            )
        for name in work.marks - there:
            (work.folder / name).touch()
        for name in there - work.marks:
            (work.folder / name).unlink(missing_ok=True)


def absorb(work: WorkFiles, rows: Mapping[str, RowFile], *, retry_errors: bool = False) -> None:
    """Appends the rows of ranks that are no longer at work, and removes their folder.

    Args:
        work: Its files.
        rows: Those of each set, open.
        retry_errors: Leave out rows with an error.
    """
    for name, path in work.parts() if work.folder.is_dir() else ():
        if name in rows:
            _append_part(path, rows[name], frozenset(work.ids[name]), retry_errors=retry_errors)
    _leave_others_rows(work)
    remove(work.folder)


def _append_part(path: Path, rows: RowFile, known: frozenset[str], *, retry_errors: bool = False) -> None:
    with path.open("rb") as file:
        # A kill on the way, or before the folder is removed, does no harm:
        # the next start passes over rows that are there already.
        for line in list(part_lines(path, known)):
            if line.id not in rows and not (line.failed and retry_errors):
                file.seek(line.offset)
                rows.append(loads(file.read(line.length)))


def _leave_others_rows(work: WorkFiles) -> None:
    """Puts rows of an interrupted work's other sets into their files, before its folder is removed.

    Raises:
        ResumeError: another process writes to one of them.
        DataError: one is damaged.
    """
    with contextlib.suppress(Gone):
        for name, path in work.parts():
            if name in work.files:
                continue
            out = work.folder.parent / f"{name}.jsonl"
            ids = {line.id: None for file in (out, path) for line in _lines(file, None, skip_damaged=file == path)}
            with RowFile(out, list(ids)) as rows:
                _append_part(path, rows, frozenset(ids))


def settle(work: WorkFiles) -> None:
    """Ends an interrupted work without asking anything: its rows go into their files. Does nothing while ranks are at work.

    Raises:
        ResumeError: rows of other samples, or another process writes to a file.
        DataError: a file is damaged.
    """
    if work.folder.is_dir() and not at_work(work.folder):
        with contextlib.ExitStack() as stack:
            rows = {name: stack.enter_context(RowFile(path, work.ids[name])) for name, path in work.files.items()}
            absorb(work, rows)


def base_lines(out: Path, known: frozenset[str]) -> Iterator[RowPosition]:
    """The rows of a file; for a sample that was asked again, the later one counts.

    Raises:
        ResumeError: a row of another sample.
        DataError: a line that is no row.
    """
    yield from _lines(out, known, skip_damaged=False)


def failed_rows(work: WorkFiles) -> dict[RowKey, bool]:
    """Whether each row in the files has an error.

    Raises:
        ResumeError: a row of another sample.
        DataError: a line that is no row.
    """
    return {
        RowKey(name, line.id): line.failed
        for name, path in work.files.items()
        for line in base_lines(path, frozenset(work.ids[name]))
    }


def part_lines(path: Path, known: frozenset[str]) -> Iterator[RowPosition]:
    """The rows of a part, none if it is missing; samples with damaged rows are asked again.

    Raises:
        ResumeError: a row of another sample.
    """
    yield from _lines(path, known, skip_damaged=True)


def places(work: WorkFiles) -> dict[RowKey, RowLocation]:
    """The place of each sample's row. Of rows that two ranks wrote, one counts; with exact draws they are equal.

    Raises:
        Gone: there is no folder of parts.
        ResumeError: a row of another sample.
        DataError: a file is damaged.
    """
    retry = (work.folder / RETRY).exists()
    known = {name: frozenset(ids) for name, ids in work.ids.items()}
    found = {
        RowKey(name, line.id): RowLocation(path, line)
        for name, path in work.files.items()
        for line in base_lines(path, known[name])
        if not (line.failed and retry)
    }
    for name, path in work.parts():
        for line in part_lines(path, known[name]) if name in known else ():
            # Two ranks may have written it, where a slow one was taken for dead: one of the two counts.
            found.setdefault(RowKey(name, line.id), RowLocation(path, line))
    return found


def put_together(work: WorkFiles, found: Mapping[RowKey, RowLocation], token: str, check: Callable[[], object]) -> None:
    """Replaces each file of rows by all of its rows, in order; one that is complete already is left as it is.

    Args:
        work: Its files.
        found: The place of every row.
        token: Of this rank.
        check: Raises `Gone` where this rank slept through the end of the work.

    Raises:
        Gone: the folder is gone, or a file in it.
    """
    for name, out in work.files.items():
        rows = [found[RowKey(name, id)] for id in work.ids[name]]
        with gone_if_missing():
            if _is_whole(out, rows):
                continue
            # In the folder of the work: on the file system of the rows, so that it can be moved
            # there in one step, and gone with the folder where a kill leaves it half written.
            merged = work.folder / f"merged-{token}"
            merge(merged, rows)
            check()
            # A kill between these lines and the removal of the folder leaves it beside finished
            # files; the next start finds nothing to ask, and removes it (`prepare`).
            os.replace(merged, out)
    _leave_others_rows(work)


def _is_whole(out: Path, rows: Sequence[RowLocation]) -> bool:
    """Whether a file holds these rows already, in this order and nothing else."""
    end = 0
    for row in rows:
        if row.path != out or row.line.offset != end:
            return False
        end += row.line.length
    return bool(rows) and out.stat().st_size == end


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
        work: Its files.
        there: Rows in the files that count, by set.
    """

    def __init__(self, work: WorkFiles, there: Mapping[str, int]) -> None:
        self._folder = work.folder / "parts"
        self._there, self._totals = there, {name: len(ids) for name, ids in work.ids.items()}
        self._read: dict[str, tuple[int, int]] = {}
        """Bytes and lines read of each part."""

    def count(self) -> int:
        """Number of rows; one that two ranks wrote counts twice until the end."""
        return sum(self.by_set().values())

    def by_set(self) -> dict[str, int]:
        """The same for each set."""
        with contextlib.suppress(Gone), gone_if_missing():
            for name in os.listdir(self._folder):
                size, lines = self._read.get(name, (0, 0))
                with (self._folder / name).open("rb") as file:
                    file.seek(size)
                    # Line ends are counted and nothing is parsed. A torn line has none.
                    while block := file.read(BLOCK):
                        size, lines = size + len(block), lines + block.count(b"\n")
                self._read[name] = size, lines
        parts = Counter[str]()
        for name, (_, lines) in self._read.items():
            parts[set_of(Path(name))] += lines
        return {name: min(total, self._there[name] + parts[name]) for name, total in self._totals.items()}


def _lines(path: Path, known: frozenset[str] | None, *, skip_damaged: bool) -> Iterator[RowPosition]:
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        yield from scan(file, path, known, skip_damaged=skip_damaged)
