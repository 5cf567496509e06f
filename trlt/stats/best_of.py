"""The expected best of k draws from n values (pure)."""

from __future__ import annotations

import math
from collections.abc import Sequence


def best_of(values: Sequence[float], k: int) -> float:
    """The mean of the largest value over all subsets of k values, without bias as an estimate of the best of k samples.

    Of values that are 0 or 1 it is pass@k, 1 - C(n - c, k) / C(n, k) with c ones (equation 1 of Chen et al., "Evaluating Large
    Language Models Trained on Code", 2021); it holds for any values, since the i-th smallest (from 1) is the largest of
    C(i - 1, k - 1) of the C(n, k) subsets.

    Args:
        values: n values.
        k: From 1 (the mean) to n (the largest).

    Raises:
        ValueError: k is not from 1 to n.
    """
    n = len(values)
    if not 1 <= k <= n:
        raise ValueError(f"the best of {k} of {n} values isn't defined")
    whole = math.comb(n, k)
    return math.fsum(value * (math.comb(place, k - 1) / whole) for place, value in enumerate(sorted(values)))
