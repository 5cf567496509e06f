"""Totals of a population from a random part of it, with 95% intervals (pure). Knows numbers, not what they measure.

`draw` and `total` are stratified sampling without replacement (W. G. Cochran, Sampling Techniques, 3rd ed. 1977, chapters 5
and 6); `flow` is the method of batch means for steady work (A. M. Law, Simulation Modeling and Analysis, chapter 9).
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from random import Random

import numpy as np

from trlt.stats.intervals import student

DEEP = 4
"""Approximate number of units drawn per stratum; strata are cut no finer."""
FEWEST = 3
"""Minimum number of units drawn per stratum. From 2, the variance of a small stratum of few large values is often missed."""


@dataclass(frozen=True, slots=True)
class EstimatedMetric:
    """An estimated total."""

    total: float
    low: float | None = None
    """Lower bound of the 95% interval; None if too little was measured."""
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Stratum:
    """A part of the population, and the units drawn from it."""

    size: int
    """N_h, units in it."""
    drawn: tuple[int, ...]
    """Places in the population, of n_h units."""

    @property
    def weight(self) -> float:
        """Units that each drawn unit stands for."""
        return self.size / len(self.drawn)


@dataclass(frozen=True, slots=True)
class Quantity:
    """Measured values of each drawn unit."""

    values: Mapping[int, float]
    """By place in the population."""
    sizes: Mapping[int, float] | None = None
    """An auxiliary that the value is roughly proportional to; None means 1 for each unit."""
    whole: float | None = None
    """The auxiliary's sum over the population."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch of steady work."""

    seconds: float
    size: float
    """Amount of work."""
    weighted: float
    """The same, each piece weighted by the number of pieces that it represents."""


