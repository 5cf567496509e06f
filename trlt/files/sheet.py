"""The first sheet of an Excel file (`.xlsx`) as rows of texts.

Such a file is an archive of XML (ECMA-376): the cells of `xl/worksheets/sheet1.xml`, whose texts stand in them or in
`xl/sharedStrings.xml`. Only that is read: no formula, no format, no date.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from trlt.errors import DataError

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

MOST = 1 << 30
"""Bytes of a part when it is unpacked; an archive of a few KB may claim to hold more than any memory."""
_REMEDY = "save the table as .csv or .tsv, or write it anew"


def read_sheet(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """(row number as Excel shows it, column name to text) of each row below the header; empty cells are left out.

    Raises:
        DataError: it can't be read, or is no Excel file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            shared = _shared(_part(archive, "xl/sharedStrings.xml", path)) if "xl/sharedStrings.xml" in names else []
            sheets = sorted((name for name in names if re.fullmatch(r"xl/worksheets/sheet[0-9]+\.xml", name)), key=_number)
            if not sheets:
                raise DataError(f"{path}: holds no sheet; {_REMEDY}")
            rows = _rows(_part(archive, sheets[0], path), shared)
    except OSError as error:
        raise DataError(f"{path}: can't be read ({error.strerror or error})") from None
    except (zipfile.BadZipFile, zlib.error, ElementTree.ParseError, NotImplementedError, RuntimeError, EOFError) as error:
        raise DataError(f"{path}: no readable Excel file ({error}); {_REMEDY}") from None
    except (ValueError, IndexError, KeyError) as error:
        raise DataError(f"{path}: its cells are damaged ({error}); {_REMEDY}") from None
    if not rows:
        return
    (_, first), *others = rows
    for number, cells in others:
        named = {first[column]: text for column, text in cells.items() if text and first.get(column)}
        if named:
            yield number, named


def _number(name: str) -> int:
    return int(re.sub(r"\D", "", name))


def _part(archive: zipfile.ZipFile, name: str, path: Path) -> Element:
    if archive.getinfo(name).file_size > MOST:
        raise DataError(f"{path}: {name} unpacks to more than {MOST >> 30} GB; {_REMEDY}")
    with archive.open(name) as part:
        data = part.read(MOST + 1)
    # A document type may define texts that unfold without end; Excel's files have none.
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        raise DataError(f"{path}: {name} has a document type, which no Excel file has; {_REMEDY}")
    return ElementTree.fromstring(data)


def _shared(root: Element) -> list[str]:
    return [_text(item) for item in root.iterfind("{*}si")]


def _text(item: Element) -> str:
    """The text of an item, in one or several pieces; readings of Japanese words (`rPh`) are no part of it."""
    pieces = [*item.iterfind("{*}t"), *item.iterfind("{*}r/{*}t")]
    text = "".join(piece.text or "" for piece in pieces)
    return re.sub(r"_x([0-9A-Fa-f]{4})_", lambda code: chr(int(code[1], 16)), text)


def _rows(root: Element, shared: list[str]) -> list[tuple[int, dict[int, str]]]:
    """(number, column to text) of each row."""
    rows = []
    number = 0
    for row in root.iterfind("{*}sheetData/{*}row"):
        number = int(row.get("r") or number + 1)
        cells: dict[int, str] = {}
        column = -1
        for cell in row.iterfind("{*}c"):
            column = _column(cell.get("r")) if cell.get("r") else column + 1
            cells[column] = _cell(cell, shared)
        rows.append((number, cells))
    return rows


def _column(reference: str | None) -> int:
    """Column of a cell by its name, from 0: A, B, …, Z, AA and so on."""
    place = 0
    for letter in re.sub(r"[^A-Z]", "", reference or ""):
        place = 26 * place + ord(letter) - 64
    return place - 1


def _cell(cell: Element, shared: list[str]) -> str:
    kind = cell.get("t", "n")
    if kind == "inlineStr":
        inner = cell.find("{*}is")
        return "" if inner is None else _text(inner)
    value = cell.findtext("{*}v") or ""
    if kind == "s":
        return shared[int(value)]
    return value
