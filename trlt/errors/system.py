"""System errors about files, in words that name the path and the remedy.

Knows error numbers; nothing of commands. `cli` uses it for an `OSError` that nothing else has handled.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trlt.errors import TrltError

_GOES_ON = "what was written is kept, and the same command goes on from it"
_ROOM = f"make room there, or give another folder; {_GOES_ON}"
_FILES = f"raise `ulimit -n`, or lower `video.workers` and what runs beside; {_GOES_ON}"
REMEDIES = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EFBIG: f"a limit of the system (`ulimit -f`) or of the file system; {_ROOM}",
    errno.EROFS: "give another folder, or mount it so that it can be written to",
    errno.EACCES: "give another path, or the rights to this one",
    errno.EPERM: "give another path, or the rights to this one",
    errno.ENOENT: "it isn't there, or was removed meanwhile; look at the path",
    errno.ENOTDIR: "a part of the path is a file; give a path below a folder",
    errno.EISDIR: "a folder, where a file is needed; give a file's path",
    errno.EEXIST: "a file, where a folder is needed; give another path",
    errno.ENOTEMPTY: "something else writes there; give another path",
    errno.EBUSY: "something else uses it; wait for it, or give another path",
    errno.ENAMETOOLONG: "give a shorter path",
    errno.ELOOP: "links that lead in a circle; give the path that they stand for",
    errno.EMFILE: _FILES,
    errno.ENFILE: _FILES,
    errno.EIO: f"the disk or the network has a fault; {_GOES_ON} once it is mended",
    errno.ESTALE: f"the server of this folder has lost it; {_GOES_ON} once it is mounted again",
    errno.ENODEV: "give another path",
    errno.ENXIO: "give another path",
    errno.EXDEV: "a link between two disks; give a path on one disk",
    errno.EINVAL: "the file system doesn't take this name; give another path",
    errno.ENOMEM: f"the machine is out of memory; end what runs beside; {_GOES_ON}",
    errno.EAGAIN: f"a limit of processes (`ulimit -u`); raise it, or end what runs beside; {_GOES_ON}",
}
"""By error number: errors that a user or a disk can cause. Another number (such as a bad handle) is a bug, and keeps its
traceback."""
SYSTEMIC = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN})
"""Errors that concern the machine, not just the one file."""
FULL_BYTES = 4 << 20
"""A disk with less room than this counts as full, whatever a library's error says."""
_RUST = re.compile(r"\(os error (\d+)\)")


def disk_error(error: OSError) -> TrltError | None:
    """The error for the user, or None if neither a user nor a disk has caused it."""
    if error.errno not in REMEDIES or (error.errno == errno.EINVAL and error.filename is None):
        return None
    where = " -> ".join(os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, (str, bytes)))
    said = error.strerror or os.strerror(error.errno)
    return TrltError(f"{where}: {said}; {REMEDIES[error.errno]}" if where else f"{said}; {REMEDIES[error.errno]}")


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Makes errors of the disk name their file: those of an open file don't, and libraries have errors of their own.

    Raises:
        OSError: with `path` if no file was named; also in place of a library's own error.
    """
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            error.filename = str(path)
        raise
    except Exception as error:
        number = _number(error, path)
        if number is None:
            raise
        raise OSError(number, os.strerror(number), str(path)) from error


def _number(error: Exception, path: Path) -> int | None:
    """The system's error number behind a library's error: safetensors' contains it, torch's doesn't."""
    if type(error).__name__ == "SafetensorError" and (found := _RUST.search(str(error))):
        return int(found[1])
    if isinstance(error, RuntimeError) and re.search("PytorchStreamWriter|inline_container|iostream error", str(error)):
        return errno.ENOSPC if is_full(path) else None
    return None


def is_full(path: Path) -> bool:
    """Whether the disk on which a path is, or would be, has no room left."""
    there = next((one for one in (path, *path.parents) if one.exists()), path)
    room = os.statvfs(there)
    return room.f_bavail * room.f_frsize < FULL_BYTES
