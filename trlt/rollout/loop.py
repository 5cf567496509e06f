"""The loop: groups prompts by clip, decodes clips ahead, generates, and writes one row per sample.

Rows don't depend on batches or their order (the engine's promise in float32), so the work is sorted for speed, and several
processes can share it (`shared_rows`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from trlt.engine.agreement import Agreement
from trlt.errors import VideoError
from trlt.errors.faults import Surprises, fault_of
from trlt.recipe import Decoding
from trlt.rollout.row import Generated, error_row, to_row, ungraded_row
from trlt.rollout.rows_file import RowFile, read_rows
from trlt.rollout.shared.leases import at_work
from trlt.rollout.shared.rank_files import absorb, work_folder
from trlt.rollout.shared.shared_rows import SharedRows, Sharing
from trlt.task.grade import Grader
from trlt.task.prompt import unaskable
from trlt.task.prompt_form import PromptForm
from trlt.task.sample import Sample, group_by_clip
from trlt.video.resolve import VideoIndex

if TYPE_CHECKING:  # torch and PyAV load with the first run, not with `trlt select`
    from trlt.engine.forest import Answered, PromptRequest, Tree
    from trlt.engine.sampling import Sampling
    from trlt.video.clip import Clip
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


def request(sample: Sample, form: PromptForm, n: int) -> PromptRequest:
    """The engine's request for one sample; its id names the random stream."""
    from trlt.engine.forest import PromptRequest

    prompt = form.prompt(sample)
    return PromptRequest(sample.id, prompt.system, prompt.user, n, prompt.think)


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
    """Asks every sample n times and writes its row to `out` as soon as it is done; samples with a row are skipped.

    A video that is missing or broken gives a row with `error`, and so does whatever else one sample's input causes; the run
    goes on. At the end the rows are in the order of the samples. With `sharing`, any number of processes may run this at once,
    and each returns when `out` is complete.

    Args:
        samples: With unique ids.
        engine: The model.
        loader: Decodes with the budget of the run.
        videos: Resolves the samples' paths.
        settings: How completions are sampled.
        n: Completions per sample.
        grader: How samples are asked, and what completions earn.
        out: The JSONL file of rows.
        retry_errors: Ask samples again whose row holds an error; where it is that answers couldn't be graded, these are.
        progress: Called with each completion.
        sharing: Take only a part of the samples at a time, and leave the others to other processes. Without it, this process
            still takes part if others are already at work.
        told: Called with the number of completions of this process that have just ended.

    Raises:
        ResumeError: `out` holds rows of other samples, or another process writes to it alone, or began anew.
        DataError: `out` is damaged.
        TrltError: most samples meet unforeseen errors.
        ParityError: the engine and the library's own forward differ on the first completion; no row is written then.
    """
    from trlt.engine.forest import Tree
    from trlt.engine.sampling import Sampling

    began, waited, tokens = time.perf_counter(), loader.waited_s, 0
    surprises = Surprises()
    sampling = Sampling(settings.temperature, settings.top_p, settings.max_new_tokens, settings.seed)
    with _open(samples, out, retry_errors, sharing) as rows:
        resumed = len(rows)
        # Once it is open: a line that a kill tore is gone then. What several processes share is asked again as a whole.
        ungraded = _ungraded(out, n) if retry_errors and isinstance(rows, RowFile) else {}

        there, looked_at, growing = resumed, time.monotonic(), 0

        def report() -> None:
            nonlocal there, looked_at
            # At intervals, because where several processes write, counting rows means reading their files.
            if progress and (now := time.monotonic()) - looked_at > LOOK_S:
                there, looked_at = len(rows), now
            if progress:
                progress(min(n * len(samples), n * there + growing), n * len(samples))

        def ended(count: int) -> None:
            nonlocal growing
            growing += count
            report()
            if told:
                told(count)

        def append(row: dict[str, Any], completions: int = 0) -> None:
            nonlocal there, growing
            rows.append(row)
            # Its completions were counted one by one as they ended, and are in the row from here on.
            there, growing = there + 1, growing - completions

        def fail(group: Sequence[Sample], error: VideoError, step: str = "load") -> None:
            for sample in group:
                append(error_row(sample, n, str(error)))
            report()
            # Last, because it may end the run: the rows are written by then.
            surprises.add(step, error)

        def grade(sample: Sample, said: Sequence[Generated], video_tokens: int, length_s: float | None, new: int) -> None:
            """Writes the row of some completions, `new` of which have just been counted as they ended."""
            try:
                row = to_row(sample, said, grader=grader, video_tokens=video_tokens, length_s=length_s)
            except Exception as error:  # of this answer alone
                fault = fault_of(error)
                append(ungraded_row(sample, said, str(fault), video_tokens=video_tokens, length_s=length_s), new)
                report()
                surprises.add("score", fault)  # last, because it may end the run
            else:
                surprises.passed("score")
                append(row, new)
                report()

        def to_ask(groups: Iterable[list[Sample]]) -> Iterator[list[Sample]]:
            for group in groups:
                left = [sample for sample in group if sample.id not in ungraded]
                for sample in group:
                    if kept := ungraded.pop(sample.id, None):
                        said = [Generated(**one) for one in kept["said"]]
                        grade(sample, said, kept["video_tokens"], kept["length_s"], 0)
                if left:
                    yield left

        def trees(groups: Iterable[list[Sample]]) -> Iterator[Tree]:
            for one in read_clips(to_ask(groups), loader, videos, fail):
                surprises.passed("load")
                samples, requests = questions(one.samples, grader.form, n, fail)
                surprises.passed("prompt", len(samples))
                if requests:
                    # Before the tree is handed out: answers name it by its number.
                    asked.append((samples, one.clip.tokens, one.clip.duration))
                    yield Tree(one.clip, requests)

        report()
        # The engine numbers the trees of each stream from 0, so `asked` begins anew with a round.
        for groups in _rounds(rows, samples):
            asked = list[tuple[Sequence[Sample], int, float]]()
            answered = engine.stream(trees(groups), sampling, max_sequences=settings.max_sequences, ended=ended)
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
        there, looked_at = len(rows), time.monotonic()
        report()
        seconds, waited_s = time.perf_counter() - began, loader.waited_s - waited
        traces = tuple(surprises.traces.values())
        return Summary(len(samples), resumed, rows.errors, tokens, seconds, waited_s, engine.parity, traces)


