"""How people name the columns of a table of questions, and which column holds which field of a row. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from trlt.errors import DataError, RecipeError, did_you_mean, shown
from trlt.task.answer import LETTERS

SPELLINGS: Mapping[str, tuple[str, ...]] = {
    "video": (
        *(
            "video",
            "video_path",
            "videos",
            "video_file",
            "video_name",
            "video_filename",
            "filename",
            "file_name",
            "file",
            "path",
        ),
        *("media", "media_path", "vid", "video_id", "vid_name"),
    ),
    "question": (
        *("question", "query", "prompt", "problem", "instruction", "sentence", "caption", "description", "event", "text"),
    ),
    "options": ("options", "choices", "candidates", "answer_choices", "multiple_choice"),
    "answer": (
        *(
            "answer",
            "label",
            "solution",
            "gt",
            "correct_answer",
            "ground_truth",
            "gt_answer",
            "correct",
            "response",
        ),
        *("target", "output", "answers", "answer_index", "answer_idx", "answer_id", "correct_index", "correct_idx"),
    ),
    "answer_from_0": (),
    "answer_from_1": (),
    "start": ("start", "start_time", "start_s", "start_sec", "start_seconds", "begin", "begin_time", "t_start", "gt_start"),
    "end": ("end", "end_time", "end_s", "end_sec", "end_seconds", "stop", "stop_time", "t_end", "gt_end"),
    "spans": (
        *("spans", "span", "segments", "segment", "windows", "window", "relevant_windows", "timestamp", "timestamps"),
        *("gt_span", "gt_spans", "gt_window", "gt_windows", "gt_segment", "gt_segments", "time_span", "time_range"),
    ),
    "id": ("id", "qid", "question_id", "uid", "sample_id", "problem_id"),
    "source": ("source", "data_source", "dataset", "dataset_name"),
    "clip": ("clip",),
    "clip_start": ("clip_start", "video_start"),
    "clip_end": ("clip_end", "video_end"),
    "duration": ("duration", "video_duration", "video_length", "duration_s"),
    "several": ("several",),
    "numeric": ("numeric",),
    "messages": ("messages", "conversations", "conversation", "qa"),
}
"""Field -> names of its column, the first of which that a row fills counts. Case, spaces and `_-.` don't matter."""
FAMILIES = ("option", "options", "choice", "candidate", "opt", "answer", "ans", "a", "")
"""What stands before the letter or number of columns that hold one option each: `option_a`, `a0`, `A`."""
NO_FIELD = frozenset({"", "unnamed0", "index", "indexlevel0"})
"""Columns that pandas adds for a table's index."""
_SINGLE = re.compile(r"option_[a-z]")
"""Fields of a map that name the column of one option."""


class Cell(NamedTuple):
    """A value that a row has for a field."""

    column: str
    value: Any


@cache
def folded(name: str) -> str:
    """A column's name without case, spaces and punctuation."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def is_blank(value: Any) -> bool:
    """Whether a cell holds nothing: null, NaN, an empty text, or a list (or object) of nothing else."""
    if isinstance(value, float):
        return math.isnan(value)
    if isinstance(value, (list, dict)):
        return all(map(is_blank, value.values() if isinstance(value, dict) else value))
    return value is None or (isinstance(value, str) and not value.strip())


class Columns:
    """Finds the fields of rows.

    Args:
        given: Field -> column, as `data.map` of a recipe; an empty column means that the field isn't there. `options` may
            name several columns, joined by `+` or `|`; or `option_a`, `option_b`, … name one each.

    Raises:
        RecipeError: an unknown field, or columns of options that don't go on from `option_a`.
    """

    def __init__(self, given: Mapping[str, str]) -> None:
        single = {name: column for name, column in given.items() if _SINGLE.fullmatch(name)}
        for name in given:
            if name not in SPELLINGS and name not in single:
                raise RecipeError(f"data.map (--map): {name}: unknown field; {did_you_mean(name, SPELLINGS)}")
        self._single = tuple(column for _, column in sorted(single.items()))
        if single:
            wanted = [f"option_{sign}" for sign in LETTERS.lower()[: len(single)]]
            if sorted(single) != wanted or len(single) < 2 or not all(self._single) or "options" in given:
                raise RecipeError(
                    f"data.map (--map): {', '.join(sorted(single))}: name a column for each option, from option_a on without a "
                    "gap, at least two, and no options beside them"
                )
            given = {name: column for name, column in given.items() if name not in single} | {"options": "|".join(self._single)}
        self._given = given
        self._taken = {one for column in given.values() for one in (column, *_apart(column))} | set(self._single)
        self._adopted: tuple[str, ...] = ()
        self._known = {field: tuple(map(folded, names)) for field, names in SPELLINGS.items() if field not in given}

    def check(self, there: Iterable[str], path: str) -> None:
        """Looks whether the table has the columns that were given.

        Raises:
            DataError: it lacks one; names those that are there.
        """
        names = list(there)
        for field, column in self._given.items():
            for one in self._options_given() if field == "options" and column not in names else [column]:
                if one and one not in names:
                    raise DataError(f"{path}: --map {field}={column}: no column {shown(one)}; {did_you_mean(one, names)}")

    def given(self, field: str) -> bool:
        """Whether the field's column was named, rather than recognized."""
        return bool(self._given.get(field))

    def find(self, field: str, row: Mapping[str, Any]) -> Cell | None:
        """The row's value for a field, or None where it has none."""
        if field in self._given:
            column = self._given[field]
            return None if not column or is_blank(row.get(column)) else Cell(column, row[column])
        names = _by_fold(tuple(row))
        for spelling in self._known[field]:
            if spelling in names and names[spelling] not in self._taken and not is_blank(row[names[spelling]]):
                return Cell(names[spelling], row[names[spelling]])
        return None

    def option_columns(self, row: Mapping[str, Any]) -> list[str]:
        """The columns that hold one option each, in their order; empty if there are none."""
        given = self._given.get("options")
        if given is None:
            return _family(tuple(row)) or [name for name in self._adopted if name in row]
        return list(self._options_given()) if given and given not in row else []

    def adopt(self, names: Sequence[str]) -> None:
        """Takes columns for those of the options, one each, in rows that have none by a known name."""
        self._adopted = tuple(names)

    def _options_given(self) -> Sequence[str]:
        return self._single or _apart(self._given["options"])


def _apart(columns: str) -> list[str]:
    """The columns that a map names in one."""
    return [one.strip() for one in re.split(r"[+|]", columns)]


@cache
def _by_fold(columns: tuple[str, ...]) -> dict[str, str]:
    """Folded name -> column; the first of equal ones."""
    names: dict[str, str] = {}
    for name in columns:
        names.setdefault(folded(name), name)
    return names


@cache
def _family(columns: tuple[str, ...]) -> list[str]:
    """Columns of single options, in order: at least two that go on from A, 0 or 1."""
    names = _by_fold(columns)
    for prefix in FAMILIES:
        for first in ("0", "1") if prefix == "a" else ("a",) if prefix == "" else ("a", "0", "1"):
            found = []
            for step in range(26):
                sign = chr(ord("a") + step) if first == "a" else str(int(first) + step)
                if f"{prefix}{sign}" not in names:
                    break
                found.append(names[f"{prefix}{sign}"])
            if len(found) > 1:
                return found
    return []
