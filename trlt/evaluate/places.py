"""Which benchmarks are requested and where their files are, and their questions as read: official ones, and users' own.

A benchmark is official (its name is a module of trlt), a data set's file outside of the package, or own questions: a file of
samples, scored by their tasks.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from trlt.data.datasets import by_task, dataset_name, load, name_fault, names, open_dataset, read_source
from trlt.data.download import fetchable
from trlt.errors import UsageError, counted
from trlt.files import file_digest
from trlt.recipe import Benchmark, Recipe
from trlt.task.sample import Sample

DATA = Path("data")
"""Default place of a benchmark's files, without flags or a recipe: `data/<bench>`."""
ALL = "all"
_NAMED = re.compile(r"([\w.-]+)=(.+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Questions:
    """A benchmark's questions, as read."""

    name: str
    module: ModuleType
    """With its metrics."""
    samples: tuple[Sample, ...]
    videos: str | None
    """Folder of the videos; None if it isn't known."""
    identity: Mapping[str, Any]
    """`split`, `path`, and `files` with the checksum of each; of own questions also `sha256` and the number of `samples`; of a
    data set outside of the package `dataset`, its path."""
    outside: bool
    """Whether nobody but the user has these questions, so that a run must keep them."""
    notes: tuple[str, ...] = ()
    """What reading had to say: records that are no questions here, by reason, and files that are missing."""
    subtitles: Mapping[str, int] | None = None
    """Where prompts show subtitles, how many questions have none, and how many lack lines."""


def find_places(
    benches: Sequence[str],
    data: Mapping[str, str],
    dataset: str | None,
    recipe: Recipe,
    annotations: Path | None,
    videos: Path | None,
    split: str | None,
) -> dict[str, Benchmark]:
    """Name of each requested benchmark to the place of its files, in the order of the flags.

    Args:
        benches: Official names, names of the recipe's `eval.benchmarks`, or `all` of those.
        data: Own questions: name (`own_names`) to file.
        dataset: File of a data set outside of the package.
        recipe: As resolved.
        annotations: Flag; goes with a single benchmark, as the next two.
        videos: Likewise.
        split: Likewise; own questions have none.

    Raises:
        UsageError: nothing is requested, an unknown name, one that is an official benchmark's or occurs twice, or flags that
            don't go together.
    """
    given: dict[str, Benchmark | None] = {name: recipe.eval.benchmarks.get(name) for name in _named(benches, recipe)}
    if dataset is not None:
        if not dataset.endswith(".py"):
            raise UsageError(f"--dataset {dataset}: a data set's file ends in .py; one that trlt has is given with --bench")
        where = str(annotations or DATA / dataset_name(dataset))
        _add(given, dataset_name(dataset), Benchmark(dataset=dataset, annotations=where))
    for name, path in data.items():
        _add(given, name, Benchmark(data=path))
    if not given:
        raise UsageError(
            "what is to be evaluated? --bench NAME (a benchmark), --data FILE (own questions), or --dataset FILE.py with "
            "--annotations DIR (a data set of one's own)"
        )
    if len(given) > 1 and (annotations or videos or split):
        raise UsageError(
            "--annotations, --videos and --split go with one --bench, --data or --dataset; a recipe's `eval.benchmarks` names "
            "several"
        )
    return {name: _place(name, place, annotations, videos, split) for name, place in given.items()}


def own_names(data: Sequence[str], stem: Callable[[str], str]) -> dict[str, str]:
    """Own questions, each given as `NAME=FILE` or as a file whose stem is the name: name to file.

    Args:
        data: As given.
        stem: A name for a file or address.

    Raises:
        UsageError: a name that is an official benchmark's, can't be a file's, or occurs twice.
    """
    found: dict[str, str] = {}
    for given in data:
        named = None if Path(given).exists() else _NAMED.fullmatch(given)
        path = named[2] if named else given
        name = named[1] if named else re.sub(r"[^\w.-]+", "-", stem(path))
        fault = name_fault(name) or (f"{name!r} is named twice" if name in found else None)
        if fault:
            raise UsageError(f"--data {given}: {fault}; name the questions otherwise: --data my-questions={path}")
        found[name] = path
    return found


def find_place(name: str, recipe: Recipe) -> Benchmark:
    """The place of a benchmark's files without flags: from the recipe, then `data/<bench>`."""
    return _place(name, recipe.eval.benchmarks.get(name), None, None, None)


def module_of(name: str, place: Benchmark) -> ModuleType:
    """The module with a benchmark's metrics; runs the code of one outside of the package.

    Raises:
        TrltError: a data set's file that can't be used.
    """
    if place.data is not None:
        return by_task
    return open_dataset(place.dataset) if place.dataset is not None else load(name)


def read_questions(name: str, place: Benchmark) -> Questions:
    """The questions of a benchmark with annotation files.

    Raises:
        TrltError: files that can't be used.
    """
    assert place.annotations is not None
    module = module_of(name, place)
    reading = read_source(module if place.dataset else name, Path(place.annotations), place.split, purpose="bench")
    files = {path.name: file_digest(path) for path in reading.files}
    identity: dict[str, Any] = {
        "split": reading.samples[0].split,
        "path": str(Path(place.annotations).resolve()),
        "files": files,
    }
    if place.dataset is not None:
        files[Path(place.dataset).name] = file_digest(Path(place.dataset))
        identity["dataset"] = str(Path(place.dataset).resolve())
    left_out = ", ".join(f"{reason} {count:,} (as {reading.examples[reason][0]})" for reason, count in reading.dropped.items())
    told = [f"{counted(reading.dropped.total(), 'record')} left out: {left_out}"] if left_out else []
    notes = tuple(f"{name}: {note}" for note in (*told, *reading.notes))
    return Questions(name, module, reading.samples, place.videos, identity, outside=place.dataset is not None, notes=notes)


def own_questions(name: str, samples: Sequence[Sample], path: str, videos: str) -> Questions:
    """Own questions that were read already, from a file or folder at `path`."""
    digest = samples_digest(samples)
    split = ", ".join(sorted({sample.split for sample in samples}))
    files = {path.rstrip("/").rpartition("/")[2]: digest}
    identity = {"split": split, "path": path, "files": files, "sha256": digest, "samples": len(samples)}
    return Questions(name, by_task, tuple(samples), videos, identity, outside=True)


def samples_digest(samples: Sequence[Sample]) -> str:
    """SHA-256 of samples in their order: whatever the form of the file that holds them, the same questions have the same."""
    digest = hashlib.sha256()
    for sample in samples:
        digest.update(json.dumps(sample.to_json(), sort_keys=True).encode("ascii") + b"\n")
    return digest.hexdigest()


def _named(benches: Sequence[str], recipe: Recipe) -> list[str]:
    """Names without duplicates; `all` means those of the recipe."""
    if ALL in benches:
        if not recipe.eval.benchmarks:
            raise UsageError(
                "--bench all: takes the benchmarks of a recipe's `eval.benchmarks`; give such a recipe with --recipe"
            )
        benches = list(recipe.eval.benchmarks)
    for name in benches:
        place = recipe.eval.benchmarks.get(name)
        if place is not None and (place.data or place.dataset):
            if fault := name_fault(name):
                raise UsageError(f"eval.benchmarks.{name}: {fault}; name the entry otherwise")
        elif name not in names("bench"):
            load(name)  # tells an unknown name, with the nearest that is known
            raise UsageError(f"{name} is no benchmark; choose one of: {', '.join(names('bench'))}")
    return list(dict.fromkeys(benches))


def _add(given: dict[str, Benchmark | None], name: str, place: Benchmark) -> None:
    if name in given:
        raise UsageError(f"{name}: is named twice; give own questions another name: --data NAME=FILE")
    given[name] = place


def _place(name: str, place: Benchmark | None, annotations: Path | None, videos: Path | None, split: str | None) -> Benchmark:
    """A benchmark's place with the flags; without a given one, `data/<bench>`."""
    usual = DATA / name
    below = usual / "videos"
    there = str(below if below.is_dir() else usual) if usual.is_dir() else None
    if place is None:
        if annotations is None and not usual.is_dir():
            fetched = f"; `trlt download {name}` fetches what is public" if name in fetchable() else ""
            raise UsageError(
                f"{name}: its official files weren't given: add --annotations DIR --videos DIR, name them in a recipe under "
                f"eval.benchmarks.{name}, or put them into {usual} (videos into {usual / 'videos'}){fetched}"
            )
        place = Benchmark(annotations=str(usual), videos=there)
    elif place.data is not None and (annotations or split):
        flag = "--annotations" if annotations else "--split"
        raise UsageError(f"{flag} and own questions ({name}): these are one file; leave {flag} out")
    elif place.dataset is not None and place.annotations == str(usual):
        place = place.model_copy(update={"videos": place.videos or there})
    changes = {"annotations": annotations, "videos": videos}
    return place.model_copy(
        update={key: str(path) for key, path in changes.items() if path} | ({"split": split} if split else {})
    )
