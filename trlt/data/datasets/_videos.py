"""Possible places of a sample's video, for data sets distributed in several layouts. Touches no file itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from trlt.task.sample import Sample


def locate(sample: Sample, exists: Callable[[str], bool]) -> Sample | None:
    """The sample with the path that exists, or None.

    `sample.video` comes first, then each of `meta.alternatives`: `{"video": path, "cut": bool}`. A cut alternative contains
    only the clip, so the bounds don't apply to it, and it is a file, so a frame folder's rate doesn't either.

    Args:
        sample: As read from the annotation.
        exists: Whether exactly this path, relative to the video root, is there. A search by name isn't enough: it would take a
            cut clip for the whole video, and bounds would apply twice.
    """
    if exists(sample.video):
        return sample
    for other in sample.meta.get("alternatives", ()):
        if exists(other["video"]):
            if not other["cut"]:
                return replace(sample, video=other["video"])
            meta = {key: value for key, value in sample.meta.items() if key != "fps"}
            return replace(sample, video=other["video"], clip=None, meta=meta)
    return None
