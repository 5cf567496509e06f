"""Columns of single options under unknown names, such as `Antwort A`, `Antwort B`: known by the answers of a table. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from trlt.data.own.answers import untagged
from trlt.data.own.rows import Row
from trlt.data.own.spellings import Columns, is_blank
from trlt.errors import shown
from trlt.task.answer import LETTERS, plain

_LETTERED = re.compile(r"(.*\S)[ _.-]([A-Za-z])")
_LETTER = re.compile(r"[A-Za-h]|\(([A-Za-z])\)[.:]?|[A-Za-z][.:)]")
"""A letter of an option. A bare small one from i on could be an unknown of mathematics."""


def lone_letter(answer: Any) -> str | None:
    """The letter, in upper case, that is the whole of an answer: `A`, `b`, `(A)`, `A.`; else None."""
    if not isinstance(answer, str) or _LETTER.fullmatch(answer.strip()) is None:
        return None
    return answer.strip("().: \t\n").upper()


def families(names: Iterable[str]) -> list[list[str]]:
    """Columns that differ in a last letter alone, which goes on from A: at least two of each, in order."""
    found: dict[str, dict[str, str]] = {}
    for name in names:
        if (parts := _LETTERED.fullmatch(name)) is not None:
            found.setdefault(parts[1].casefold(), {}).setdefault(parts[2].upper(), name)
    runs = []
    for members in found.values():
        run: list[str] = []
        for sign in LETTERS:
            if sign not in members:
                break
            run.append(members[sign])
        if len(run) > 1:
            runs.append(run)
    return runs


def answered(rows: Sequence[Row], columns: Columns, candidates: Sequence[Sequence[str]]) -> list[str]:
    """The one family of columns that holds the options, because every answer is a letter or the text of one of them.

    Args:
        rows: Of the table.
        columns: Finds the answer.
        candidates: Families of columns.

    Returns:
        Its columns; none where no family fits, or several do.
    """
    fitting = [list(names) for names in candidates if _fits(rows, columns, names)]
    return fitting[0] if len(fitting) == 1 else []


def letter_alone(answer: str, alike: Sequence[str]) -> str:
    """What is wrong with a letter as the answer of a question without options."""
    places = list(alike) or ["COLUMN", "COLUMN"]
    named = ",".join(f"option_{sign}={shown(name) if alike else name}" for sign, name in zip("ab", places, strict=False))
    more = ",…" if len(places) > 2 or not alike else ""
    return (
        f"{shown(answer)} is a letter, and there are no options; name their columns with --map {named}{more}, or with "
        "--map options=COLUMN the one that holds all; where the letter itself is right, write it in words (the letter "
        f"{lone_letter(answer)})"
    )


def _fits(rows: Sequence[Row], columns: Columns, names: Sequence[str]) -> bool:
    asked = 0
    for row in rows:
        options = [row.values.get(name) for name in names]
        cell = columns.find("answer", row.values)
        if cell is None or is_blank(options):
            continue
        said = untagged(cell.value)
        letter = lone_letter(said)
        named = letter is not None and LETTERS.index(letter) < len(options) and not is_blank(options[LETTERS.index(letter)])
        if not named and plain(str(said)) not in [plain(str(option)) for option in options if not is_blank(option)]:
            return False
        asked += 1
    return asked > 0
