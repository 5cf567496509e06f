"""Prepares one source for the pool: reads it, then puts each sample through the same checks in the same order.

Reader -> several spans -> leakage -> duplicates -> video there -> video sound -> fitted to the file. Doesn't choose sources;
writes no files.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from trlt.data.datasets import Reading, keep_example, open_dataset, read_source
from trlt.data.datasets import fit_to_file as fit
from trlt.data.find_videos import find_videos
from trlt.data.preparation.duplicates import KeptQuestions
from trlt.data.preparation.leakage import Leaks
from trlt.recipe import Source
from trlt.stats.pace import Pace
from trlt.task.prompt import render_span
from trlt.task.sample import Sample, Span
from trlt.task.wording import needs_options
from trlt.video.remote import is_remote
from trlt.video.resolve import VideoIndex
from trlt.video.scan import Scan

SeveralSpans = Literal["keep", "ask", "longest", "hull", "drop"]
Say = Callable[[str], None]
"""Receives short status messages."""


@dataclass(frozen=True, slots=True)
class Rules:
    """How to treat leaks, several spans and unusable videos."""

    several_spans: SeveralSpans = "keep"
    leaks: Literal["remove", "list"] = "remove"
    check_videos: bool = True
    allow_test: bool = False
    links: str | None = None
    """Folder outside of the videos' own that links may lead into."""
    skip_unfit: bool = True
    """Leave out questions whose times don't fit their video; a user's own table is refused without."""


@dataclass
class SourceReport:
    """Outcome of a source's records: `read == kept + dropped.total()`."""

    source: Source
    split: str
    read: int
    kept: int
    repaired: Counter[str]
    dropped: Counter[str]
    examples: dict[str, list[str]]
    notes: list[str]
    files: tuple[Path, ...]
    leaked: list[tuple[str, str, str]] = field(default_factory=list)
    """(sample, footage, benchmarks) of each sample on a benchmark's video."""
    missing: dict[str, str] = field(default_factory=dict)
    """Video -> why it can't be found or read."""
    unfit: list[str] = field(default_factory=list)
    """A line for each question whose times don't fit its video, with times and length."""

    def drop(self, reason: str, example: str) -> None:
        """Counts a record that is left out."""
        self.dropped[reason] += 1
        keep_example(self.examples, reason, example)

    def flag(self, reason: str, example: str) -> None:
        """Counts a record that is kept after a repair, or with a peculiarity."""
        self.repaired[reason] += 1
        keep_example(self.examples, reason, example)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A source's samples, and the outcome of all its records."""

    samples: tuple[Sample, ...]
    """With video paths relative to the source's own folder of videos."""
    entry: SourceReport


def _silent(text: str) -> None:
    """Says nothing."""


def prepare(
    source: Source,
    rules: Rules,
    seen: KeptQuestions,
    *,
    leaks: Leaks | None = None,
    scan: Scan | None = None,
    reading: Reading | None = None,
    say: Say = _silent,
) -> Prepared:
    """Reads one source and keeps what can be trained on.

    Args:
        source: The data set with its folders.
        rules: How to treat leaks, several spans and unusable videos.
        seen: The samples of earlier sources; this source's are added.
        leaks: Footage of benchmarks; None compares with none.
        scan: Looks at the videos; None only checks that they exist.
        reading: What was read already, of a source that is no data set; None reads it.
        say: Receives status messages.

    Raises:
        TrltError: files that can't be used.
    """
    say("reading")
    if reading is None:
        dataset = open_dataset(source.dataset)
        reading = read_source(dataset, Path(source.annotations), source.split, allow_test=rules.allow_test)
    entry = SourceReport(
        source=source,
        split=reading.samples[0].split,
        read=reading.read,
        kept=0,
        repaired=Counter(reading.repaired),
        dropped=Counter(reading.dropped),
        examples={reason: list(found) for reason, found in reading.examples.items()},
        notes=list(reading.notes),
        files=reading.files,
    )
    say("comparing")
    samples = list(_fresh(reading.samples, rules, seen, leaks, entry))
    if source.videos and rules.check_videos:
        say("looking for videos")
        samples = _with_videos(samples, source.videos, rules.links, scan, entry, say)
    entry.kept = len(samples)
    return Prepared(tuple(samples), entry)


