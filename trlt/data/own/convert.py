"""Turns the rows of a table into samples, with every fault of every row. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from trlt.data.datasets._common import didemo_key, youtube_key
from trlt.data.datasets._spans import repair_spans
from trlt.data.own.answers import Counting, Undecided, counting, place, places
from trlt.data.own.families import answered, families, letter_alone, lone_letter
from trlt.data.own.rows import NO_VIDEO, Asked, Row, RowReader, columns_of
from trlt.data.own.spans_or_words import answers_are_spans, spans_in_words
from trlt.data.own.spellings import NO_FIELD, Columns, folded
from trlt.data.own.values import Unusable, stated_span
from trlt.errors import DataError, shown
from trlt.task.prompt import render_span
from trlt.task.sample import Sample, Span, Task

SPLIT = "own"
"""The split of samples from a user's own table."""
CANONICAL = frozenset({"id", "source", "split", "task", "video", "question"})
"""The fields that every sample of trlt has."""
_CHARADES = re.compile(r"[A-Z0-9]{5}")
_YOUTUBE = re.compile(r"(?:ytb_|v_|(?=.*[A-Z])(?=.*[a-z]))[A-Za-z0-9_-]{11}(?:_\d+(?:\.\d+)?_\d+(?:\.\d+)?)?")
"""Without a prefix, ids have letters of both cases; `holiday-001` is none."""
_DIDEMO = re.compile(r"\d+@N\d+_\d+_[0-9a-f]+")
_REASONS = {
    "not_finite": "isn't finite",
    "reversed": "ends before it starts",
    "zero_length": "has no length",
    "starts_before_0": "starts before 0",
    "starts_past_end": "starts at or after the end of the video",
    "overshoot": "ends after the video",
}


@dataclass(frozen=True, slots=True)
class Converted:
    """What was made of a table."""

    samples: tuple[Sample, ...]
    rows: int
    bad: tuple[str, ...]
    """Faults, a line each, in the order of the rows."""
    bad_rows: int
    used: Mapping[str, Mapping[str, int]]
    """Field -> column -> how many rows have it there."""
    unused: tuple[str, ...]
    """Columns that no field was read from."""
    counted_from: Counting
    """How whole numbers among the answers were read."""
    notes: tuple[str, ...] = ()
    """What was read in one way, and might be meant in another."""
    bad_videos: tuple[str, ...] = ()
    """Videos of rows that can't be used for another reason."""


def convert(
    rows: Sequence[Row], faults: Mapping[int, str], columns: Columns, *, path: str, stem: str, root: Path | None
) -> Converted:
    """The samples of a table.

    Args:
        rows: As parsed.
        faults: Line -> fault, of lines that couldn't be parsed.
        columns: Finds the fields.
        path: The table's, for messages.
        stem: Of its name: the source, and the beginning of ids, of rows without.
        root: Folder of the videos; absolute paths must lie in it.

    Raises:
        DataError: the table lacks a column that was named, or its answers may count from 0 or from 1.
    """
    there = list(columns_of(rows))
    columns.check(there, path)
    alike = [] if columns.given("options") or any(columns.option_columns(row.values) for row in rows) else families(there)
    columns.adopt(answered(rows, columns, alike))
    reader = RowReader(columns, stem, root)
    bad = {number: [fault] for number, fault in faults.items()}
    asked: list[tuple[int, Asked | Sample]] = []
    for row in rows:
        if row.values.keys() >= CANONICAL:
            try:
                asked.append((row.number, Sample.from_json(row.values, row.where)))
            except DataError as error:
                bad.setdefault(row.number, []).append(str(error))
            continue
        found, wrong = reader.read(row)
        asked += [(row.number, one) for one in found]
        if wrong:
            bad.setdefault(row.number, []).extend(wrong)
    if rows and not any(isinstance(one, Sample) for _, one in asked):
        _require_fields(reader.used.keys(), there, path)
    questions = [one for _, one in asked if isinstance(one, Asked)]
    count = _counting(questions, path)
    as_spans = answers_are_spans(questions)
    _require_ids([one.id for one in questions], reader, columns, path)
    samples: dict[str, Sample] = {}
    places: dict[str, str] = {}
    at_fault: dict[str, None] = {}
    for number, one in asked:
        try:
            sample = _sample(one, count, as_spans, alike[0] if alike else ()) if isinstance(one, Asked) else one
            if number in bad:
                continue
            where = one.where if isinstance(one, Asked) else f"{path}:{number}"
            if sample.id in samples:
                raise Unusable(
                    f"{where}: id: {shown(sample.id)} stands already at {places[sample.id]}; ids are unique: mend it, or leave "
                    "the column out with --map id="
                )
        except Unusable as error:
            bad.setdefault(number, []).append(str(error))
            if one.video != NO_VIDEO:
                at_fault[one.video] = None
            continue
        samples[sample.id], places[sample.id] = sample, where
    used = {name: dict(found) for name, found in reader.used.items()}
    read = {column for found in used.values() for column in found}
    family = {name for row in rows[:1] for name in columns.option_columns(row.values)} if "options" in used else set()
    unused = [name for name in there if name not in read | family and folded(name) not in NO_FIELD]
    lines = tuple(fault for number in sorted(bad) for fault in bad[number])
    return Converted(
        samples=tuple(samples.values()),
        rows=len(rows) + len(faults),
        bad=lines,
        bad_rows=len(bad),
        used=used,
        unused=tuple(unused),
        counted_from=count,
        notes=() if as_spans else spans_in_words(questions),
        bad_videos=tuple(at_fault),
    )


