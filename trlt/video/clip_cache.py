"""The frame store: each clip is decoded once and read by probe, every epoch and eval. Knows clips and files, not how to decode.

An entry is named by a hash of what the frames depend on.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict
from pathlib import Path

from trlt.errors import VideoError
from trlt.video.budget import Budget
from trlt.video.clip import Clip
from trlt.video.clip_codec import MAGIC, DamagedEntry, pack, unpack
from trlt.video.decode import VERSION
from trlt.video.disk_cache import DiskCache, StoreInfo
from trlt.video.frame_folder import FOLDER_FPS
from trlt.video.geometry import Geometry

__all__ = ["ClipCache", "StoreInfo", "store_key"]


class ClipCache(DiskCache):
    """Clips on disk, bounded in bytes."""

    SUFFIX = ".clip"
    FIELD = "video.store"

    def has(self, key: str) -> bool:
        """Whether a clip is there, in the form of this version; no more than its first bytes are looked at."""
        try:
            with self._path(key).open("rb") as entry:
                return entry.read(len(MAGIC)) == MAGIC
        except FileNotFoundError:
            return False

    def get(self, key: str) -> Clip | None:
        """The clip, or None if it is missing or damaged (then the entry is dropped)."""
        data = self.read(key)
        if data is None:
            return None
        try:
            return unpack(data)
        except DamagedEntry:
            self.drop(key)
            return None

    def put(self, key: str, clip: Clip) -> None:
        """Adds a clip; see `write`."""
        self.write(key, *pack(clip))


def store_key(path: str | Path, budget: Budget, start: float | None, end: float | None, geometry: Geometry = Geometry()) -> str:
    """The name of an entry: a hash of all that the frames depend on.

    That is the file's path, size and time of change, the clip, the budget, the loader's version, and the geometry where it
    isn't the default one: entries were named before there was another, and keep their names.

    Raises:
        VideoError: no such file.
    """
    path = Path(path)
    try:
        resolved = Path(os.path.realpath(path, strict=True))
        stat = resolved.stat()
        content: list[object] = [str(resolved), stat.st_size, stat.st_mtime_ns]
        if resolved.is_dir():
            with os.scandir(resolved) as files:
                # A frame that is a link to nothing is left out by the loader, with a warning.
                stats = [file.stat() for file in files if os.path.exists(file)]
            content += [len(stats), sum(s.st_size for s in stats), max((s.st_mtime_ns for s in stats), default=0), FOLDER_FPS]
    except OSError as error:
        raise VideoError(f"{path}: {'no such file' if isinstance(error, FileNotFoundError) else error.strerror}") from None
    wanted = [*content, start, end, asdict(budget), VERSION]
    if geometry != Geometry():
        wanted.append(asdict(geometry))
    return hashlib.sha256(json.dumps(wanted, sort_keys=True).encode("utf-8", "surrogateescape")).hexdigest()
