"""How many samples each leaf of a pool gives, bin by bin, so that all of them together have the target's shape (numbers only).

A leaf holds the samples of one source, or of one source and stretch of durations, and so on (`select.balance`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from trlt.select.shares import nested_fill
from trlt.select.target import fill, quotas

Leaf = tuple[str, ...]
_LEAST = 1e-9
"""Weight of the target itself, beside what is still missing of it: decides where nothing is missing."""


class Drawn(NamedTuple):
    """What is taken."""

    wanted: list[int]
    """By bin, as the target has it."""
    taken: dict[Leaf, list[int]]
    """By leaf and bin."""


def draw(available: Mapping[Leaf, Sequence[int]], shares: Sequence[float], size: int, *, filled: bool) -> Drawn:
    """Splits a size over leaves evenly, and over bins in proportion to shares.

    First over the bins of the whole pool (`fill`), which gives the shape that can be reached. Then each leaf gives its even
    part in that shape. What one leaf lacks in a bin is carried to the next, and rounding errors are, too; leaves whose own
    samples are farthest from the shape come first, so that the others make up for them.

    Args:
        available: Samples by leaf and bin.
        shares: Of the bins, which sum to 1; a bin without a share gives nothing.
        size: Number of samples.
        filled: Reach the size where bins run dry; else only what fits the shape is taken.
    """
    bins = range(len(shares))
    by_bin = {place: sum(leaf[place] for leaf in available.values()) for place in bins}
    share_of = dict(enumerate(shares))
    wanted = quotas(share_of, size)
    reached = fill(by_bin, share_of, size) if filled else {place: min(wanted[place], by_bin[place]) for place in bins}
    total = sum(reached.values())
    sizes = nested_fill({leaf: sum(counts) for leaf, counts in available.items()}, total)
    goal = [reached[place] / total if total else 0.0 for place in bins]

    def part(leaf: Leaf, missing: Sequence[float]) -> dict[int, int]:
        due = {place: max(0.0, sizes[leaf] * goal[place] + missing[place]) + _LEAST * shares[place] for place in bins}
        return fill(dict(enumerate(available[leaf])), due, sizes[leaf])

    def apart(leaf: Leaf) -> float:
        alone = part(leaf, [0.0] * len(shares))
        return math.fsum(abs(alone[place] - sizes[leaf] * goal[place]) for place in bins) / max(1, sizes[leaf])

    carried = [0.0] * len(shares)
    taken: dict[Leaf, list[int]] = {}
    for leaf in sorted(available, key=lambda leaf: (-round(apart(leaf), 9), leaf)):
        found = part(leaf, carried)
        taken[leaf] = [found[place] for place in bins]
        carried = [carried[place] + sizes[leaf] * goal[place] - found[place] for place in bins]
    return Drawn([wanted[place] for place in bins], taken)
