"""Number, choice and size of a video's sampled frames: the rule of the Qwen-VL families. Pure arithmetic, no files.

The same results as `qwen_vl_utils` 0.0.14 (`smart_nframes`, `smart_resize`, `fetch_video` with the geometry's
`image_patch_size`), restated here because that package imports torch, which the decoding processes do without. A test compares
both over many settings.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trlt.video.geometry import Geometry

FRAME_MAX_TOKENS = 768
"""The families' cap on one frame, whatever the budget."""
MAX_RATIO = 200
"""Most elongated frame that the families accept."""


@dataclass(frozen=True, slots=True)
class Budget:
    """Frame and token budget of a video (4.1 of the paper)."""

    fps: float = 2.0
    min_frames: int = 4
    max_frames: int = 768
    min_tokens: int = 4
    """Minimum number of tokens per temporal patch (two frames), before sides are rounded down to whole tokens."""
    max_tokens: int = 2048
    """Maximum number of tokens per video. Very many frames may exceed it: `min_tokens` (and 5%) takes precedence, as in the
    family."""


def frame_count(total: int, rate: float, budget: Budget, geometry: Geometry = Geometry()) -> int:
    """Frames to take of `total` frames at `rate` per second: even, at least 2 and at most `total`.

    A video that has fewer frames than `min_frames` gives all that it has, minus one if that is odd.

    Raises:
        ValueError: fewer than two frames; the family's rule has no answer for them.
    """
    temporal = geometry.temporal
    low = math.ceil(budget.min_frames / temporal) * temporal
    high = math.floor(budget.max_frames / temporal) * temporal
    wanted = min(max(total / rate * budget.fps, low), high, total)
    count = math.floor(wanted / temporal) * temporal
    if count < temporal:
        raise ValueError(f"{total} frame{'' if total == 1 else 's'}, but at least {temporal} are needed")
    return count


def spread(first: int, last: int, count: int) -> NDArray[np.int64]:
    """`count` (at least 2) frame numbers evenly from `first` to `last`, both included.

    Single precision, from both ends towards the middle, with fused multiply-add: as `torch.linspace` computes it. From about
    5,000 frames on, exact arithmetic would pick a neighbour here and there and the frames would no longer be the family's.
    """
    start, end = np.float32(first), np.float32(last)
    step = np.float64((end - start) / np.float32(count - 1))
    position = np.arange(count)
    values = np.where(position < count // 2, start + step * position, end - step * (count - 1 - position))
    return np.rint(values.astype(np.float32)).astype(np.int64)


def fit_size(height: float, width: float, count: int, budget: Budget, geometry: Geometry = Geometry()) -> tuple[int, int]:
    """(height, width) in pixels that `count` frames of `height` x `width` are resized to: whole tokens, within the budget.

    Raises:
        ValueError: the frame is more elongated than the families accept.
    """
    if max(height, width) > MAX_RATIO * min(height, width):
        raise ValueError(f"frames of {width:g}x{height:g} pixels are more elongated than {MAX_RATIO}:1")
    side = geometry.side
    area = side * side
    least = budget.min_tokens * area
    most = max(min(FRAME_MAX_TOKENS * area, budget.max_tokens * area / count * geometry.temporal), int(least * 1.05))
    rows, columns = max(1, round(height / side)), max(1, round(width / side))
    if rows * columns * area > most:
        shrink = math.sqrt(height * width / most)
        rows, columns = math.floor(height / shrink / side), math.floor(width / shrink / side)
    elif rows * columns * area < least:
        grow = math.sqrt(least / (height * width))
        rows, columns = math.ceil(height * grow / side), math.ceil(width * grow / side)
    return max(1, rows) * side, max(1, columns) * side
