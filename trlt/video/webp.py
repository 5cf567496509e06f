"""Animated WebP, which FFmpeg reads only one picture of: its times from the file itself, its pictures by Pillow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trlt.video.budget import Budget
from trlt.video.container import fault
from trlt.video.geometry import Geometry
from trlt.video.picture import Painter
from trlt.video.timeline import Choice, choose, timeline

SUFFIX = ".webp"
_HEAD = 21
"""Bytes up to the flags: `RIFF`, size, `WEBP`, `VP8X`, size, flags (RFC 9649)."""
_ANIMATED = 0x02
_SHORTEST_MS, _INSTEAD_MS = 10, 100
"""Frames that stay this short or shorter stay for the other time, as browsers show them."""


def is_animated(path: Path) -> bool:
    """Whether a file is a WebP of several pictures, by its first bytes.

    Raises:
        OSError: it can't be read.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD)
    return len(head) == _HEAD and head[:4] == b"RIFF" and head[8:16] == b"WEBPVP8X" and bool(head[20] & _ANIMATED)


def sample_webp(
    path: Path, budget: Budget, start: float | None, end: float | None, *, fit: bool, geometry: Geometry
) -> tuple[list[NDArray[np.uint8]], Choice, tuple[str, ...]]:
    """The sampled images, what was chosen, and warnings.

    Raises:
        VideoError: it is cut off or damaged.
        ValueError: fewer than two frames.
    """
    from PIL import Image

    lengths_ms = _lengths_ms(path.read_bytes())
    if not lengths_ms:
        raise fault(path, "holds no video frames")
    times = np.cumsum([0, *lengths_ms[:-1]]) / 1000
    choice = choose(timeline(times, None, lengths_ms[-1] / 1000), budget, start, end, geometry)
    painter = Painter(budget if fit else None, len(choice.indices), geometry=geometry)
    images: dict[int, NDArray[np.uint8]] = {}
    try:
        with Image.open(path, formats=("WEBP",)) as picture:
            for index in choice.indices.tolist():
                if index not in images:
                    picture.seek(index)
                    images[index] = painter(_frame(picture))
    except (EOFError, SyntaxError, OSError, Image.DecompressionBombError) as error:
        raise fault(path, f"can't be decoded ({error}); the file is damaged, cut off or too large") from None
    return [images[index] for index in choice.indices.tolist()], choice, ()


def _frame(picture: Any) -> Any:
    import av

    return av.VideoFrame.from_ndarray(np.asarray(picture.convert("RGBA")), format="rgba")


def _lengths_ms(data: bytes) -> list[int]:
    """How long each picture stays, from its chunk: a name, a size, and the milliseconds 12 bytes into the content."""
    lengths = []
    at = 12
    while at + 8 <= len(data):
        name, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if name == b"ANMF" and at + 23 <= len(data):
            stays = int.from_bytes(data[at + 20 : at + 23], "little")
            lengths.append(stays if stays > _SHORTEST_MS else _INSTEAD_MS)
        at += 8 + size + size % 2
    return lengths