def several_spans(sample: Sample, rule: SeveralSpans) -> Sample | None:
    """The sample with its several spans reduced to one by the rule; None to drop it.

    `longest` takes the first of equally long ones; `hull` goes from the first start to the last end. `ask` keeps them all, and
    asks for all of them where the sample is a grounding query.
    """
    if sample.spans is None or len(sample.spans) < 2 or rule == "keep":
        return sample
    if rule == "drop":
        return None
    if rule == "ask":
        ask = sample.task == "grounding" and not sample.several
        return replace(sample, several=True, meta=flagged(sample.meta, "span_rule_ask")) if ask else sample
    if rule == "longest":
        span = max(sample.spans, key=lambda s: s.length)
    else:
        span = Span(min(s.start for s in sample.spans), max(s.end for s in sample.spans))
    meta = flagged(sample.meta, f"span_rule_{rule}") | {"all_spans": [list(s) for s in sample.spans]}
    return replace(sample, spans=(span,), several=False, meta=meta)


def flagged(meta: dict[str, Any], *flags: str) -> dict[str, Any]:
    """`meta` with further flags."""
    return meta | {"flags": sorted({*meta.get("flags", ()), *flags})}


def _fresh(
    samples: Sequence[Sample], rules: Rules, seen: KeptQuestions, leaks: Leaks | None, entry: SourceReport
) -> Iterator[Sample]:
    """Samples on no benchmark's footage and without a duplicate."""
    for original in samples:
        sample = several_spans(original, rules.several_spans)
        if sample is None:
            entry.drop("several_spans", original.id)
            continue
        if sample is not original:
            entry.flag(f"span_rule_{rules.several_spans}", sample.id)
        benches = leaks.benchmarks.get(sample.video_key) if leaks else None
        if benches:
            entry.leaked.append((sample.id, sample.video_key, ",".join(benches)))
            example = f"{sample.id} on {sample.video_key}"
            if rules.leaks == "remove":
                entry.drop(f"in_{benches[0]}", example)
                continue
            entry.flag(f"in_{benches[0]}", example)
            sample = replace(sample, meta=flagged(sample.meta, *(f"in_{bench}" for bench in benches)))
        holder = seen.source_of(sample)
        if holder is not None:
            reason = "duplicate" if holder == sample.source else f"duplicate_of_{holder}"
            entry.drop(reason, f"{sample.id}: {sample.question:.60}")
            continue
        if sample.options is not None and needs_options(sample.question, sample.options):
            entry.flag("needs_options", f"{sample.id}: {sample.question:.60}")
            sample = replace(sample, meta=flagged(sample.meta, "needs_options"))
        yield sample


def _with_videos(
    samples: Sequence[Sample], videos: str, links: str | None, scan: Scan | None, entry: SourceReport, say: Say
) -> list[Sample]:
    """Samples whose video exists and decodes, fitted to its length."""
    index = VideoIndex(videos, links=links)
    found = find_videos(samples, index)
    entry.missing |= found.missing
    if found.left_out:
        entry.dropped["video_missing"] += found.left_out
        for video in found.missing:
            keep_example(entry.examples, "video_missing", video)
    if scan is None:
        return list(found.samples)
    local = {sample.video: index.root / sample.video for sample in found.samples if not is_remote(sample.video)}
    say("checking videos")
    pace = Pace()

    def looked(done: int, of: int) -> None:
        pace.count(done, of)
        say(", ".join(filter(None, (f"checking videos: {done:,} of {of:,}", pace.words("videos")))))

    verdicts = scan.look(local.values(), looked)
    kept = []
    for sample in found.samples:
        verdict = verdicts.get(local[sample.video]) if sample.video in local else None
        if verdict is None:  # an address: it is looked at when it has been downloaded
            kept.append(sample)
            continue
        if verdict.duration_s is None:
            entry.missing[sample.video] = verdict.error or ""
            entry.drop("video_broken", f"{sample.id}: {verdict.error}")
            continue
        fitted = fit(sample, verdict.duration_s)
        if fitted.sample is None:
            entry.drop(fitted.reason or "invalid", f"{sample.id}: file of {verdict.duration_s:.1f} s")
            times = ", ".join(render_span(span) for span in sample.spans or ()) or (
                render_span(sample.clip) if sample.clip else ""
            )
            entry.unfit.append(
                f"{sample.id}: {times}: {(fitted.reason or 'invalid').replace('_', ' ')}: its video {sample.video} has "
                f"{verdict.duration_s:.1f} s; mend the times, or the video's name"
            )
            continue
        made = fitted.sample
        for flag in sorted(set(fitted.flags)):
            entry.flag(flag, f"{made.id}: file of {verdict.duration_s:.1f} s")
        if verdict.warnings:
            entry.flag("video_repaired", f"{made.video}: {verdict.warnings[0]}")
            made = replace(made, meta=flagged(made.meta, "video_repaired"))
        kept.append(made)
    return kept
