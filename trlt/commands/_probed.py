"""Finds a probe's rows, samples and thresholds. Files of gigabytes are read line by line."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from trlt.errors import DataError, UsageError
from trlt.files import bounded_lines, file_digest, iter_jsonl, sample_files
from trlt.files.bounded_json import loads, shown_fault
from trlt.recipe import Select, load_recipe
from trlt.rollout import RunFiles
from trlt.rollout.rows_file import CHANGED, unsealed
from trlt.task.prompt import OURS, Words

_ID_FIRST = re.compile(rb'\s*\{\s*"id"\s*:\s*("(?:[^"\\]|\\.)*")')
"""The beginning of a line as trlt writes it: the id can be read without the rest of the line."""
_NEAR = 3


class Thresholds(NamedTuple):
    """A recipe's `select` section, and where it comes from."""

    settings: Select
    origin: str


def run_of(probe: Path) -> RunFiles:
    """The run behind a file of rows, or behind a run's folder."""
    if probe.is_dir():
        return RunFiles(probe)
    if probe.parent.name == "rows" and (probe.parent.parent / "manifest.json").is_file():
        return RunFiles(probe.parent.parent)
    return RunFiles(probe)


def probe_rows(run: RunFiles) -> Path:
    """The file of a probe's rows.

    Raises:
        DataError: there is none.
    """
    path = run.rows("probe")
    if not path.is_file():
        raise DataError(f"{path}: isn't there; give the folder that `trlt probe` wrote, or its file of rows")
    return path


def noted_data(run: RunFiles) -> Path:
    """The samples that were probed, as the run's manifest names them.

    Raises:
        UsageError: it names none.
        DataError: they have changed, or are gone.
    """
    noted = (run.read_manifest() or {}).get("inputs", {}).get("data", {})
    if "path" not in noted:
        raise UsageError(f"{run.manifest}: isn't there, or names no samples; give those that were probed with --data")
    path = Path(noted["path"])
    if not path.exists() or file_digest(path) != noted.get("sha256"):
        raise DataError(f"{path}: has changed since it was probed, or is gone; give the samples that were probed with --data")
    return path


def thresholds(run: RunFiles) -> Thresholds:
    """The thresholds of classes: those of the recipe that is saved beside the rows, else the defaults.

    Raises:
        RecipeError: that recipe has faults.
    """
    if run.recipe.is_file():
        return Thresholds(load_recipe(run.recipe).select, str(run.recipe))
    return Thresholds(Select(), "the defaults, since no recipe is saved beside the rows")


def words_of(run: RunFiles) -> Words:
    """What a run asked in: by the recipe that is saved beside the rows, else trlt's words.

    Raises:
        RecipeError: that recipe has faults.
    """
    return load_recipe(run.recipe).prompt.words() if run.recipe.is_file() else OURS


def find_line(files: Iterable[Path], id: str, where: Path) -> tuple[str, dict[str, Any]]:
    """The object of an id, with its file and line; stops at the line found.

    A last line that a running probe hasn't finished is left out.

    Args:
        files: JSONL files of objects with ids.
        id: What is looked for.
        where: Name of all of them in the message.

    Raises:
        DataError: an unreadable file or line, or no such id; the nearest ids are suggested.
    """
    ids: list[str] = []
    for file in files:
        for number, line in _lines(file):
            found = _id(line)
            if found is not None and found != id:
                ids.append(found)
                continue
            try:
                value = loads(line)
            except ValueError as error:
                if not line.endswith(b"\n"):
                    break
                raise DataError(f"{file}:{number}: not JSON ({shown_fault(error)}); one object per line is expected") from None
            if not isinstance(value, dict) or not isinstance(value.get("id"), str):
                raise DataError(f"{file}:{number}: expected an object with an id; give what `trlt probe` read or wrote")
            if value["id"] == id:
                known = unsealed(value)
                if known is None:
                    raise DataError(f"{file}:{number}: {CHANGED}")
                return f"{file}:{number}", known
            ids.append(value["id"])
    raise DataError(f"{where}: holds no {id!r}; {nearest(id, ids)}")


def videos_of(data: Path, ids: Collection[str]) -> dict[str, str]:
    """The footage of each sample, by id; only the requested samples of a file or folder are kept.

    Raises:
        DataError: unreadable, or one of the ids is missing.
    """
    wanted = set(ids)
    found: dict[str, str] = {}
    for file in sample_files(data):
        for _, sample in iter_jsonl(file, _identified):
            if sample["id"] in wanted:
                found[sample["id"]] = str(sample.get("video_key") or sample.get("video"))
    missing = len(wanted) - len(found)
    if missing:
        first = next(id for id in ids if id not in found)
        raise DataError(
            f"{data}: lacks {missing:,} of the samples that both probes hold (the first: {first!r}); "
            "give the samples that were probed with --data"
        )
    return found


def _identified(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict) or not isinstance(value.get("id"), str):
        raise DataError(f"{where}: expected an object with an id; give samples from `trlt prepare`")
    return value


def nearest(id: str, ids: Collection[str]) -> str:
    """The end of an error message: the ids most similar to one, else an example. Each is quoted, since it is data.

    Only ids that contain it, or share its last or first part, are compared: half a million would take minutes.
    """
    if not ids:
        return "there is nothing in it"
    folded, tail, head = id.casefold(), re.split(r"[:/_]", id)[-1].casefold(), id[: max(4, 2 * len(id) // 3)].casefold()
    holding = [one for one in ids if folded and folded in one.casefold()][:_NEAR]
    parts = [one for one in ids if tail and one.casefold().endswith(tail) or one.casefold().startswith(head)]
    pool = parts[:20_000] if len(ids) > 20_000 else ids
    near = holding or difflib.get_close_matches(id, pool, n=_NEAR)
    if not near:
        return f"ids look like {next(iter(ids))!r}"
    first, *more = (repr(one) for one in near)
    return f"did you mean {first}?" + (f" Also near: {', '.join(more)}" if more else "")


def _lines(file: Path) -> Iterator[tuple[int, bytes]]:
    try:
        handle = file.open("rb")
    except OSError as error:
        raise DataError(f"{file}: can't be read ({error.strerror}); give the path of a JSONL file") from None
    with handle:
        for number, line in bounded_lines(handle):
            if line.strip():
                yield number, line


def _id(line: bytes) -> str | None:
    """The id of a line that begins with it; None if the whole line must be read."""
    match = _ID_FIRST.match(line)
    if match is None:
        return None
    try:
        return str(loads(match[1]))
    except ValueError:
        return None
