"""Rewards from scores, and advantages from a group's rewards (pure). Knows neither text nor tensors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trlt.task.sample import Task

if TYPE_CHECKING:  # recipes import this file, and shouldn't load numpy for it
    from trlt.task.score import Scores


@dataclass(frozen=True, slots=True)
class Weights:
    """Weights of the reward's parts; the defaults are the paper's."""

    format: float = 1.0
    accuracy: float = 1.0
    """Weight of multi-choice answers (Eq. 1)."""
    tiou: float = 1.0
    """Weight of grounding spans (Eq. 2)."""
    grounded_accuracy: float = 0.5
    grounded_tiou: float = 0.5
    tiou_from: float | None = None
    """tIoU threshold of a discrete reward (1 at or above it, else 0); None rewards the tIoU itself (Eq. 2)."""


def reward(scores: Scores, task: Task, weights: Weights = Weights()) -> float:  # noqa: B008  (frozen)
    """The reward of one completion (2.3 of the paper), from the scores that evaluation also uses.

    R_mc = R_format + R_acc; R_tvg = R_format + R_IoU; R_gqa = R_format + (R_acc + R_IoU) / 2.
    """
    total = weights.format * scores.format
    if task == "multi_choice":
        return total + weights.accuracy * _part(scores.accuracy, "accuracy", task)
    if task == "grounding":
        return total + weights.tiou * _overlap(scores, task, weights)
    accuracy, tiou = _part(scores.accuracy, "accuracy", task), _overlap(scores, task, weights)
    return total + weights.grounded_accuracy * accuracy + weights.grounded_tiou * tiou


def _overlap(scores: Scores, task: Task, weights: Weights) -> float:
    tiou = _part(scores.tiou, "tiou", task)
    return tiou if weights.tiou_from is None else float(tiou >= weights.tiou_from)


def _part(value: float | None, name: str, task: Task) -> float:
    if value is None:
        raise ValueError(f"a {task} completion was scored without {name}")
    return value


def overlong(tokens: int, limit: int, over: int) -> float:
    """Penalty added to a completion's reward for its length: DAPO's soft overlong punishment (its Eq. 13).

    0 up to `over` tokens before the limit, then linearly down to -1 at the limit.
    """
    return min(0.0, (limit - over - tokens) / over)


def advantages(rewards: Sequence[float], eps: float = 1e-4, *, scale: bool = True) -> list[float]:
    """A_i = (R_i - mean) / (std + eps) within a group (Eq. 3); R_i - mean without `scale` (Dr. GRPO).

    std divides by n - 1, as `torch.std` does. Equal rewards, and a group of one, give exact zeros.
    """
    if not rewards or min(rewards) == max(rewards):
        return [0.0] * len(rewards)
    mean = math.fsum(rewards) / len(rewards)
    if not scale:
        return [r - mean for r in rewards]
    std = math.sqrt(math.fsum((r - mean) ** 2 for r in rewards) / (len(rewards) - 1))
    return [(r - mean) / (std + eps) for r in rewards]
