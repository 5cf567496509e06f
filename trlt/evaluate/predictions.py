"""Turns any model's outputs (`{"id", "text"}` per line, or another tool's log) into rows like our own."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trlt.data.datasets import load, names
from trlt.errors import DataError, shown
from trlt.evaluate.other_tools import Matched, is_ours, log_files, match, read_logs
from trlt.files import file_digest, iter_jsonl, write_jsonl, write_text_atomic
from trlt.rollout.row import Generated, error_row, to_row
from trlt.task.grade import Grader
from trlt.task.sample import Sample

NO_PREDICTION = "no prediction"
"""The error of a question without a prediction; it counts as wrong."""


@dataclass(frozen=True, slots=True)
class Predictions:
    """A model's outputs, by question."""

    path: Path
    texts: Mapping[str, Sequence[str]]
    """Raw outputs, as many of each question."""
    matched: Matched | None = None
    """How outputs of another tool found their questions; None where they came with ids."""

    @property
    def k(self) -> int:
        """Outputs per question."""
        return len(next(iter(self.texts.values())))


def predictions_identity(path: Path) -> str:
    """The checksum of predictions, in whatever files they are.

    Raises:
        DataError: they can't be read, or hold none in a form that is known here.
    """
    if is_ours(path) or not path.is_dir():
        return file_digest(path)
    inner = "".join(f"{file.relative_to(path)} {file_digest(file)}\n" for file in log_files(path))
    return hashlib.sha256(inner.encode("utf-8", "surrogateescape")).hexdigest()


def predictions_for(path: Path, samples: Sequence[Sample]) -> Predictions:
    """Outputs in our form, or in a log of lmms-eval or VLMEvalKit, by question.

    Args:
        path: A file, or a folder of either tool's results.
        samples: The questions, in the order of their benchmarks.

    Raises:
        DataError: they can't be read, or none belongs to one of the questions.
    """
    if is_ours(path):
        return read_predictions(path, dict.fromkeys(sample.source for sample in samples))
    found = match(read_logs(log_files(path)), samples)
    if not found.texts:
        raise DataError(
            f"{path}: none of its {len(found.left_out):,} outputs belongs to a question of these benchmarks; is it of another "
            f"one, or of another split? The first: {found.left_out[0]}"
        )
    return Predictions(path, {id: (text,) for id, text in found.texts.items()}, found)


def read_predictions(path: Path, benchmarks: Iterable[str] = ()) -> Predictions:
    """Raw outputs by id; further fields are ignored.

    Args:
        path: The file.
        benchmarks: Names of those that the outputs may be of: a line may have such a benchmark's own form, where its module
            has a `prediction`.

    Raises:
        DataError: unreadable, lines without id or text, duplicate ids (all are listed), or no line at all.
    """
    outputs: dict[str, Sequence[str]] = {}
    packaged = set(names("bench"))
    forms = [load(name).prediction for name in benchmarks if name in packaged and hasattr(load(name), "prediction")]

    def known(value: Any, where: str) -> tuple[str, Sequence[str]]:
        id, text = (value.get("id"), value.get("text")) if isinstance(value, dict) else (None, None)
        given = value.get("texts") if isinstance(value, dict) else None
        if isinstance(value, dict) and text is None and given is None:
            id, text = next((found for form in forms if (found := form(value, where)) is not None), (id, text))
        said = [text] if given is None else given
        if not isinstance(id, str) or not isinstance(said, list) or not said or not all(isinstance(one, str) for one in said):
            raise DataError(
                f'{where}: expected {{"id": "…", "text": "…"}} with texts as values, or "texts" with a list of them'
            )
        if id in outputs:
            raise DataError(f"{where}: id {shown(id)} occurs twice; keep one prediction per question")
        usual = len(next(iter(outputs.values()), said))
        if len(said) != usual:
            raise DataError(f"{where}: {shown(id)} has {len(said)} outputs, those before have {usual}; give as many of each")
        return id, said

    for _, (id, said) in iter_jsonl(path, known):
        outputs[id] = said
    if not outputs:
        raise DataError(f"{path}: holds no predictions")
    return Predictions(path, outputs)


def write_prediction_rows(samples: Sequence[Sample], predictions: Predictions, out: Path, grader: Grader) -> None:
    """One row per sample, in the order of the samples; token counts are unknown, and 0."""
    rows = []
    for sample in samples:
        texts = predictions.texts.get(sample.id)
        if texts is None:
            row = error_row(sample, predictions.k, NO_PREDICTION)
        else:
            said = [Generated(text, 0, True) for text in texts]
            row = to_row(sample, said, grader=grader, video_tokens=0)
        rows.append(row)
    write_jsonl(out, rows)


def matching_lines(matched: Matched, asked: Mapping[str, Sequence[Sample]], run: Path) -> list[str]:
    """How another tool's outputs found their questions, for a person; all that didn't go to `unmatched_predictions.txt`.

    Args:
        matched: The outputs.
        asked: Each benchmark's questions.
        run: Folder of the run.
    """
    lines = []
    for bench, samples in asked.items():
        counts = matched.counts(sample.id for sample in samples)
        by = ", ".join(f"{count:,} by {how}" for how, count in counts.items())
        lines.append(f"{bench}: outputs of {sum(counts.values()):,} of {len(samples):,} questions" + (f" ({by})" if by else ""))
    listing = run / "unmatched_predictions.txt"
    if not matched.left_out:
        listing.unlink(missing_ok=True)
        return lines
    write_text_atomic(listing, "".join(f"{line}\n" for line in matched.left_out))
    lines.append(f"{len(matched.left_out):,} outputs belong to no question, and are left out (all in {listing}):")
    if strange := matched.strange_ids:
        lines.append(
            f"  {len(strange):,} have an id like a question's that is none's, the first {shown(strange[0])}: of records that "
            "the benchmark leaves out (trlt leaves out open-ended ones), or of another split or release"
        )
    return [*lines, *(f"  {line}" for line in matched.left_out[:3])]
