"""Rare successes that are kept for a later group of the same sample (RePO, arXiv 2506.09340; ExGRPO, arXiv 2510.02245).

Of a group in which few completions succeed, the best one is kept with the log-probabilities that it was drawn with. When its
sample is asked again, it takes the place of the group's last completion: mean and deviation of the group's rewards include it,
as in RePO's "mixed" normalization and in ExGRPO's mixed groups, and each of its tokens is weighted by its probability now over
that then, truncated (`given_answers`). Knows completions' tokens; neither models nor losses.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Any

from trlt.engine.forest import Completion
from trlt.recipe import Replay
from trlt.train.given_answers import REPLAY, GivenAnswer
from trlt.train.online.history import SUCCESS, AskedGroup


@dataclass(frozen=True)
class _Kept:
    step: int
    row: dict[str, Any]
    used: int = 0


class ReplayBuffer:
    """The kept completions of a run, one per sample.

    Args:
        settings: `train.online.replay`.
    """

    def __init__(self, settings: Replay) -> None:
        self._settings = settings
        self._kept: dict[int, _Kept] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def answers(self, sample: int) -> list[GivenAnswer]:
        """What is kept of a sample, with its log-probabilities then: at most one completion."""
        kept = self._kept.get(sample)
        if kept is None:
            return []
        row = kept.row
        return [GivenAnswer(row["text"], tuple(row["tokens"]), bool(row["finished"]), tuple(row["logps"]), REPLAY)]

    def waiting(self, count: int, without: Container[int]) -> list[int]:
        """At most `count` samples of which something is kept, the longest kept first."""
        return [sample for sample in self._kept if sample not in without][:count]

    def see(self, step: int, groups: Sequence[AskedGroup]) -> None:
        """Takes the groups of a step: keeps rare successes, and drops what was used often, is old, or is rare no more."""
        for group in groups:
            if group.kind == "probe" and group.rare is None:  # nothing was replayed, and one group more says little
                continue
            old = self._kept.pop(group.sample, None)
            if group.rare is not None:
                self._kept[group.sample] = _Kept(step, group.rare)
            elif old is not None and group.successes <= self._settings.most:
                used = old.used + group.replayed
                if used < self._settings.times:
                    self._kept[group.sample] = _Kept(old.step, old.row, used)
        age = self._settings.age
        if age is not None:
            self._kept = {sample: kept for sample, kept in self._kept.items() if step - kept.step < age}
        for sample in list(self._kept)[: max(0, len(self._kept) - self._settings.size)]:
            del self._kept[sample]


def rare(
    completions: Sequence[Completion], scores: Sequence[float], rewards: Sequence[float], most: int
) -> dict[str, Any] | None:
    """What is kept of a group: of 1 to `most` successes the one with the highest reward; None of any other group.

    Args:
        completions: As the policy drew them, with their log-probabilities.
        scores: Of each, from 0 to 1.
        rewards: Of each.
        most: `train.online.replay.most`.
    """
    successes = [place for place, score in enumerate(scores) if score >= SUCCESS]
    if not 1 <= len(successes) <= most:
        return None
    best = completions[max(successes, key=lambda place: (rewards[place], -place))]
    return {"text": best.text, "tokens": list(best.tokens), "finished": best.finished, "logps": list(best.logps)}
