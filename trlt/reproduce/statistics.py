"""Means over seeds with their 95% t intervals (pure).

An interval says how much a mean over seeds depends on the seeds: the samples drawn, their order, what is sampled in training.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, stdev
from typing import NamedTuple

_T = (
    *(12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281),
    *(2.2010, 2.1788, 2.1604, 2.1448, 2.1314, 2.1199, 2.1098, 2.1009, 2.0930, 2.0860),
    *(2.0796, 2.0739, 2.0687, 2.0639, 2.0595, 2.0555, 2.0518, 2.0484, 2.0452, 2.0423),
)
"""Student's t at 97.5% for 1 to 30 degrees of freedom."""
_Z = 1.959964
"""The normal distribution at 97.5%."""


class Estimate(NamedTuple):
    """A mean over seeds, in the unit of the values."""

    mean: float
    low: float | None
    """Of the two-sided 95% interval; None for a single value, which has none."""
    high: float | None
    n: int


def t_quantile(freedom: int) -> float:
    """Student's t at 97.5%, within 0.0001.

    Args:
        freedom: Degrees of freedom, at least 1.
    """
    if freedom <= len(_T):
        return _T[freedom - 1]
    z, v = _Z, float(freedom)
    # The expansion of t in 1/v around the normal quantile.
    first = (z**3 + z) / (4 * v)
    second = (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2)
    return z + first + second


def estimate(values: Sequence[float]) -> Estimate:
    """The mean of at least one value with its interval."""
    n = len(values)
    mean = fmean(values)
    if n < 2:
        return Estimate(mean, None, None, n)
    half = t_quantile(n - 1) * stdev(values) / math.sqrt(n)
    return Estimate(mean, mean - half, mean + half, n)
