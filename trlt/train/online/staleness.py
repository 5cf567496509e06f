"""Which samples weren't asked for the longest time. Knows samples' numbers only."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Container, Iterable


class Staleness:
    """Samples by when they were last asked; both ways of use cost the same however many there are.

    Args:
        probed: Samples with an estimate from before the first step, those first that are asked again first.
    """

    def __init__(self, probed: Iterable[int]) -> None:
        self._by_age: OrderedDict[int, None] = OrderedDict.fromkeys(probed)

    def see(self, samples: Iterable[int]) -> None:
        """These were asked just now."""
        for sample in samples:
            self._by_age[sample] = None
            self._by_age.move_to_end(sample)

    def oldest(self, count: int, without: Container[int]) -> list[int]:
        """At most `count` samples, those first that were asked the longest ago."""
        found: list[int] = []
        for sample in self._by_age:
            if len(found) == count:
                break
            if sample not in without:
                found.append(sample)
        return found
