"""`--data` of every command: samples of trlt as they are, or a user's own table turned into samples in the run's folder."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from trlt.commands._output import Output
from trlt.commands._own_table import show_columns
from trlt.data.datasets import Reading
from trlt.data.find_videos import find_videos
from trlt.data.own import Columns, Converted, convert, hub_parts, is_hub, is_table, read_hub, read_table
from trlt.errors import DataError, RecipeError, ResumeError, VideoError, counted
from trlt.files import HALF_PAIRS, SHOWN, file_digest, to_line, write_text_atomic
from trlt.files.bounded_json import MOST_LINE, loads
from trlt.recipe import Recipe
from trlt.rollout import RunFiles, environment, videos_root
from trlt.task.sample import Sample, read_samples
from trlt.video.remote import is_remote
from trlt.video.resolve import VideoIndex

_OURS = frozenset({"id", "source", "split", "task"})
"""Keys by which the first line of a file is known as a sample of trlt."""


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
    ours = is_ours(given)
    if ours and not (settings.skip_bad or settings.skip_missing):
        path = Path(data)
        samples = read_samples(path)
        return OpenedData(samples, path, (root := videos_root(recipe.video.root, path)), _identity(path, samples, root))
    found = open_table(given, recipe, _place(out, f"{subject}bad_rows.txt"), output, ours=ours)
    missing = _missing(found.samples, found.root, recipe) if look or settings.skip_missing else {}
    listing = _place(out, f"{subject}missing_videos.txt")
    kept = [sample for sample in found.samples if sample.video not in missing]
    told = _require(given, found, missing, listing, skip=settings.skip_missing)
    if missing:
        output.note(f"{given}: {told} are missing in {found.root} and left out (--skip-missing): {listing}")
    if ours and not found.table.bad_rows and not missing:
        path = Path(data)
        return OpenedData(kept, path, found.root, _identity(path, kept, found.root))
    text = "".join(to_line(sample.to_json()) for sample in kept)
    path = _place(out, f"{subject}samples.jsonl")
    identity = {
        "sha256": hashlib.sha256(text.encode("utf-8", HALF_PAIRS)).hexdigest(),
        "samples": len(kept),
        "path": str(path.resolve()),
        "videos": str(found.root.resolve()),
        "files": {given: "" if is_hub(given) else file_digest(Path(given))},
    }
    return OpenedData(kept, path, found.root, identity, text, out)


def read_own(given: str, recipe: Recipe, place: Path, output: Output, *, look: bool) -> Reading:
    """A user's own table, as `trlt prepare` reads a data set: what is left out is counted.

    Args:
        given: The table's path or address.
        recipe: As resolved.
        place: File that the samples go to; lists go beside it.
        output: Gets the table of columns.
        look: Whether the videos must be there; with `data.skip_missing`, missing ones are left for the step that drops them.

    Raises:
        DataError: rows that can't be used, without `data.skip_bad`; or none that can.
        VideoError: videos that aren't there, without `data.skip_missing`.
    """
    found = open_table(given, recipe, _place(place, "bad_rows.txt"), output, ours=is_ours(given))
    if look and not recipe.data.skip_missing:
        _require(given, found, _missing(found.samples, found.root, recipe), _place(place, "missing_videos.txt"))
    bad = found.table.bad_rows
    return Reading(
        samples=found.samples,
        read=len(found.samples) + bad,
        repaired=Counter(flag for sample in found.samples for flag in sample.meta.get("flags", ())),
        dropped=Counter({"bad_row": bad} if bad else {}),
        examples={"bad_row": list(found.table.bad[:5])} if bad else {},
        files=() if is_hub(given) else (Path(given),),
    )


@dataclass(frozen=True, slots=True)
class OpenedTable:
    """What was made of a user's own table."""

    samples: tuple[Sample, ...]
    root: Path
    table: Converted


