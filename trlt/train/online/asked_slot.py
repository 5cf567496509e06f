"""A slot of a step that notes each group that was asked for it: those that were replaced say as much of their samples.

Knows scored groups; neither what is made of the notes nor models.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from trlt.train.dynamic_sampling import PromptSlot, ScoredGroup
from trlt.train.given_answers import REPLAY, source_of
from trlt.train.online.history import AskedGroup, score_of
from trlt.train.online.replay import rare


@dataclass
class AskedSlot(PromptSlot):
    """A slot with the notes of its groups."""

    most: int = 0
    """Number of successes up to which the best one is kept; 0 keeps none."""
    notes: list[AskedGroup] = field(default_factory=list)
    """Of all groups so far, in order."""

    def offer(self, scored: ScoredGroup | None) -> None:
        """Takes the outcome of a prompt, and notes it."""
        before = self.best
        super().offer(scored)
        if scored is None:
            return
        if self.best is not before:
            self.notes = [note._replace(kind="tried") for note in self.notes]
        self.notes.append(noted(scored, "kept" if self.best is scored else "tried", self.most))


def noted(scored: ScoredGroup, kind: str, most: int) -> AskedGroup:
    """The note of a group: of the completions that the policy drew.

    Args:
        scored: The group.
        kind: See `AskedGroup`.
        most: Number of successes up to which the best one is kept.
    """
    own = scored.own
    scores = [score_of(one, iou) for one, iou in zip(own.scores, own.ious, strict=True)]
    kept: dict[str, Any] | None = rare(own.completions, scores, own.rewards, most) if most else None
    # What is counted is what the file says, so that a resumed run counts the same.
    return AskedGroup(
        scored.index,
        kind,
        len(scores),
        score=round(sum(scores) / len(scores), 6),
        mean=round(sum(own.rewards) / len(scores), 6),
        reward_range=round(own.reward_range, 6),
        replayed=sum(source_of(one) == REPLAY for one in scored.completions),
        rare=kept,
    )