def _require_fields(used: Collection[str], there: Sequence[str], path: str) -> None:
    """Looks whether the fields that every question needs were found in any row.

    Raises:
        DataError: one wasn't: its column has another name.
    """
    golds = ("answer", "answer_from_0", "answer_from_1", "spans", "start", "end")
    lacking = [name for name in ("video", "question") if name not in used and not (name == "question" and "messages" in used)]
    if not any(name in used for name in (*golds, "messages")):
        lacking.append("answer")
    if lacking:
        also = " (for answer, that of spans, or of start and end, will do)" if "answer" in lacking else ""
        names = ", ".join(map(shown, there[:30])) + (", …" if len(there) > 30 else "")
        raise DataError(
            f"{path}: {', '.join(lacking)}: no column has a name that trlt knows; say which one it is{also} with --map "
            f"{','.join(f'{name}=COLUMN' for name in lacking)}; there are {names or 'none'}"
        )


def _require_ids(ids: Sequence[str], reader: RowReader, columns: Columns, path: str) -> None:
    """Looks whether a column that is called like ids names rows, and not, say, the questions of a video.

    Raises:
        DataError: most of its values stand there more than once.
    """
    again = len(ids) - len(set(ids))
    if again > len(ids) / 2 and "id" in reader.used and not columns.given("id"):
        column = next(iter(reader.used["id"]))
        raise DataError(
            f"{path}: id (column {shown(column)}): {again:,} of {len(ids):,} values stand in another row, too, "
            "so they name no rows: leave the column out with --map id=, or name another with --map id=COLUMN"
        )


def _counting(questions: Sequence[Asked], path: str) -> Counting:
    open_ones = [one for one in questions if one.options and one.answer is not None and one.counts_from is None]
    found = counting((one.where, one.answer, one.options or ()) for one in open_ones)
    if not isinstance(found, Undecided):
        return found
    column = next(one.answer_column for one in open_ones if one.where == found.example)
    raise DataError(
        f"{path}: answer (column {shown(column)}): {found.rows:,} answers are numbers from 1 to {found.largest}, the first in "
        f"{found.example}, and could count from 0 or from 1: none is 0, and none as large as the number of its options; say it "
        f"with --map answer_from_0={column} or --map answer_from_1={column}"
    )


