"""From questions by clip to clips with the requests about them; what can't be asked is told, and the rest goes on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from trlt.errors import VideoError
from trlt.errors.faults import fault_of
from trlt.rollout.question_sets import Question, find_video
from trlt.task.prompt import unaskable
from trlt.task.prompt_form import PromptForm
from trlt.task.sample import Sample

if TYPE_CHECKING:  # torch and PyAV load with the first run, not with `trlt select`
    from trlt.engine.forest import PromptRequest
    from trlt.video.clip import Clip
    from trlt.video.workers import ClipLoader, ClipRequest, LoadedClip


def request(sample: Sample, form: PromptForm, n: int) -> PromptRequest:
    """The engine's request for one sample; its id names the random stream."""
    from trlt.engine.forest import PromptRequest

    prompt = form.prompt(sample)
    return PromptRequest(sample.id, prompt.system, prompt.user, n, prompt.think)


@dataclass(frozen=True, slots=True)
class ReadClip:
    """A clip, and the questions about it."""

    questions: Sequence[Question]
    clip: Clip


class Fail(Protocol):
    """Takes questions that can't be asked, and the reason."""

    def __call__(self, group: Sequence[Question], error: VideoError, step: str = ..., /) -> None:
        """`step` names the failed step."""
        ...


def questions(some: Sequence[Question], fail: Fail) -> tuple[list[Question], tuple[PromptRequest, ...]]:
    """The questions about a clip that can be asked, with their requests; the others go to `fail`."""
    asked: list[Question] = []
    requests: list[PromptRequest] = []
    for question in some:
        try:
            one = request(question.sample, question.of.grader.form, question.of.n)
        except Exception as error:  # of this question alone
            fail([question], fault_of(error), "prompt")
        else:
            asked.append(question)
            requests.append(one)
    return asked, tuple(requests)


def read_clips(groups: Iterable[list[Question]], loader: ClipLoader, fail: Fail) -> Iterator[ReadClip]:
    """The groups' clips, decoded ahead; questions that can't be asked, and groups with an unreadable video, go to `fail`."""

    def requests() -> Iterator[ClipRequest]:
        for group in groups:
            said = []
            for question in group:
                # Before its video is looked for: nothing is decoded for a question that can't be asked.
                if reason := unaskable(question.sample):
                    fail([question], VideoError(reason))
                else:
                    said.append(question)
            if found := _found(said, fail):
                yield _request(next(iter(found)), [question for some in found.values() for question in some])

    for loaded in loader.map(requests()):
        for one in _by_path(loaded, loader, fail):
            if one.clip is None:
                fail(one.request.key, one.error or VideoError(f"{one.request.path}: can't be read"))
            else:
                yield ReadClip(one.request.key, one.clip)


def _found(group: Sequence[Question], fail: Fail) -> dict[Path, list[Question]]:
    """Questions about one file by the path under which each set has it; those without go to `fail`."""
    named: dict[tuple[str, str], list[Question]] = {}
    for question in group:
        named.setdefault((question.of.name, question.sample.video), []).append(question)
    found: dict[Path, list[Question]] = {}
    for (_, video), some in named.items():
        try:
            path = find_video(some[0].of, video)
        except Exception as error:  # of this name alone
            fail(some, fault_of(error))
        else:
            found.setdefault(path, []).extend(some)
    return found


def _request(path: Path, some: list[Question]) -> ClipRequest:
    from trlt.video.workers import ClipRequest

    start, end = some[0].sample.clip or (None, None)
    return ClipRequest(path, start, end, some)


def _by_path(loaded: LoadedClip, loader: ClipLoader, fail: Fail) -> Iterator[LoadedClip]:
    """A clip as loaded; one that can't be read once more by each of its paths, so that every row names its own."""
    some: list[Question] = loaded.request.key
    if loaded.clip is not None or all(one.of is some[0].of for one in some):
        yield loaded
    else:
        yield from loader.map([_request(path, those) for path, those in _found(some, fail).items()])
