"""Number, choice and size of a video's sampled frames: the Qwen2.5-VL rule. Pure arithmetic, no files.

The same results as `qwen_vl_utils` 0.0.14 (`smart_nframes`, `smart_resize`, `fetch_video`), restated here because that package
imports torch, which the decoding processes do without. A test compares both over many settings.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trlt.video.clip import MERGE, PATCH, TEMPORAL_PATCH

FACTOR = PATCH * MERGE
"""Side of a token in pixels; frames are resized to multiples of it."""
FRAME_MAX_TOKENS = 768
"""The family's cap on one frame, whatever the budget."""
MAX_RATIO = 200
"""Most elongated frame that the family accepts."""


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


def frame_count(total: int, rate: float, budget: Budget) -> int:
    """Frames to take of `total` frames at `rate` per second: even, at least 2 and at most `total`.

    A video that has fewer frames than `min_frames` gives all that it has, minus one if that is odd.

    Raises:
        ValueError: fewer than two frames; the family's rule has no answer for them.
    """
    low = math.ceil(budget.min_frames / TEMPORAL_PATCH) * TEMPORAL_PATCH
    high = math.floor(budget.max_frames / TEMPORAL_PATCH) * TEMPORAL_PATCH
    wanted = min(max(total / rate * budget.fps, low), high, total)
    count = math.floor(wanted / TEMPORAL_PATCH) * TEMPORAL_PATCH
    if count < TEMPORAL_PATCH:
        raise ValueError(f"{total} frame{'' if total == 1 else 's'}, but at least {TEMPORAL_PATCH} are needed")
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


def fit_size(height: float, width: float, count: int, budget: Budget) -> tuple[int, int]:
    """(height, width) in pixels that `count` frames of `height` x `width` are resized to: multiples of 28 within the budget.

    Raises:
        ValueError: the frame is more elongated than the family accepts.
    """
    if max(height, width) > MAX_RATIO * min(height, width):
        raise ValueError(f"frames of {width:g}x{height:g} pixels are more elongated than {MAX_RATIO}:1")
    area = FACTOR * FACTOR
    least = budget.min_tokens * area
    most = max(min(FRAME_MAX_TOKENS * area, budget.max_tokens * area / count * TEMPORAL_PATCH), int(least * 1.05))
    rows, columns = max(1, round(height / FACTOR)), max(1, round(width / FACTOR))
    if rows * columns * area > most:
        shrink = math.sqrt(height * width / most)
        rows, columns = math.floor(height / shrink / FACTOR), math.floor(width / shrink / FACTOR)
    elif rows * columns * area < least:
        grow = math.sqrt(least / (height * width))
        rows, columns = math.ceil(height * grow / FACTOR), math.ceil(width * grow / FACTOR)
    return max(1, rows) * FACTOR, max(1, columns) * FACTOR
