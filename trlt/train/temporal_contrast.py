"""Temporal contrast (T-GRPO of Video-R1): right answers earn a bonus where the order of the frames has helped.

Each prompt is answered a second time by a group that sees the same frames shuffled, at the times of the ordered ones. That
group is scored and never learned from. Knows clips, grades and groups; neither models nor the processes of a run.

Source: Video-R1, Eq. 1 and 2 (arXiv 2503.21776), and `grpo_trainer.py` of its code (tulerfeng/Video-R1, 59d65c3), which
`docs/temporal-contrast.md` compares with this.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import fsum
from random import Random
from typing import TYPE_CHECKING

from trlt.recipe import TemporalContrast
from trlt.task.grade import Grade, Grader
from trlt.task.parts import JUDGE
from trlt.video.clip import Clip

if TYPE_CHECKING:
    from trlt.train.dynamic_sampling import ScoredGroup

PART = "temporal_contrast"
"""The bonus's name among the parts of the reward."""
RIGHT = 0.1
"""A completion whose accuracy is above this counts as right, as in Video-R1's code: of graded ones (numbers) not 1 alone."""


@dataclass(frozen=True, slots=True)
class Contrast:
    """What a prompt's second group has shown."""

    ordered: float
    """Mean accuracy with the frames in order."""
    shuffled: float
    """Mean accuracy with the frames shuffled."""
    bonuses: tuple[float, ...]
    """What each completion on the ordered frames earns besides: `alpha`, or 0."""

    @property
    def passed(self) -> bool:
        """Whether some completion has earned the bonus."""
        return any(self.bonuses)


def shuffled(clip: Clip, name: str) -> Clip:
    """The same frames in another order; their times, and so the positions that a model sees, stay in order.

    Single frames are permuted, before they are cut into temporal patches. A permutation that changes nothing is drawn again,
    so that the frames differ as soon as two places do; a clip whose frames are all alike stays as it is.

    Args:
        clip: (T, C, H, W) frames.
        name: Fixes the permutation.
    """
    order = list(range(len(clip.frames)))
    if len(order) < 2:
        return clip
    random, drawn = Random(name), order
    while drawn == order:
        drawn = random.sample(order, len(order))
    return replace(clip, frames=clip.frames[drawn])


def accuracy(grade: Grade) -> float:
    """What the contrast goes by: the judge's verdict where one was asked, else the accuracy, for grounding the tIoU."""
    said = grade.parts.get(JUDGE)
    if said is None:
        said = grade.scores.tiou if grade.scores.accuracy is None else grade.scores.accuracy
    assert said is not None, "each task has a score"
    return said


def contrast(ordered: Sequence[float], shuffled: Sequence[float], *, alpha: float, mu: float) -> Contrast:
    """Bonuses by the accuracies of both groups: alpha for right answers if mean(ordered) >= mu mean(shuffled).

    Args:
        ordered: Accuracy of each completion on the ordered frames.
        shuffled: Likewise, on the shuffled ones.
        alpha: The bonus.
        mu: The share of the shuffled group's accuracy that is to be reached.
    """
    p, q = fsum(ordered) / len(ordered), fsum(shuffled) / len(shuffled)
    earns = p >= mu * q
    return Contrast(p, q, tuple(alpha if earns and one > RIGHT else 0.0 for one in ordered))


def with_contrast(scored: ScoredGroup, grades: Sequence[Grade], second: Sequence[Grade], by: TemporalContrast) -> ScoredGroup:
    """A group whose right completions have their bonuses in the rewards, and noted as a part.

    Args:
        scored: The group on ordered frames.
        grades: Of its completions.
        second: Of those on shuffled frames; empty for a prompt that isn't contrasted, which earns none.
        by: The recipe's settings.
    """
    own = scored.parts or tuple({} for _ in grades)
    if not second:
        return replace(scored, parts=tuple({**one, PART: None} for one in own))
    found = contrast([*map(accuracy, grades)], [*map(accuracy, second)], alpha=by.alpha, mu=by.mu)
    return replace(
        scored,
        rewards=tuple(r + bonus for r, bonus in zip(scored.rewards, found.bonuses, strict=True)),
        parts=tuple({**one, PART: bonus} for one, bonus in zip(own, found.bonuses, strict=True)),
        contrast=found,
    )


def second_grader(grader: Grader) -> Grader:
    """What reads the shuffled group: without the reward's own parts, but for the judge, by whom accuracy goes."""
    return replace(grader, parts=tuple(part for part in grader.parts if part.name == JUDGE))


def second_size(settings: TemporalContrast | None, group_size: int) -> int:
    """Completions on shuffled frames per prompt; half as many as on ordered ones unless the recipe tells (as in their code)."""
    if settings is None:
        return 0
    return settings.group_size or max(1, group_size // 2)


def contrast_metrics(found: Sequence[Contrast]) -> dict[str, list[float]]:
    """What is logged: one number per contrasted prompt, of `earned` one per completion."""
    return {
        "contrast/ordered": [one.ordered for one in found],
        "contrast/shuffled": [one.shuffled for one in found],
        "contrast/passed": [float(one.passed) for one in found],
        "contrast/earned": [float(bonus > 0) for one in found for bonus in one.bonuses],
    }
