"""An answer against the gold one becomes named scores, and many scores a mean with its interval (pure).

The reward and the evaluation call the same `score`. Knows no prompts and no tensors.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from trlt.answer import Answer, plain, token_f1
from trlt.sample import Sample


@dataclass(frozen=True, slots=True)
class Scores:
    """Each from 0 to 1; None where the task has no such score."""

    format: float
    """R_format: 1 when the whole completion matches the task's template."""
    accuracy: float | None
    """R_acc (Eq. 1); None for grounding."""
    tiou: float | None
    """R_IoU (Eq. 2), the maximum over the gold spans; None for multi-choice."""


def score(answer: Answer, sample: Sample, open_threshold: float = 0.5) -> Scores:
    """Scores of one completion; what couldn't be parsed scores 0.

    Args:
        answer: The parsed completion.
        sample: The question with its gold answer and spans.
        open_threshold: Least token F1 with the gold answer, for a question that has no options.
    """
    accuracy = None if sample.task == "grounding" else float(_is_right(answer, sample, open_threshold))
    tiou = None
    if sample.task != "multi_choice":
        tiou = max((answer.span.tiou(gold) for gold in sample.spans or ()), default=0.0) if answer.span else 0.0
    return Scores(float(answer.well_formed), accuracy, tiou)


def _is_right(answer: Answer, sample: Sample, open_threshold: float) -> bool:
    gold = sample.answer or ""
    if sample.options is None:
        said = answer.payload
        return said is not None and (plain(said) == plain(gold) or token_f1(said, gold) >= open_threshold)
    # By text, not by index: some rows of the real data hold the gold option twice.
    return answer.option is not None and plain(sample.options[answer.option]) == plain(gold)


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean and its 95% bootstrap interval, in the unit of the values."""

    mean: float
    low: float
    high: float


def mean_interval(values: Sequence[float], clusters: Sequence[Hashable], resamples: int = 1000, seed: int = 0) -> Interval:
    """Mean over all values, with the percentile interval of a bootstrap that draws whole videos.

    Questions about one video aren't independent: drawing questions would make the interval too narrow. The order of
    the values doesn't matter. A single video has no spread to draw from: its interval is its mean.

    Args:
        values: One value a question.
        clusters: The video of each value (a `video_key`, or a path).
        resamples: Draws of as many videos as there are, with replacement.
        seed: Of the draws.

    Raises:
        ValueError: no values, or not one cluster a value.
    """
    if not len(values) or len(values) != len(clusters):
        raise ValueError(f"{len(values)} values and {len(clusters)} clusters: at least one, and as many of each, are needed")
    names = np.array([str(cluster) for cluster in clusters])
    # Sorted, so that sums round alike whatever order the rows came in.
    order = np.lexsort((np.asarray(values, np.float64), names))
    values_N = np.asarray(values, np.float64)[order]
    _, cluster_N = np.unique(names[order], return_inverse=True)
    sums_C, sizes_C = np.bincount(cluster_N, values_N), np.bincount(cluster_N).astype(np.float64)
    count = len(sums_C)
    rng = np.random.default_rng(seed)
    means: list[np.ndarray[tuple[int, ...], np.dtype[np.float64]]] = []
    step = max(1, 4_000_000 // count)  # bounds the draws held at once to 32 MB
    for first in range(0, resamples, step):
        draws_RC = rng.multinomial(count, np.full(count, 1 / count), size=min(step, resamples - first)).astype(np.float64)
        means.append((draws_RC @ sums_C) / (draws_RC @ sizes_C))
    low, high = np.quantile(np.concatenate(means), (0.025, 0.975)) if count > 1 else (values_N.mean(),) * 2
    return Interval(float(values_N.mean()), float(low), float(high))


def paired_difference(
    a: Sequence[float], b: Sequence[float], clusters: Sequence[Hashable], resamples: int = 1000, seed: int = 0
) -> Interval:
    """Mean of a - b over the same questions, with its interval: a gain of a over b is real where `low` is above 0.

    Raises:
        ValueError: a and b differ in length, or as `mean_interval`.
    """
    return mean_interval([x - y for x, y in zip(a, b, strict=True)], clusters, resamples, seed)