def draw(kinds: Sequence[Hashable], order: Sequence[float], count: int, seed: int) -> list[Stratum]:
    """Draws `count` units at random, evenly over kinds and, within a kind, over `order`.

    Each kind is cut by `order` into strata of which about `DEEP` units are drawn. The draw is proportional, but each stratum
    gives at least `FEWEST` units (or all that it has), since a rare kind may be an expensive one. With more than `count` /
    `DEEP` kinds, the smallest are merged.

    Args:
        kinds: Kind of each unit of the population.
        order: Sort key of units within a kind.
        count: Units to draw, at least `FEWEST`; all are drawn if there are no more.
        seed: Of the draw.
    """
    population = len(kinds)
    if not population:
        return []
    count = min(max(count, FEWEST), population)
    by_kind: dict[Hashable, list[int]] = {}
    for place, kind in enumerate(kinds):
        by_kind.setdefault(kind, []).append(place)
    largest = sorted(by_kind.values(), key=len, reverse=True)
    apart = max(0, count // DEEP - 1) if len(largest) > count // DEEP else len(largest)
    rest = [place for places in largest[apart:] for place in places]
    parts: list[list[int]] = []
    for places in [*largest[:apart], *([rest] if rest else [])]:
        places.sort(key=lambda place: (order[place], place))
        cuts = max(1, len(places) * count // (DEEP * population))
        bounds = [len(places) * k // cuts for k in range(cuts + 1)]
        parts += [places[first:last] for first, last in zip(bounds, bounds[1:], strict=False)]
    rng = Random(seed)
    shares = _shares([len(part) for part in parts], count)
    return [Stratum(len(part), tuple(sorted(rng.sample(part, n)))) for part, n in zip(parts, shares, strict=True)]


def _shares(sizes: Sequence[int], count: int) -> list[int]:
    """Proportional shares by largest remainders; small ones are raised to `FEWEST` at the expense of the largest."""
    exact = [count * size / sum(sizes) for size in sizes]
    shares = [math.floor(one) for one in exact]
    for i in sorted(range(len(sizes)), key=lambda i: shares[i] - exact[i])[: count - sum(shares)]:
        shares[i] += 1
    shares = [min(max(one, FEWEST), size) for one, size in zip(shares, sizes, strict=True)]
    while sum(shares) > count and max(shares) > FEWEST:
        shares[shares.index(max(shares))] -= 1
    return shares


def total(strata: Sequence[Stratum], *quantities: Quantity) -> EstimatedMetric:
    """The population's total of a quantity, or of the sum of several, by the combined ratio estimator.

    With strata h of N_h units, n_h of them drawn, values y, auxiliaries x and their known whole X::

        T   = sum over quantities of X R,  R = sum_h (N_h / n_h) sum_i y_hi / sum_h (N_h / n_h) sum_i x_hi
        d_i = sum over quantities of g (y_i - R x_i),  g = X / (sum_h (N_h / n_h) sum_i x_hi)
        V   = sum_h N_h (N_h - n_h) / n_h  s_h^2,  s_h^2 the variance of d in the drawn part of h

    The interval goes from T / f to T f with f = exp(t sqrt(V) / T): that of the logarithm, since high costs are rare, and such
    totals are more often above T +- t sqrt(V) than below. t is Student's, with the degrees of freedom of Satterthwaite, (sum_h
    a_h)^2 / sum_h (a_h^2 / (n_h - 1)) with a_h the terms of V (Cochran, 5.16). It is never below the measured sum. With x = 1
    this is the plain stratified expansion. If all units were drawn, V is 0.

    Args:
        strata: What was drawn.
        quantities: Of each drawn unit, no values below 0.
    """
    estimate = measured = 0.0
    residuals: dict[int, float] = {place: 0.0 for stratum in strata for place in stratum.drawn}
    for one in quantities:
        sizes = one.sizes or dict.fromkeys(residuals, 1.0)
        whole = one.whole if one.whole is not None else float(sum(stratum.size for stratum in strata))
        value = _expand(strata, one.values)
        size = _expand(strata, sizes)
        if not size:
            continue
        ratio = value / size
        estimate += ratio * whole
        measured += sum(one.values[place] for place in residuals)
        for place in residuals:
            residuals[place] += whole / size * (one.values[place] - ratio * sizes[place])
    terms: list[tuple[float, int]] = []
    for stratum in strata:
        n = len(stratum.drawn)
        if n == stratum.size:
            continue
        if n < 2:
            return EstimatedMetric(estimate)
        spread = float(np.var([residuals[place] for place in stratum.drawn], ddof=1))
        terms.append((stratum.size * (stratum.size - n) / n * spread, n - 1))
    variance = sum(term for term, _ in terms)
    if not variance:
        return EstimatedMetric(estimate, estimate, estimate)
    freedom = variance**2 / sum(term**2 / df for term, df in terms)
    factor = math.exp(student(freedom) * math.sqrt(variance) / estimate)
    return EstimatedMetric(estimate, max(estimate / factor, measured), estimate * factor)


def _expand(strata: Sequence[Stratum], values: Mapping[int, float]) -> float:
    return sum(stratum.weight * sum(values[place] for place in stratum.drawn) for stratum in strata)


def share(strata: Sequence[Stratum], having: frozenset[int]) -> EstimatedMetric:
    """The share of the population that has a property, by Wilson's score interval.

    With the stratified share p and n units drawn of N, the interval is Wilson's (E. B. Wilson 1927) for p and
    n (N - 1) / (N - n) units, so that it gets narrower as more units are drawn; it has a width even if none was found.

    Args:
        strata: What was drawn.
        having: Places of the drawn units that have it.
    """
    population, drawn = sum(s.size for s in strata), sum(len(s.drawn) for s in strata)
    if not drawn:
        return EstimatedMetric(0.0, 0.0, 0.0)
    p = sum(s.weight * sum(place in having for place in s.drawn) for s in strata) / population
    if drawn == population:
        return EstimatedMetric(p, p, p)
    n = drawn * (population - 1) / (population - drawn)
    z2 = student(math.inf) ** 2
    middle, half = p + z2 / (2 * n), math.sqrt(z2 * (p * (1 - p) / n + z2 / (4 * n * n)))
    return EstimatedMetric(p, max(0.0, (middle - half) / (1 + z2 / n)), min(1.0, (middle + half) / (1 + z2 / n)))


def flow(stretches: Sequence[Stretch], whole: float) -> EstimatedMetric:
    """Seconds for `whole` pieces of work, from successive stretches of steady work.

    With stretches b of t_b seconds for x_b pieces (that stand for w_b)::

        T   = whole R,  R = sum_b z_b / sum_b w_b,  z_b = t_b w_b / x_b
        d_b = z_b - R w_b
        V   = (whole / sum_b w_b)^2  B / (2 (B - 1))  sum_b (d_b+1 - d_b)^2

    Successive differences (J. von Neumann 1941) measure how stretches vary around a slow trend, which exists since work is
    sorted by length. The interval is T +- t sqrt(V), with 2 (B - 1)^2 / (3 B - 4) degrees of freedom. There is no correction
    for a finite population: the same work done again doesn't take equally long.

    Returns:
        Without an interval for one stretch, and nan for none.
    """
    weight = sum(one.weighted for one in stretches)
    if not weight:
        return EstimatedMetric(math.nan)
    times = [one.seconds * one.weighted / one.size for one in stretches]
    rate = sum(times) / weight
    count = len(stretches)
    if count < 2:
        return EstimatedMetric(whole * rate)
    rest = np.array([time - rate * one.weighted for time, one in zip(times, stretches, strict=True)])
    variance = (whole / weight) ** 2 * count / (2 * (count - 1)) * float(np.sum(np.diff(rest) ** 2))
    half = student(2 * (count - 1) ** 2 / (3 * count - 4)) * math.sqrt(variance)
    return EstimatedMetric(whole * rate, max(0.0, whole * rate - half), whole * rate + half)
