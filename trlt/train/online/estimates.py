"""How likely a sample is answered well, by a Beta posterior that follows the policy (MoPPS, arXiv 2507.04632).

With s successes (the sum of scores from 0 to 1) among n completions of a visit, and the prior Beta(1, 1):

    alpha <- lambda alpha + (1 - lambda) + s        beta <- lambda beta + (1 - lambda) + n - s

(the paper's recursive update with temporal discounting; verl's recipe/mopps/mopps.py has the same). A probe's rows stand for a
first visit without discount, each answer counted `probe_weight` times. Knows scores only.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from trlt.train.online.history import AskedGroup

Numbers = NDArray[np.float64]


class Estimates:
    """The posteriors of a run.

    Args:
        samples: How many there are.
        discount: lambda.
    """

    def __init__(self, samples: int, discount: float) -> None:
        self._discount = discount
        self._alpha, self._beta = np.ones(samples), np.ones(samples)

    def begin(self, probed: dict[int, tuple[float, int]], weight: float) -> None:
        """Adds what a probe has found: for a sample, the sum of its scores and the number of answers."""
        for sample, (successes, n) in probed.items():
            self._alpha[sample] += weight * successes
            self._beta[sample] += weight * (n - successes)

    def see(self, groups: Sequence[AskedGroup]) -> None:
        """Takes the groups of a step, one after another."""
        for group in groups:
            for side, count in ((self._alpha, group.successes), (self._beta, group.n - group.successes)):
                side[group.sample] = self._discount * side[group.sample] + (1 - self._discount) + count

    def mean(self, samples: NDArray[np.int64] | slice = slice(None)) -> Numbers:
        """Means of the posteriors."""
        alpha, beta = self._alpha[samples], self._beta[samples]
        return np.asarray(alpha / (alpha + beta), dtype=np.float64)

    def drawn(self, samples: NDArray[np.int64], random: np.random.Generator) -> Numbers:
        """A draw from the posterior of each."""
        return random.beta(self._alpha[samples], self._beta[samples])
