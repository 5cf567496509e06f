"""Opens one annotation file by its suffix, and says plainly what is wrong with one that isn't what it should be."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

from trlt.errors import DataError


def parse_file(path: Path) -> Any:
    """Lines of a .txt, rows of a .csv (dicts of text), the value of a .json.

    Raises:
        DataError: unreadable, empty, a git-LFS pointer, an HTML page, binary, truncated JSON or a ragged csv.
    """
    text = _text(path)
    if path.suffix == ".csv":
        return _rows(path, text)
    if path.suffix == ".json":
        return _json(path, text)
    # Not splitlines: a line separator inside a sentence would shift the line numbers that ids are made of.
    return text.replace("\r\n", "\n").split("\n")


def _text(path: Path) -> str:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: can't be read ({error.strerror})") from None
    start = raw[:512].lstrip().lower()
    if start.startswith(b"version https://git-lfs"):
        raise DataError(f"{path}: a git-LFS pointer, not the file itself; run `git lfs pull` in its repository")
    if start.startswith((b"<!doctype html", b"<html")):
        raise DataError(f"{path}: an HTML page, not {path.suffix}; download the raw file instead of the page that shows it")
    if start.startswith((b"pk\x03\x04", b"\x1f\x8b")):
        raise DataError(f"{path}: a compressed archive; unpack it first")
    if not start:
        raise DataError(f"{path}: empty; download it again")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text (byte {error.start}); download it again") from None


def _json(path: Path, text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        # A fault at the very end, or a string that never ends, means that the rest is missing.
        cut = error.pos >= len(text.rstrip()) - 1 or error.msg.startswith("Unterminated string")
        hint = "the file is truncated; download it again" if cut else "is this the official file?"
        raise DataError(f"{path}:{error.lineno}: not JSON ({error.msg}); {hint}") from None


def _rows(path: Path, text: str) -> list[dict[str, str]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
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
