"""The cost of probing a pool: a random part of its clips goes through the real loop and is extrapolated.

Combines the loop, `timing` and `stratified`. The rows are discarded; clips stay in the frame store.

Sampling: clips, not samples, since samples on one clip are asked together; stratified by source, by whether the frame store has
the clip, and by duration. Timing: the loop keeps its sequences full and takes new clips as others end, so the drawn clips are
one short run of it. The start, until the sequences are full for the first time, is left out, and so is the end, when nothing
new is taken. The rest is cut into stretches, each from one taking of clips to another, whose seconds per sample carry over to
the pool. Start and end of the short run are added once.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from trlt.errors import VideoError
from trlt.recipe import Decoding, Video
from trlt.rollout.estimate.stratified import EstimatedMetric, Quantity, draw, share, total
from trlt.rollout.estimate.timing import PARTS, ClipTiming, NotingLoader, TimedGenerator, steady
from trlt.rollout.loop import CompletionGenerator, Progress, run
from trlt.rollout.read_clips import request
from trlt.rollout.rows_file import encode, read_rows
from trlt.rollout.shared.rank_files import base_lines, places
from trlt.rollout.shared.work_files import RowKey, WorkFiles
from trlt.task.grade import Grader
from trlt.task.sample import Sample, group_by_clip
from trlt.video.geometry import Geometry
from trlt.video.remote import is_remote
from trlt.video.resolve import VideoIndex
from trlt.video.workers import ClipLoader

if TYPE_CHECKING:  # torch loads with the first run
    from trlt.engine.forest import PromptRequest

STRETCHES = 8
"""Default number of measured stretches of steady work."""
LEAST = 32
"""Default minimum number of drawn clips."""


@dataclass(frozen=True, slots=True)
class ClipGroup:
    """Samples that share a clip."""

    samples: tuple[Sample, ...]
    stored: bool
    """Whether the frame store holds the clip."""

    @property
    def id(self) -> str:
        """Id of the first sample."""
        return self.samples[0].id


@dataclass(frozen=True, slots=True)
class SamplePool:
    """The samples to ask."""

    groups: tuple[ClipGroup, ...]
    missing: int
    """Samples whose video is missing: they cost nothing."""

    @property
    def samples(self) -> int:
        """Samples whose video is there."""
        return sum(len(group.samples) for group in self.groups)


@dataclass(frozen=True, slots=True)
class CostEstimate:
    """Totals over a pool. Tokens and bytes as they would be written, seconds of one process."""

    clips: int
    """Measured clips."""
    samples: int
    stretches: int
    """Stretches of steady work behind the seconds."""
    seconds: float
    """Duration of the measurement, from the first clip to the last answer."""
    broken: int
    """Measured clips that can't be read."""
    error: str | None
    """The error of the first of them."""
    fixed_s: float
    """Seconds of start and end, which don't grow with the pool."""
    metrics: dict[str, EstimatedMetric]
    """`tokens` (the sum of the next three), `video_tokens` (once per clip), `prompt_tokens` (text, once per sample; left out if
    unknown), `sampled_tokens`, `wall_s` (without `fixed_s`), `waiting_s` and `model_s` (its parts), `decode_s` (of decoding
    processes), `store_bytes` (growth of an unbounded frame store), `row_bytes`, `broken_share` (of clips)."""


def pending(samples: Sequence[Sample], rows: Path, *, retry_errors: bool = False) -> list[Sample]:
    """The samples that a run writing to `rows` would ask; changes nothing.

    Raises:
        ResumeError: a row of another sample.
        DataError: `rows` is damaged.
    """
    keys = pending_rows(WorkFiles.single(rows, [sample.id for sample in samples]), retry_errors=retry_errors)
    left = {key.id for key in keys}
    return [sample for sample in samples if sample.id in left]


def pending_rows(work: WorkFiles, *, retry_errors: bool = False) -> list[RowKey]:
    """The rows that a run would write into some files; changes nothing.

    Raises:
        ResumeError: a row of another sample.
        DataError: a file is damaged.
    """
    if work.folder.is_dir():
        there = frozenset(places(work))
    else:
        there = frozenset(
            RowKey(name, line.id)
            for name, path in work.files.items()
            for line in base_lines(path, frozenset(work.ids[name]))
            if not (line.failed and retry_errors)
        )
    return [key for key in work.keys if key not in there]


def look(samples: Sequence[Sample], videos: VideoIndex, settings: Video, geometry: Geometry = Geometry()) -> SamplePool:
    """Groups samples by clip, and checks which videos and stored clips exist; opens none."""
    groups = group_by_clip(samples)
    found: list[ClipGroup] = []
    missing = 0
    with ClipLoader(settings, geometry) as loader:
        for (video, clip), some in groups.items():
            if not videos.has(video):
                missing += len(some)
                continue
            start, end = clip or (None, None)
            # An address is downloaded before its clip has a name.
            stored = not is_remote(video) and settings.store is not None
            found.append(ClipGroup(tuple(some), stored and loader.is_stored(videos.find(video), start, end)))
    return SamplePool(tuple(found), missing)


