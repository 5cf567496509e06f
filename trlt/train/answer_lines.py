"""The file of `train.offline`: JSONL with answers to samples. Knows files and JSON values, and imports nothing heavy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from trlt.errors import DataError, counted, shown
from trlt.files import iter_jsonl
from trlt.recipe import Offline


class AnswerLine(NamedTuple):
    """An answer as its file has it."""

    place: str
    """`file:line`."""
    text: str
    logps: tuple[float, ...] = ()


def read_answers(settings: Offline, ids: Sequence[str]) -> tuple[dict[str, list[AnswerLine]], str | None]:
    """Answers by sample id, and a message on those that are of no sample.

    Args:
        settings: Names the file, and says whether log-probabilities are needed.
        ids: Of the samples that are trained on.

    Raises:
        DataError: no such file, lines that can't be used, each with its field, or no answer to any of the samples.
    """
    path, known = Path(settings.data), set(ids)

    def check(value: Any, where: str) -> tuple[str, AnswerLine]:
        if not isinstance(value, dict):
            raise DataError(f"{where}: an object with `id` and `text` is expected, got {shown(value)}")
        for key in ("id", "text"):
            if not isinstance(value.get(key), str):
                raise DataError(f"{where}: {key}: expected a string, got {shown(value.get(key))}")
        logps = value.get("logps")
        if logps is None:
            if settings.weights == "truncated":
                raise DataError(
                    f"{where}: logps: missing, and train.offline.weights: truncated needs them; add them, or take "
                    "train.offline.weights: shaped"
                )
            return value["id"], AnswerLine(where, value["text"])
        # `not one <= 0` takes in what isn't a number.
        if not isinstance(logps, list) or any(not isinstance(one, int | float) or not one <= 0 for one in logps):
            raise DataError(f"{where}: logps: expected a list of log-probabilities, none above 0, one for each token")
        return value["id"], AnswerLine(where, value["text"], tuple(map(float, logps)))

    found: dict[str, list[AnswerLine]] = {}
    strays = 0
    for _, (id, line) in iter_jsonl(path, check):
        if id in known:
            found.setdefault(id, []).append(line)
        else:
            strays += 1
    if not found:
        raise DataError(
            f"{path}: holds {counted(strays, 'answer')}, and none is to one of the {counted(len(known), 'sample')} of "
            "train.data; its `id` is the sample's"
        )
    return found, f"{path}: {counted(strays, 'answer')} to no sample of train.data left out" if strays else None
