"""What is said of a file that lost bytes or whose clock jumps, from its packets alone. Pure arithmetic, no files.

The rules and what they can't see: docs/decisions/one-clock.md.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

REGULAR_SHARE = 0.9
"""A stream is regular but for gaps where this share of its pictures follow each other in one step."""
SILENCE_S = 0.7
"""Longest time without a picture's stamp that a transport stream may have (ISO/IEC 13818-1, 2.7.4)."""
NEAR_S = 1.0
"""A gap this close to a packet that is incomplete belongs to it."""


def told(
    format: str,
    times: NDArray[np.float64],
    *,
    joined: Sequence[float],
    torn: int,
    torn_s: Sequence[float],
    complains: bool,
    steady: bool,
) -> list[str]:
    """Warnings, the gravest first.

    A gap alone is no damage: a picture that is held looks the same. It is told where packets or bytes are lost, and where the
    format allows none.

    Args:
        format: As FFmpeg names it.
        times: (N,) seconds at which frames are presented.
        joined: Seconds at which the clock begins anew.
        torn: Packets that the container gives as incomplete.
        torn_s: Seconds of those that have a time.
        complains: Whether FFmpeg noted errors while it read the packets.
        steady: The format doesn't allow held pictures.
    """
    said = []
    if joined:
        said.append(f"at {joined[0]:.2f} s: the clock begins anew; {len(joined) + 1} parts are shown one after the other")
    holes = gaps(times)
    if torn:
        at = f"at {torn_s[0]:.2f} s: " if torn_s else ""
        near = [hole for hole in holes if any(hole[0] - NEAR_S <= time <= hole[1] + NEAR_S for time in torn_s)]
        said.append(f"{at}damaged: {torn} {'packet is' if torn == 1 else 'packets are'} incomplete{_longest(near)}")
    # An mp4 is read by its tables: what is odd in them says nothing of the pictures.
    if complains and "mp4" not in format:
        said.append(f"damaged: the file holds bytes that can't be read{_longest(holes)}")
    if steady and not said:
        said += [
            f"at {a:.2f} s: no picture comes for {b - a:.2f} s; packets may be lost" for a, b in holes if b - a > SILENCE_S
        ][:1]
    return said


def _longest(holes: Sequence[Sequence[float]] | NDArray[np.float64]) -> str:
    if not len(holes):
        return ""
    before, after = max(holes, key=lambda hole: float(hole[1] - hole[0]))
    return f"; no picture comes from {before:.2f} to {after:.2f} s"


def gaps(times: NDArray[np.float64]) -> NDArray[np.float64]:
    """(K, 2) seconds between which a regular stream shows no new picture, last one before and first one after; rising.

    None where the stream isn't regular: there, distances say nothing.
    """
    steps = np.diff(times)
    if len(steps) < 2:
        return np.empty((0, 2))
    usual = float(np.median(steps))
    if (np.abs(steps - usual) <= 0.5 * usual).mean() < REGULAR_SHARE:
        return np.empty((0, 2))
    places = np.flatnonzero(steps > 1.5 * usual)
    return np.stack([times[places], times[places + 1]], axis=1)
