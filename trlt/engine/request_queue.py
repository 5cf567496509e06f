"""The queue of requests: trees are read as there is room, whole requests go out, and dropped work comes back first.

Knows clips and requests by their sizes; no tensors.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from trlt.engine.inputs import ClipInputs
from trlt.video.clip import Clip

COPIES = 2
"""States of a branch that are held at once: the one before a step isn't let go of until the step is complete."""


@dataclass(frozen=True)
class PromptRequest:
    """One prompt of a clip, and its number of completions."""

    key: str
    """Names the random stream, with the sampling seed; a sample's id."""
    system: str
    user: str
    n: int = 1
    think: bool | None = None
    """Whether reasoning is asked for, to chat templates that have a say in it; None leaves it to them."""


@dataclass(frozen=True)
class Tree:
    """A clip and its prompts."""

    clip: Clip | ClipInputs
    requests: tuple[PromptRequest, ...]


@dataclass(frozen=True, eq=False)
class CompletionJob:
    """Completions of one request."""

    place: tuple[int, int]
    """Index of the tree, and of its request."""
    clip: Clip | ClipInputs
    request: PromptRequest
    indices: tuple[int, ...]
    """Indices of its completions."""

    def only(self, indices: Sequence[int]) -> CompletionJob:
        """The same with other completions."""
        return replace(self, indices=tuple(indices))


@dataclass
class Room:
    """Limits of what may grow at once."""

    sequences: int
    tokens: float
    """Tokens of clips, prompts and completions whose keys and values are held; other `Costs` count as tokens, too."""


class Costs(NamedTuple):
    """What a model holds besides a video's own tokens and completions, in tokens."""

    state: float = 0.0
    """What linear layers carry on from a sequence; a prompt holds it once, and a branch before and after each step."""
    time: int = 0
    """The text that tells a temporal patch's time, with its marks."""

    def clip(self, clip: Clip | ClipInputs) -> int:
        """Of a clip."""
        patches = clip.grid[0] if isinstance(clip, Clip) else int(clip.grid[0, 0])
        return clip.tokens + self.time * patches

    def grown(self, prompts: int, branches: int, length: int) -> float:
        """Of branches that may have `length` tokens each, with the states of their prompts."""
        return branches * length + (prompts + COPIES * branches) * self.state


NONE = Costs()


class Queue:
    """Jobs in the order of the trees.

    Args:
        trees: Read one by one, when there is room for the next.
        length: Maximum number of tokens of a completion.
        costs: Of the model.
    """

    def __init__(self, trees: Iterable[Tree], length: int, costs: Costs = NONE) -> None:
        self._trees = enumerate(trees)
        self._length = length
        self._costs = costs
        self._jobs: deque[CompletionJob] = deque()

    def take(self, room: Room, *, most: int, alone: bool) -> list[CompletionJob]:
        """The next jobs that fit; none if there is too little room, or nothing is left.

        Args:
            room: The free room.
            most: Maximum number of completions of one request taken together.
            alone: Nothing else grows: then at least one job is taken.
        """
        taken: list[CompletionJob] = []
        sequences, tokens, clips = 0, 0.0, set[int]()
        while sequences < room.sequences and (job := self._next(most)) is not None:
            sequences += len(job.indices)
            # A clip's keys are held once, however many of its prompts are taken.
            tokens += self._costs.grown(1, len(job.indices), self._length)
            tokens += 0 if id(job.clip) in clips else self._costs.clip(job.clip)
            # Alone, a job is taken even if it seems too large: the room is a guess (half of what was
            # free), and only trying tells. If it fails, that is an error that says what to lower.
            if (taken or not alone) and (sequences > room.sequences or tokens > room.tokens):
                self._jobs.appendleft(job)
                break
            clips.add(id(job.clip))
            taken.append(job)
        return taken

    def _next(self, most: int) -> CompletionJob | None:
        while not self._jobs:
            # No sooner than it is needed: a tree holds its clip's frames.
            found = next(self._trees, None)
            if found is None:
                return None
            t, tree = found
            self._jobs += [CompletionJob((t, r), tree.clip, one, tuple(range(one.n))) for r, one in enumerate(tree.requests)]
        job = self._jobs.popleft()
        # More than may grow side by side at all: the rest comes as a further part.
        if len(job.indices) > most:
            self._jobs.appendleft(job.only(job.indices[most:]))
            job = job.only(job.indices[:most])
        return job

    def put_back(self, jobs: Iterable[CompletionJob]) -> None:
        """Puts jobs back, to be taken again before all others."""
        # `extendleft` turns the order round.
        self._jobs.extendleft(reversed(list(jobs)))
