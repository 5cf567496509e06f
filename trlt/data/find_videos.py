"""Finds the videos of samples. Opens no video."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace

from trlt.data.datasets import locate
from trlt.errors import VideoError
from trlt.task.sample import Sample
from trlt.video.remote import is_remote
from trlt.video.resolve import VideoIndex
from trlt.video.video_files import folded


@dataclass(frozen=True, slots=True)
class Found:
    """Samples whose video is there, and what is missing."""

    samples: tuple[Sample, ...]
    """With the path, relative to the root, under which the video was found."""
    missing: dict[str, str]
    """Video -> why it couldn't be found, in the order of the samples."""
    left_out: int
    """Samples whose video is missing."""


def find_videos(samples: Iterable[Sample], index: VideoIndex) -> Found:
    """Looks for each sample's video: the exact path, the data set's other layouts, then the name anywhere below the root."""
    found: list[Sample] = []
    missing: dict[str, str] = {}
    paths: dict[str, str | VideoError] = {}
    left_out = 0

    def exists(video: str) -> bool:
        return os.path.exists(index.root / video)

    for sample in samples:
        placed = locate(sample, exists) or locate(sample, index.is_at)
        wanted = placed or sample
        if wanted.video not in paths:
            try:
                path = index.find(wanted.video)
                paths[wanted.video] = wanted.video if is_remote(wanted.video) else path.relative_to(index.root).as_posix()
            except VideoError as error:
                paths[wanted.video] = error
        there = paths[wanted.video]
        # By its name alone, a cut clip would be taken for the whole video, and bounds would apply twice.
        if (
            isinstance(there, str)
            and placed is None
            and sample.meta.get("alternatives")
            and not folded(there).endswith(f"/{folded(sample.video)}")
        ):
            there = VideoError(f"{sample.video}: not in {index.root}, nor in the other layouts of {sample.source}")
        if isinstance(there, VideoError):
            missing[sample.video] = str(there)
            left_out += 1
        else:
            found.append(replace(wanted, video=there))
    return Found(tuple(found), missing, left_out)
