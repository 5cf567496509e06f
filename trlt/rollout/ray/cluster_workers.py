"""The workers of a cluster: they turn tables of samples into clips, and clips into answers.

Knows Arrow tables and how a worker's fault reaches the driver; nothing of Ray, rows or rewards. Inputs and outputs are JSON and
raw frames, so that texts may contain anything, even half a surrogate pair.
"""

from __future__ import annotations

import json
import math
import socket
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from trlt import __version__, errors
from trlt.errors import DecoderDiedError, TrltError, UnforeseenError, VideoError
from trlt.recipe import Decoding, Video
from trlt.rollout.loop import CompletionGenerator
from trlt.rollout.question_sets import Question, QuestionSet
from trlt.rollout.read_clips import questions, read_clips
from trlt.task.grade import Grader
from trlt.task.prompt_form import PromptForm
from trlt.task.sample import Sample
from trlt.video.geometry import Geometry
from trlt.video.resolve import VideoIndex

if TYPE_CHECKING:
    import pyarrow as pa

    from trlt.engine.forest import Tree
    from trlt.video.workers import ClipLoader

TOGETHER_S = 1.0
"""Seconds in which answers are collected before they go to the driver, which handles each table."""


@dataclass(frozen=True)
class WorkerSettings:
    """Settings of every worker."""

    video: Video
    """With folders by absolute paths: a worker has a working directory of its own."""
    root: Path
    """Folder that the samples' paths are relative to, the same on every machine."""
    settings: Decoding
    form: PromptForm
    n: int
    geometry: Geometry = Geometry()
    """Of the model that the clips are for."""
    version: str = __version__
    """Version of the driver's trlt."""

    def about(self, samples: Sequence[Sample], videos: VideoIndex | None = None) -> list[Question]:
        """Samples as the questions that a worker asks."""
        grader = Grader(self.form)  # the driver grades
        one = QuestionSet("", samples, videos, self.video, grader=grader, settings=self.settings, n=self.n)
        return [Question(sample, one) for sample in samples]

    def check(self) -> None:
        """Refuses a machine with another trlt, whose prompts or frames might differ.

        Raises:
            TrltError: it has another one.
        """
        if self.version != __version__:
            raise TrltError(f"trlt {__version__} is installed, while the run was started by {self.version}; install the same")


def sample_table(groups: Sequence[Sequence[Sample]]) -> pa.Table:
    """Samples by clip, one group per row."""
    import pyarrow as pa

    return pa.table({"samples": pa.array(map(_text, groups), pa.large_string())})


def decode(table: pa.Table, job: WorkerSettings) -> Iterator[pa.Table]:
    """Clips of the samples of a `sample_table`, one per table, with their samples; unreadable videos come last."""
    from trlt.video.clip_codec import pack

    failed = list[dict[str, Any]]()
    try:
        job.check()
        loader, videos = _reader(job.video, job.root, job.geometry)
        groups = (job.about(_samples(text), videos) for text in table["samples"].to_pylist())
        for one in read_clips(groups, loader, lambda *fault: failed.extend(_failed(*fault))):
            samples = [question.sample for question in one.questions]
            yield _clip_table(samples=_text(samples), clip=b"".join(pack(one.clip)))
    # Told like an answer. If it were raised, Ray Data would count a lost
    # block and begin again, on a worker where the same would happen.
    except Exception as error:
        yield _clip_table(said=json.dumps([_fault(error)]))
        return
    for one_failed in failed:
        yield _clip_table(said=json.dumps([one_failed]))


class Answering:
    """A model on a worker, which answers one table of clips at a time.

    Args:
        job: The worker's settings.
        make_generator: Loads the model; a missing model is a fault of the first table, which the driver receives.
    """

    def __init__(self, job: WorkerSettings, make_generator: Callable[[], CompletionGenerator]) -> None:
        self._job = job
        self._compared = False
        self._fault: dict[str, Any] | None = None
        try:
            job.check()
            self._generator = make_generator()
        # Kept for the first table: raised here, it would count as a worker that died, and the model would be loaded again.
        except Exception as error:
            self._fault = _fault(error)

    def __call__(self, table: pa.Table) -> Iterator[pa.Table]:
        """Answers as they finish, collected over `TOGETHER_S` into a table of one row, for `read_said`."""
        # The first answer goes out at once.
        given, said = -math.inf, list[dict[str, Any]]()
        for one in [self._fault] if self._fault else self._said(table):
            said.append(one)
            if time.monotonic() - given > TOGETHER_S:
                yield _said_table(said)
                given, said = time.monotonic(), []
        if said:
            yield _said_table(said)

    def _said(self, table: pa.Table) -> Iterator[dict[str, Any]]:
        for text in filter(None, table["said"].to_pylist()):
            yield from json.loads(text)
        try:
            yield from self._answers(table)
            # Once a model, or the driver would count its tokens with every table.
            if self._generator.parity and not self._compared:
                self._compared = True
                yield {"parity": self._generator.parity.to_json()}
        except Exception as error:
            yield _fault(error)

    def _answers(self, table: pa.Table) -> Iterator[dict[str, Any]]:
        from trlt.engine.sampling import Sampling

        job, settings = self._job, self._job.settings
        sampling = Sampling(settings.temperature, settings.top_p, settings.max_new_tokens, settings.seed)
        asked: list[tuple[list[Question], int, float]] = []
        failed = list[dict[str, Any]]()

        def trees() -> Iterator[Tree]:
            import numpy as np

            from trlt.engine.forest import Tree
            from trlt.video.clip_codec import unpack

            for text, data in zip(table["samples"], table["clip"], strict=True):
                # No clip: a row of what was said already.
                if not data.is_valid:
                    continue
                # A copy: the object store's memory is read-only, and needed for the next clips.
                clip = unpack(np.frombuffer(data.as_buffer(), np.uint8).copy())
                some = job.about(_samples(text.as_py()))
                some, requests = questions(some, lambda *fault: failed.extend(_failed(*fault)))
                if requests:
                    asked.append((some, clip.tokens, clip.duration))
                    yield Tree(clip, requests)

        for t, r, completions, error in self._generator.stream(trees(), sampling, max_sequences=settings.max_sequences):
            some, shown, length_s = asked[t]
            if error is not None:
                failed += _failed([some[r]], error)
                continue
            said = [(c.text, len(c.tokens), c.finished) for c in completions]
            yield {"id": some[r].sample.id, "said": said, "video_tokens": shown, "length_s": length_s}
        yield from failed


