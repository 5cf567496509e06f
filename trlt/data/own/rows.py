"""Turns one row of a table into questions whose answers aren't read yet. Pure; says everything that is wrong with the row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from trlt.data.datasets._common import clean, without_instruction
from trlt.data.datasets._options import split_options
from trlt.data.own.answers import untagged
from trlt.data.own.chat import Turn, read_chat
from trlt.data.own.spellings import Cell, Columns, is_blank
from trlt.data.own.values import Unusable, options, seconds, spans, start_and_end, text, video, without_letters, yes_or_no
from trlt.errors import shown
from trlt.task.answer import plain
from trlt.task.sample import Span

T = TypeVar("T")
NO_VIDEO = "unknown"
"""Stands for the video of questions whose own is at fault, which become no samples."""


class Row(NamedTuple):
    """A row of a table."""

    where: str
    """`mine.csv:3`, `mine.parquet: row 3`."""
    number: int
    """Of its line, or of the row from 1."""
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Asked:
    """A question of a row."""

    where: str
    id: str
    source: str
    video: str
    question: str
    options: tuple[str, ...] | None
    answer: Any
    """As written, without tags; None without one."""
    answer_column: str
    counts_from: int | None
    """Where a place begins, if the column says so."""
    is_text: bool
    """Whether the answer's column was named as such, so that what looks like a span is no span."""
    spans: tuple[tuple[float, float], ...] | None
    clip: Span | None
    duration: float | None
    several: bool
    numeric: bool

    @property
    def is_no_span(self) -> bool:
        """Whether what looks like a span in the answer is none: 1,200 of a question that asks for a number, for one."""
        return self.is_text or self.numeric


