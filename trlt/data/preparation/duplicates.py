"""The same question on the same footage, within a source and across sources. Pure; remembers hashes, no samples."""

from __future__ import annotations

from trlt.task.answer import normalise
from trlt.task.sample import Sample, Span

SAME_MOMENT = 0.5
"""Spans of two sources with this temporal IoU are the same moment: each source rounds, and clamps to the video, its own way."""
ROUNDING_S = 0.05

_Known = tuple[str, int, tuple[Span, ...]]
"""Source, hash of the answer, spans."""


class KeptQuestions:
    """What has been kept so far.

    A sample repeats another of its task if footage (`video_key`, else the path), question and answer are the same after
    normalisation, and so are the spans: exactly within a source, from a temporal IoU of 0.5 across sources. A question with its
    moment (NExT-GQA) and the same question without (NExT-QA) are two tasks, with two rewards.
    """

    def __init__(self) -> None:
        self._known: dict[int, list[_Known]] = {}

    def source_of(self, sample: Sample) -> str | None:
        """The source that already has this sample; else None, and the sample is remembered."""
        key = hash((sample.task, sample.video_key or sample.video, normalise(sample.question)))
        answer = hash(normalise(sample.answer)) if sample.answer is not None else 0
        spans = _in_file(sample)
        known = self._known.setdefault(key, [])
        for source, said, moments in known:
            if said == answer and _same(spans, moments, across=source != sample.source):
                return source
        known.append((sample.source, answer, spans))
        return None


def _in_file(sample: Sample) -> tuple[Span, ...]:
    """The spans in seconds of the file, since two sources may cut one video differently."""
    shift = sample.clip.start if sample.clip else 0.0
    return tuple(Span(span.start + shift, span.end + shift) for span in sample.spans or ())


def _same(a: tuple[Span, ...], b: tuple[Span, ...], *, across: bool) -> bool:
    if across and a:
        return any(one.tiou(other) >= SAME_MOMENT for one in a for other in b)
    return len(a) == len(b) and all(
        abs(one.start - other.start) < ROUNDING_S and abs(one.end - other.end) < ROUNDING_S
        for one, other in zip(a, b, strict=True)
    )
