"""Turns any model's outputs (`{"id", "text"}` per line) into rows like our own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trlt.errors import DataError, shown
from trlt.files import iter_jsonl, write_jsonl
from trlt.rollout.row import Generated, error_row, to_row
from trlt.task.grade import Grader
from trlt.task.sample import Sample

NO_PREDICTION = "no prediction"
"""The error of a question without a prediction; it counts as wrong."""


@dataclass(frozen=True, slots=True)
class Predictions:
    """A model's outputs, by question."""

    path: Path
    texts: Mapping[str, str]


def read_predictions(path: Path) -> Predictions:
    """Raw outputs by id; further fields are ignored.

    Raises:
        DataError: unreadable, lines without id or text, duplicate ids (all are listed), or no line at all.
    """
    texts: dict[str, str] = {}

    def known(value: Any, where: str) -> tuple[str, str]:
        id, text = (value.get("id"), value.get("text")) if isinstance(value, dict) else (None, None)
        if not isinstance(id, str) or not isinstance(text, str):
            raise DataError(f'{where}: expected {{"id": "…", "text": "…"}} with texts as values')
        if id in texts:
            raise DataError(f"{where}: id {shown(id)} occurs twice; keep one prediction per question")
        return id, text

    for _, (id, text) in iter_jsonl(path, known):
        texts[id] = text
    if not texts:
        raise DataError(f"{path}: holds no predictions")
    return Predictions(path, texts)


def write_prediction_rows(samples: Sequence[Sample], predictions: Predictions, out: Path, grader: Grader) -> None:
    """One row per sample, in the order of the samples; token counts are unknown, and 0."""
    rows = []
    for sample in samples:
        text = predictions.texts.get(sample.id)
        if text is None:
            row = error_row(sample, 1, NO_PREDICTION)
        else:
            said = [Generated(text, 0, True)]
            row = to_row(sample, said, grader=grader, video_tokens=0)
        rows.append(row)
    write_jsonl(out, rows)
