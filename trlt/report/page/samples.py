"""Questions and rows -> the JSON blocks that the page's browser of samples reads. Knows rows; neither files nor videos.

The index has the fields that the list shows and filters by, and is read when the page opens. All other fields are in blocks of
several samples, read on demand; `page.js` takes fields by position.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from trlt.report.page.markup import Markup, data_block
from trlt.report.page.questions import LISTS, RunRows, ShownSample
from trlt.select.probe_shift import digest
from trlt.task.user_question import stated_spans

CHUNK = 100
"""Samples per block."""
RIGHT_IOU = 0.5
"""From this IoU on, a span counts as right in the browser (R1@0.5)."""


class SampleBlocks:
    """Writes the blocks of samples, and keeps their index.

    Args:
        runs: Runs whose rows are shown.
        questions: In the order of the list.
        frames: Id to the block of its frames; samples without one have none.
        notes: Notes for readers.
    """

    def __init__(
        self, runs: Sequence[RunRows], questions: Sequence[ShownSample], frames: Mapping[str, int], notes: Sequence[str]
    ) -> None:
        self._runs, self._questions = runs, questions
        self._tasks: dict[str, int] = {}
        self._sources: dict[str, int] = {}
        self._classes: dict[str, int] = {}
        self._by: list[dict[str, list[Any]]] = [
            {"mean": [], "delta": [], "right": [], "n": [], "iou": [], "class": []} for _ in runs
        ]
        self._index: dict[str, Any] = {
            "chunk": CHUNK,
            "runs": [{"name": run.name, "kind": run.kind} for run in runs],
            "notes": list(notes),
            "marks": list(dict.fromkeys(mark for run in runs for mark in run.words.marks[0])),
            "reasoning": list(dict.fromkeys(pair for run in runs for pair in run.words.marks[1])),
            "id": [question.id for question in questions],
            "question": [question.question for question in questions],
            "task": [_place(self._tasks, question.task) for question in questions],
            "source": [_place(self._sources, question.source) for question in questions],
            "frames": [frames.get(question.id, -1) for question in questions],
        }

    def details(self) -> Iterator[Markup]:
        """The blocks of samples, in the order of the list."""
        for first in range(0, len(self._questions), CHUNK):
            some = self._questions[first : first + CHUNK]
            yield data_block(f"samples-{first // CHUNK}", [self._detail(question) for question in some])

    def index(self) -> Markup:
        """The block of the list's fields; to be called after all details."""
        names = {"tasks": list(self._tasks), "sources": list(self._sources), "classes": list(self._classes)}
        return data_block("index", self._index | names | {"by": self._by})

    def _detail(self, question: ShownSample) -> list[Any]:
        """Options, gold option, gold answer, gold spans, duration, clip, video, texts; then one entry per run."""
        texts: dict[str, int] = {}
        entries = [self._entry(place, run, question, texts) for place, run in enumerate(self._runs)]
        spans = [_span(span) for span in question.spans] if question.spans else None
        clip = _span(question.clip) if question.clip else None
        gold = [list(question.options) if question.options else None, question.answer_index, question.answer, spans]
        return [*gold, _number(question.duration), clip, question.video, list(texts), entries]

    def _entry(self, place: int, run: RunRows, question: ShownSample, texts: dict[str, int]) -> Any:
        """Entry of a run: null without such a row, a text for its error, else one list per answer."""
        by = self._by[place]
        if question.id not in run.rows:
            _append(by, {})
            return None
        row = run.rows.row(question.id)
        if row.get("error") is not None:
            _append(by, {"n": 0})
            return str(row["error"])
        answers = [_answer(question, texts, *one) for one in zip(*(row[key] for key in LISTS), strict=True)]
        found = digest(row, run.settings) if run.settings is not None else None
        ious = [score["tiou"] for score in row["scores"] if score["tiou"] is not None]
        _append(
            by,
            {
                "mean": _number(row.get("mean")),
                "delta": _number(row.get("delta_iou")),
                "right": sum(answer[4] for answer in answers),
                "n": row["n"],
                "iou": _number(math.fsum(ious) / len(ious)) if ious else None,
                "class": _place(self._classes, found.klass) if found is not None else None,
            },
        )
        return answers


def _answer(
    question: ShownSample,
    texts: dict[str, int],
    text: str,
    answer: Mapping[str, Any],
    scores: Mapping[str, Any],
    reward: float,
    tokens: int,
    finished: bool,
) -> list[Any]:
    """Text, option, words of an open answer, span, whether it is right, IoU, format, reward, tokens, whether it ended.

    Then, if there are several spans, those after the first.
    """
    right = scores["tiou"] >= RIGHT_IOU if scores["accuracy"] is None else scores["accuracy"] == 1
    words = answer["payload"] if question.task != "grounding" and question.options is None else None
    span = _span(answer["span"]) if answer["span"] else None
    read = [_place(texts, text), answer["option"], words, span, int(right)]
    further = [_span(one) for one in stated_spans(answer)[1:]]
    rest = [_number(scores["tiou"]), _number(scores["format"]), _number(reward), tokens, int(finished)]
    return [*read, *rest, *([further] if further else [])]


def _append(columns: dict[str, list[Any]], values: Mapping[str, Any]) -> None:
    for key, column in columns.items():
        column.append(values.get(key))


def _place(known: dict[str, int], name: str) -> int:
    return known.setdefault(name, len(known))


def _span(span: Sequence[float]) -> list[float | None]:
    return [_number(span[0]), _number(span[1])]


def _number(value: float | None) -> float | None:
    """Four digits; None if not finite."""
    if value is None or not math.isfinite(value):
        return None
    short = round(float(value), 4)
    return int(short) if short == int(short) else short
