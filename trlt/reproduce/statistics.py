"""Means over seeds with their 95% t intervals, and slopes (pure).

An interval says how much a mean over seeds depends on the seeds: the samples drawn, their order, what is sampled in training.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import linear_regression
from typing import NamedTuple

from trlt.stats import student


class Estimate(NamedTuple):
    """A mean over seeds, in the unit of the values."""

    mean: float
    low: float | None
    """Of the two-sided 95% interval; None for a single value, which has none."""
    high: float | None
    n: int


def estimate(values: Sequence[float]) -> Estimate:
    """The mean of at least one value with its interval."""
    n = len(values)
    mean = math.fsum(values) / n
    if n < 2:
        return Estimate(mean, None, None, n)
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))
    half = student(n - 1) * deviation / math.sqrt(n)
    return Estimate(mean, mean - half, mean + half, n)


def slope(x: Sequence[float], y: Sequence[float]) -> float:
    """Least-squares slope of y over x, which holds at least two different numbers."""
    return linear_regression(x, y).slope