def open_table(given: str, recipe: Recipe, listing: Path, output: Output, *, ours: bool = False) -> OpenedTable:
    """Samples of a table, whether or not their videos are there; shows columns, tasks and the first sample.

    Args:
        given: The table's path or address.
        recipe: As resolved.
        listing: File for the rows that can't be used, if they are many, or left out.
        output: Gets the tables.
        ours: Whether it is a file of samples, of which there are no columns to show.

    Raises:
        DataError: rows that can't be used, without `data.skip_bad`; or none that can.
        RecipeError: a field of `data.map` that doesn't exist.
    """
    settings = recipe.data
    hub = is_hub(given)
    root = Path(recipe.video.root or ".") if hub else videos_root(recipe.video.root, Path(given))
    columns = Columns(settings.map)
    table = read_hub(given) if hub else read_table(Path(given))
    stem = data_stem(given)
    made = convert(table.rows, table.faults, columns, path=given, stem=stem, root=root)
    if not made.rows:
        raise DataError(f"{given}: holds no rows; write one question per row")
    if not ours:
        show_columns(made, given, output)
    listing.unlink(missing_ok=True)
    if made.bad and (settings.skip_bad or len(made.bad) > SHOWN or not made.samples):
        write_text_atomic(listing, "".join(f"{fault}\n" for fault in made.bad))
    if made.bad and not (settings.skip_bad and made.samples):
        raise DataError(_bad_words(given, made, listing))
    if made.bad:
        output.note(
            f"{given}: {made.bad_rows:,} of {counted(made.rows, 'row')} can't be used and are left out (--skip-bad): {listing}"
        )
    return OpenedTable(made.samples, root, made)


def is_ours(given: str) -> bool:
    """Whether `--data` names samples of trlt: a folder, a file whose first line is one, or what is no table of another kind."""
    if is_hub(given):
        return False
    path = Path(given)
    if path.is_dir() or not is_table(given) or (path.suffix == ".jsonl" and not path.exists()):
        return True
    if path.suffix not in (".jsonl", ".json", ".ndjson"):
        return False
    try:
        with path.open("rb") as file:
            first = next((line for line in iter(lambda: file.readline(MOST_LINE), b"") if line.strip()), b"")
            value = loads(first) if first else dict.fromkeys(_OURS)  # an empty file is one of no samples
    except (OSError, ValueError):
        return False
    return isinstance(value, dict) and _OURS <= value.keys()


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
    if not is_hub(str(data)):
        return Path(data).stem
    name, config, split = hub_parts(str(data))
    return "-".join(part for part in (name.rpartition("/")[2], config, split if split != "train" else None) if part)


def _require(given: str, found: OpenedTable, missing: Mapping[str, str], listing: Path, *, skip: bool = False) -> str:
    """Lists missing videos in a file; gives their number in words.

    Raises:
        VideoError: there are some, and they aren't to be skipped, or there are no others.
    """
    listing.unlink(missing_ok=True)
    if not missing:
        return ""
    write_text_atomic(listing, "".join(f"{video}\t{reason}\n" for video, reason in missing.items()))
    without = sum(sample.video in missing for sample in found.samples)
    told = f"{counted(len(missing), 'video')} of {counted(without, 'question')}"
    some = without < len(found.samples)
    if skip and some:
        return told
    remedy = ", or leave their rows out with --skip-missing" if some else ""
    first = [*list(missing.values())[:5], *(["…"] if len(missing) > 5 else [])]
    raise VideoError(
        f"{given}: {told} are missing in {found.root} (all in {listing}); give the folder of videos with --videos{remedy}:\n  "
        + "\n  ".join(first)
    )


def _identity(path: Path, samples: Sequence[Sample], root: Path) -> dict[str, Any]:
    found = {"sha256": file_digest(path), "samples": len(samples), "path": str(path.resolve()), "videos": str(root.resolve())}
    noted = RunFiles(path).read_manifest() or {}
    return found | {"files": noted["files"]} if noted.get("kind") == "own" and "files" in noted else found


def _place(out: Path, name: str) -> Path:
    """A file in the run's folder, or beside its file of rows."""
    return out.with_suffix(f".{name}") if out.suffix == ".jsonl" else out / name


def _missing(samples: Sequence[Sample], root: Path, recipe: Recipe) -> dict[str, str]:
    """Videos that aren't there, with the reason; addresses are looked at when they are downloaded."""
    local = [sample for sample in samples if not (recipe.video.downloads and is_remote(sample.video))]
    if not local:
        return {}
    one_each = {sample.video: replace(sample, meta={}) for sample in local}
    return find_videos(one_each.values(), VideoIndex(root, None, recipe.video.links)).missing


def _bad_words(given: str, made: Converted, listing: Path) -> str:
    """All faults of a table, as many as fit, and what to do about them."""
    lines = [f"{given}: {made.bad_rows:,} of {counted(made.rows, 'row')} can't be used:", *made.bad[:SHOWN]]
    if len(made.bad) > SHOWN:
        lines.append(f"… and {len(made.bad) - SHOWN:,} more: {listing}")
    if made.samples:
        lines.append("Mend them, or leave these rows out with --skip-bad")
    return "\n".join(lines)