def clips_for(pool: SamplePool, settings: Decoding, n: int) -> int:
    """Number of clips to draw so that `STRETCHES` stretches are measured besides start and end."""
    if not pool.groups:
        return 0
    wanted = room(settings, n) * (1 + (STRETCHES + 1) / PARTS)
    return max(LEAST, round(wanted * len(pool.groups) / pool.samples))


def room(settings: Decoding, n: int) -> int:
    """Number of samples asked at once."""
    return max(1, settings.max_sequences // n)


def measure(
    pool: SamplePool,
    *,
    clips: int,
    engine: CompletionGenerator,
    video: Video,
    videos: VideoIndex,
    settings: Decoding,
    n: int,
    grader: Grader,
    folder: Path,
    geometry: Geometry = Geometry(),
    text_tokens: Callable[[PromptRequest, Sequence[float]], int] | None = None,
    progress: Progress | None = None,
) -> CostEstimate:
    """Asks a drawn part of a pool, and extrapolates to all of it; see `CostEstimate`.

    Args:
        pool: With one group or more.
        clips: Number to draw, at least 2; all if there are no more.
        engine: The model.
        video: Of the recipe, with its frame store.
        videos: Resolves the samples' paths.
        settings: How completions are drawn; their seed is the draw's, too.
        n: Completions per sample.
        grader: How samples are asked, and what completions earn.
        folder: An empty folder, for rows that the caller discards.
        geometry: Of the model.
        text_tokens: Gives a prompt's tokens besides the video's, from the seconds of its frames.
        progress: As of `run`.

    Raises:
        VideoError: none of the drawn clips can be read.
        DataError: a sample can't be asked.
    """
    kinds = [(group.samples[0].source, group.stored) for group in pool.groups]
    strata = draw(kinds, [group.samples[0].duration or 0.0 for group in pool.groups], clips, settings.seed)
    drawn = [place for stratum in strata for place in stratum.drawn]
    random.Random(settings.seed).shuffle(drawn)
    with NotingLoader(video, geometry) as loader:
        watch = TimedGenerator(engine, loader)
        began = time.perf_counter()
        samples = _order([pool.groups[place] for place in drawn], room(settings, n))
        run(
            samples,
            engine=watch,
            loader=loader,
            videos=videos,
            settings=settings,
            n=n,
            grader=grader,
            out=folder / "rows.jsonl",
            progress=progress,
        )
        seconds = time.perf_counter() - began
    rows = {row["id"]: row for row in read_rows(folder / "rows.jsonl")}
    errors = {place: rows[pool.groups[place].id]["error"] for place in sorted(drawn)}
    broken = frozenset(place for place, error in errors.items() if error is not None)
    if len(broken) == len(drawn):
        raise VideoError(f"not one of {len(drawn)} drawn videos could be read; the first: {errors[min(broken)]}")
    metrics = {"broken_share": share(strata, broken)}

    def counted(name: str, value: Callable[[ClipGroup], float], *, by_sample: bool = False) -> Quantity:
        groups = {place: pool.groups[place] for place in drawn}
        sizes = {place: float(len(group.samples)) for place, group in groups.items()} if by_sample else None
        one = Quantity({p: value(group) for p, group in groups.items()}, sizes, float(pool.samples) if by_sample else None)
        metrics[name] = total(strata, one)
        return one

    def asked(group: ClipGroup) -> bool:
        return rows[group.id]["error"] is None

    tokens = [
        counted("video_tokens", lambda g: rows[g.id]["video_tokens"] if asked(g) else 0),
        counted("sampled_tokens", lambda g: sum(sum(rows[s.id]["tokens"]) for s in g.samples if asked(g)), by_sample=True),
    ]
    if text_tokens:

        def text(group: ClipGroup) -> int:
            if not asked(group):
                return 0
            stamps = loader.seen[group.id].stamps
            return sum(text_tokens(request(one, grader.form, n), stamps) for one in group.samples)

        tokens.append(counted("prompt_tokens", text, by_sample=True))
    metrics["tokens"] = total(strata, *tokens)
    counted("row_bytes", lambda g: sum(len(encode(rows[s.id])) for s in g.samples), by_sample=True)
    counted("store_bytes", lambda g: 0 if g.stored else loader.seen.get(g.id, ClipTiming()).bytes)
    counted("decode_s", lambda g: loader.seen.get(g.id, ClipTiming()).seconds)
    stood_for = {s.id: h.weight for h in strata for place in h.drawn for s in pool.groups[place].samples}
    timed = steady(watch.taken, room(settings, n), stood_for, pool.samples, seconds)
    return CostEstimate(
        len(drawn),
        len(rows),
        timed.stretches,
        seconds,
        len(broken),
        errors[min(broken)] if broken else None,
        timed.fixed_s,
        metrics | timed.metrics,
    )


def _order(groups: Sequence[ClipGroup], warm: int) -> list[Sample]:
    """The groups' samples, those that fill the sequences for the first time without duration: the loop asks them first."""
    samples: list[Sample] = []
    for group in groups:
        first = len(samples) < warm
        samples += [replace(sample, duration=None) for sample in group.samples] if first else group.samples
    return samples
