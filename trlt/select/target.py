"""A target distribution over the bins of a measure: weights and quotas (numbers only).

TimeLens samples in proportion to a Gaussian of the IoU divided by the number of samples in its bin, which gives the Gaussian on
average (arXiv 2512.14698; `training/data/grounding.py` of its released code). Here, each bin has a quota, so that the shape is
met by every draw and not only on average.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from typing import NamedTuple, TypeVar

from trlt.recipe import Target
from trlt.select.classes import ROUNDING
from trlt.select.shares import apportion

BINS = 20
"""TimeLens's number of bins."""
_UNIT = 1e12
"""Weights become whole numbers of this part of the largest one."""
Key = TypeVar("Key", bound=Hashable)


class Bins(NamedTuple):
    """The bins of a target."""

    low: float
    high: float
    number: int
    points: bool
    """Each bin is one value, such as a number of right answers; else it is a stretch."""
    first: int
    """First and last bin that the measure's bounds (`select.within`) leave."""
    last: int

    def place(self, value: float) -> int | None:
        """The bin of a value; the last includes its upper edge. None outside of all."""
        if not self.low - ROUNDING <= value <= self.high + ROUNDING:
            return None
        share = (value - self.low) / (self.high - self.low)
        place = round(share * (self.number - 1)) if self.points else int(self.number * share + ROUNDING)
        return max(self.first, min(place, self.last))

    def center(self, place: int) -> float:
        """The value in the middle of a bin."""
        share = place / max(1, self.number - 1) if self.points else (place + 0.5) / self.number
        return self.low + share * (self.high - self.low)

    def label(self, place: int) -> str:
        """The bin in words."""
        if self.points:
            return f"{place} of {self.number - 1}"
        step = (self.high - self.low) / self.number
        return f"{self.low + place * step:.4g} to {self.low + (place + 1) * step:.4g}"


def bins_of(target: Target, n: int, bounds: tuple[float, float] | None = None) -> Bins:
    """A target's bins.

    Args:
        target: Of a recipe.
        n: Maximum number of answers of a row, for the bins of `pass_rate`.
        bounds: Bounds of the same measure: bins outside of them have no share.
    """
    low, high = target.range
    points = target.bins is None and target.of == "pass_rate"
    number = n + 1 if points else target.bins or BINS
    first, last = 0, number - 1
    if bounds is not None:
        share_low, share_high = ((value - low) / (high - low) for value in bounds)
        if points:
            first, last = math.ceil(share_low * n - ROUNDING), math.floor(share_high * n + ROUNDING)
        else:
            first, last = math.floor(number * share_low + ROUNDING), math.ceil(number * share_high - ROUNDING) - 1
        last = min(max(last, 0), number - 1)
        first = min(max(first, 0), last)
    return Bins(low, high, number, points, first, last)


def weights(target: Target, bins: Bins) -> list[float]:
    """The share of each bin, which sum to 1; 0 outside of bounds.

    A Gaussian's is in proportion to exp(-((c_b - mean) / deviation)² / 2) at the bin's center c_b; a uniform one's are equal.
    """
    open_bins = range(bins.first, bins.last + 1)
    exponents = [
        -(((bins.center(place) - target.mean) / target.deviation) ** 2) / 2 if target.shape == "gaussian" else 0.0
        for place in open_bins
    ]
    most = max(exponents)  # so that a mean far outside of the range doesn't make all of them 0
    found = [math.exp(exponent - most) for exponent in exponents]
    whole = math.fsum(found)
    return [found[place - bins.first] / whole if place in open_bins else 0.0 for place in range(bins.number)]


def fill(available: Mapping[Key, int], shares: Mapping[Key, float], total: int) -> dict[Key, int]:
    """Splits a total in proportion to shares: what a bin lacks, the others give, again in proportion to their shares.

    With equal shares this is `water_fill`. The sum is `total`, or all there is in bins with a share above 0.
    """
    taken = dict.fromkeys(available, 0)
    still_open = [key for key in available if available[key] and shares[key] > 0]
    left = total
    while still_open and left > 0:
        whole = math.fsum(shares[key] for key in still_open)
        dry = [key for key in still_open if available[key] <= left * shares[key] / whole]
        if not dry:
            return taken | quotas({key: shares[key] for key in still_open}, left)
        for key in dry:
            taken[key] = available[key]
            left -= available[key]
        still_open = [key for key in still_open if key not in dry]
    return taken


def quotas(shares: Mapping[Key, float], total: int) -> dict[Key, int]:
    """A total in proportion to shares, rounded by largest remainder; the sum is the total, or all are 0."""
    most = max(shares.values(), default=0.0)
    names = {str(place): key for place, key in enumerate(shares)}
    found = apportion(total, {name: round(_UNIT * shares[key] / most) if most else 0 for name, key in names.items()})
    return {key: found[name] for name, key in names.items()}
