"""The frame rate as another program is told it, so that it places tokens in time exactly as the engine does.

The temporal position of a grid is the whole part of (index * seconds per grid * tokens per second). transformers multiplies
in float32, vLLM 0.32 takes the exact product of the same float32 seconds: where it would be whole, one has n and the other
n - 1. A rate that is off by one part in ten million gives both n.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trlt.video.clip import Clip

TOKENS_PER_SECOND = 2
"""`vision_config.tokens_per_second` of every published Qwen2.5-VL."""
STEPS = 2
"""Neighbors in float32 that are looked at on either side."""


def told_rate(clip: Clip, tokens_per_second: float = TOKENS_PER_SECOND) -> float:
    """The clip's `sample_fps`, or the nearest rate at which both ways of rounding give the engine's positions.

    Args:
        clip: Its rate and number of frames are looked at.
        tokens_per_second: Of the model.

    Returns:
        Frames a second; the clip's own where none is found, which leaves a grid one position lower in the other program.
    """
    temporal = clip.geometry.temporal
    seconds = np.float32(temporal / clip.sample_fps)
    grids = np.arange(len(clip.frames) // temporal)
    due = _rounded(grids, seconds, tokens_per_second)
    for candidate in _around(seconds):
        rate = clip.sample_fps if candidate == seconds else temporal / float(candidate)
        alike = (way(grids, candidate, tokens_per_second) for way in (_rounded, _exact))
        # The rate is divided again where it arrives, and must give these seconds there.
        if np.float32(temporal / rate) == candidate and all(np.array_equal(due, found) for found in alike):
            return rate
    return clip.sample_fps


def _around(seconds: np.float32) -> list[np.float32]:
    """A number and its neighbors in float32, the nearest first and of two equally near the larger."""
    found, up, down = [seconds], seconds, seconds
    for _ in range(STEPS):
        up, down = np.nextafter(up, np.float32(np.inf)), np.nextafter(down, np.float32(0))
        found += [up, down]
    return found


def _rounded(grids: NDArray[np.int64], seconds: np.float32, tokens_per_second: float) -> NDArray[np.int64]:
    """As transformers has it (`get_vision_position_ids`)."""
    return (grids.astype(np.float32) * (np.float32(tokens_per_second) * seconds)).astype(np.int64)


def _exact(grids: NDArray[np.int64], seconds: np.float32, tokens_per_second: float) -> NDArray[np.int64]:
    """As vLLM has it (`get_mrope_input_positions`)."""
    return (grids * (float(seconds) * tokens_per_second)).astype(np.int64)
