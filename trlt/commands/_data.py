"""`--data` of every command: samples of trlt as they are, or a user's own table turned into samples in the run's folder."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trlt.commands._output import Output
from trlt.commands._own_table import beside, open_table, require_videos
from trlt.data.own import holds_samples, is_hub, table_stem
from trlt.errors import RecipeError, ResumeError
from trlt.files import HALF_PAIRS, file_digest, to_line, write_text_atomic
from trlt.recipe import Recipe
from trlt.rollout import RunFiles, environment, videos_root
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
    `files`: what was given, with its checksum."""
    text: str | None = None
    """The converted samples as JSONL; None where `path` is what was given."""
    run: Path | None = None
    """The run's folder, or its .jsonl file of rows."""

    def write(self, *, anew: bool = False) -> None:
        """Writes converted samples to `path`: the first of several processes does, once the run is known to be theirs.

        Args:
            anew: The run begins anew, whatever it was before.

        Raises:
            ResumeError: the run belongs to other samples.
        """
        if self.text is None or self.run is None:
            return
        noted = (RunFiles(self.run).read_manifest() or {}).get("inputs", {}).get("data", {})
        if not anew and noted.get("sha256") not in (None, self.identity["sha256"]):
            raise ResumeError(
                f"{self.run}: belongs to another run; give another --out, or --fresh to start anew. What differs:\n"
                f"  the samples of {', '.join(self.identity['files'])} changed"
            )
        write_text_atomic(self.path, self.text)
        there = {key: self.identity[key] for key in ("samples", "sha256", "videos", "files")}
        RunFiles(self.path).write_manifest({"schema": 1, "kind": "own", **environment(), **there})


def open_data(
    data: str | Path, recipe: Recipe, out: Path, output: Output, *, look: bool = True, subject: str = ""
) -> OpenedData:
    """The samples of `--data`; shows what was made of a table that isn't trlt's.

    Args:
        data: Samples of trlt, a table (JSONL, JSON, CSV, TSV, Parquet), or a data set of a hub (`hf://org/name:split`).
        recipe: As resolved; `video.root`, and the section `data` (see `data_flags`), count.
        out: The run's folder, or its .jsonl file of rows: converted samples go into it, or beside it, and so do lists of rows
            that were left out.
        output: Gets the table of columns.
        look: Whether an own table's videos must be there.
        subject: Stands before the name of the file of samples, where `out` holds those of several.

    Raises:
        DataError: what can't be used, all of it at once, each with place, field, value and remedy.
        VideoError: videos that aren't there, before any model is loaded.
    """
    settings, given = recipe.data, str(data)
    ours = holds_samples(given)
    if ours and not (settings.skip_bad or settings.skip_missing):
        path = Path(data)
        samples = read_samples(path)
        if settings.map:
            output.note(f"{given}: holds samples of trlt, which need no map; data.map (--map) isn't used")
        return OpenedData(samples, path, (root := videos_root(recipe.video.root, path)), _identity(path, samples, root))
    look = look or settings.skip_missing
    found = open_table(given, recipe, beside(out, f"{subject}bad_rows.txt"), output, ours=ours, look=look)
    missing = found.missing
    listing = beside(out, f"{subject}missing_videos.txt")
    kept = [sample for sample in found.samples if sample.video not in missing]
    told = require_videos(given, found, listing, skip=settings.skip_missing)
    if missing:
        output.note(f"{given}: {told}: missing in {found.root} and left out (--skip-missing): {listing}")
    if ours and not found.table.bad_rows and not missing:
        path = Path(data)
        return OpenedData(kept, path, found.root, _identity(path, kept, found.root))
    text = "".join(to_line(sample.to_json()) for sample in kept)
    path = beside(out, f"{subject}samples.jsonl")
    identity = {
        "sha256": hashlib.sha256(text.encode("utf-8", HALF_PAIRS)).hexdigest(),
        "samples": len(kept),
        "path": str(path.resolve()),
        "videos": str(found.root.resolve()),
        "files": {given: "" if is_hub(given) else file_digest(Path(given))},
    }
    return OpenedData(kept, path, found.root, identity, text, out)


def parse_map(text: str) -> dict[str, str]:
    """The fields and columns of `--map`.

    Raises:
        RecipeError: it isn't written as `field=column,field=column`.
    """
    found: dict[str, str] = {}
    for part in text.split(","):
        name, equals, column = part.partition("=")
        if not equals or not name.strip() or name.strip() in found:
            raise RecipeError(f"--map {text}: expected FIELD=COLUMN,FIELD=COLUMN with each field once, e.g. question=prompt")
        found[name.strip()] = column.strip()
    return found


def data_flags(columns: str | None, skip_bad: bool, skip_missing: bool = False) -> dict[str, Any]:
    """The recipe's keys that `--map`, `--skip-bad` and `--skip-missing` set, for `resolve`'s flags."""
    return {
        "data.map": parse_map(columns) if columns is not None else None,
        "data.skip_bad": skip_bad or None,
        "data.skip_missing": skip_missing or None,
    }


def data_stem(data: str | Path) -> str:
    """A name for a folder of results, after what `--data` names."""
    return table_stem(str(data))


def _identity(path: Path, samples: Sequence[Sample], root: Path) -> dict[str, Any]:
    found = {"sha256": file_digest(path), "samples": len(samples), "path": str(path.resolve()), "videos": str(root.resolve())}
    noted = RunFiles(path).read_manifest() or {}
    return found | {"files": noted["files"]} if noted.get("kind") == "own" and "files" in noted else found
