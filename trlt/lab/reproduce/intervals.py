"""Means over seeds with their 95% t intervals (pure).

An interval says how much a mean over seeds depends on the seeds: the samples drawn, their order, what is sampled in training.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, stdev
from typing import NamedTuple

from trlt.stats.intervals import student


class SeedMean(NamedTuple):
    """A mean over seeds, in the unit of the values."""

    mean: float
    low: float | None
    """Of the two-sided 95% interval; None for a single value, which has none."""
    high: float | None
    n: int


def estimate(values: Sequence[float]) -> SeedMean:
    """The mean of at least one value with its interval."""
    n = len(values)
    mean = fmean(values)
    if n < 2:
        return SeedMean(mean, None, None, n)
    half = student(n - 1) * stdev(values) / math.sqrt(n)
    return SeedMean(mean, mean - half, mean + half, n)
