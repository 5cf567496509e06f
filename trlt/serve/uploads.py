"""Videos that were sent, in a folder that nobody else can read, until they are done with. Knows bytes; opens no video."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

MOST = 96
"""Videos that are kept at once; beyond it, the one that was unused for longest goes."""
MOST_LARGEST = 16
"""All of them together have at most the bytes of so many of the largest that are taken."""


class UploadTooLarge(Exception):
    """More bytes came than are allowed."""


class Full(Exception):
    """Videos that are being asked about take all the room; some of it is free in a moment."""


class Unstorable(Exception):
    """The disk takes no video."""


@dataclass(slots=True, eq=False)
class Upload:
    """One video."""

    id: str
    path: Path
    name: str
    """As whoever sent it calls it; never part of a path."""
    used: float
    """When it was last asked about, in seconds of the clock."""
    holds: int = field(default=0)
    """Questions about it that are under way: it isn't deleted before they end."""
    size: int = 0
    """Bytes that came."""
    gone: bool = False


class Uploads:
    """Takes videos, gives them out by their id, and deletes them; used by one event loop.

    Args:
        most_bytes: Largest video.
        keep_s: Seconds after which an unused video is deleted.
        clock: Gives seconds.
    """

    def __init__(self, most_bytes: int, keep_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.most_bytes, self.keep_s = most_bytes, keep_s
        self._clock = clock
        self.folder = Path()
        """Where they lie, between `open` and `close`."""
        self._uploads: dict[str, Upload] = {}

    def __len__(self) -> int:
        return len(self._uploads)

    def open(self) -> None:
        """Makes the folder, for this user alone."""
        self.folder = Path(tempfile.mkdtemp(prefix="trlt-serve-"))

    async def take(self, blocks: AsyncIterator[bytes], name: str) -> Upload:
        """Writes a video as it comes; of one that is too large or breaks off, nothing stays. It is held until `release`.

        Raises:
            UploadTooLarge: it is larger than allowed.
            Full: there is no room for now.
            Unstorable: the disk takes none.
        """
        self._make_room(places=1)
        id = secrets.token_urlsafe(16)
        # A folder of its own, since a playlist may name files beside it. The name is ours, without an extension: what the file
        # is goes by its content.
        upload = Upload(id, self.folder / secrets.token_hex(16) / secrets.token_hex(16), name, self._clock(), holds=1)
        self._uploads[id] = upload
        try:
            upload.path.parent.mkdir(0o700)
            with upload.path.open("xb") as out:
                async for block in blocks:
                    if upload.size + len(block) > self.most_bytes:
                        raise UploadTooLarge
                    self._make_room(size=len(block))
                    upload.size += len(block)
                    await asyncio.to_thread(_write, out, block)
        except OSError as error:
            self._give_up(upload)
            raise Unstorable(f"the video can't be stored ({error.strerror})") from None
        except BaseException:
            self._give_up(upload)
            raise
        return upload

    def _give_up(self, upload: Upload) -> None:
        self.delete(upload.id)
        self.release(upload)

    def get(self, id: str) -> Upload | None:
        """A video that is there."""
        return self._uploads.get(id)

    @contextmanager
    def held(self, upload: Upload) -> Iterator[Path]:
        """Its path, which stays until the end of the block."""
        upload.holds += 1
        try:
            yield upload.path
        finally:
            self.release(upload)

    def release(self, upload: Upload) -> None:
        """Ends a hold; a deleted video's file goes with the last."""
        upload.holds -= 1
        upload.used = self._clock()
        if upload.gone and not upload.holds:
            _remove(upload)

    def delete(self, id: str) -> None:
        """Forgets a video; its file goes at once, or with the last question about it."""
        upload = self._uploads.pop(id, None)
        if upload is not None:
            upload.gone = True
            if not upload.holds:
                _remove(upload)

    def expire(self) -> None:
        """Deletes videos that were unused for too long."""
        for upload in list(self._uploads.values()):
            if not upload.holds and self._clock() - upload.used >= self.keep_s:
                self.delete(upload.id)

    def close(self) -> None:
        """Deletes everything."""
        self._uploads.clear()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _make_room(self, *, places: int = 0, size: int = 0) -> None:
        """Deletes idle videos until there is room for so many more and so many bytes more."""
        self.expire()
        while (
            len(self._uploads) + places > MOST
            or sum(upload.size for upload in self._uploads.values()) + size > MOST_LARGEST * self.most_bytes
        ):
            idle = [upload for upload in self._uploads.values() if not upload.holds]
            if not idle:
                raise Full(f"{len(self._uploads)} videos are under way; try again in a moment")
            self.delete(min(idle, key=lambda upload: upload.used).id)


def _remove(upload: Upload) -> None:
    shutil.rmtree(upload.path.parent, ignore_errors=True)


def _write(out: IO[bytes], block: bytes) -> None:
    out.write(block)
