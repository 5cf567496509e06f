"""Random orders of a pool that cost what is taken of them, and not what the pool is large. Knows numbers only."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from random import Random

import numpy as np


def lazily_shuffled(count: int, seed: str) -> Iterator[int]:
    """0 to `count - 1` in random order: Fisher and Yates's shuffle, of which only moved places are held.

    Args:
        count: How many numbers there are.
        seed: Fixes the order.
    """
    moved: dict[int, int] = {}
    random = Random(seed)
    for place in range(count):
        other = random.randrange(place, count)
        yield moved.get(other, other)
        here = moved.pop(place, place)
        if other != place:
            moved[other] = here


def generator(seed: str) -> np.random.Generator:
    """A generator of numbers in bulk, by a text."""
    return np.random.default_rng(int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8], "big"))


class Passes:
    """Passes over a pool, each in an order of its own; a position is all that it takes to go on from there.

    Args:
        count: How many samples there are.
        seed: Fixes the orders.
    """

    def __init__(self, count: int, seed: str) -> None:
        self._count, self._seed = count, seed
        self.go_to(0)

    @property
    def position(self) -> int:
        """Samples that were passed, over all passes."""
        return self._position

    def go_to(self, position: int) -> None:
        """Continues as after `position` samples."""
        self._position = position
        number, within = divmod(position, self._count)
        self._order = lazily_shuffled(self._count, f"{self._seed}:pass:{number}")
        for _ in range(within):
            next(self._order)

    def __next__(self) -> int:
        if self._position and self._position % self._count == 0:
            self._order = lazily_shuffled(self._count, f"{self._seed}:pass:{self._position // self._count}")
        self._position += 1
        return next(self._order)
