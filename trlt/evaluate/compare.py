"""Two runs on the same questions: the difference of each metric with its interval, and protocol differences (pure).

Knows values from 0 to 1 and protocols as in `results.json`; neither files nor benchmarks.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from trlt.recipe import flat
from trlt.stats.groups import group_weights
from trlt.stats.intervals import paired_difference

NO_DIFFERENCE = "no significant difference"
INCIDENTAL = ("bootstrap", "questions_left_out", "videos_read")
"""Keys of a protocol that change no answer; questions in only one run are counted separately."""
ANNOTATIONS = "annotations"
SAMPLES = "decoding.samples_per_question"
_ZERO = 1e-9
"""Percentage points below which a bound is 0: sums of shares round."""


@dataclass(frozen=True, slots=True)
class ScoredRun:
    """One run's values on one benchmark; the lists have one entry per question."""

    ids: Sequence[str]
    """Without duplicates."""
    videos: Sequence[str]
    """The footage of each question; questions about the same footage are resampled together."""
    groups: Sequence[str | None]
    """Groups whose means weigh alike in the metric (MVBench's tasks); None everywhere for a plain mean over questions."""
    values: Mapping[str, Sequence[float | None]]
    """Metric to a value from 0 to 1 per question; the metric is 100 times their weighted mean. None if a question doesn't count
    in it (TempCompass has metrics of single tasks)."""
    micro: Sequence[str] = ()
    """Metrics that are plain means over questions, whatever the groups."""


@dataclass(frozen=True, slots=True)
class MetricChange:
    """One metric in both runs, over their common questions; in percent, and percentage points."""

    metric: str
    n: int
    """Questions that count in it."""
    a: float
    b: float
    difference: float
    """b - a."""
    low: float | None
    """Lower bound of the 95% interval of the difference; None if all questions are about one video, which gives no interval."""
    high: float | None

    @property
    def better(self) -> Literal["A", "B"] | None:
        """The run that is significantly better: the interval excludes 0. Every metric is better when higher."""
        if self.low is not None and self.low > _ZERO:
            return "B"
        return "A" if self.high is not None and self.high < -_ZERO else None

    @property
    def statement(self) -> str:
        """The result in words."""
        return f"{self.better} better" if self.better else NO_DIFFERENCE

    def to_json(self) -> dict[str, Any]:
        """As `trlt compare --json` gives it."""
        interval = None if self.low is None or self.high is None else [self.low, self.high]
        numbers = {"n": self.n, "a": self.a, "b": self.b, "difference": self.difference, "ci95": interval}
        return {**numbers, "better": self.better, "statement": self.statement}


@dataclass(frozen=True, slots=True)
class BenchmarkComparison:
    """Two runs on one benchmark."""

    n: int
    """Questions in both runs; metrics are over these."""
    videos: int
    """Number of their videos."""
    only_a: int
    """Questions only in the first run; they are left out."""
    only_b: int
    changes: tuple[MetricChange, ...]
    """One per metric of the shared questions; none without shared questions."""


def compare(a: ScoredRun, b: ScoredRun, resamples: int = 1000, seed: int = 0) -> BenchmarkComparison:
    """Pairs two runs by question; intervals resample whole videos, since questions about one aren't independent.

    Weights are recomputed over the shared questions, so that groups weigh alike among them too.

    Args:
        a: The first run.
        b: The other, of the same benchmark.
        resamples: Resamples behind each interval.
        seed: Of the draws.
    """
    place_b = {id: place for place, id in enumerate(b.ids)}
    shared = [(place, place_b[id]) for place, id in enumerate(a.ids) if id in place_b]
    changes = [_change(metric, a, b, shared, resamples, seed) for metric in a.values if metric in b.values]
    videos = {a.videos[place] for place, _ in shared}
    counts = (len(shared), len(videos), len(a.ids) - len(shared), len(b.ids) - len(shared))
    return BenchmarkComparison(*counts, tuple(change for change in changes if change is not None))


def _change(
    metric: str, a: ScoredRun, b: ScoredRun, shared: Sequence[tuple[int, int]], resamples: int, seed: int
) -> MetricChange | None:
    """One metric over the shared questions that count in it; None if there are none."""
    pairs = [(place, a.values[metric][place], b.values[metric][other]) for place, other in shared]
    counted = [(place, x, y) for place, x, y in pairs if x is not None and y is not None]
    if not counted:
        return None
    weights = group_weights([None if metric in a.micro else a.groups[place] for place, _, _ in counted])
    of_a, of_b = [100 * x for _, x, _ in counted], [100 * y for _, _, y in counted]
    videos = [a.videos[place] for place, _, _ in counted]
    gain = paired_difference(of_b, of_a, videos, resamples, seed, weights=weights)
    low, high = (gain.low, gain.high) if len(set(videos)) > 1 else (None, None)
    mean_a, mean_b = (
        math.fsum(weight * value for weight, value in zip(weights, values, strict=True)) / math.fsum(weights)
        for values in (of_a, of_b)
    )
    return MetricChange(metric, len(counted), mean_a, mean_b, gain.mean, low, high)


@dataclass(frozen=True, slots=True)
class ProtocolDifference:
    """A key of the protocol in which two runs differ."""

    key: str
    a: Any
    b: Any

    def __str__(self) -> str:
        """In words, for a warning."""
        if self.key.startswith(f"{ANNOTATIONS}.") and None in (self.a, self.b):
            return f"{self.key}: was read in {'B' if self.a is None else 'A'} only"
        return f"{self.key}: {json.dumps(self.a)} in A, {json.dumps(self.b)} in B"


def protocol_differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[ProtocolDifference]:
    """Keys with different values, by their dotted names; keys that only one of them has count for annotations alone.

    (A run by `--predictions` has no known budget, which says nothing about the other run's.)
    """
    # Results of an older trlt name no protocol: there was one.
    flat_a, flat_b = {"name": "paper", **dict(flat(a))}, {"name": "paper", **dict(flat(b))}
    if SAMPLES in flat_a | flat_b:  # protocols leave out what is usual
        flat_a, flat_b = {SAMPLES: 1} | flat_a, {SAMPLES: 1} | flat_b
    keys = [key for key in flat_a | flat_b if key.split(".")[0] not in INCIDENTAL]
    both = [key for key in keys if (key in flat_a and key in flat_b) or key.startswith(f"{ANNOTATIONS}.")]
    found = [(key, flat_a.get(key), flat_b.get(key)) for key in both if flat_a.get(key) != flat_b.get(key)]
    return [ProtocolDifference("protocol" if key == "name" else key, *values) for key, *values in found]


def other_annotations(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    """Annotation files for which two runs can't be paired: those with different content, or all if none is in both runs.

    A file that only one run read (such as MVBench's withdrawn task) does no harm: its questions are in that run only.
    """
    files_a, files_b = a[ANNOTATIONS], b[ANNOTATIONS]
    shared = [name for name in files_a if name in files_b]
    return [name for name in shared if files_a[name] != files_b[name]] if shared else sorted({*files_a, *files_b})
