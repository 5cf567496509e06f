"""Turns annotated times into spans: repaired if the intent is clear, else dropped with a reason. Pure.

Never swaps the ends of a reversed span, since either may be wrong.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from trlt.task.sample import Sample, Span
from trlt.video.durations import TOLERANCE, TOLERANCE_S, durations_differ

OVERSHOOT_S = 1.5
"""Seconds by which an end may exceed the duration, or a start precede 0, and still be clamped."""
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
    """All spans of a record, which stays usable while one of them is, flagged `dropped_span`."""
    repairs = [repair_span(start, end, duration_s, clip=clip, overshoot_s=overshoot_s) for start, end in times_s]
    spans = tuple(repair.span for repair in repairs if repair.span)
    flags = tuple(flag for repair in repairs for flag in repair.flags)
    reasons = [repair.reason for repair in repairs if repair.reason]
    if not spans:
        return Repairs((), (), reasons[0] if reasons else "no_span")
    return Repairs(spans, (*flags, "dropped_span") if reasons else flags, None)


@dataclass(frozen=True, slots=True)
class Fit:
    """A sample fitted to its file, or the reason why it can't be."""

    sample: Sample | None
    flags: tuple[str, ...] = ()
    reason: str | None = None


def span_outside(sample: Sample, length_s: float) -> Span | None:
    """The first gold span outside a sample's clip: it begins at or after the clip's end, or ends too far after it.

    Too far means that `trlt prepare` drops it: by more than `OVERSHOOT_S`, or `meta.chunk_s`; if the annotated duration agrees
    with the clip's, the longer of the two counts.

    Args:
        sample: The sample whose spans, if any, are checked.
        length_s: Seconds of the clip, as decoded.
    """
    agree = sample.duration is not None and not durations_differ(sample.duration, length_s)
    held_s = max(length_s, sample.duration or 0.0) if agree else length_s
    chunk_s = sample.meta.get("chunk_s")
    overshoot_s = max(OVERSHOOT_S, float(chunk_s) if isinstance(chunk_s, (int, float)) else 0.0)
    for span in sample.spans or ():
        if span.start >= length_s or repair_span(*span, held_s, clip=True, overshoot_s=overshoot_s).span is None:
            return span
    return None


def outside_words(sample: Sample, length_s: float) -> str | None:
    """Message for a sample with a `span_outside`; None if its spans fit."""
    span = span_outside(sample, length_s)
    if span is None:
        return None
    does = "begins" if span.start >= length_s else "ends"
    return f"its gold span [{span.start:g}, {span.end:g}] {does} behind the end of its video ({length_s:.1f} s)"


def file_warning(sample: Sample, length_s: float) -> str | None:
    """Message for a sample that doesn't fit the clip that was shown: `outside_words`, or another length; None if it fits.

    The length counts with `meta.whole_file` alone (TVGBench): the annotation is about the whole of a file that was cut before.
    """
    if sample.meta.get("whole_file") and sample.duration is not None and durations_differ(sample.duration, length_s):
        return (
            f"its file is {length_s:.1f} s long and should be {sample.duration:.1f} s: it isn't the annotated clip, and "
            "its gold span may be elsewhere"
        )
    return outside_words(sample, length_s)


def fit_to_file(sample: Sample, file_s: float) -> Fit:
    """A training sample, fitted to the length of its file.

    - `meta.maybe_cut` (InternVid): a file as long as `clip` and too short to contain it is that clip, already cut.
    - `meta.annotated_s` is how much of the file was shown to annotators (DiDeMo: 30 s): the rest is not part of the sample.
    - `meta.chunk_s` is the step length of annotated times: an end may overshoot by one step.
    - A clip or span outside the file drops the sample; a file whose length differs from the annotation but contains all of them
        is flagged `other_duration`, and its own length counts.

    Args:
        sample: The sample as read.
        file_s: Seconds of the video file.

    Returns:
        The sample, with its flags also in `meta.flags`.
    """
    fitted = _fit(sample, file_s)
    if fitted.sample is None or not fitted.flags:
        return fitted
    meta = fitted.sample.meta
    flags = sorted({*meta.get("flags", ()), *fitted.flags})
    return replace(fitted, sample=replace(fitted.sample, meta=meta | {"flags": flags}))


def _fit(sample: Sample, file_s: float) -> Fit:
    if sample.clip is not None:
        return _fit_clip(sample, sample.clip, file_s)
    annotated_s = sample.meta.get("annotated_s")
    if sample.duration is not None and annotated_s is None:
        if not durations_differ(sample.duration, file_s):
            return Fit(sample)
        fitted = _fit_spans(replace(sample, duration=file_s, meta=sample.meta | {"annotated_duration": sample.duration}))
        return replace(fitted, flags=(*fitted.flags, "other_duration")) if fitted.sample else fitted
    clip = Span(0.0, annotated_s) if annotated_s is not None and file_s > annotated_s else None
    return _fit_spans(replace(sample, clip=clip, duration=clip.end if clip else file_s))


def _fit_clip(sample: Sample, clip: Span, file_s: float) -> Fit:
    """Fits a sample about a part of its file."""
    holds = clip.end <= file_s + max(TOLERANCE_S, TOLERANCE * clip.length)
    if sample.meta.get("maybe_cut"):
        meta = {key: value for key, value in sample.meta.items() if key != "maybe_cut"}
        nearer = abs(file_s - clip.length) < abs(file_s - clip.end)
        if file_s < clip.end and nearer and not durations_differ(clip.length, file_s):
            return Fit(replace(sample, clip=None, meta=meta), ("cut_already",))
        sample = replace(sample, meta=meta)
    if not holds:
        return Fit(None, reason="clip_past_file_end")
    end = min(clip.end, file_s)
    if end == clip.end:
        return Fit(sample)
    fitted = _fit_spans(replace(sample, clip=Span(clip.start, end), duration=end - clip.start))
    return replace(fitted, flags=(*fitted.flags, "clamped_clip")) if fitted.sample else fitted


def _fit_spans(sample: Sample) -> Fit:
    """A sample's spans clamped to its duration."""
    if sample.spans is None:
        return Fit(sample)
    overshoot_s = max(OVERSHOOT_S, sample.meta.get("chunk_s", 0.0))
    repairs = repair_spans(sample.spans, sample.duration, clip=True, overshoot_s=overshoot_s)
    if repairs.reason:
        return Fit(None, reason=repairs.reason)
    return Fit(replace(sample, spans=repairs.spans), repairs.flags)
