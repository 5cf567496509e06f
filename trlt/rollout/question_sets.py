"""What a run asks: sets of questions, each asked in its own way, that share the clips which they are about.

A set is a benchmark, a pool, or a file of samples. Ids are unique within one. Its rows are the same whether it is asked alone
or beside others; together, a clip is decoded and encoded once for all questions about it.
"""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from trlt.errors.faults import fault_of
from trlt.recipe import Decoding, Video
from trlt.rollout.shared.work_files import RowKey
from trlt.task.grade import Grader
from trlt.task.sample import Sample, Span, group_by_clip
from trlt.video.remote import is_remote
from trlt.video.resolve import VideoIndex


@dataclass(frozen=True, slots=True, eq=False)
class QuestionSet:
    """Samples that are asked in one way, and whose rows go into one file."""

    name: str
    """Of the set; empty where a run has only one file of rows."""
    samples: Sequence[Sample]
    """With unique ids."""
    videos: VideoIndex | None
    """Resolves the samples' paths; None where only others read clips."""
    video: Video
    """With the budget of their clips."""
    settings: Decoding
    """How completions are sampled."""
    n: int
    """Completions per sample."""
    grader: Grader
    """How samples are asked, and what completions earn."""


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """A sample of a set."""

    sample: Sample
    of: QuestionSet

    @property
    def key(self) -> RowKey:
        """Of its row."""
        return RowKey(self.of.name, self.sample.id)


class Round(NamedTuple):
    """Questions that are asked in one go."""

    like: QuestionSet
    """One of their sets: all are `alike`."""
    groups: Iterator[list[Question]]
    """By clip."""


def alike(one: QuestionSet, other: QuestionSet) -> bool:
    """Whether questions of two sets can be asked in one go: with clips of one budget, sampled in one way."""
    return one is other or _way(one) == _way(other)


def by_clip(sets: Sequence[QuestionSet]) -> list[list[Question]]:
    """Groups questions by clip, long clips first: a batch's clips are then similar and need little padding.

    Of several sets, those about one file share its clips, by whatever path each names it, where the sets are `alike`. Groups
    that are alike follow each other.
    """
    ways: list[tuple[QuestionSet, dict[tuple[str, Span | None], list[Question]]]] = []
    for one in sets:
        groups = next((groups for like, groups in ways if alike(like, one)), None)
        if groups is None:
            ways.append((one, groups := {}))
        files: dict[str, str] = {}
        for sample in one.samples:
            if sample.video not in files:
                files[sample.video] = _file(one, sample.video) if len(sets) > 1 else sample.video
            groups.setdefault((files[sample.video], sample.clip), []).append(Question(sample, one))
    return [
        group for _, groups in ways for group in sorted(groups.values(), key=lambda group: _place([q.sample for q in group]))
    ]


def samples_by_clip(samples: Sequence[Sample]) -> list[list[Sample]]:
    """The same of the samples of one set."""
    return sorted(group_by_clip(samples).values(), key=_place)


def _place(group: Sequence[Sample]) -> float:
    """Sorts the samples of a clip."""
    # Clips of unknown length come first: any of them may be the longest.
    return -next((sample.duration for sample in group if sample.duration), math.inf)


def find_video(of: QuestionSet, video: str) -> Path:
    """The path of a set's video.

    Raises:
        VideoError: as `VideoIndex.find`.
    """
    assert of.videos is not None
    return of.videos.find(video)


def _file(of: QuestionSet, video: str) -> str:
    """The file that a set's path stands for, whatever other names it has; of one that can't be had, a name of the set's own."""
    if is_remote(video):
        return video
    try:
        return os.path.realpath(find_video(of, video))
    except Exception as error:  # of this name alone; the rows of its questions tell it
        fault_of(error)
        return f"{of.name}\0{video}"


@functools.lru_cache(maxsize=64)
def _way(one: QuestionSet) -> tuple[object, ...]:
    drawn = one.settings
    video = one.video.model_dump_json(exclude={"root"})
    return video, drawn.temperature, drawn.top_p, drawn.max_new_tokens, drawn.seed, drawn.max_sequences
