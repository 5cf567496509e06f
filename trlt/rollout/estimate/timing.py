"""Times a short run: the seconds of each clip, when the model took which clips, and the steady part.

Knows loaders, generators and the clock; nothing of how samples were drawn.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from trlt.recipe import Video
from trlt.rollout.estimate.stratified import EstimatedMetric, Stretch, flow
from trlt.rollout.loop import CompletionGenerator
from trlt.task.sample import Sample
from trlt.video.clip_codec import packed_size
from trlt.video.geometry import Geometry
from trlt.video.workers import ClipLoader, ClipRequest, LoadedClip

if TYPE_CHECKING:  # torch loads with the first run
    from trlt.engine.agreement import Agreement
    from trlt.engine.forest import Answered, Tree
    from trlt.engine.sampling import Sampling

PARTS = 2
"""Number of stretches in the time of taking as many samples as are asked at once."""


@dataclass(frozen=True, slots=True)
class ClipTiming:
    """A requested clip."""

    seconds: float = 0.0
    """Until it was loaded, or given up."""
    bytes: int = 0
    """Size of its entry in the frame store; 0 if it can't be read."""
    stamps: tuple[float, ...] = ()
    """Seconds of its frames, as prompts state them."""


class NotingLoader(ClipLoader):
    """A clip loader that records the timing of each clip, by the id of its first sample."""

    def __init__(self, settings: Video, geometry: Geometry) -> None:
        super().__init__(settings, geometry)
        self.seen: dict[str, ClipTiming] = {}
        self.failed: list[Sample] = []
        """Samples of unreadable clips, since they were last collected."""

    def map(self, requests: Iterable[ClipRequest]) -> Iterator[LoadedClip]:
        """As in the loader."""
        for loaded in super().map(requests):
            samples, clip = [question.sample for question in loaded.request.key], loaded.clip
            timing = ClipTiming(loaded.seconds)
            if clip is None:
                self.failed += samples
            else:
                timing = ClipTiming(loaded.seconds, packed_size(clip), tuple(clip.stamps.tolist()))
            self.seen[samples[0].id] = timing
            yield loaded


@dataclass
class Taking:
    """Clips that the model took together, without an answer in between."""

    at: float
    """Clock time in seconds of the request for the first."""
    waited_s: float = 0.0
    """Until it had them all."""
    ids: list[str] = field(default_factory=list)
    """Their samples, including those of broken clips in between."""


class TimedGenerator:
    """A generator that records when clips are taken."""

    def __init__(self, generator: CompletionGenerator, loader: NotingLoader) -> None:
        self._generator, self._loader = generator, loader
        self.taken: list[Taking] = []

    @property
    def parity(self) -> Agreement | None:
        """As in the generator."""
        return self._generator.parity

    def stream(
        self,
        trees: Iterable[Tree],
        sampling: Sampling,
        *,
        max_sequences: int = 256,
        ended: Callable[[int], None] | None = None,
    ) -> Iterator[Answered]:
        """As in the generator."""
        answered = True

        def watched() -> Iterator[Tree]:
            nonlocal answered
            found = iter(trees)
            while True:
                began = time.perf_counter()
                tree = next(found, None)
                if tree is None:
                    return
                if answered:
                    self.taken.append(Taking(began))
                    answered = False
                last = self.taken[-1]
                last.waited_s += time.perf_counter() - began
                last.ids += [*(sample.id for sample in self._loader.failed), *(one.key for one in tree.requests)]
                self._loader.failed.clear()
                yield tree

        for one in self._generator.stream(watched(), sampling, max_sequences=max_sequences, ended=ended):
            answered = True
            yield one


@dataclass(frozen=True, slots=True)
class Timed:
    """Seconds of one process."""

    stretches: int
    """Number of measured stretches."""
    fixed_s: float
    """Seconds of start and end, once."""
    metrics: dict[str, EstimatedMetric]
    """`wall_s` for all samples, and its parts `waiting_s` (for clips) and `model_s`."""


def steady(taken: Sequence[Taking], side_by_side: int, weights: Mapping[str, float], whole: int, seconds: float) -> Timed:
    """Seconds for `whole` samples, from a short run.

    If no steady stretch can be separated from start and end, the whole short run is the stretch, without an interval.

    Args:
        taken: In the order of time.
        side_by_side: Number of samples asked at once.
        weights: Number of samples that each sample of the short run represents.
        whole: Samples of the pool.
        seconds: Duration of the short run.
    """
    walls: list[Stretch] = []
    waits: list[Stretch] = []
    start, size = 0, 0
    while start < len(taken) and size < side_by_side:
        size += len(taken[start].ids)
        start += 1
    first = start
    for last in range(start + 1, len(taken)):
        ids = [id for one in taken[first:last] for id in one.ids]
        if len(ids) * PARTS >= side_by_side:
            weight = sum(weights[id] for id in ids)
            walls.append(Stretch(taken[last].at - taken[first].at, len(ids), weight))
            waits.append(Stretch(sum(one.waited_s for one in taken[first:last]), len(ids), weight))
            first = last
    if not walls:
        walls = [Stretch(seconds, len(weights), sum(weights.values()))]
        waits = [Stretch(sum(one.waited_s for one in taken), len(weights), sum(weights.values()))]
    rate = sum(one.seconds for one in walls) / sum(one.size for one in walls)
    models = [replace(wall, seconds=wall.seconds - wait.seconds) for wall, wait in zip(walls, waits, strict=True)]
    named = {"wall_s": walls, "waiting_s": waits, "model_s": models}
    metrics = {name: flow(stretches, whole) for name, stretches in named.items()}
    return Timed(len(walls), max(0.0, seconds - rate * len(weights)), metrics)
