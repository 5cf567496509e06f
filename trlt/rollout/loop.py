"""The loop: groups prompts by clip, decodes clips ahead, generates, and writes one row per sample.

Rows don't depend on batches or their order (the engine's promise in float32): the work is sorted for speed, sets of questions
share clips, and several processes can share it (`shared_rows`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from trlt.engine.agreement import Agreement
from trlt.errors import VideoError
from trlt.errors.faults import Surprises, fault_of
from trlt.recipe import Decoding, Video
from trlt.rollout.own_rows import OwnRows
from trlt.rollout.question_sets import Question, QuestionSet, by_clip
from trlt.rollout.read_clips import questions, read_clips
from trlt.rollout.row import Generated, error_row, to_row, ungraded_row
from trlt.rollout.rows_file import read_rows
from trlt.rollout.shared.leases import at_work
from trlt.rollout.shared.shared_rows import SharedRows, Sharing
from trlt.rollout.shared.work_files import RowKey, WorkFiles
from trlt.task.grade import Grader
from trlt.task.sample import Sample
from trlt.video.resolve import VideoIndex

if TYPE_CHECKING:  # torch and PyAV load with the first run, not with `trlt select`
    from trlt.engine.forest import Answered, Tree
    from trlt.engine.sampling import Sampling
    from trlt.video.workers import ClipLoader

LOOK_S = 0.5
"""Seconds between checks of other processes' rows."""

Progress = Callable[[int, int], None]
"""Called with the number of completions and the total, including completions of unfinished samples; first with those that were
there already. Those of unreadable videos count, too, since nothing is left to do for them."""


class CompletionGenerator(Protocol):
    """Answers prompts about clips: the engine of this process, or servers."""

    @property
    def parity(self) -> Agreement | None:
        """Agreement of its first completion with the library's own forward; None if it isn't compared, or not yet."""
        ...

    def stream(
        self,
        trees: Iterable[Tree],
        sampling: Sampling,
        *,
        max_sequences: int = ...,
        ended: Callable[[int], None] | None = ...,
    ) -> Iterator[Answered]:
        """Yields finished requests; trees are read as there is room, and at most `max_sequences` completions grow at once.

        `ended` is called with the number of completions as they end, before their request is complete.
        """
        ...


@dataclass(frozen=True, slots=True)
class Summary:
    """Counts of a run."""

    rows: int
    """Rows in the file, including earlier ones and those of other ranks."""
    resumed: int
    """Rows that were there already."""
    errors: int
    """Rows of samples that couldn't be asked, mostly because of unreadable videos."""
    tokens: int
    """Tokens sampled by this process."""
    seconds: float
    waited_s: float
    """Seconds in which the model waited for videos."""
    parity: Agreement | None = None
    """Agreement of each model's first completion with the library's own forward."""
    unforeseen: tuple[str, ...] = ()
    """Traceback of the first unforeseen error of each kind that this process met."""


def run(
    samples: Sequence[Sample],
    *,
    engine: CompletionGenerator,
    loader: ClipLoader,
    videos: VideoIndex,
    settings: Decoding,
    n: int,
    grader: Grader,
    out: Path,
    retry_errors: bool = False,
    progress: Progress | None = None,
    sharing: Sharing | None = None,
    told: Callable[[int], None] | None = None,
) -> Summary:
    """Asks every sample n times and writes its row to `out`: `run_sets` with one set.

    Args:
        samples: With unique ids.
        engine: The model.
        loader: Decodes with the budget of the run.
        videos: Resolves the samples' paths.
        settings: How completions are sampled.
        n: Completions per sample.
        grader: How samples are asked, and what completions earn.
        out: The JSONL file of rows.
        retry_errors: As in `run_sets`, like all that follows.
        progress: Likewise.
        sharing: Likewise.
        told: Likewise.
    """
    one = QuestionSet("", samples, videos, Video(), grader=grader, settings=settings, n=n)
    return run_sets(
        [one],
        engine=engine,
        loaders=lambda _: loader,
        work=WorkFiles.single(out, [sample.id for sample in samples]),
        retry_errors=retry_errors,
        progress=progress,
        sharing=sharing,
        told=told,
    )


