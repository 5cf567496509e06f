"""Which training sets have samples about the footage of which benchmarks, measured on the annotation that is there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trlt.data.datasets import load, names, read_source
from trlt.data.preparation.leakage import Leaks, benchmark_keys, folders_below
from trlt.errors import DataError, UsageError


@dataclass(frozen=True, slots=True)
class Overlap:
    """A training set beside the benchmarks."""

    name: str
    samples: int
    videos: int
    shared_samples: Mapping[str, int]
    """Benchmark -> samples about its footage; those without any are left out."""
    shared_videos: Mapping[str, int]

    def to_json(self) -> dict[str, Any]:
        """As `trlt dataset overlap --json` gives it."""
        shared = {bench: {"samples": n, "videos": self.shared_videos[bench]} for bench, n in self.shared_samples.items()}
        return {"samples": self.samples, "videos": self.videos, "shared": shared}


def training_places(given: Sequence[str]) -> dict[str, Path]:
    """The place of each training set's annotation that is there.

    Args:
        given: `<data set>=<folder or file>`, or a folder with one subfolder per data set (its files in it, or in `annotations`
            below it).

    Raises:
        UsageError: an unknown data set.
    """
    places: dict[str, Path] = {}
    for item in given:
        name, equals, where = item.partition("=")
        if equals:
            if name not in names():
                raise UsageError(f"{item}: {name!r} is no data set; choose one of: {', '.join(names())}")
            if name in names("train"):
                places[name] = Path(where)
            continue
        places |= folders_below(Path(item), names("train"))
    return places


def readable_leaks(places: Mapping[str, Path]) -> tuple[Leaks, dict[str, str]]:
    """The footage of the benchmarks that can be read, and why the others can't: a folder may hold the training split alone.

    Args:
        places: Benchmark -> its annotation.
    """
    keys: dict[str, tuple[str, ...]] = {}
    videos, unread = dict[str, int](), dict[str, str]()
    for name, path in places.items():
        try:
            one = benchmark_keys({name: path})
        except DataError as error:
            unread[name] = str(error).removeprefix(f"--against {name}: ")
            continue
        videos |= one.videos
        for key, benches in one.benchmarks.items():
            keys[key] = (*keys.get(key, ()), *benches)
    return Leaks(keys, videos, tuple(name for name in names("bench") if name not in videos)), unread


def overlaps(places: Mapping[str, Path], leaks: Leaks) -> tuple[list[Overlap], dict[str, str]]:
    """Each training set's samples and videos on the footage of benchmarks.

    Args:
        places: Training set -> its annotation.
        leaks: The benchmarks' footage.

    Returns:
        One entry per training set that could be read, and for the others why not: a folder may hold the test split alone.
    """
    found, unread = list[Overlap](), dict[str, str]()
    for name, path in places.items():
        try:
            samples = read_source(name, path, load(name).TRAIN_SPLIT, purpose="train").samples
        except DataError as error:
            unread[name] = str(error)
            continue
        per_video = Counter(sample.video_key or sample.video for sample in samples)
        shared_samples, shared_videos = Counter[str](), Counter[str]()
        for key, count in per_video.items():
            for bench in leaks.benchmarks.get(key, ()):
                shared_samples[bench] += count
                shared_videos[bench] += 1
        found.append(Overlap(name, len(samples), len(per_video), dict(shared_samples), dict(shared_videos)))
    return found, unread