def read_said(table: pa.Table) -> Iterator[dict[str, Any]]:
    """Parses the workers' messages about samples: `id`, and either `said` (text, tokens, finished) or `error`.

    `said` comes with the clip's `video_tokens` and `length_s` (seconds).

    Where the decoding process died, `error` comes with `died`: the file may be fine, and the machine dying.

    An unforeseen error comes with its `kind` and `trace`; see `read_error`.

    Or, once per worker, `parity`: agreement of its first completion with the library's own forward.

    Raises:
        TrltError: a worker's own, with the name of its machine.
        RuntimeError: a bug on a worker, with its traceback.
    """
    for text in table["said"].to_pylist():
        for one in json.loads(text):
            if "fault" in one:
                _raise(**one)
            yield one


def read_error(one: dict[str, Any]) -> VideoError:
    """The error of a sample from a worker's message."""
    if one.get("died"):
        return DecoderDiedError(one["error"])
    return UnforeseenError(one["error"], one["kind"], one["trace"]) if "kind" in one else VideoError(one["error"])


def _failed(group: Sequence[Question], error: VideoError, step: str = "") -> list[dict[str, Any]]:
    """The message about questions that can't be asked."""
    more: dict[str, Any] = {"kind": error.kind, "trace": error.trace} if isinstance(error, UnforeseenError) else {}
    if isinstance(error, DecoderDiedError):
        more = {"died": True}
    return [{"id": one.sample.id, "error": str(error), **more} for one in group]


def _raise(host: str, fault: str, text: str) -> NoReturn:
    kind = getattr(errors, fault, None)
    if isinstance(kind, type) and issubclass(kind, TrltError):
        raise kind(f"{host}: {text}")
    raise RuntimeError(f"a worker on {host} failed:\n{text}")


def _fault(error: Exception) -> dict[str, Any]:
    text = str(error) if isinstance(error, TrltError) else "".join(traceback.format_exception(error))
    return {"host": socket.gethostname(), "fault": type(error).__name__, "text": text}


def _said_table(said: Sequence[dict[str, Any]]) -> pa.Table:
    import pyarrow as pa

    return pa.table({"said": pa.array([json.dumps(said)], pa.large_string())})


def _text(samples: Sequence[Sample]) -> str:
    # Nothing is asked by `meta`, and it may be large.
    return json.dumps([replace(sample, meta={}).to_json() for sample in samples])


def _samples(text: str) -> list[Sample]:
    return [Sample.from_json(one) for one in json.loads(text)]


def _clip_table(*, samples: str | None = None, clip: bytes | None = None, said: str | None = None) -> pa.Table:
    """One row: a clip (as an entry of the frame store) with its samples, or a finished message."""
    import pyarrow as pa

    # The large kinds count by 64 bits: a column of the others holds 2 GB.
    text, binary = pa.large_string(), pa.large_binary()
    return pa.table({"samples": pa.array([samples], text), "clip": pa.array([clip], binary), "said": pa.array([said], text)})


@lru_cache(maxsize=1)
def _reader(video: Video, root: Path, geometry: Geometry) -> tuple[ClipLoader, VideoIndex]:
    """The loader of this worker, which decodes one clip after another in one thread, since each core has a worker.

    Raises:
        VideoError: no such folder of videos.
    """
    from trlt.video.decode import cores
    from trlt.video.workers import ClipLoader

    try:
        videos = VideoIndex(root, video.downloads, video.links)
    except VideoError as error:
        raise VideoError(f"{error}; every machine of the cluster must have it under this path") from None
    # With as many processes as cores, each decodes by one thread; those that aren't needed are never started.
    workers = min(video.workers, 1) * cores()
    return ClipLoader(video.model_copy(update={"workers": workers}), geometry, ahead=1), videos
