"""Annotated times become spans: repaired where the intent is plain, dropped with a reason where it isn't. Pure.

Never swaps the ends of a reversed span: which of the two is wrong can't be known.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from trlt.sample import Sample, Span

OVERSHOOT_S = 1.5
"""Seconds by which an end may pass the duration, or a start lie before 0, and still be clamped."""
ROUNDING_S = 0.05
"""Times are annotated to a tenth of a second, durations finer: 1.54 s over is 1.5 s over, rounded."""
WHOLE = 0.95
"""A span that covers more of the video than this is flagged: it says little about when."""


@dataclass(frozen=True, slots=True)
class Repair:
    """A span, or the reason why there is none."""

    span: Span | None
    flags: tuple[str, ...] = ()
    """`clamped_start`, `clamped_end`, `whole_video`."""
    reason: str | None = None
    """`not_finite`, `reversed`, `zero_length`, `starts_before_0`, `starts_past_end` or `overshoot`."""


@dataclass(frozen=True, slots=True)
class Repairs:
    """The usable spans of one record; `reason` tells why there are none."""

    spans: tuple[Span, ...]
    flags: tuple[str, ...]
    reason: str | None


def repair_span(
    start_s: float, end_s: float, duration_s: float | None, *, clip: bool, overshoot_s: float = OVERSHOOT_S
) -> Repair:
    """One annotated span.

    Args:
        start_s: As annotated.
        end_s: As annotated.
        duration_s: Of the video; None checks nothing against it.
        clip: Clamp to the video, for training. A benchmark's gold span isn't clipped: its metric is defined without.
        overshoot_s: How far an end may pass the duration and be clamped.
    """
    if not (math.isfinite(start_s) and math.isfinite(end_s)):
        return Repair(None, reason="not_finite")
    if end_s < start_s:
        return Repair(None, reason="reversed")
    if end_s == start_s or end_s <= 0:
        return Repair(None, reason="zero_length")
    flags: list[str] = []
    if start_s < 0:
        if clip and start_s < -OVERSHOOT_S - ROUNDING_S:
            return Repair(None, reason="starts_before_0")
        start_s = 0.0
        flags.append("clamped_start")
    if clip and duration_s is not None:
        if start_s >= duration_s:
            return Repair(None, reason="starts_past_end")
        if end_s > duration_s + overshoot_s + ROUNDING_S:
            return Repair(None, reason="overshoot")
        if end_s > duration_s:
            end_s = duration_s
            flags.append("clamped_end")
        if end_s - start_s > WHOLE * duration_s:
            flags.append("whole_video")
    return Repair(Span(start_s, end_s), tuple(flags))


def repair_spans(
    times_s: Iterable[tuple[float, float]], duration_s: float | None, *, clip: bool, overshoot_s: float = OVERSHOOT_S
) -> Repairs:
    """All spans of a record; it stays usable while one of them is, and says so (`dropped_span`)."""
    repairs = [repair_span(start, end, duration_s, clip=clip, overshoot_s=overshoot_s) for start, end in times_s]
    spans = tuple(repair.span for repair in repairs if repair.span)
    flags = tuple(flag for repair in repairs for flag in repair.flags)
    reasons = [repair.reason for repair in repairs if repair.reason]
    if not spans:
        return Repairs((), (), reasons[0] if reasons else "no_span")
    return Repairs(spans, (*flags, "dropped_span") if reasons else flags, None)


@dataclass(frozen=True, slots=True)
class Fit:
    """A sample that fits its file, or the reason why none does."""

    sample: Sample | None
    flags: tuple[str, ...] = ()
    reason: str | None = None


def fit_duration(sample: Sample, file_s: float) -> Fit:
    """A training sample whose annotation gives no duration, fitted to the length of its file.

    `meta.annotated_s` is how much of the file was shown to annotators (DiDeMo: 30 s): the rest becomes no part of the
    sample. `meta.chunk_s` is the length of the steps that times were annotated in: an end may overshoot by one.

    Args:
        sample: A sample; one with an annotated duration, or a clip, is returned as it is.
        file_s: Seconds of the video file.
    """
    if sample.duration is not None or sample.clip is not None:
        return Fit(sample)
    annotated_s = sample.meta.get("annotated_s")
    clip = Span(0.0, annotated_s) if annotated_s is not None and file_s > annotated_s else None
    duration_s = clip.end if clip else file_s
    if sample.spans is None:
        return Fit(replace(sample, clip=clip, duration=duration_s))
    overshoot_s = max(OVERSHOOT_S, sample.meta.get("chunk_s", 0.0))
    repairs = repair_spans(sample.spans, duration_s, clip=True, overshoot_s=overshoot_s)
    if repairs.reason:
        return Fit(None, reason=repairs.reason)
    flags = sorted({*sample.meta.get("flags", ()), *repairs.flags})
    meta = sample.meta | ({"flags": flags} if flags else {})
    return Fit(replace(sample, clip=clip, duration=duration_s, spans=repairs.spans, meta=meta), repairs.flags)
