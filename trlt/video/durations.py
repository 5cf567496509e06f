"""Whether an annotated duration is that of the file. Pure."""

from __future__ import annotations

TOLERANCE_S = 1.0
"""Annotated and real durations this close agree."""
TOLERANCE = 0.05
"""The same, as a share of the annotated duration."""


def durations_differ(annotated_s: float, file_s: float) -> bool:
    """Whether a file is longer or shorter than annotated, beyond max(1 s, 5%): data sets round their numbers."""
    return abs(file_s - annotated_s) > max(TOLERANCE_S, TOLERANCE * annotated_s)
