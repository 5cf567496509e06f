"""Intervals against numbers worked out by hand."""

from __future__ import annotations

import math

import pytest

from trlt.stats.intervals import estimate, student


def test_an_interval_by_hand():
    # Mean 3; deviations -2 -1 0 1 2, variance 10 / 4, standard error sqrt(2.5 / 5) = 0.70711; t(4) = 2.7764.
    found = estimate([1, 2, 3, 4, 5])
    assert (found.mean, found.n) == (3, 5)
    assert (found.low, found.high) == pytest.approx((3 - 1.96322, 3 + 1.96322), abs=1e-4)


def test_two_values_by_hand():
    # Mean 1, variance 2, standard error 1; t(1) = 12.7062.
    assert estimate([0, 2]) == pytest.approx((1, -11.7062, 13.7062, 2), abs=1e-4)


def test_one_value_has_no_interval():
    assert estimate([4.5]) == (4.5, None, None, 1)
    assert estimate([2.0, 2.0, 2.0]) == (2.0, 2.0, 2.0, 3)


@pytest.mark.parametrize(
    ("freedom", "value"), [(1, 12.7062), (4, 2.7764), (10, 2.2281), (30, 2.0423), (31, 2.0395), (40, 2.0211), (120, 1.9799)]
)
def test_quantiles_of_students_t(freedom, value):
    assert student(freedom) == pytest.approx(value, abs=1e-4)


def test_quantiles_by_integration():
    """Half of 95% of the density lies between 0 and the quantile."""
    for v in (3, 17, 35):
        scale = math.exp(math.lgamma((v + 1) / 2) - math.lgamma(v / 2)) / math.sqrt(v * math.pi)
        n, top = 4000, student(v)
        step = top / n
        area = step * sum(scale * (1 + ((i + 0.5) * step) ** 2 / v) ** (-(v + 1) / 2) for i in range(n))
        assert area == pytest.approx(0.475, abs=2e-6 * v)
