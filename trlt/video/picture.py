"""A decoded frame as a player shows it: RGB, upright, at the budget's size. Knows PyAV frames, not files."""

from __future__ import annotations

from typing import Any

import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

from trlt.video.budget import Budget, fit_size
from trlt.video.resize import resize

SQUARE = 0.02
"""Pixels this close to square are taken as square: such ratios come from rounding, and the model family ignores all of them."""


class Painter:
    """Turns decoded frames into arrays of one size."""

    def __init__(self, budget: Budget | None, count: int, pixel_aspect: float = 1.0) -> None:
        """What all frames of a clip have in common.

        Args:
            budget: None keeps the frames' own size.
            count: Frames that share the budget.
            pixel_aspect: Width of a pixel over its height.
        """
        self._budget = budget
        self._count = count
        self._aspect = pixel_aspect if pixel_aspect > 0 and abs(pixel_aspect - 1) > SQUARE else 1.0
        self._size: tuple[int, int] | None = None
        self._reformatter = VideoReformatter()

    def __call__(self, frame: Any) -> NDArray[np.uint8]:
        """(C, H, W) RGB; a file whose size changes on the way keeps the size of the first frame painted.

        Raises:
            ValueError: the frame is too elongated.
        """
        # Bilinear is what the family's readers ask of FFmpeg; it only concerns colour planes that are smaller than the picture.
        picture = self._reformatter.reformat(frame, format="rgb24", interpolation=Interpolation.BILINEAR, threads=1)
        rgb: NDArray[Any] = picture.to_ndarray()
        height, width = rgb.shape[0], rgb.shape[1] * self._aspect
        quarters = round(frame.rotation / 90) % 4
        if quarters:
            rgb = np.ascontiguousarray(np.rot90(rgb, quarters))
            if quarters % 2:
                height, width = width, height
        if self._size is None:
            self._size = fit_size(height, width, self._count, self._budget) if self._budget else (rgb.shape[0], rgb.shape[1])
        return resize(rgb, *self._size)
