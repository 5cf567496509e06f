"""Zip archives that somebody else has made: nothing of them can land outside of a folder, or fill the disk by surprise."""

from __future__ import annotations

import os
import shutil
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from trlt.errors import DataError, shown
from trlt.files.atomic import BLOCK, open_atomic
from trlt.files.download import check_room


def unpack(archive: Path, folder: Path, *, most_bytes: int) -> list[str]:
    """Writes an archive's files below a folder; those that are there with the same size are left as they are.

    Args:
        archive: A zip file.
        folder: Where its files go, each in one step.
        most_bytes: Largest size of all of them together.

    Returns:
        Their paths below the folder.

    Raises:
        DataError: no zip file, a damaged one, a path that leads out of the folder, a link, a password, or larger.
        TrltError: no room for them.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            inside = [info for info in opened.infolist() if not info.is_dir()]
            names = [_path(archive, info) for info in inside]
            size = sum(info.file_size for info in inside)
            if size > most_bytes:
                raise DataError(f"{archive}: unpacks to {size / 1e9:.2f} GB, more than the {most_bytes / 1e9:.2f} GB expected")
            folder.mkdir(parents=True, exist_ok=True)
            targets = [folder / name for name in names]
            todo = [(info, to) for info, to in zip(inside, targets, strict=True) if not _is_there(info, to)]
            check_room(folder, sum(info.file_size for info, _ in todo))
            root = os.path.realpath(folder)
            for info, target in todo:
                target.parent.mkdir(parents=True, exist_ok=True)
                if os.path.commonpath([root, os.path.realpath(target.parent)]) != root:  # by a link that was there before
                    raise DataError(f"{archive}: {shown(info.filename)} would be written outside of {folder}")
                with opened.open(info) as source, open_atomic(target, "wb") as out:
                    shutil.copyfileobj(source, out, BLOCK)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:  # RuntimeError: a password
        raise DataError(f"{archive}: can't be unpacked ({error}); remove it, and fetch it again") from None
    return names


def _path(archive: Path, info: zipfile.ZipInfo) -> str:
    """A file's path below the folder, as the archive has it."""
    path = PurePosixPath(info.filename)
    if path.is_absolute() or ".." in path.parts or "\\" in info.filename or not path.parts:
        raise DataError(f"{archive}: {shown(info.filename)} leads out of the folder; nothing was unpacked")
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        raise DataError(f"{archive}: {shown(info.filename)} is a link or no file; nothing was unpacked")
    return path.as_posix()


def _is_there(info: zipfile.ZipInfo, target: Path) -> bool:
    return target.is_file() and not target.is_symlink() and target.stat().st_size == info.file_size