def _sample(one: Asked, count: Counting, as_spans: bool, alike: Sequence[str]) -> Sample:
    """The sample of a question.

    Args:
        one: The question.
        count: How whole numbers among the answers are read.
        as_spans: Whether answers are spans.
        alike: Columns that may hold the options, where none were found, for messages.

    Raises:
        Unusable: with its place in the table.
    """
    answer, times = one.answer, one.spans
    if not one.options and not times and not one.is_no_span and (as_spans or isinstance(answer, list)):
        stated = stated_span(answer) if answer is not None else None
        answer, times = (None, tuple(stated)) if stated else (answer, times)
    if times and one.spans and not one.options and not one.is_no_span and stated_span(answer) is not None:
        raise Unusable(
            f"{one.where}: answer: {shown(answer)} is a span, and other columns name one as well; where those bound the clip, "
            "say so with --map clip_start=COLUMN,clip_end=COLUMN; where it is an answer in words, with --map answer=COLUMN"
        )
    index, indices = None, None
    if one.options and answer is not None and (several := places(answer, one.options)):
        indices, answer = several, "; ".join(one.options[place] for place in several)
    elif one.options and answer is not None:
        try:
            index = place(answer, one.options, count if one.counts_from is None else _from(one.counts_from))
        except Unusable as error:
            raise Unusable(f"{one.where}: answer: {error}") from None
        answer = one.options[index]
    elif answer is not None:
        if isinstance(answer, (bool, list, dict)):
            raise Unusable(f"{one.where}: answer: {shown(answer)} is no text; write the words that are right")
        if lone_letter(answer) is not None:
            raise Unusable(f"{one.where}: answer: {letter_alone(answer, alike)}")
        answer = str(answer)
    if one.options and answer is None:
        raise Unusable(f"{one.where}: answer: is missing; write the right option's letter, text or place")
    if answer is None and times is None:
        raise Unusable(
            f"{one.where}: answer, spans: both are missing; give options and the right one, an answer in words, or start and"
            " end"
        )
    kept, flags = _spans(one, times)
    task: Task = "grounding" if answer is None else "grounded_qa" if kept else "multi_choice"
    try:
        return Sample(
            id=one.id,
            source=one.source,
            split=SPLIT,
            task=task,
            video=one.video,
            question=one.question,
            video_key=video_key(one.video),
            clip=one.clip,
            duration=one.clip.length if one.clip else one.duration,
            options=one.options,
            answer=answer,
            answer_index=index,
            answer_indices=indices,
            spans=kept,
            several=one.several,
            numeric=one.numeric,
            meta={"flags": list(flags)} if flags else {},
        )
    except DataError as error:
        raise Unusable(f"{one.where}: {str(error).partition(': ')[2]}") from None


def _from(start: int) -> Counting:
    return 1 if start else 0


def _spans(one: Asked, times: tuple[tuple[float, float], ...] | None) -> tuple[tuple[Span, ...] | None, tuple[str, ...]]:
    """The gold spans in seconds of the clip, clamped to its length as those of a training source are."""
    if times is None:
        return None, ()
    offset, length = (one.clip.start, one.clip.length) if one.clip else (0.0, one.duration)
    if one.clip:
        outside = [pair for pair in times if not (pair[0] < one.clip.end and pair[1] > one.clip.start)]
        if outside:
            raise Unusable(
                f"{one.where}: spans: {render_span(Span(*outside[0]))} lies outside of the clip {render_span(one.clip)}; both "
                "are seconds of the file"
            )
    repairs = repair_spans([(start - offset, end - offset) for start, end in times], length, clip=True)
    if repairs.reason or "dropped_span" in repairs.flags:
        wrong = next(pair for pair in times if repair_spans([(pair[0] - offset, pair[1] - offset)], length, clip=True).reason)
        reason = repair_spans([(wrong[0] - offset, wrong[1] - offset)], length, clip=True).reason or ""
        behind = f" ({length:g} s)" if length is not None and reason in ("starts_past_end", "overshoot") else ""
        raise Unusable(f"{one.where}: spans: {render_span(Span(*wrong))} {_REASONS[reason]}{behind}")
    return repairs.spans, tuple(sorted(set(repairs.flags)))


def video_key(video: str) -> str:
    """The origin of footage by the name of its file, as the data sets spell it; empty where the name tells none."""
    stem = PurePosixPath(video).stem
    if _DIDEMO.fullmatch(stem):
        return didemo_key(stem)
    if _CHARADES.fullmatch(stem):
        return f"charades:{stem}"
    return youtube_key(stem) if _YOUTUBE.fullmatch(stem) else ""


def task_counts(samples: Sequence[Sample]) -> dict[str, int]:
    """How many samples each task has; questions without options and spans, which are answered in words, apart."""
    return dict(Counter("multi_choice (open)" if s.task == "multi_choice" and not s.options else s.task for s in samples))
