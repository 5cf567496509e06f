"""How likely a sample is answered well, by a Beta posterior that follows the policy (MoPPS, arXiv 2507.04632).

With s successes (the sum of scores from 0 to 1) among n completions of a visit, and the prior Beta(1, 1):

    alpha <- lambda alpha + (1 - lambda) + s        beta <- lambda beta + (1 - lambda) + n - s

(the paper's recursive update with temporal discounting; verl's recipe/mopps/mopps.py has the same). A probe's rows stand for a
first visit without discount, each answer counted `probe_weight` times. Knows scores and rows of probes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trlt.errors import DataError
from trlt.rollout import RunFiles
from trlt.rollout.rows_file import read_rows
from trlt.task.score import Scores
from trlt.train.online.history import AskedGroup, score_of

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


def read_probe(path: Path, ids: Sequence[str]) -> dict[int, tuple[float, int]]:
    """For each sample of a probe's rows that is among `ids`: the sum of its scores, and the number of its answers.

    Args:
        path: A probe's folder, or its rows.
        ids: Of the training set.

    Raises:
        DataError: no such file, damaged lines, or no sample in common.
    """
    rows = RunFiles(path).rows("probe")
    if not rows.is_file():
        raise DataError(f"train.online.probe: {rows}: no such file; name the folder of a `trlt probe`, or its file of rows")
    places, found = {id: place for place, id in enumerate(ids)}, {}
    for row in read_rows(rows):
        if row["id"] in places and row["scores"]:
            scores = [score_of(Scores(one["format"], one["accuracy"], one["tiou"])) for one in row["scores"]]
            found[places[row["id"]]] = (sum(scores), len(scores))
    if not found:
        raise DataError(f"train.online.probe: {rows}: none of its rows is of a sample that is trained on; name their probe")
    return found
