"""Which prompts a step asks, and which replace them: the pool in order, near a success rate, or near a difficulty.

Every process makes the same choice, by the seed, the step and the history. What it costs depends on the prompts of a step and
not on the pool, except where `candidates: null` asks for the whole pool. Knows samples' numbers; neither groups nor files.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from random import Random

import numpy as np
from numpy.typing import NDArray

from trlt.train.online.shuffles import Passes, generator, lazily_shuffled

TRIES = 8
"""Candidates per prompt of a step that are held for its replacements, at most."""
Distance = Callable[[NDArray[np.int64], np.random.Generator], NDArray[np.float64]]
"""(candidates, a generator) -> how far each one is from what is wanted."""
Chance = Callable[[int], float]
"""A sample -> the probability that it is asked when its turn comes."""


@dataclass
class Choice:
    """What a step asks."""

    prompts: list[int]
    """One per slot."""
    further: list[int] = field(default_factory=list)
    """Candidates that came after them, the nearest first."""
    skipped: list[int] = field(default_factory=list)
    """Samples whose turn had come, and which were skipped."""
    replays: int = 0
    """How many of the first prompts were taken for having a kept completion."""
    position: int = 0
    """Of the passes over the pool, behind this step."""


class Chooser:
    """Chooses a run's prompts.

    Args:
        samples: How many there are.
        prompts: Of a step, over all processes.
        seed: Of the run.
        candidates: Per prompt of a step; None takes the whole pool. Without `distance` they aren't used.
        distance: By which candidates are ordered; None takes the pool in order, pass by pass.
        chance: By which samples are skipped; None skips none.
    """

    def __init__(
        self, samples: int, prompts: int, seed: str, *, candidates: int | None, distance: Distance | None, chance: Chance | None
    ) -> None:
        self._samples, self._prompts, self._seed = samples, prompts, seed
        self._candidates, self._distance, self._chance = candidates, distance, chance
        self._passes = Passes(samples, seed)
        self.visits = np.zeros(samples, dtype=np.int32)
        """How often each sample was asked; of equally near ones, those are taken first that were asked less often."""

    def go_to(self, position: int) -> None:
        """Continues behind a step's `Choice.position`."""
        self._passes.go_to(position)

    def choose(self, step: int, first: Sequence[int], left: Collection[int]) -> Choice:
        """The prompts of a step.

        Args:
            step: Steps that are done.
            first: Samples that are asked in any case.
            left: Samples that are only asked if there are no others.
        """
        wanted, taken = self._prompts - len(first), set(first)
        gate = self._gate(f"{self._seed}:skip:{step}")
        skipped: list[int] = []

        def open_to(order: Iterator[int]) -> Iterator[int]:
            for sample in order:
                if sample in taken or sample in left:
                    continue
                if gate(sample):
                    taken.add(sample)
                    yield sample
                else:
                    skipped.append(sample)

        if self._distance is None:
            order = (next(self._passes) for _ in range(self._samples))
            found, further = list(islice(open_to(order), wanted)), []
        else:
            ranked = list(islice(open_to(iter(self._ranked(step, wanted, taken, left))), TRIES * wanted))
            found, further = ranked[:wanted], ranked[wanted:]
        if len(found) < wanted:  # nearly everything is skipped or has left
            found += islice((s for s in dict.fromkeys(skipped) if s not in taken), wanted - len(found))
            taken.update(found)
            found += islice((s for s in self._shuffled(step) if s not in taken), wanted - len(found))
        return Choice([*first, *found], further, skipped, len(first), self._passes.position)

    def line(self, step: int, choice: Choice, slot: int, left: Collection[int]) -> Iterator[int]:
        """The samples of a slot, in order.

        These are its prompt, its share of the further candidates and of the rest of the pool, what was skipped or has left, and
        in the end the step's other prompts. No two slots draw on the same samples before a share is used up, so that processes
        needn't ask each other.
        """
        slots = len(choice.prompts)
        yield choice.prompts[slot]
        yield from choice.further[slot::slots]
        asked = {*choice.prompts, *choice.further}
        gate = self._gate(f"{self._seed}:skip:{step}:{slot}")
        aside: list[int] = []
        for shift in range(slots):
            for sample in islice(self._shuffled(step), (slot + shift) % slots, None, slots):
                if sample in asked:
                    continue
                if sample in left or not gate(sample):
                    aside.append(sample)
                else:
                    yield sample
        yield from aside
        yield from (choice.prompts[(slot + shift) % slots] for shift in range(1, slots))

    def _shuffled(self, step: int) -> Iterator[int]:
        return lazily_shuffled(self._samples, f"{self._seed}:others:{step}")

    def _gate(self, seed: str) -> Callable[[int], bool]:
        if self._chance is None:
            return lambda sample: True
        chance, random = self._chance, Random(seed)
        return lambda sample: (p := chance(sample)) >= 1 or random.random() < p

    def _ranked(self, step: int, wanted: int, taken: Container[int], left: Collection[int]) -> list[int]:
        """The nearest candidates, in order: as many as are left of some after skipping."""
        assert self._distance is not None
        if self._candidates is None:
            there = np.ones(self._samples, dtype=bool)
            there[np.fromiter(left, dtype=np.int64, count=len(left))] = False
            candidates = np.flatnonzero(there)
        else:
            order = lazily_shuffled(self._samples, f"{self._seed}:candidates:{step}")
            some = islice((s for s in order if s not in left and s not in taken), wanted * self._candidates)
            candidates = np.fromiter(some, dtype=np.int64)
        random = generator(f"{self._seed}:near:{step}")
        # Far below a difference of scores: equally near ones come by how often they were asked, then at random.
        tied = 1e-6 * self.visits[candidates] + 1e-7 * random.random(len(candidates))
        distances = self._distance(candidates, random) + tied
        most = min(len(candidates), 4 * TRIES * wanted)
        nearest = np.argpartition(distances, most - 1)[:most] if most else np.arange(0)
        ordered: list[int] = candidates[nearest[np.argsort(distances[nearest], kind="stable")]].tolist()
        return ordered
