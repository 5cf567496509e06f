"""Atomic files and their checksums. Knows texts and bytes; nothing of what they mean."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import IO, Any, Literal

from trlt.errors import DataError
from trlt.errors.system import named

HALF_PAIRS = "backslashreplace"
"""How half a surrogate pair, which UTF-8 can't encode, is written: as JSON escapes it, and as bytes of a file name are
shown."""
BLOCK = 1 << 22
"""Bytes read at a time for a checksum."""


def write_text_atomic(path: Path, text: str) -> None:
    """Replaces a file's content in one step: readers see the old or the new content, even after a kill."""
    with open_atomic(path) as out:
        out.write(text)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields the name of a new file that replaces another in one step at the end; after an error, the old one stays."""
    with named(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():  # found at the end otherwise
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:50]}.")
    except OSError as error:
        error.filename = str(path)  # nobody knows the other name
        raise
    os.close(handle)
    try:
        with named(path):
            yield Path(name)
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


@contextmanager
def open_atomic(path: Path, mode: Literal["w", "wb"] = "w") -> Iterator[IO[Any]]:
    """A file for writing that is put in place in one step at the end; after an error, the old content stays."""
    text = mode == "w"
    with replacing(path) as new, new.open(mode, encoding="utf-8" if text else None, errors=HALF_PAIRS if text else None) as out:
        yield out
        out.flush()
        os.fsync(out.fileno())


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A folder for writing that is put in place, where nothing may exist, in one step at the end; an error leaves nothing."""
    new = path.with_name(f".{path.name}.partial")
    shutil.rmtree(new, ignore_errors=True)  # left by a kill
    new.mkdir(parents=True)
    try:
        yield new
        new.rename(path)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise


def write_json(path: Path, value: Any) -> None:
    """Replaces a file's content by a JSON value in one step."""
    write_text_atomic(path, to_json(value))


def to_json(value: Any) -> str:
    """A JSON value as readable text."""
    return json.dumps(value, ensure_ascii=False, indent=2) + "\n"


def create_text(path: Path, text: str) -> bool:
    """Writes a file in one step unless it exists; returns whether it was written."""
    if path.exists():
        return False
    new = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    write_text_atomic(new, text)
    try:
        os.link(new, path)
    except FileExistsError:
        return False
    except OSError:  # a file system without hard links: whoever comes in between is overwritten
        os.replace(new, path)
    finally:
        new.unlink(missing_ok=True)
    return True


def append(file: FileIO, data: bytes, path: Path) -> int:
    """Appends to an unbuffered file, all or nothing; returns its size before."""
    end = file.seek(0, os.SEEK_END)
    with named(path):
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[file.write(rest) or 0 :]
        except OSError:  # a full disk may have taken a part
            file.truncate(end)
            raise
    return end


def sample_files(path: Path) -> list[Path]:
    """The JSONL files of samples for a path: the file itself, or those of a folder from `trlt prepare`, by name."""
    return sorted(path.glob("*.jsonl")) if path.is_dir() else [path]


def file_digest(path: Path) -> str:
    """SHA-256 of a file; of a folder of samples, that of its files' names and contents.

    Raises:
        DataError: it can't be read.
    """
    if path.is_dir():
        inner = "".join(f"{file.name} {file_digest(file)}\n" for file in sample_files(path))
        return hashlib.sha256(inner.encode("utf-8", "surrogateescape")).hexdigest()
    try:
        with path.open("rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path}: can't be read ({error.strerror})") from None


def checksum(path: Path) -> str:
    """CRC-32 and number of a file's bytes, as text."""
    value = 0
    with path.open("rb", buffering=0) as file:
        while block := file.read(BLOCK):
            value = zlib.crc32(block, value)
        return f"{value:08x} {file.tell()}"