@dataclass
class RowReader:
    """Reads rows, and notes which columns they use.

    Args:
        columns: Finds the fields.
        stem: Of the table's name: the source, and the beginning of ids, of rows without.
        root: Folder of the videos.
    """

    columns: Columns
    stem: str
    root: Path | None
    used: dict[str, Counter[str]] = field(default_factory=dict)
    """Field -> column -> how many rows."""

    def read(self, row: Row) -> tuple[list[Asked], list[str]]:
        """The questions of a row, and its faults, each with its field.

        Of a row whose video alone is at fault there are questions, too, so that what else is wrong with them is told at once.
        """
        faults: list[str] = []

        def parsed(name: str, reader: Callable[[Any], T], cell: Cell | None) -> T | None:
            if cell is None:
                return None
            self.used.setdefault(name, Counter())[cell.column] += 1
            try:
                return reader(cell.value)
            except Unusable as error:
                column = "" if name == cell.column else f" (column {shown(cell.column)})"
                faults.append(f"{row.where}: {name}{column}: {error}")
                return None

        def find(name: str) -> Cell | None:
            return self.columns.find(name, row.values)

        chat = parsed("messages", read_chat, find("messages"))
        cell = find("video") or (Cell("messages", chat.videos) if chat and chat.videos else None)
        path = parsed("video", lambda value: video(value, self.root), cell)
        if cell is None:
            faults.append(f"{row.where}: video: is missing; {self._where_to('video', row)}")
        of_video = len(faults)
        first, last = find("clip_start"), find("clip_end")
        if first and last:
            place = parsed("clip_start", _clip, Cell(first.column, [first.value, last.value]))
            self.used.setdefault("clip_end", Counter())[last.column] += 1
        else:
            place = parsed("clip", _clip, find("clip"))
        shared = {
            "where": row.where,
            "id": parsed("id", _id, find("id")) or f"{self.stem}:{row.number}",
            "source": parsed("source", text, find("source")) or self.stem,
            "video": path or NO_VIDEO,
            "clip": place,
            "duration": parsed("duration", seconds, find("duration")),
            "several": parsed("several", yes_or_no, find("several")) or False,
            "numeric": parsed("numeric", yes_or_no, find("numeric")) or False,
            "spans": self._spans(row, parsed),
        }
        answer = next((one for name in ("answer_from_0", "answer_from_1", "answer") if (one := find(name))), None)
        name = next((name for name in ("answer_from_0", "answer_from_1") if self.columns.given(name)), "answer")
        if answer is not None:
            self.used.setdefault(name, Counter())[answer.column] += 1
        listed = self._options(row, parsed)
        made: list[Asked] = []
        for turn in self._turns(row, chat.turns if chat else [], parsed, faults):
            said = answer.value if answer is not None else turn.answer
            made.append(
                _asked(turn.question, listed)(
                    answer=untagged(said),
                    answer_column=answer.column if answer is not None else "answer",
                    counts_from=int(name[-1]) if name != "answer" else None,
                    is_text=self.columns.given("answer"),
                    **shared,
                )
            )
        if len(made) > 1:
            made = [replace(one, id=f"{one.id}:{turn}") for turn, one in enumerate(made, 1)]
        faults += [f"{row.where}: question: is empty" for one in made if not one.question]
        return ([] if len(faults) > of_video else made), faults

    def _turns(self, row: Row, turns: Sequence[Turn], parsed: Callable[..., Any], faults: list[str]) -> list[Turn]:
        """The chat's turns, or else the question of the row."""
        answered = [turn for turn in turns if turn.answer is not None]
        if answered:
            return answered
        if turns:
            return list(turns[-1:])
        cell = self.columns.find("question", row.values)
        if cell is None:
            if self.columns.find("messages", row.values) is None:
                faults.append(f"{row.where}: question: is missing; {self._where_to('question', row)}")
            return []
        return [Turn(asked, None)] if (asked := parsed("question", text, cell)) is not None else []

    def _where_to(self, name: str, row: Row) -> str:
        names = ", ".join(shown(one) for one in list(row.values)[:20]) or "none"
        return f"say which column holds it with --map {name}=COLUMN; there are {names}"

    def _options(self, row: Row, parsed: Callable[..., Any]) -> tuple[str, ...] | None:
        cell = self.columns.find("options", row.values)
        if cell is None and (names := self.columns.option_columns(row.values)):
            values = [row.values.get(name) for name in names]
            cell = None if is_blank(values) else Cell(f"{names[0]} … {names[-1]}", values)
        found: tuple[str, ...] | None = parsed("options", options, cell)
        return found

    def _spans(self, row: Row, parsed: Callable[..., Any]) -> tuple[tuple[float, float], ...] | None:
        start, end = (self.columns.find(name, row.values) for name in ("start", "end"))
        if start is not None or end is not None:
            ends = [one.value if one is not None else None for one in (start, end)]
            found = parsed("start" if start else "end", lambda _: _both(*ends), start or end)
            if start and end:
                self.used.setdefault("end", Counter())[end.column] += 1
        else:
            found = parsed("spans", spans, self.columns.find("spans", row.values))
        return tuple(found) if found else None


def _asked(question: str, listed: tuple[str, ...] | None) -> Callable[..., Asked]:
    """What makes a question of a text, which may list its options itself."""
    split = split_options(without_instruction(question) if listed is None else question)
    texts = without_letters(split.options)
    if listed is None and len(texts) > 1:
        question, listed = split.question, texts
    elif listed is not None and list(map(plain, texts)) == list(map(plain, listed)):
        question = split.question
    asked = clean(question)

    def make(**fields: Any) -> Asked:
        return Asked(question=asked, options=listed, **fields)

    return make


def _id(value: Any) -> str:
    if isinstance(value, bool):
        raise Unusable(f"{value} is no name of a row; write a text or a number, or leave the column out with --map id=")
    return text(value)


def _clip(value: Any) -> Span:
    found = spans(value)
    if len(found) != 1 or not 0 <= found[0][0] < found[0][1]:
        raise Unusable(f"{shown(value)} must be one [start, end] with 0 <= start < end")
    return Span(*found[0])


def _both(start: Any, end: Any) -> list[tuple[float, float]]:
    if start is None or end is None:
        raise Unusable(f"{'its start' if start is None else 'its end'} is missing; give both")
    return start_and_end(start, end)


def columns_of(rows: Sequence[Row]) -> Iterator[str]:
    """The names of all columns, in the order of first occurrence."""
    yield from dict.fromkeys(name for row in rows for name in row.values)
