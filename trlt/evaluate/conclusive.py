"""What a paired difference supports: an interval that excludes 0 isn't enough over few videos, or where outputs can't be read.

Knows the comparison of one benchmark as `trlt compare --json` gives it (pure).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

FEW_VIDEOS = 20
"""Below it, intervals are unreliable: for two equal models, a bootstrap over 20 videos calls one better in 6 to 8% of cases,
over 10 in 7 to 11% and over 5 in 8 to 17%, instead of 5% (docs/log.md)."""
UNEVEN, UNREAD = 0.1, 0.3
"""Share of unread outputs that one run has more than the other, or that either has, from which the strict protocol may measure
the form of outputs: a winner then has to win by the lenient protocol, too."""


class Conclusion(NamedTuple):
    """What may be said of one metric."""

    better: Literal["A", "B"] | None
    """The run that is better; None where no winner can be named."""
    doubt: Literal["few videos", "form only"] | None
    """Why an interval that excludes 0 names no winner."""


def conclusion(entry: Mapping[str, Any], metric: str, protocol: str = "paper") -> Conclusion:
    """Whether one of two runs is better by a metric.

    Args:
        entry: The comparison on one benchmark.
        metric: Its name.
        protocol: By which it was made.
    """
    better = entry["metrics"][metric]["better"]
    if better is None:
        return Conclusion(None, None)
    if entry["videos"] < FEW_VIDEOS:
        return Conclusion(None, "few videos")
    check = lenient_check(entry, metric, protocol)
    if check is not None and check["better"] != better:
        return Conclusion(None, "form only")
    return Conclusion(better, None)


def lenient_check(entry: Mapping[str, Any], metric: str, protocol: str = "paper") -> Mapping[str, Any] | None:
    """A metric's lenient change, if so many outputs couldn't be read that it has to confirm the strict one."""
    sides = entry.get("unanswered")
    if protocol != "paper" or not sides:
        return None
    a, b = (count / max(1, n) for count, n in (outputs(sides[key]) for key in "ab"))
    found: Mapping[str, Any] | None = entry.get("lenient_metrics", {}).get(metric)
    return found if abs(a - b) >= UNEVEN or max(a, b) >= UNREAD else None


def outputs(side: Mapping[str, Any]) -> tuple[int, int]:
    """How many outputs of a run couldn't be read, and how many it has: a question without any is counted as missing."""
    missing = side.get("missing", 0)
    return side["count"] - missing, side["n"] - missing