def run_sets(
    sets: Sequence[QuestionSet],
    *,
    engine: CompletionGenerator,
    loaders: Callable[[Video], ClipLoader],
    work: WorkFiles,
    retry_errors: bool = False,
    progress: Progress | None = None,
    sharing: Sharing | None = None,
    told: Callable[[int], None] | None = None,
) -> Summary:
    """Asks every sample of some sets and writes its row as soon as it is done; samples with a row are skipped.

    A clip is decoded and encoded once for all questions about it, whichever sets they are of, if these have one budget and are
    sampled alike. A video that is missing or broken gives a row with `error`, and so does whatever else one sample's input
    causes; the run goes on. At the end the rows of each file are in the order of the set's samples. With `sharing`, any number
    of processes may run this at once, and each returns when all files are complete.

    Args:
        sets: By name what `work` has files for.
        engine: The model.
        loaders: The loader that decodes with a set's budget.
        work: The files of rows.
        retry_errors: Ask samples again whose row holds an error; where it is that answers couldn't be graded, these are.
        progress: Called with each completion.
        sharing: Take only a part of the samples at a time, and leave the others to other processes. Without it, this process
            still takes part if others are already at work.
        told: Called with the number of completions of this process that have just ended.

    Raises:
        ResumeError: a file holds rows of other samples, or another process writes to it alone, or began anew.
        DataError: a file is damaged.
        TrltError: most samples meet unforeseen errors.
        ParityError: the engine and the library's own forward differ on the first completion; no row is written then.
    """
    from trlt.engine.forest import Tree
    from trlt.engine.sampling import Sampling

    began, tokens = time.perf_counter(), 0
    surprises = Surprises()
    n_of = {one.name: one.n for one in sets}
    total = sum(one.n * len(one.samples) for one in sets)
    waits = list[tuple["ClipLoader", float]]()
    """Loaders, with the seconds that they had kept others waiting before."""
    with _open(work, by_clip(sets), retry_errors, sharing) as rows:
        resumed = sum(rows.by_set().values())
        # Once they are open: a line that a kill tore is gone then. What several processes share is asked again as a whole.
        ungraded = _ungraded(sets, work) if retry_errors and isinstance(rows, OwnRows) else {}

        def completed() -> int:
            return sum(n_of[name] * count for name, count in rows.by_set().items())

        there, looked_at, growing = completed(), time.monotonic(), 0

        def report() -> None:
            nonlocal there, looked_at
            # At intervals, because where several processes write, counting rows means reading their files.
            if progress and (now := time.monotonic()) - looked_at > LOOK_S:
                there, looked_at = completed(), now
            if progress:
                progress(min(total, there + growing), total)

        def ended(count: int) -> None:
            nonlocal growing
            growing += count
            report()
            if told:
                told(count)

        def append(one: Question, row: dict[str, Any], completions: int = 0) -> None:
            nonlocal there, growing
            rows.append(one.key, row)
            # Its completions were counted one by one as they ended, and are in the row from here on.
            there, growing = there + one.of.n, growing - completions

        def fail(group: Sequence[Question], error: VideoError, step: str = "load") -> None:
            for one in group:
                append(one, error_row(one.sample, one.of.n, str(error)))
            report()
            # Last, because it may end the run: the rows are written by then.
            surprises.add(step, error)

        def grade(one: Question, said: Sequence[Generated], video_tokens: int, length_s: float | None, new: int) -> None:
            """Writes the row of some completions, `new` of which have just been counted as they ended."""
            sample = one.sample
            try:
                row = to_row(sample, said, grader=one.of.grader, video_tokens=video_tokens, length_s=length_s)
            except Exception as error:  # of this answer alone
                fault = fault_of(error)
                append(one, ungraded_row(sample, said, str(fault), video_tokens=video_tokens, length_s=length_s), new)
                report()
                surprises.add("score", fault)  # last, because it may end the run
            else:
                surprises.passed("score")
                append(one, row, new)
                report()

        def to_ask(groups: Iterable[list[Question]]) -> Iterator[list[Question]]:
            for group in groups:
                left = [one for one in group if one.key not in ungraded]
                for one in group:
                    if kept := ungraded.pop(one.key, None):
                        said = [Generated(**each) for each in kept["said"]]
                        grade(one, said, kept["video_tokens"], kept["length_s"], 0)
                if left:
                    yield left

        def trees(groups: Iterable[list[Question]], loader: ClipLoader) -> Iterator[Tree]:
            for read in read_clips(to_ask(groups), loader, fail):
                surprises.passed("load")
                some, requests = questions(read.questions, fail)
                surprises.passed("prompt", len(some))
                if requests:
                    # Before the tree is handed out: answers name it by its number.
                    asked.append((some, read.clip.tokens, read.clip.duration))
                    yield Tree(read.clip, requests)

        report()
        # The engine numbers the trees of each stream from 0, so `asked` begins anew with a round.
        for like, groups in rows.rounds():
            asked = list[tuple[Sequence[Question], int, float]]()
            loader, drawn = loaders(like.video), like.settings
            if all(loader is not known for known, _ in waits):
                waits.append((loader, loader.waited_s))
            sampling = Sampling(drawn.temperature, drawn.top_p, drawn.max_new_tokens, drawn.seed)
            answered = engine.stream(trees(groups, loader), sampling, max_sequences=drawn.max_sequences, ended=ended)
            for t, r, completions, error in answered:
                group, shown, length_s = asked[t]
                if error is not None:
                    fail([group[r]], error, "ask")
                    continue
                surprises.passed("ask")
                said = [Generated(c.text, len(c.tokens), c.finished) for c in completions]
                tokens += sum(s.tokens for s in said)
                grade(group[r], said, shown, length_s, len(completions))
        rows.finish()
        there, looked_at = completed(), time.monotonic()
        report()
        seconds, waited_s = time.perf_counter() - began, sum(loader.waited_s - before for loader, before in waits)
        traces = tuple(surprises.traces.values())
        return Summary(len(work), resumed, rows.errors, tokens, seconds, waited_s, engine.parity, traces)


def _ungraded(sets: Sequence[QuestionSet], work: WorkFiles) -> dict[RowKey, dict[str, Any]]:
    """Completions that are kept in rows with an error; the last row of a sample counts."""
    found: dict[RowKey, dict[str, Any]] = {}
    for one in sets:
        for row in read_rows(work.files[one.name]):
            key = RowKey(one.name, row["id"])
            found.pop(key, None)
            if row.get("ungraded") and len(row["ungraded"]["said"]) == one.n:
                found[key] = row["ungraded"]
    return found


def _open(
    work: WorkFiles, groups: Sequence[Sequence[Question]], retry_errors: bool, sharing: Sharing | None
) -> OwnRows | SharedRows:
    """The rows of this process alone, or shared with others."""
    # Where others are at work, this process takes part: alone, it would do theirs again, and remove their folder.
    if sharing is None and at_work(work.folder):
        sharing = Sharing()
    if sharing is not None:
        return SharedRows(work, groups, sharing, retry_errors=retry_errors)
    return OwnRows(work, groups, retry_errors=retry_errors)
