"""A part of some samples, or each with another's video: what a probe of the plan asks. Knows samples; opens no video."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from random import Random

from trlt.errors import DataError
from trlt.task.sample import Sample, Task


def drawn(samples: Sequence[Sample], tasks: Sequence[Task], limit: int | None, seed: int) -> list[Sample]:
    """The samples of these tasks (empty: of all), at most `limit` of them by chance, in their order.

    A hash of seed and id decides, so that samples in another order give the same ones.
    """
    there = [sample for sample in samples if not tasks or sample.task in tasks]
    if limit is None or len(there) <= limit:
        return there
    ranks = {sample.id: hashlib.blake2b(f"{seed}\0{sample.id}".encode("utf-8", "surrogatepass")).digest() for sample in there}
    kept = set(sorted(ranks, key=lambda id: ranks[id])[:limit])
    return [sample for sample in there if sample.id in kept]


def swapped(samples: Sequence[Sample], seed: int) -> list[Sample]:
    """Each sample with the video of another: all videos go once round in an order of chance, so none keeps its own.

    Samples of one video stay together. Where the video was a part of a file, and how long it is, come along with it.

    Raises:
        DataError: a sample with gold spans, which would be another video's; or all samples are about one video.
    """
    first: dict[str, Sample] = {}
    for sample in samples:
        if sample.spans is not None:
            raise DataError(f"sample {sample.id!r}: has spans of its own video; only multi_choice samples can be shown another")
        first.setdefault(_footage(sample), sample)
    if len(first) < 2:
        raise DataError("swap: all samples are about one video, and there is no other to show; ask more samples")
    order = sorted(first)
    Random(seed).shuffle(order)
    following = dict(zip(order, [*order[1:], order[0]], strict=True))
    given = [first[following[_footage(sample)]] for sample in samples]
    return [
        replace(sample, video=other.video, video_key=other.video_key, clip=other.clip, duration=other.duration)
        for sample, other in zip(samples, given, strict=True)
    ]


def _footage(sample: Sample) -> str:
    return sample.video_key or sample.video
