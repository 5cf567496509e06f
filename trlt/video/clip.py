"""The result of reading a file: the sampled frames with their times. Knows nothing of files and budgets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PATCH = 14
"""Side of a vision patch in pixels; 2 x 2 patches of two frames make a token."""
MERGE = 2
TEMPORAL_PATCH = 2
"""Frames that the model merges into one temporal patch, the reason why frame counts are even."""


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """Frames sampled from a video, resized to the token budget."""

    frames: NDArray[np.uint8]
    """(T, C, H, W) RGB; T is even, H and W are multiples of 28."""
    times: NDArray[np.float64]
    """(T,) seconds of a player's clock at which each frame is on screen; with bounds they start at the bound, not at 0."""
    sample_fps: float
    """Frames per second after sampling, as the model family counts it: frames over the clip's duration."""
    seconds_per_grid: float
    """Seconds from one temporal patch to the next, as transformers' `second_per_grid_ts`."""
    duration: float
    """Seconds of the clip; of the whole file without bounds."""
    grid: tuple[int, int, int]
    """(t, h, w): temporal patches, and rows and columns of 14-pixel patches, as transformers' `video_grid_thw`."""
    warnings: tuple[str, ...] = ()
    """Problems of the file that still allowed reading frames."""

    @classmethod
    def of(
        cls,
        frames: NDArray[np.uint8],
        times: NDArray[np.float64],
        *,
        sample_fps: float,
        duration: float,
        warnings: tuple[str, ...] = (),
    ) -> Clip:
        """A clip whose grid and seconds per grid follow from the rest."""
        count, _, height, width = frames.shape
        grid = (count // TEMPORAL_PATCH, height // PATCH, width // PATCH)
        return cls(frames, times, sample_fps, TEMPORAL_PATCH / sample_fps, duration, grid, warnings)

    @property
    def tokens(self) -> int:
        """Tokens that the model sees of this clip."""
        t, h, w = self.grid
        return t * h * w // (MERGE * MERGE)
