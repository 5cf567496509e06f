"""The frame store: each clip is decoded once and read by probe, every epoch and eval. Knows clips and files, not how to decode.

One file an entry, named by a hash of what the frames depend on. Entries appear in one step, so that any number of processes may
read and write; the bound is kept under a lock; a read marks an entry as used, and the least recently used entries go first.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from trlt.errors import VideoError
from trlt.video.budget import Budget
from trlt.video.clip import Clip
from trlt.video.decode import VERSION
from trlt.video.entry import DamagedEntry, pack, unpack

logger = logging.getLogger(__name__)

SUFFIX = ".clip"
STALE_S = 3600.0
"""Age at which an unfinished file belongs to a writer that was killed."""


@dataclass(frozen=True, slots=True)
class StoreInfo:
    """What a store holds."""

    entries: int
    bytes: int


class FrameStore:
    """Clips on disk, bounded in bytes.

    Args:
        root: Folder of the store; made when missing.
        max_bytes: Bound of all entries together; a clip that is larger alone is not kept.
    """

    def __init__(self, root: str | Path, max_bytes: int) -> None:
        self.root = Path(root)
        self.max_bytes = max_bytes
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise VideoError(
                f"{root}: can't hold the frame store ({error.strerror}); set video.store to another folder"
            ) from None
        self._counted = False
        self._unwritable = False

    def get(self, key: str) -> Clip | None:
        """The clip, or None where it isn't there or its bytes were damaged (then the entry is dropped)."""
        path = self._path(key)
        try:
            data = np.fromfile(path, np.uint8)
            clip = unpack(data)
            os.utime(path)
        except FileNotFoundError:
            return None
        except DamagedEntry:
            path.unlink(missing_ok=True)
            return None
        return clip

    def has(self, key: str) -> bool:
        """Whether an entry is there; its bytes aren't looked at."""
        return self._path(key).exists()

    def put(self, key: str, clip: Clip) -> None:
        """Adds a clip, in one step; afterwards the store is within its bound.

        A disk that is full or read-only costs speed, not the run: that is logged once, and nothing more is stored.
        """
        if self._unwritable:
            return
        header, frames = pack(clip)
        size = len(header) + len(frames)
        if size > self.max_bytes:
            return
        path = self._path(key)
        try:
            path.parent.mkdir(exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self.root, prefix=".new-")
            try:
                with os.fdopen(handle, "wb") as out:
                    out.write(header)
                    out.write(frames)
                with self._locked():
                    total = self._make_room(path, size)
                    os.replace(name, path)
                    self._write_total(total)
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
        except OSError as error:
            self._unwritable = True
            logger.warning(
                "%s: the frame store can't be written (%s); free space or lower video.store_gb", self.root, error.strerror
            )

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
        return self.root / key[:2] / f"{key}{SUFFIX}"

    def _entries(self) -> Iterator[tuple[Path, os.stat_result]]:
        for path in self.root.glob(f"??/*{SUFFIX}"):
            try:
                yield path, path.stat()
            except FileNotFoundError:
                continue

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with (self.root / ".lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _make_room(self, path: Path, size: int) -> int:
        """Under the lock, before `path` is written: bytes that the store will hold, within its bound.

        The total is kept in a file, so that writing doesn't look at every entry; the first write of a process counts anew.
        """
        total = self._read_total() if self._counted else None
        if total is None or total - _size(path) + size > self.max_bytes:
            total = self._evict(size)
            self._counted = True
        return total - _size(path) + size

    def _evict(self, coming: int) -> int:
        """Where `coming` bytes don't fit, removes the least recently used entries to a tenth below; bytes that remain."""
        entries = sorted(self._entries(), key=lambda item: item[1].st_mtime_ns)
        total = sum(stat.st_size for _, stat in entries)
        if total + coming > self.max_bytes:
            for path, stat in entries:
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
            return int((self.root / ".total").read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return None

    def _write_total(self, total: int) -> None:
        (self.root / ".total").write_text(str(total), encoding="utf-8")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def store_key(path: str | Path, budget: Budget, start: float | None, end: float | None, folder_fps: float) -> str:
    """The name of an entry: a hash of the file's path, size and time of change, the clip, the budget and the loader's version.

    Raises:
        VideoError: no such file.
    """
    path = Path(path)
    try:
        resolved = path.resolve(strict=True)
        stat = resolved.stat()
        content: list[object] = [str(resolved), stat.st_size, stat.st_mtime_ns]
        if resolved.is_dir():
            with os.scandir(resolved) as files:
                stats = [file.stat() for file in files]
            content += [len(stats), sum(s.st_size for s in stats), max((s.st_mtime_ns for s in stats), default=0), folder_fps]
    except OSError as error:
        raise VideoError(f"{path}: {'no such file' if isinstance(error, FileNotFoundError) else error.strerror}") from None
    wanted = [*content, start, end, asdict(budget), VERSION]
    return hashlib.sha256(json.dumps(wanted, sort_keys=True).encode("utf-8", "surrogateescape")).hexdigest()
