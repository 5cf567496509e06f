"""Whether a file is a video at all, told at once: it is opened, and its first packet read. Called as decoders are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av.error
import numpy as np

from trlt.video.clip import MERGE, PATCH, TEMPORAL_PATCH, Clip
from trlt.video.container import fault, opened, packets_of
from trlt.video.webp import is_animated

PEEK = "trlt.video.peek:peek"
"""For `ClipLoader(decoder=...)`."""
_PICTURE = "_pipe"
"""Ends the names of FFmpeg's formats of single pictures."""


def peek(path: str | Path, **_: Any) -> Clip:
    """A black clip that says nothing but that the file opens; only whether this raises is of use.

    Raises:
        VideoError: the file is no video, a single picture, or holds nothing.
    """
    path = Path(path)
    if not is_animated(path):
        with opened(path, 1) as (container, stream):
            if container.format.name.endswith(_PICTURE):
                raise fault(path, "a picture, not a video")
            try:
                first = next(packets_of(container, stream), None)
            except (av.error.FFmpegError, OSError) as error:
                raise fault(path, f"can't be read ({error.strerror})") from None
            if first is None:
                raise fault(path, "holds no video frames")
    side = PATCH * MERGE
    return Clip.of(np.zeros((TEMPORAL_PATCH, 3, side, side), np.uint8), np.arange(2.0), sample_fps=1.0, duration=2.0)
