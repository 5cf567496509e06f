"""The result of reading a file: the sampled frames with their times. Knows nothing of files and budgets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trlt.video.geometry import Geometry


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """Frames sampled from a video, resized to the token budget."""

    frames: NDArray[np.uint8]
    """(T, C, H, W) RGB; T is a multiple of the geometry's `temporal`, H and W of its `side`."""
    times: NDArray[np.float64]
    """(T,) seconds of a player's clock at which each frame is on screen; with bounds they start at the bound, not at 0."""
    stamps: NDArray[np.float64]
    """(T,) seconds of each frame from the clip's start on, as prompts state them where a family writes times into its text. Why
    not `times`: docs/decisions/times-in-the-prompt.md."""
    sample_fps: float
    """Frames per second after sampling, as the model family counts it: frames over the clip's duration."""
    duration: float
    """Seconds of the clip; of the whole file without bounds."""
    geometry: Geometry = Geometry()
    """By which the frames were resized, and will be cut into tokens."""
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
        stamps: NDArray[np.float64] | None = None,
        geometry: Geometry = Geometry(),
        warnings: tuple[str, ...] = (),
    ) -> Clip:
        """A clip; without `stamps`, of frames that came ready made, one every 1 / `sample_fps` seconds from 0 on."""
        if stamps is None:
            stamps = np.arange(len(frames)) / sample_fps
        return cls(frames, times, stamps, sample_fps, duration, geometry, warnings)

    @property
    def grid(self) -> tuple[int, int, int]:
        """(t, h, w): temporal patches, and rows and columns of vision patches, as transformers' `video_grid_thw`."""
        count, _, height, width = self.frames.shape
        return count // self.geometry.temporal, height // self.geometry.patch, width // self.geometry.patch

    @property
    def seconds_per_grid(self) -> float:
        """Seconds from one temporal patch to the next, as transformers' `second_per_grid_ts`."""
        return self.geometry.temporal / self.sample_fps

    @property
    def tokens(self) -> int:
        """Tokens that the model sees of this clip's frames; the text of times, where a family states them, comes on top."""
        t, h, w = self.grid
        return t * h * w // self.geometry.merge**2
