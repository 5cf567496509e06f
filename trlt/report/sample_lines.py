"""What several outputs per question say, as lines of a table (pure)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple


class SampleLine(NamedTuple):
    """A metric by something else than the mean over the samples."""

    metric: str
    """`acc pass@4`, `acc majority`."""
    value: float
    interval: tuple[float, float] | None


def sample_lines(entry: Mapping[str, Any], metric: str) -> Iterator[SampleLine]:
    """The best of all K samples, and the majority; nothing of an entry with one sample per question.

    Args:
        entry: A benchmark's entry in `results.json`.
        metric: One of the paper's.
    """
    found = entry.get("samples")
    if not found:
        return
    for kind in (f"pass@{found['k']}", "majority"):
        if one := found[kind].get(metric):
            low, high = one["ci95"]
            yield SampleLine(f"{metric} {kind}", one["value"], (low, high) if high > low else None)
