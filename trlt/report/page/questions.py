"""Data of the sample browser: questions, and the rows of each run, read one at a time by their place in the file.

Knows samples and rows; neither HTML nor videos.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, BinaryIO

from trlt.errors import DataError
from trlt.files.bounded_json import loads, shown_fault
from trlt.files.forms import RowForm, hold
from trlt.recipe import Select
from trlt.rollout.rows_file import CHANGED, CHECKSUM, unsealed
from trlt.task.prompt import OURS, Words
from trlt.task.sample import Sample, Span

MOST = 20_000
"""Maximum number of samples per page: beyond it, browsers get slow."""
LISTS = ("texts", "answers", "scores", "rewards", "tokens", "finished")


@dataclass(frozen=True, slots=True)
class ShownSample:
    """The shown fields of a sample; None if unknown."""

    id: str
    source: str
    task: str
    question: str | None = None
    options: tuple[str, ...] | None = None
    answer: str | None = None
    answer_index: int | None = None
    spans: tuple[Span, ...] | None = None
    duration: float | None = None
    clip: Span | None = None
    video: str | None = None
    """Path as in the sample."""
    path: Path | None = None
    """Its file; None if frames aren't wanted, or it is missing."""

    @classmethod
    def of(cls, sample: Sample, path: Path | None = None) -> ShownSample:
        """From a sample and its video's path."""
        head = (sample.id, sample.source, sample.task, sample.question, sample.options, sample.answer, sample.answer_index)
        return cls(*head, sample.spans, sample.duration, sample.clip, sample.video, path)


class RowIndex:
    """Rows of JSONL files by id; a context manager that holds the files open. It keeps only the place of each row."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths
        self._files: list[BinaryIO] = []
        self._places: dict[str, tuple[int, int]] = {}
        try:
            for number, path in enumerate(paths):
                self._read(number, path)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> RowIndex:
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()

    def __contains__(self, id: str) -> bool:
        return id in self._places

    @property
    def ids(self) -> Sequence[str]:
        """In the order of the files."""
        return list(self._places)

    def row(self, id: str) -> dict[str, Any]:
        """The row of an id.

        Raises:
            DataError: it lacks something.
        """
        number, offset = self._places[id]
        file = self._files[number]
        file.seek(offset)
        row: dict[str, Any] = loads(file.readline())
        row.pop(CHECKSUM, None)
        hold(row, RowForm, f"{self._paths[number]}: row {id!r}", "rows come from trlt")
        lists = [row.get(name) for name in LISTS]
        whole = all(isinstance(one, list) and len(one) == row.get("n") for one in lists)
        if not isinstance(row.get("task"), str) or not isinstance(row.get("source"), str):
            raise DataError(f"{self._paths[number]}: row {id!r}: task and source must be texts; rows come from trlt")
        if row.get("error") is None and not whole:
            raise DataError(
                f"{self._paths[number]}: row {id!r}: {', '.join(LISTS)} must be lists of n = {row.get('n')!r} entries"
            )
        return row

    def close(self) -> None:
        """Closes the files."""
        for file in self._files:
            file.close()

    def _read(self, number: int, path: Path) -> None:
        try:
            file = path.open("rb")
        except OSError as error:
            raise DataError(f"{path}: can't be read ({error.strerror}); give the folder of a run") from None
        self._files.append(file)
        offset = 0
        for line_number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):  # of a run that is at work
                break
            try:
                row = loads(line)
            except ValueError as error:
                said = f"{path}:{line_number}: not JSON ({shown_fault(error)})"
                raise DataError(f"{said}; delete the line, or run it again") from None
            if not isinstance(row, dict) or not isinstance(row.get("id"), str):
                raise DataError(f"{path}:{line_number}: no row (an object with an id); give the rows that trlt wrote")
            if unsealed(row) is None:
                raise DataError(f"{path}:{line_number}: {CHANGED}")
            self._places[row["id"]] = (number, offset)
            offset += len(line)


@dataclass(frozen=True, slots=True)
class RunRows:
    """One run whose rows are shown."""

    name: str
    kind: str
    """`probe` or `eval`."""
    rows: RowIndex
    settings: Select | None
    """Thresholds of the classes; None if rows have no class, such as rows with a single answer."""
    words: Words = OURS
    """What was asked in: its marks are set off."""


def chosen(runs: Sequence[RunRows], most: int = MOST) -> set[str]:
    """Ids to show: all, or with more than `most`, those in several runs first, then an even spread."""
    held = Counter(id for run in runs for id in run.rows.ids)
    if len(held) <= most:
        return set(held)
    ranked = sorted(held, key=lambda id: (-held[id], _digest(id)))
    return set(ranked[:most])


def questions_of(runs: Sequence[RunRows], known: Mapping[str, ShownSample], ids: set[str]) -> list[ShownSample]:
    """The questions of some ids, in the order of the runs' rows; for an unknown one, from its row."""
    found: dict[str, ShownSample] = {}
    for run in runs:
        for id in run.rows.ids:
            if id in ids and id not in found:
                if id in known:
                    found[id] = known[id]
                else:
                    row = run.rows.row(id)
                    found[id] = ShownSample(id, row["source"], row["task"])
    return list(found.values())


def in_turns(runs: Sequence[RunRows], questions: Sequence[ShownSample]) -> list[ShownSample]:
    """The questions in an order of which any prefix is spread over the runs, and within them over the sources.

    Questions in the same set of runs alternate with the other sets, one each; so do sources within a set. Within a source the
    order is shuffled, and depends only on the ids.
    """
    held: dict[tuple[bool, ...], dict[str, list[ShownSample]]] = {}
    for one in sorted(questions, key=lambda question: _digest(question.id)):
        by_source = held.setdefault(tuple(one.id in run.rows for run in runs), {})
        by_source.setdefault(one.source, []).append(one)
    return _by_turns([_by_turns([by_source[name] for name in sorted(by_source)]) for _, by_source in sorted(held.items())])


def _by_turns(lists: Sequence[Sequence[ShownSample]]) -> list[ShownSample]:
    """The first of each, then the second of each, and so on; finished lists are skipped."""
    return [one for row in zip_longest(*lists) for one in row if one is not None]


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
