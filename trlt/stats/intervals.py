"""95% intervals: of means over questions by a bootstrap over videos, of means over seeds by Student's t (pure).

Loads numpy and scipy only where they are called, so that commands start without them.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean and its 95% bootstrap interval, in the unit of the values."""

    mean: float
    low: float
    high: float


def mean_interval(
    values: Sequence[float],
    clusters: Sequence[Hashable],
    resamples: int = 1000,
    seed: int = 0,
    *,
    weights: Sequence[float] | None = None,
) -> Interval:
    """Mean over all values, with the percentile interval of a bootstrap that draws whole videos.

    Questions about one video aren't independent: drawing questions would make the interval too narrow. The order of
    the values doesn't matter. With a single video there is nothing to resample: the interval is its mean.

    Args:
        values: One value per question.
        clusters: The video of each value (a `video_key`, or a path).
        resamples: Number of resamples, each of as many videos as there are, with replacement.
        seed: Of the draws.
        weights: Of the values, above 0; None weighs all alike. Each resample's mean is divided by its own weights, so it stays
            within the values.

    Raises:
        ValueError: no values, or not one cluster and one weight per value.
    """
    import numpy as np

    if not len(values) or len(values) != len(clusters):
        raise ValueError(f"{len(values)} values and {len(clusters)} clusters: equal numbers, at least one, are needed")
    if weights is not None and len(weights) != len(values):
        raise ValueError(f"{len(values)} values and {len(weights)} weights: equal numbers are needed")
    names = np.array([str(cluster) for cluster in clusters])
    # Sorted, so that sums round alike whatever order the rows came in.
    given_N = np.ones(len(values)) if weights is None else np.asarray(weights, np.float64)
    order = np.lexsort((given_N, np.asarray(values, np.float64), names))
    values_N, weights_N = np.asarray(values, np.float64)[order], given_N[order]
    _, cluster_N = np.unique(names[order], return_inverse=True)
    sums_C, sizes_C = np.bincount(cluster_N, weights_N * values_N), np.bincount(cluster_N, weights_N)
    mean = values_N.mean() if weights is None else (weights_N * values_N).sum() / weights_N.sum()
    count = len(sums_C)
    rng = np.random.default_rng(seed)
    means: list[np.ndarray[tuple[int, ...], np.dtype[np.float64]]] = []
    step = max(1, 4_000_000 // count)  # bounds the draws held at once to 32 MB
    for first in range(0, resamples, step):
        draws_RC = rng.multinomial(count, np.full(count, 1 / count), size=min(step, resamples - first)).astype(np.float64)
        means.append((draws_RC @ sums_C) / (draws_RC @ sizes_C))
    low, high = np.quantile(np.concatenate(means), (0.025, 0.975)) if count > 1 else (mean,) * 2
    return Interval(float(mean), float(low), float(high))


def paired_difference(
    a: Sequence[float],
    b: Sequence[float],
    clusters: Sequence[Hashable],
    resamples: int = 1000,
    seed: int = 0,
    *,
    weights: Sequence[float] | None = None,
) -> Interval:
    """Mean of a - b over the same questions, with its interval: a gain of a over b is significant if `low` is above 0.

    Raises:
        ValueError: a and b differ in length, or as `mean_interval`.
    """
    return mean_interval([x - y for x, y in zip(a, b, strict=True)], clusters, resamples, seed, weights=weights)


def student(freedom: float) -> float:
    """The bound t with P(|T| < t) = 95% for Student's distribution, with `freedom` degrees of freedom.

    Less than one degree counts as one; for infinite degrees, the distribution is normal.
    """
    from scipy.special import stdtrit

    return float(stdtrit(max(1.0, freedom), 0.975))


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
