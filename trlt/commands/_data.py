"""`--data` of every command: samples of trlt as they are, or a user's own table turned into samples in the run's folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trlt.commands._output import Output
from trlt.files import file_digest
from trlt.recipe import Recipe
from trlt.rollout import videos_root
from trlt.task.sample import Sample, read_samples


@dataclass(frozen=True, slots=True)
class OpenedData:
    """The samples of a run."""

    samples: list[Sample]
    path: Path
    """File (or folder) of samples that everything after works on: the given one, or the run's own, which `write` makes."""
    root: Path
    """Folder that the videos' paths are relative to."""
    identity: Mapping[str, Any]
    """For the run's manifest, as `inputs.data`: `sha256` (of the samples), `samples`, `path`, `videos`, and of a converted file
    `files`: its path with its checksum."""

    def write(self) -> None:
        """Writes the samples to `path`, if they were converted: the first process does, once `open_run` has agreed."""


def open_data(data: str | Path, recipe: Recipe, out: Path, output: Output) -> OpenedData:
    """The samples of `--data`; shows what was made of a table that isn't trlt's.

    Args:
        data: Samples of trlt, a table (JSONL, JSON, CSV, TSV, Parquet), or a data set of a hub (`hf://org/name:split`).
        recipe: As resolved; `video.root`, and the section `data` (see `data_flags`), count.
        out: The run's folder, or its .jsonl file of rows: converted samples go into it, or beside it.
        output: Gets the table of columns.

    Raises:
        DataError: what can't be used, all of it at once, each with place, field, value and remedy.
        VideoError: videos that aren't there, before any model is loaded.
    """
    path = Path(data)
    samples = read_samples(path)
    root = videos_root(recipe.video.root, path)
    source = {"sha256": file_digest(path), "samples": len(samples), "path": str(path.resolve()), "videos": str(root.resolve())}
    return OpenedData(samples, path, root, source)


def data_flags(columns: str | None, skip_bad: bool, skip_missing: bool) -> dict[str, Any]:
    """The recipe's keys that `--map`, `--skip-bad` and `--skip-missing` set, for `resolve`'s flags."""
    return {}


def data_stem(data: str | Path) -> str:
    """A name for a folder of results, after what `--data` names."""
    return Path(data).stem
