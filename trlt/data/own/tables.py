"""Opens a table of any usual format as rows; a line that can't be parsed is a fault, not the end. Knows no fields."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trlt.data.datasets._files import check_head, parse_file
from trlt.data.own.rows import Row
from trlt.data.own.spellings import SPELLINGS, folded
from trlt.errors import DataError, shown
from trlt.files import bounded_lines
from trlt.files.bounded_json import MOST_LINE, iter_list, loads, parse_json, shown_fault

SCHEME = "hf://"
"""Begins the address of a hub's data set."""
JSON = (".jsonl", ".ndjson", ".json")
DELIMITED = (".csv", ".tsv")
SUFFIXES = (*JSON, *DELIMITED, ".parquet")
WRAPPERS = frozenset({"data", "annotations", "questions", "samples", "rows", "examples", "items", "records", "train", "test"})
"""Keys of an object that holds nothing but a list of records."""
_SAMPLE = frozenset({"id", "source", "split", "task"})
"""Keys by which the first line of a file is known as a sample of trlt."""
_KNOWN = frozenset(folded(name) for names in SPELLINGS.values() for name in names)


@dataclass
class Table:
    """What a table holds."""

    rows: list[Row] = field(default_factory=list)
    faults: dict[int, str] = field(default_factory=dict)
    """Line -> fault, of lines that can't be parsed."""


def is_table(name: str) -> bool:
    """Whether a name is that of a table, by its suffix."""
    return Path(name).suffix.lower() in SUFFIXES


def holds_samples(given: str) -> bool:
    """Whether a path is that of samples of trlt: a folder, a file whose first line is one, or no table of any kind."""
    path = Path(given)
    if given.startswith(SCHEME):
        return False
    if path.is_dir() or not is_table(given) or (path.suffix == ".jsonl" and not path.exists()):
        return True
    if path.suffix not in (".jsonl", ".json", ".ndjson"):
        return False
    try:
        with path.open("rb") as file:
            first = next((line for line in iter(lambda: file.readline(MOST_LINE), b"") if line.strip()), b"")
            value = loads(first) if first else dict.fromkeys(_SAMPLE)  # an empty file is one of no samples
    except (OSError, ValueError):
        return False
    return isinstance(value, dict) and _SAMPLE <= value.keys()


def read_table(path: Path) -> Table:
    """The rows of a file.

    Raises:
        DataError: it can't be read, isn't of a known format, or is none at all.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise DataError(f"{path}: a table is JSONL, JSON, CSV, TSV or Parquet ({', '.join(SUFFIXES)}); save it as one of these")
    if suffix == ".parquet":
        records = parse_file(path)
        return Table([Row(f"{path}: row {number}", number, values) for number, values in enumerate(records, 1)])
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: can't be read ({error.strerror}); give the path of a table") from None
    head = check_head(path, data[:512], remedy="give a table with rows")
    if suffix in DELIMITED:
        return _delimited(path, data)
    return _json(path, data, head)


# -- CSV and TSV ------------------------------------------------------------------------------------------------------


def _delimited(path: Path, data: bytes) -> Table:
    """Rows by the first line's names; Excel's `sep=;` line, semicolons, tabs, UTF-16 and byte order marks are known."""
    text = _decoded(path, data)
    said = re.match(r"sep=(.)\r?\n", text)
    body, offset = (text[said.end() :], 1) if said else (text, 0)
    mark = said[1] if said else _delimiter(body, path)
    reader = csv.reader(io.StringIO(body, newline=""), delimiter=mark, strict=True)
    table = Table()
    try:
        header = [name.strip() for name in next(reader, [])]
        twice = next((name for place, name in enumerate(header) if name and name in header[:place]), None)
        if twice is not None:
            raise DataError(f"{path}:1: the column {shown(twice)} stands twice; name each once")
        before = reader.line_num
        for values in reader:
            number, before = before + 1 + offset, reader.line_num
            if not any(value.strip() for value in values):
                continue
            if len(values) != len(header):
                table.faults[number] = (
                    f"{path}:{number}: {len(values)} fields where the header has {len(header)} (by {shown(mark)}); put quotes "
                    "around a text that holds the mark between fields"
                )
                continue
            cells = {name: value for name, value in zip(header, values, strict=True) if name}
            table.rows.append(Row(f"{path}:{number}", number, cells))
    except csv.Error as error:
        raise DataError(f"{path}:{reader.line_num + offset}: not CSV ({error}); look at the quotes of this line") from None
    return table


def _decoded(path: Path, data: bytes) -> str:
    encoding = "utf-16" if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: not UTF-8 text (byte {error.start}: 0x{data[error.start]:02x}); save it as UTF-8 (in Excel: CSV UTF-8)"
        ) from None


def _delimiter(text: str, path: Path) -> str:
    """The mark that cuts the header into most fields; of equals, the suffix's own."""
    own = "\t" if path.suffix.lower() == ".tsv" else ","
    counts: dict[str, int] = {}
    for mark in (own, ";", "\t", ",", "|"):
        try:
            counts.setdefault(mark, len(next(csv.reader(io.StringIO(text, newline=""), delimiter=mark), [])))
        except csv.Error:
            counts.setdefault(mark, 0)
    return max(counts, key=counts.__getitem__)


