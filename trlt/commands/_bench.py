"""What `trlt eval` starts with: which benchmarks, where their files are, and whether their videos are there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trlt.commands._setup import DATA
from trlt.datasets import load, names, read_source
from trlt.errors import UsageError, VideoError
from trlt.files import file_digest, write_text_atomic
from trlt.recipe import Benchmark, Recipe
from trlt.rollout import find_videos
from trlt.sample import Sample
from trlt.video.resolve import VideoIndex


@dataclass(frozen=True, slots=True)
class Bench:
    """A benchmark that is ready to be asked."""

    name: str
    samples: tuple[Sample, ...]
    """Whose videos are there, or all where no videos are needed."""
    index: VideoIndex | None
    """None where no videos are needed."""
    missing_videos: int
    questions_left_out: int
    """Those of the missing videos."""
    identity: Mapping[str, Any]
    """`split`, `path` of the annotation, `files` with the checksum of each of its files, and where they are needed `videos`."""


def wanted_benches(benches: Sequence[str], recipe: Recipe) -> list[str]:
    """Names without repeats; `all` stands for those of the recipe."""
    if "all" not in benches:
        for name in benches:
            if name not in names("bench"):
                load(name)  # tells an unknown name, with the nearest that is known
                raise UsageError(f"{name} is no benchmark; choose one of: {', '.join(names('bench'))}")
        return list(dict.fromkeys(benches))
    if not recipe.eval.benchmarks:
        raise UsageError("--bench all: takes the benchmarks of a recipe's `eval.benchmarks`; give such a recipe with --recipe")
    return list(recipe.eval.benchmarks)


def find_place(
    name: str, recipe: Recipe, annotations: Path | None, videos: Path | None, split: str | None, *, alone: bool
) -> Benchmark:
    """Where a benchmark's files lie: flags, then the recipe, then `data/<bench>`."""
    if not alone and (annotations or videos or split):
        raise UsageError("--annotations, --videos and --split go with one --bench; a recipe's `eval.benchmarks` names several")
    place = recipe.eval.benchmarks.get(name)
    usual = DATA / name
    if place is None:
        if annotations is None and not usual.is_dir():
            raise UsageError(
                f"{name}: its official files weren't given: add --annotations DIR --videos DIR, name them in a recipe under "
                f"eval.benchmarks.{name}, or put them into {usual} (videos into {usual / 'videos'})"
            )
        below = usual / "videos"
        place = Benchmark(annotations=str(usual), videos=str(below if below.is_dir() else usual) if usual.is_dir() else None)
    changes = {"annotations": annotations, "videos": videos}
    return place.model_copy(
        update={key: str(path) for key, path in changes.items() if path} | ({"split": split} if split else {})
    )


def open_bench(name: str, place: Benchmark, recipe: Recipe, with_videos: bool, allow_missing: bool, target: Path) -> Bench:
    """Reads a benchmark's annotation, and looks for all of its videos.

    Raises:
        VideoError: videos are missing, and that isn't allowed.
    """
    reading = read_source(name, Path(place.annotations), place.split, purpose="bench")
    samples = reading.samples
    files = {path.name: file_digest(path) for path in reading.files}
    identity = {"split": samples[0].split, "path": str(Path(place.annotations).resolve()), "files": files}
    if not with_videos:
        return Bench(name, samples, None, 0, 0, identity)
    if place.videos is None:
        raise UsageError(f"{name}: where are its videos? add --videos DIR, or eval.benchmarks.{name}.videos to the recipe")
    index = VideoIndex(place.videos, recipe.video.downloads, recipe.video.links)
    found = find_videos(samples, index)
    listing = target / f"{name}.missing_videos.txt"
    if found.missing:
        write_text_atomic(listing, "".join(f"{video}\t{reason}\n" for video, reason in found.missing.items()))
    else:
        listing.unlink(missing_ok=True)
    if found.missing and (not allow_missing or not found.samples):
        shown = "\n  ".join([*list(found.missing.values())[:5], *(["…"] if len(found.missing) > 5 else [])])
        remedy = "" if not found.samples else ", or leave their questions out with --allow-missing"
        raise VideoError(
            f"{name}: {len(found.missing):,} videos of {found.left_out:,} questions are missing in {place.videos} "
            f"(all in {listing}); get them{remedy}:\n  {shown}"
        )
    identity = identity | {"videos": str(index.root)}
    return Bench(name, found.samples, index, len(found.missing), found.left_out, identity)
