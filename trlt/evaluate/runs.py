"""A run of `trlt eval` from its folder: its benchmarks, its model, and the values of its questions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trlt.errors import DataError
from trlt.evaluate.benchmark import items_path
from trlt.evaluate.question_scores import Columns, read_items
from trlt.files.bounded_json import read_object
from trlt.files.forms import Form, ResultsForm, hold
from trlt.rollout import RunFiles

AGAIN = "run the same `trlt eval` again"


class _Benchmarks(Form):
    benchmarks: dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class EvaluatedRun:
    """A run whose `results.json` could be read."""

    path: Path
    """Its folder."""
    benchmarks: Mapping[str, Mapping[str, Any]]
    """The entries of `results.json`; each has its protocol."""
    model: Mapping[str, Any] | None
    """As its manifest names it; None without a manifest."""

    def items(self, bench: str) -> Columns:
        """The columns of a benchmark's questions.

        Raises:
            DataError: their file can't be used, or holds another number of questions than `results.json` says.
        """
        path = items_path(self.path, bench)
        columns = read_items(path)
        if len(columns["id"]) != self.benchmarks[bench]["n"]:
            raise DataError(
                f"{path}: holds {len(columns['id']):,} questions, {self.path / 'results.json'} says "
                f"{self.benchmarks[bench]['n']:,}; {AGAIN} (rows that are there are kept)"
            )
        return columns


def read_run(folder: Path) -> EvaluatedRun:
    """A run of `trlt eval`.

    Raises:
        DataError: the folder holds no results, or damaged ones, or those of an older trlt.
    """
    path = folder / "results.json"
    if not path.is_file():
        raise DataError(f"{path}: can't be read (it isn't there); give folders of `trlt eval`")
    results = read_object(path, remedy=f"damaged, or no results; {AGAIN}")
    benches: Mapping[str, Any] = hold(results, _Benchmarks, str(path), AGAIN)["benchmarks"]
    old = [name for name, entry in benches.items() if entry.get("protocol") is None]
    if old:
        raise DataError(f"{path}: {old[0]}: has no protocol, it's from an older trlt; {AGAIN}")
    hold(results, ResultsForm, str(path), AGAIN)
    return EvaluatedRun(folder, benches, (RunFiles(folder).read_manifest() or {}).get("model"))
