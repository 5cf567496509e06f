"""A folder of entries, bounded in bytes: shared by any number of processes; least recently used entries go first.

Entries appear in one step; the bound is kept under a lock; a read marks an entry as used. Knows bytes, and not what they
hold.
"""

from __future__ import annotations

import fcntl
import logging
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from trlt.errors import VideoError

logger = logging.getLogger(__name__)

STALE_S = 3600.0
"""Age at which an unfinished file belongs to a writer that was killed."""


@dataclass(frozen=True, slots=True)
class StoreInfo:
    """What a store holds."""

    entries: int
    bytes: int


class DiskCache:
    """Entries on disk, bounded in bytes.

    Args:
        root: Made when missing.
        max_bytes: Bound of all entries together; one that is larger alone is not kept.
    """

    SUFFIX: ClassVar[str]
    """Of the entries' files."""
    FIELD: ClassVar[str]
    """The recipe's field that names the folder; with `_gb` behind it, the one that bounds it."""

    def __init__(self, root: str | Path, max_bytes: int) -> None:
        self.root = Path(root)
        self.max_bytes = max_bytes
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise VideoError(f"{root}: can't be made ({error.strerror}); set {self.FIELD} to another folder") from None
        self._counted = False
        self._unwritable = False

    def has(self, key: str) -> bool:
        """Whether an entry is there; its bytes aren't looked at."""
        return self._path(key).exists()

    def read(self, key: str) -> NDArray[np.uint8] | None:
        """The bytes of an entry, which counts as used now; None where it isn't there."""
        path = self._path(key)
        try:
            # Another process may remove the entry at any moment, between these two lines, too: then it counts as not there.
            data = np.fromfile(path, np.uint8)
            os.utime(path)
        except FileNotFoundError:
            return None
        return data

    def drop(self, key: str) -> None:
        """Removes an entry, where it is there."""
        self._path(key).unlink(missing_ok=True)

    def write(self, key: str, *parts: Any) -> None:
        """Adds an entry of some parts' bytes, in one step; afterwards the folder is within its bound.

        A disk that is full or read-only costs speed, not the run: that is logged once, and nothing more is stored.
        """
        size = sum(memoryview(part).nbytes for part in parts)
        if self._unwritable or size > self.max_bytes:
            return
        path = self._path(key)
        try:
            path.parent.mkdir(exist_ok=True)
            # In the folder itself, so that it can be moved to its place in one step. A
            # kill before that leaves a `.new-`, which `_evict` removes after an hour.
            handle, name = tempfile.mkstemp(dir=self.root, prefix=".new-")
            try:
                with os.fdopen(handle, "wb") as out:
                    for part in parts:
                        out.write(part)
                # Under one lock, or two writers would both find room for the last bytes. A kill behind the
                # move leaves a total that is too small, until a process that starts later counts anew.
                with self._locked():
                    total = self._make_room(path, size)
                    os.replace(name, path)
                    self._write_total(total)
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
        except OSError as error:
            self._unwritable = True
            logger.warning("%s: can't be written (%s); free space or lower %s_gb", self.root, error.strerror, self.FIELD)

    def info(self) -> StoreInfo:
        """Counts what is there."""
        sizes = [stat.st_size for _, stat in self._entries()]
        return StoreInfo(len(sizes), sum(sizes))

    def clear(self) -> None:
        """Removes every entry."""
        with self._locked():
            for path, _ in self._entries():
                path.unlink(missing_ok=True)
            self._write_total(0)

    def _path(self, key: str) -> Path:
        return self.root / key[:2] / f"{key}{self.SUFFIX}"

    def _entries(self) -> Iterator[tuple[Path, os.stat_result]]:
        for path in self.root.glob(f"??/*{self.SUFFIX}"):
            try:
                yield path, path.stat()
            except FileNotFoundError:
                continue

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with (self.root / ".lock").open("a") as lock:
            # A kill ends the lock with the process.
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _make_room(self, path: Path, size: int) -> int:
        """Under the lock, before `path` is written: bytes that the folder will hold, within its bound.

        The total is kept in a file, so that writing doesn't look at every entry; the first write of a process counts anew.
        """
        total = self._read_total() if self._counted else None
        # Where it seems full, all entries are looked at: the number in the file may be wrong.
        if total is None or total - _size(path) + size > self.max_bytes:
            total = self._evict(size)
            # What killed writers have left out of the total is in it from here on.
            self._counted = True
        return total - _size(path) + size

    def _evict(self, coming: int) -> int:
        """Where `coming` bytes don't fit, removes the least recently used entries to a tenth below; bytes that remain."""
        entries = sorted(self._entries(), key=lambda item: item[1].st_mtime_ns)
        total = sum(stat.st_size for _, stat in entries)
        if total + coming > self.max_bytes:
            for path, stat in entries:
                # To a tenth below, or every further write would look at all entries again.
                if total + coming <= 0.9 * self.max_bytes:
                    break
                path.unlink(missing_ok=True)
                total -= stat.st_size
        for path in self.root.glob(".new-*"):
            try:
                if time.time() - path.stat().st_mtime > STALE_S:
                    path.unlink()
            except FileNotFoundError:
                continue
        return total

    def _read_total(self) -> int | None:
        try:
            # Empty where a kill came while it was written: then all is counted anew.
            return int((self.root / ".total").read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return None

    def _write_total(self, total: int) -> None:
        (self.root / ".total").write_text(str(total), encoding="utf-8")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