def _ungraded(out: Path, n: int) -> dict[str, dict[str, Any]]:
    """Completions that are kept in rows with an error, by id; the last row of a sample counts."""
    found: dict[str, dict[str, Any]] = {}
    for row in read_rows(out):
        found.pop(row["id"], None)
        if row.get("ungraded") and len(row["ungraded"]["said"]) == n:
            found[row["id"]] = row["ungraded"]
    return found


def _open(samples: Sequence[Sample], out: Path, retry_errors: bool, sharing: Sharing | None) -> RowFile | SharedRows:
    """The rows of this process alone, or shared with others."""
    ids = [sample.id for sample in samples]
    # Where others are at work, this process takes part: alone, it would do theirs again, and remove their folder.
    if sharing is None and at_work(work_folder(out)):
        sharing = Sharing()
    if sharing is not None:
        return SharedRows(out, ids, by_clip(samples), sharing, retry_errors=retry_errors)
    rows = RowFile(out, ids, retry_errors=retry_errors)
    try:
        absorb(rows, ids, retry_errors=retry_errors)
    except BaseException:
        # Lets go of the lock.
        rows.__exit__(None, None, None)
        raise
    return rows


def _rounds(rows: RowFile | SharedRows, samples: Sequence[Sample]) -> Iterable[Iterable[list[Sample]]]:
    """Samples to ask, by clip: all at once, or in the rounds of this process."""
    if isinstance(rows, SharedRows):
        return rows.rounds()
    return [by_clip([sample for sample in samples if sample.id not in rows])]


@dataclass(frozen=True, slots=True)
class _Decoded:
    samples: Sequence[Sample]
    clip: Clip


def by_clip(samples: Sequence[Sample]) -> list[list[Sample]]:
    """Groups samples by clip, long clips first: a batch's clips are then similar and need little padding."""
    # Clips of unknown length come first: any of them may be the longest.
    return sorted(group_by_clip(samples).values(), key=lambda group: -(group[0].duration or math.inf))


class Fail(Protocol):
    """Takes samples that can't be asked, and the reason."""

    def __call__(self, group: Sequence[Sample], error: VideoError, step: str = ..., /) -> None:
        """`step` names the failed step."""
        ...


def questions(
    samples: Sequence[Sample], form: PromptForm, n: int, fail: Fail
) -> tuple[list[Sample], tuple[PromptRequest, ...]]:
    """The samples of a clip that can be asked, with their requests; the others go to `fail`."""
    asked: list[Sample] = []
    requests: list[PromptRequest] = []
    for sample in samples:
        try:
            one = request(sample, form, n)
        except Exception as error:  # of this question alone
            fail([sample], fault_of(error), "prompt")
        else:
            asked.append(sample)
            requests.append(one)
    return asked, tuple(requests)


def read_clips(groups: Iterable[list[Sample]], loader: ClipLoader, videos: VideoIndex, fail: Fail) -> Iterator[_Decoded]:
    """The groups' clips, decoded ahead; samples that can't be asked, and groups with an unreadable video, go to `fail`."""
    from trlt.video.workers import ClipRequest

    def requests() -> Iterator[ClipRequest]:
        for group in groups:
            said = []
            for sample in group:
                # Before its video is looked for: nothing is decoded for a question that can't be asked.
                if reason := unaskable(sample):
                    fail([sample], VideoError(reason))
                else:
                    said.append(sample)
            if not said:
                continue
            try:
                path = videos.find(said[0].video)
            except Exception as error:  # of this name alone
                fail(said, fault_of(error))
                continue
            start, end = said[0].clip or (None, None)
            yield ClipRequest(path, start, end, said)

    for loaded in loader.map(requests()):
        if loaded.clip is None:
            fail(loaded.request.key, loaded.error or VideoError(f"{loaded.request.path}: can't be read"))
        else:
            yield _Decoded(loaded.request.key, loaded.clip)
