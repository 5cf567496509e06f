"""Whether a file is a video at all, told at once: it is opened, and its first packet read. Called as decoders are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av.error
import numpy as np

from trlt.video.clip import Clip
from trlt.video.container import fault, opened, packets_of
from trlt.video.geometry import Geometry
from trlt.video.webp import is_animated

PEEK = "trlt.video.peek:peek"
"""For `ClipLoader(decoder=...)`."""
_PICTURE = "_pipe"
"""Ends the names of FFmpeg's formats of single pictures."""


def peek(path: str | Path, *, geometry: Geometry = Geometry(), **_: Any) -> Clip:
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
    count, side = geometry.temporal, geometry.side
    black = np.zeros((count, 3, side, side), np.uint8)
    return Clip.of(black, np.arange(float(count)), sample_fps=1.0, duration=float(count), geometry=geometry)
