"""Statistics of a set of samples, as in Fig. 3 of the paper: sizes, tasks, domains, lengths, spans, options. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from trlt.data.datasets import load, names
from trlt.task.sample import Sample

DURATIONS_S = (10, 30, 60, 120, 180, 300, 600, 1800)
"""Bounds of the classes of durations, seconds: below the first, ..., from the last."""
SPANS_S = (2, 5, 10, 20, 30, 60, 120)
PARTS = 10
"""Number of classes of a span relative to the video: how much it covers, and where its middle is."""


class SampleStatistics:
    """Counts samples one by one."""

    def __init__(self) -> None:
        self.samples = 0
        self._videos: set[int] = set()
        self._footage: dict[int, frozenset[str]] = {}
        self._counts: dict[str, Counter[str]] = {name: Counter() for name in ("sources", "tasks", "domains", "options")}
        self._spans_each: Counter[int] = Counter()
        self._durations = [0] * (len(DURATIONS_S) + 1)
        self._unknown = 0
        self._seconds = 0.0
        self._lengths = [0] * (len(SPANS_S) + 1)
        self._shares = [0] * PARTS
        self._middles = [0] * PARTS

    def add(self, samples: Iterable[Sample], domain: str | None = None) -> None:
        """Counts samples; `domain` is what the videos of their data set show, None looks it up by their source."""
        for sample in samples:
            self._add(sample, domain)

    def _add(self, sample: Sample, domain: str | None) -> None:
        self.samples += 1
        # Hashes, so that half a million paths needn't be kept.
        self._videos.add(hash((sample.source, sample.video, sample.clip)))
        self._counts["sources"][sample.source] += 1
        if sample.video_key:
            key = hash(sample.video_key)
            known = self._footage.get(key, frozenset())
            if sample.source not in known:
                self._footage[key] = known | {sample.source}
        self._counts["tasks"][sample.task] += 1
        self._counts["domains"][str(sample.meta.get("domain") or domain or _domain(sample.source))] += 1
        if sample.options is not None:
            self._counts["options"][str(len(sample.options))] += 1
        duration = sample.duration
        if duration is None:
            self._unknown += 1
        else:
            self._durations[bisect_right(DURATIONS_S, duration)] += 1
            self._seconds += duration
        if sample.spans is not None:
            self._spans_each[len(sample.spans)] += 1
        for span in sample.spans or ():
            self._lengths[bisect_right(SPANS_S, span.length)] += 1
            if duration is not None:
                self._shares[_part(span.length / duration)] += 1
                self._middles[_part((span.start + span.end) / 2 / duration)] += 1

    def to_json(self) -> dict[str, Any]:
        """All counts as JSON values; classes in their order, the others by size."""
        known = self.samples - self._unknown
        return {
            "samples": self.samples,
            "clips": len(self._videos),
            **{name: dict(counts.most_common()) for name, counts in self._counts.items() if name != "options"},
            "options": dict(sorted(self._counts["options"].items(), key=lambda item: int(item[0]))),
            "shared_footage": self._shared(),
            "duration_s": {**_classes(DURATIONS_S, self._durations, " s"), "unknown": self._unknown},
            "mean_duration_s": round(self._seconds / known, 2) if known else None,
            "spans_a_sample": {str(count): number for count, number in sorted(self._spans_each.items())},
            "span_length_s": _classes(SPANS_S, self._lengths, " s"),
            "span_share_of_video": _parts(self._shares),
            "span_middle_in_video": _parts(self._middles),
        }

    def _shared(self) -> dict[str, int]:
        """How many videos two or more sources have samples on, most frequent first."""
        counts = Counter(" + ".join(sorted(sources)) for sources in self._footage.values() if len(sources) > 1)
        return dict(counts.most_common())


@cache
def _domain(source: str) -> str:
    """What a data set's videos show."""
    return str(load(source).DOMAIN) if source in names() else "unknown"


def _part(share: float) -> int:
    return min(PARTS - 1, max(0, int(share * PARTS)))


def _classes(bounds: Sequence[int], counts: Sequence[int], unit: str) -> Mapping[str, int]:
    names = [f"below {bounds[0]}{unit}"]
    names += [f"{low} to {high}{unit}" for low, high in zip(bounds, bounds[1:], strict=False)]
    return dict(zip([*names, f"from {bounds[-1]}{unit}"], counts, strict=True))


def _parts(counts: Sequence[int]) -> Mapping[str, int]:
    step = 100 // PARTS
    return {f"{step * place} to {step * (place + 1)}%": count for place, count in enumerate(counts)}
