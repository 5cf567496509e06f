"""Training samples on videos that a benchmark asks about. Compares the origin of footage (`video_key`), never file names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from trlt.data.datasets import names, open_dataset, read_source
from trlt.errors import DataError, UsageError

ALL = "benchmarks"
"""Stands for the benchmarks of the recipe, else those in `data/<bench>`."""


@dataclass(frozen=True, slots=True)
class Leaks:
    """Which footage belongs to which benchmarks."""

    benchmarks: Mapping[str, tuple[str, ...]]
    """`video_key` -> the benchmarks that ask about it."""
    videos: Mapping[str, int]
    """Benchmark -> how many videos its annotation names."""
    unchecked: tuple[str, ...]
    """Benchmarks whose annotation wasn't given."""


def benchmark_places(against: Iterable[str], usual: Mapping[str, Path], outside: Iterable[str] = ()) -> dict[str, Path]:
    """The place of each benchmark's annotation.

    Args:
        against: `benchmarks` (all of `usual` that are there), `<bench>=<folder or file>`, or a folder with one subfolder per
            benchmark (its files in it, or in `annotations` below it).
        usual: Benchmark -> its place for `benchmarks`.
        outside: Names of benchmarks outside of the package.

    Raises:
        UsageError: an unknown benchmark, or a folder that holds none.
    """
    known = (*names("bench"), *outside)
    places: dict[str, Path] = {}
    for item in against:
        name, equals, where = item.partition("=")
        if equals:
            if name not in known:
                raise UsageError(f"--against {item}: {name!r} is no benchmark; choose one of: {', '.join(known)}")
            places[name] = Path(where)
        elif item == ALL:
            found = {bench: path for bench, path in usual.items() if path.exists()}
            if not found:
                looked = ", ".join(str(path) for path in usual.values())
                raise UsageError(f"--against {ALL}: no benchmark's annotation is there; looked for {looked}")
            places |= found
        else:
            found = folders_below(Path(item), known)
            if not found:
                raise UsageError(
                    f"--against {item}: no folder with a benchmark's name in it ({', '.join(known)}); "
                    f"give such a folder, <bench>=<folder>, or `{ALL}`"
                )
            places |= found
    return places


def folders_below(folder: Path, known: Iterable[str]) -> dict[str, Path]:
    """The folder of each data set that has one: named like it, or `annotations` in that."""
    places = {}
    for name in known:
        for path in (folder / name / "annotations", folder / name):
            if path.is_dir():
                places[name] = path
                break
    return places


def benchmark_keys(places: Mapping[str, Path], outside: Mapping[str, str] | None = None) -> Leaks:
    """The footage of all benchmarks whose annotation is given.

    Args:
        places: Benchmark -> its annotation.
        outside: Benchmark -> the data set's file of those outside of the package, whose code is run.

    Raises:
        DataError: annotation that can't be read; names the benchmark.
    """
    keys: dict[str, tuple[str, ...]] = {}
    videos: dict[str, int] = {}
    for name, path in places.items():
        try:
            dataset = open_dataset(outside[name]) if outside and name in outside else name
            samples = read_source(dataset, path, purpose="bench").samples
        except DataError as error:
            raise DataError(f"--against {name}: {error}") from None
        mine = {sample.video_key for sample in samples if sample.video_key}
        videos[name] = len(mine)
        for key in mine:
            keys[key] = (*keys.get(key, ()), name)
    return Leaks(keys, videos, tuple(name for name in names("bench") if name not in places))