# -- JSON -------------------------------------------------------------------------------------------------------------


def _json(path: Path, data: bytes, head: bytes) -> Table:
    """A list of records, an object of records or of columns, or an object a line, whatever the suffix says."""
    if head[:1] == b"[" and not _is_list_a_line(data):
        return _list(path, data)
    if head[:1] == b"{" and (whole := _whole_object(data)) is not None:
        records = list(_records(path, whole))
        if records != [whole]:
            return Table([Row(f"{path}: record {n}", n, values) for n, values in enumerate(records, 1)])
        return Table([Row(f"{path}:1", 1, whole)])
    table = Table()
    for number, line in bounded_lines(io.BytesIO(data)):
        where = f"{path}:{number}"
        if not line.strip():
            continue
        try:
            if len(line) > MOST_LINE:
                raise DataError(f"{where}: a line of more than {MOST_LINE >> 20} MB; one object per line is expected")
            value = parse_json(line, where, expected="one object per line is expected", finite=False)
            if not isinstance(value, dict):
                raise DataError(f"{where}: expected an object, got {shown(value)}; write one object per line")
            table.rows.append(Row(where, number, value))
        except DataError as error:
            table.faults[number] = str(error)
    return table


def _is_list_a_line(data: bytes) -> bool:
    """Whether the first line is a whole list, and another value follows: a fault of each line."""
    first, _, rest = data.lstrip().partition(b"\n")
    try:
        return bool(rest.strip()) and isinstance(loads(first, finite=False), list)
    except ValueError:
        return False


def _list(path: Path, data: bytes) -> Table:
    table, number = Table(), 0
    try:
        for number, record in enumerate(iter_list(io.BytesIO(data.removeprefix(codecs.BOM_UTF8))), 1):
            where = f"{path}: record {number}"
            if isinstance(record, dict):
                table.rows.append(Row(where, number, record))
            else:
                table.faults[number] = f"{where}: expected an object, got {shown(record)}"
    except ValueError as error:
        raise DataError(f"{path}: not JSON after {number:,} records ({shown_fault(error)}); write it anew") from None
    return table


def _whole_object(data: bytes) -> dict[str, Any] | None:
    """The object that the file is, unless an object stands on its first line alone, and more follow."""
    first, _, rest = data.partition(b"\n")
    if rest.strip():
        try:
            loads(first, finite=False)
            return None
        except ValueError:
            pass
    try:
        value = loads(data, finite=False)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _records(path: Path, whole: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The records of an object: one itself, a list under one key, or as pandas writes a table in any orientation."""
    lists = {key: value for key, value in whole.items() if isinstance(value, list)}
    if {"columns", "data"} <= whole.keys() and isinstance(whole["columns"], list) and isinstance(whole["data"], list):
        names = [str(name) for name in whole["columns"]]
        if any(not isinstance(values, list) or len(values) != len(names) for values in whole["data"]):
            raise DataError(f"{path}: data: each row must have {len(names)} values, as many as columns")
        yield from (dict(zip(names, values, strict=True)) for values in whole["data"])
        return
    wrapped = [key for key in lists if key.lower() in WRAPPERS and all(isinstance(one, dict) for one in lists[key])]
    if len(wrapped) == 1:
        yield from lists[wrapped[0]]
        return
    known = any(folded(key) in _KNOWN for key in whole)
    if known and len(lists) == len(whole) and not _is_one_record(whole):
        yield from _of_columns(path, whole)
    elif known and all(isinstance(value, dict) for value in whole.values()):
        places = list(dict.fromkeys(place for column in whole.values() for place in column))
        yield from ({name: column.get(place) for name, column in whole.items()} for place in places)
    elif not known and whole and all(isinstance(value, dict) for value in whole.values()):
        yield from ({"id": key, **value} for key, value in whole.items())
    else:
        yield whole


def _is_one_record(whole: Mapping[str, Any]) -> bool:
    """Whether an object of lists is a single record, such as a chat with its videos."""
    return any(folded(key) in ("messages", "conversations") and whole[key] and isinstance(whole[key][0], dict) for key in whole)


def _of_columns(path: Path, columns: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{shown(name)} {length:,}" for name, length in lengths.items())
        raise DataError(f"{path}: its columns are of different lengths: {told}; write a list of records")
    yield from (dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True))
