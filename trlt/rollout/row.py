"""Turns a model's completions for one sample into a row: parsed, scored and rewarded (pure)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from trlt.data.datasets import file_warning
from trlt.task.answer import Answer
from trlt.task.grade import Grader
from trlt.task.sample import Sample


@dataclass(frozen=True, slots=True)
class Generated:
    """The fields of a completion that a row needs."""

    text: str
    tokens: int
    """Number of sampled tokens, including the end mark."""
    finished: bool
    """False if the token limit cut it off."""


def to_row(
    sample: Sample,
    said: Sequence[Generated],
    *,
    grader: Grader,
    video_tokens: int,
    length_s: float | None = None,
) -> dict[str, Any]:
    """The row of an answered sample.

    `correct` counts right answers (null for grounding), `ious` are those of all completions (`Rules.iou`) and `delta_iou` their
    max - mean (null for multi-choice), `reward_range` is max - min of the rewards. `parts` is set only if the reward has parts
    besides the paper's, or pays spans or answers by other rules: what each gave, null where it doesn't apply. `length_s` is set
    only if the reward divides by the clip's length and the sample doesn't state it. `warning` is set only if a gold span is
    outside the clip, whose length is `length_s` (None: unknown), or the clip isn't the annotated one.
    """
    timed = grader.timed(sample, length_s)
    [grades] = grader.grade([(timed, [one.text for one in said])])
    scores, rewards = [one.scores for one in grades], [one.reward for one in grades]
    parts = {name: [one.parts[name] for one in grades] for name in grader.noted}
    ious = [one.iou for one in grades if one.iou is not None]
    right = [s.accuracy for s in scores if s.accuracy is not None]
    warning = file_warning(sample, length_s) if length_s is not None else None
    return {
        **_head(sample),
        "texts": [one.text for one in said],
        "answers": [_answer(one.answer) for one in grades],
        "scores": [asdict(s) for s in scores],
        **({"parts": parts} if parts else {}),
        "rewards": rewards,
        "tokens": [one.tokens for one in said],
        "finished": [one.finished for one in said],
        "n": len(said),
        "correct": sum(value == 1 for value in right) if right else None,
        "ious": ious or None,
        "delta_iou": max(ious) - _mean(ious) if ious else None,
        "reward_range": max(rewards) - min(rewards),
        "mean": _mean(rewards),
        "format_rate": _mean([s.format for s in scores]),
        "video_tokens": video_tokens,
        **({"length_s": length_s} if timed is not sample else {}),
        "error": None,
        **({"warning": warning} if warning else {}),
    }


def error_row(sample: Sample, n: int, error: str) -> dict[str, Any]:
    """The row of a sample that couldn't be asked, or graded: `error` gives the reason, and all else is empty."""
    lists: dict[str, Any] = {key: [] for key in ("texts", "answers", "scores", "rewards", "tokens", "finished")}
    blanks = dict.fromkeys(("correct", "ious", "delta_iou", "reward_range", "mean", "format_rate"))
    return {**_head(sample), **lists, "n": n, **blanks, "video_tokens": 0, "error": error}


def ungraded_row(
    sample: Sample, said: Sequence[Generated], error: str, *, video_tokens: int, length_s: float | None
) -> dict[str, Any]:
    """The row of a sample whose completions couldn't be graded: that of an error, which keeps them under `ungraded`."""
    kept = {"said": [asdict(one) for one in said], "video_tokens": video_tokens, "length_s": length_s}
    return {**error_row(sample, len(said), error), "ungraded": kept}


def _head(sample: Sample) -> dict[str, Any]:
    return {"id": sample.id, "source": sample.source, "task": sample.task}


def _answer(answer: Answer) -> dict[str, Any]:
    span = list(answer.span) if answer.span else None
    # Only where there are several, as rows of one span were written before there were any.
    spans = {"spans": [list(one) for one in answer.spans]} if answer.further else {}
    choices = {"choices": list(answer.choices)} if answer.choices else {}
    told = {"payload": answer.payload, "option": answer.option, "span": span}
    return {**told, **spans, **choices, "well_formed": answer.well_formed}


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
