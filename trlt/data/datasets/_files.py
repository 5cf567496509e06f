"""Opens one annotation file by its suffix, and says plainly what is wrong with an unusable one."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trlt.errors import DataError
from trlt.files import iter_jsonl
from trlt.files.bounded_json import Truncated, iter_list, loads

HEAD_BYTES = 512
_MARK = b"\xef\xbb\xbf"
"""The byte order mark that some tools write before UTF-8."""


def parse_file(path: Path, *, streamed: bool = False) -> Any:
    """Lines of a .txt, rows of a .csv or .tsv (dicts of text) or .parquet, the value of a .json, the values of a .jsonl.

    Args:
        path: The file.
        streamed: Read a .json list record by record (`Records`) instead of as a whole.

    Raises:
        DataError: unreadable, empty, a git-LFS pointer, an HTML page, binary, truncated JSON or a ragged csv.
    """
    if path.suffix == ".parquet":
        return _parquet(path)
    if streamed and path.suffix == ".json":
        return Records(path)
    text = _text(path)
    if path.suffix in (".csv", ".tsv"):
        return _rows(path, text, "," if path.suffix == ".csv" else "\t")
    if path.suffix == ".jsonl":
        return [record for _, record in iter_jsonl(path, lambda value, _: value)]
    if path.suffix == ".json":
        return _json(path, text)
    # Not splitlines: a line separator inside a sentence would shift the line numbers that ids are made of.
    return text.replace("\r\n", "\n").split("\n")


class Records:
    """The records of a JSON list, parsed one at a time: files of hundreds of MB are never in memory as a whole.

    Raises:
        DataError: on creation, the faults of `parse_file`, and a file that is no list; during iteration, faults of the JSON,
            with the number of records before.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            with path.open("rb") as handle:
                start = check_head(path, handle.read(HEAD_BYTES))
        except OSError as error:
            raise DataError(f"{path}: can't be read ({error.strerror})") from None
        if start[:1] != b"[":
            kind = "an object" if start[:1] == b"{" else "something else"
            raise DataError(f"{path}: expected a list of records, got {kind}; is this the official file?")

    def __iter__(self) -> Iterator[Any]:
        count = 0
        with self._path.open("rb") as handle:
            if handle.read(len(_MARK)) != _MARK:
                handle.seek(0)
            try:
                for record in iter_list(handle):
                    count += 1
                    yield record
            except ValueError as error:
                cut = isinstance(error, Truncated)
                hint = "the file is truncated; download it again" if cut else "is this the official file?"
                raise DataError(f"{self._path}: not JSON after {count:,} records ({error}); {hint}") from None


def _parquet(path: Path) -> list[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with path.open("rb") as handle:
            check_head(path, handle.read(HEAD_BYTES))
        rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    except OSError as error:  # ArrowInvalid isn't one; a missing or unreadable file is
        raise DataError(f"{path}: can't be read ({error})") from None
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not a parquet file ({str(error).splitlines()[0]}); download it again") from None
    return rows


def check_head(path: Path, start: bytes, *, remedy: str = "download it again") -> bytes:
    """The first bytes of a file without a byte order mark and white space; `remedy` is what to do about an empty one.

    Raises:
        DataError: the file isn't data.
    """
    start = start.removeprefix(_MARK).lstrip()
    low = start.lower()
    if low.startswith(b"version https://git-lfs"):
        raise DataError(f"{path}: a git-LFS pointer, not the file itself; run `git lfs pull` in its repository")
    if low.startswith((b"<!doctype html", b"<html")):
        raise DataError(f"{path}: an HTML page, not {path.suffix}; download the raw file instead of the page that shows it")
    if low.startswith((b"pk\x03\x04", b"\x1f\x8b")):
        raise DataError(f"{path}: a compressed archive; unpack it first")
    if not start:
        raise DataError(f"{path}: empty; {remedy}")
    return start


def _text(path: Path) -> str:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: can't be read ({error.strerror})") from None
    check_head(path, raw[:HEAD_BYTES])
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text (byte {error.start}); download it again") from None


def _json(path: Path, text: str) -> Any:
    try:
        return loads(text, finite=False)  # what is no number is a fault of its record
    except json.JSONDecodeError as error:
        # A fault at the very end, or a string that never ends, means that the rest is missing.
        cut = error.pos >= len(text.rstrip()) - 1 or error.msg.startswith("Unterminated string")
        hint = "the file is truncated; download it again" if cut else "is this the official file?"
        raise DataError(f"{path}:{error.lineno}: not JSON ({error.msg}); {hint}") from None
    except ValueError as error:
        raise DataError(f"{path}: not JSON as trlt reads it ({error}); is this the official file?") from None


def _rows(path: Path, text: str, delimiter: str) -> list[dict[str, str]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=delimiter)
    try:
        header = [name.strip() for name in next(reader)]
        rows: list[dict[str, str]] = []
        for values in reader:
            if not values:
                continue
            if len(values) != len(header):
                raise DataError(
                    f"{path}:{reader.line_num}: {len(values)} fields where the header has {len(header)}; "
                    "the file is truncated or no official one: download it again"
                )
            rows.append(dict(zip(header, values, strict=True)))
    except csv.Error as error:
        raise DataError(f"{path}:{reader.line_num}: not csv ({error}); download it again") from None
    return rows
