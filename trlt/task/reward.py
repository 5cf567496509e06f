"""Rewards from scores, and advantages from a group's rewards (pure). Knows neither files nor tensors.

A part of the reward is a function of a sample, a completion's text, the answer that was read from it, and its scores. The
paper's parts stand in `SHIPPED`; users' own have the same form (`trlt.task.parts`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Literal

from trlt.task.reward_rules import Rules
from trlt.task.sample import Sample, Span, Task
from trlt.task.span_rewards import matched, union_iou

if TYPE_CHECKING:  # recipes import this file, and shouldn't load numpy for it
    from trlt.task.answer import Answer
    from trlt.task.score import Scores

Part = Callable[["Sample", str, "Answer", "Scores"], float | None]
"""What a completion earns; None where the part doesn't apply to it."""


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


def of_format(sample: Sample, text: str, answer: Answer, scores: Scores) -> float:
    """R_format: 1 if the whole completion matches the task's template."""
    return scores.format


def of_accuracy(sample: Sample, text: str, answer: Answer, scores: Scores) -> float | None:
    """R_acc (Eq. 1): 1 for the right answer; None for grounding."""
    return scores.accuracy


def of_tiou(sample: Sample, text: str, answer: Answer, scores: Scores) -> float | None:
    """R_IoU (Eq. 2); None for multi-choice."""
    return scores.tiou


def tiou_from(sample: Sample, text: str, answer: Answer, scores: Scores, *, threshold: float) -> float | None:
    """1 for a tIoU at or above a threshold, else 0; None for multi-choice."""
    return None if scores.tiou is None else float(scores.tiou >= threshold)


def of_several(sample: Sample, text: str, answer: Answer, scores: Scores, *, measure: str) -> float | None:
    """IoU of all stated spans with all gold ones (`union`), or of the best pairs (`matched`); None where one is asked for."""
    if not sample.several:
        return None
    spans, gold = answer.spans, sample.spans or ()
    return union_iou(spans, gold) if measure == "union" else matched(spans, gold, Span.tiou)


def of_measure(
    sample: Sample, text: str, answer: Answer, scores: Scores, *, measure: Literal["timestamp_iou", "giou", "diou"]
) -> float | None:
    """The stated span by another measure than the tIoU (`trlt.task.span_rewards`); None for multi-choice."""
    return None if scores.tiou is None else Rules(span=measure).of_span(replace(sample, several=False), answer, scores)


SHIPPED: Mapping[str, Callable[..., float | None]] = {
    "format": of_format,
    "accuracy": of_accuracy,
    "tiou": of_tiou,
    "tiou_from": tiou_from,
    "timestamp_iou": partial(of_measure, measure="timestamp_iou"),
    "giou": partial(of_measure, measure="giou"),
    "diou": partial(of_measure, measure="diou"),
    "union": partial(of_several, measure="union"),
    "matched": partial(of_several, measure="matched"),
}
"""The parts that come with trlt, by name; `tiou_from` takes a `threshold` besides."""

PAPER: Mapping[Task, Mapping[str, str]] = {
    "multi_choice": {"format": "format", "accuracy": "accuracy"},
    "grounding": {"format": "format", "tiou": "tiou"},
    "grounded_qa": {"format": "format", "accuracy": "grounded_accuracy", "tiou": "grounded_tiou"},
}
"""Of each task, its parts in the order in which they are added up, each with the name of its weight (2.3 of the paper)."""


def earned(
    sample: Sample,
    text: str,
    answer: Answer,
    scores: Scores,
    weights: Weights = Weights(),  # noqa: B008  (frozen)
    rules: Rules = Rules(),  # noqa: B008  (frozen)
) -> dict[str, float]:
    """What each of the paper's parts gives for a completion, before weights, by its name in `PAPER`.

    Raises:
        DataError: a rule divides by a duration that is unknown.
    """
    found: dict[str, float] = {}
    for name in PAPER[sample.task]:
        value: float | None
        if name == "tiou":
            value = rules.of_span(sample, answer, scores, weights.tiou_from)
        elif name == "accuracy":
            value = rules.of_answer(sample, answer, scores)
        else:
            value = scores.format
        if value is None:
            raise ValueError(f"a {sample.task} completion was scored without {name}")
        found[name] = value
    return found


def weighed(task: Task, values: Mapping[str, float], weights: Weights, rules: Rules) -> float:
    """The reward by what each part gives: the weighted sum (2.3), or the format times the weighted rest."""
    total: float | None = None
    own = rules.tasks.get(task)
    for name, weight in PAPER[task].items():
        if name == "format" and rules.multiply:
            continue
        by = own.format if name == "format" and own is not None and own.format is not None else getattr(weights, weight)
        paid = by * values[name]
        total = paid if total is None else total + paid
    assert total is not None, "each task has parts"
    if rules.multiply:
        total *= values["format"]
    return total * rules.scale(task)


def reward(
    sample: Sample,
    text: str,
    answer: Answer,
    scores: Scores,
    weights: Weights = Weights(),  # noqa: B008  (frozen)
    rules: Rules = Rules(),  # noqa: B008  (frozen)
) -> float:
    """The reward of one completion (2.3 of the paper), from the scores that evaluation also uses.

    R_mc = R_format + R_acc; R_tvg = R_format + R_IoU; R_gqa = R_format + (R_acc + R_IoU) / 2. Weights and rules change it.

    Raises:
        DataError: as `earned`.
    """
    return weighed(sample.task, earned(sample, text, answer, scores, weights, rules), weights, rules)


def in_band(tokens: int, low: int, high: int, ramp: int) -> float:
    """What a completion's length earns: 1 from `low` to `high` tokens, down to 0 linearly over `ramp` tokens on either side.

    Video-R1 pays 320 to 512 tokens of its right answers, and nothing beside them: `ramp` 1.
    """
    return max(0.0, 1 - max(low - tokens, tokens - high, 0) / ramp)


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
