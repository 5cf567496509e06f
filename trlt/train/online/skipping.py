"""Which samples are skipped before their rollouts: those that gave zero-variance groups in a row (GRESO, arXiv 2506.02177).

Its rule as in the authors' code (Infini-AI-Lab/GRESO, verl/trainer/ttis/presampling_selector.py and verl/trainer/ppo/
ray_trainer.py): after c zero-variance groups in a row a sample is asked with probability

    max(p^c, floor),

where p is `easy` if they were solved and `hard` if not; after each step p falls by `step` if the share of such groups among
those asked was at or above its target, else it rises, between 0.05 and 0.95. Knows groups' scores; neither prompts nor files.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trlt.recipe import Skip
from trlt.train.online.history import SUCCESS, AskedGroup

LEAST, MOST = 0.05, 0.95
"""Between which p moves (`min_p` and `max_p` in the authors' code)."""


class Skipping:
    """The counts of a run.

    Args:
        settings: `train.online.skip`.
        samples: How many there are.
        min_reward_range: Groups with a smaller reward range count as zero-variance ones, too.
    """

    def __init__(self, settings: Skip, samples: int, min_reward_range: float) -> None:
        self._settings, self._min = settings, min_reward_range
        self._in_a_row = np.zeros(samples, dtype=np.int32)
        self._solved = np.zeros(samples, dtype=bool)
        self._samples, self._asked = samples, 0
        self.easy, self.hard = settings.easy, settings.hard

    def asked_with(self, sample: int) -> float:
        """The probability that a sample is asked when its turn comes."""
        count = int(self._in_a_row[sample])
        if not count:
            return 1.0
        return float(max((self.easy if self._solved[sample] else self.hard) ** count, self._settings.floor))

    def see(self, groups: Sequence[AskedGroup]) -> None:
        """Takes the groups of a step."""
        for group in groups:
            solved = group.score >= SUCCESS
            if not self._empty(group):
                self._in_a_row[group.sample] = 0
            elif self._in_a_row[group.sample] and self._solved[group.sample] == solved:
                self._in_a_row[group.sample] += 1
            else:
                self._in_a_row[group.sample], self._solved[group.sample] = 1, solved
        # Re-probes are of samples that were left alone for long. They are no measure of what is asked.
        asked = [group for group in groups if group.kind != "probe"]
        # Only in the second epoch have samples a past by which they could be skipped.
        if asked and self._asked >= self._samples:
            empty = [group.score >= SUCCESS for group in asked if self._empty(group)]
            target = self._settings.target
            self.easy = self._moved(self.easy, sum(empty) / len(asked) >= target / 3)
            self.hard = self._moved(self.hard, (len(empty) - sum(empty)) / len(asked) >= target * 2 / 3)
        self._asked += len(asked)

    def _empty(self, group: AskedGroup) -> bool:
        return group.reward_range == 0 or group.reward_range < self._min

    def _moved(self, p: float, too_many: bool) -> float:
        if not self._settings.step:
            return p
        # Rounded, so that a hundred small steps end where they should.
        return round(max(p - self._settings.step, LEAST) if too_many else min(p + self._settings.step, MOST), 9)
