"""The rows of a probe that estimates begin with (`train.online.probe`). Knows files of rows; imports nothing heavy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from trlt.errors import DataError
from trlt.files import file_digest
from trlt.rollout import RunFiles
from trlt.rollout.rows_file import read_rows
from trlt.task.score import Scores
from trlt.train.online.history import score_of


def read_probe(path: Path, ids: Sequence[str]) -> dict[int, tuple[float, int]]:
    """For each sample of a probe's rows that is among `ids`: the sum of its scores, and the number of its answers.

    Args:
        path: A probe's folder, or its rows.
        ids: Of the training set.

    Raises:
        DataError: no such file, damaged lines, or no sample in common.
    """
    rows = RunFiles(path).rows("probe")
    if not rows.is_file():
        raise DataError(f"train.online.probe: {rows}: no such file; name the folder of a `trlt probe`, or its file of rows")
    places, found = {id: place for place, id in enumerate(ids)}, {}
    for row in read_rows(rows):
        if row["id"] in places and row["scores"]:
            each = [Scores(one["format"], one["accuracy"], one["tiou"]) for one in row["scores"]]
            ious = row.get("ious") or [one.tiou for one in each]
            scores = [score_of(one, iou) for one, iou in zip(each, ious, strict=True)]
            found[places[row["id"]]] = (sum(scores), len(scores))
    if not found:
        raise DataError(f"train.online.probe: {rows}: none of its rows is of a sample that is trained on; name their probe")
    return found


def probe_identity(probe: str, ids: Sequence[str] | None) -> dict[str, str]:
    """What tells the rows of `train.online.probe` apart, after they were read for their faults.

    Args:
        probe: The recipe's value.
        ids: Of the training set; None where that isn't there yet, and then the rows needn't be either.

    Raises:
        DataError: as `read_probe`.
    """
    rows = RunFiles(Path(probe)).rows("probe")
    if ids is not None:
        read_probe(Path(probe), ids)
    return {"path": str(rows.resolve()), "sha256": file_digest(rows)} if rows.is_file() else {}
