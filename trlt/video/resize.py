"""Bicubic resize with antialiasing, equal to torchvision's to rounding. Knows arrays only.

The scaler of FFmpeg and that of Pillow round between their two passes and differ by up to 14 of 255; torch is too heavy to
import in a decoding process. A pass here is a banded matrix product, cut into blocks so that BLAS sees small dense ones.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

BLOCK = 16
"""Output rows (or columns) of one dense product; wider blocks multiply more zeros, narrower ones make more calls."""

SINGLE = 1 << 18
"""Multiplications up to which OpenBLAS stays on the calling thread. Its threads spin while they wait for each other, which on a
busy machine makes a larger product three times slower, not faster; several clips at once are the better parallelism."""


class _Block(NamedTuple):
    first: int
    """First input row of the block."""
    weights: NDArray[np.float32]
    """(output rows, input rows)."""


def _cubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys' cubic kernel with a = -1/2, the one used where antialiasing is on."""
    x = np.abs(x)
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


@lru_cache(maxsize=64)
def _blocks(size: int, target: int) -> tuple[_Block, ...]:
    scale = size / target
    stretch = max(scale, 1.0)
    centers = scale * (np.arange(target) + 0.5)
    low = np.maximum((centers - 2 * stretch + 0.5).astype(int), 0)
    high = np.minimum((centers + 2 * stretch + 0.5).astype(int), size)
    blocks = []
    for start in range(0, target, BLOCK):
        rows = slice(start, min(start + BLOCK, target))
        first, last = low[rows].min(), high[rows].max()
        taps = np.arange(first, last)
        weights = _cubic((taps[None, :] + 0.5 - centers[rows, None]) / stretch)
        weights[(taps < low[rows, None]) | (taps >= high[rows, None])] = 0
        weights /= weights.sum(axis=1, keepdims=True)
        blocks.append(_Block(int(first), weights.astype(np.float32)))
    return tuple(blocks)


def resize(frame_HWC: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """The frame as (C, height, width), resized."""
    rows, columns, channels = frame_HWC.shape
    if (rows, columns) == (height, width):
        return np.ascontiguousarray(frame_HWC.transpose(2, 0, 1))
    lines = np.empty((height, columns * channels), np.float32)
    source = frame_HWC.reshape(rows, columns * channels).astype(np.float32)
    at = 0
    for first, weights in _blocks(rows, height):
        part = max(64, SINGLE // weights.size)
        for left in range(0, columns * channels, part):
            taps = source[first : first + weights.shape[1], left : left + part]
            np.matmul(weights, taps, out=lines[at : at + len(weights), left : left + part])
        at += len(weights)
    planes = np.ascontiguousarray(lines.reshape(height, columns, channels).transpose(2, 0, 1)).reshape(-1, columns)
    result = np.empty((channels * height, width), np.float32)
    at = 0
    for first, weights in _blocks(columns, width):
        part = max(64, SINGLE // weights.size)
        for top in range(0, channels * height, part):
            taps = planes[top : top + part, first : first + weights.shape[1]]
            np.matmul(taps, weights.T, out=result[top : top + part, at : at + len(weights)])
        at += len(weights)
    return np.rint(np.clip(result, 0, 255, out=result), out=result).astype(np.uint8).reshape(channels, height, width)
