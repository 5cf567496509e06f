"""Stamps of packets to the seconds of one clock, a player's. Pure arithmetic, no files.

Second 0 is the earliest start over picture and sound; what is counted in seconds anywhere (bounds, spans, durations, frames
that the model sees, cuts, pages) is counted from there. Why: docs/decisions/one-clock.md.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

AHEAD_S = 10.0
"""In streams whose clock may begin anew (transport streams), more seconds ahead mean that it did; elsewhere, a held picture.
FFmpeg and the players on it draw the line there."""
REORDERED = 16
"""Most pictures that may follow a later one in the order of decoding: the largest picture buffer of H.264 and HEVC."""
OUTLIER = 20
"""A jump ahead is also that many times as long as a picture stays: in a slide show, each picture is shown for long."""
Part = tuple[int, int]
"""Number of its first packet, and what is added to its stamps and to all that follow, up to the next part."""


def parts(stamps: Sequence[int | None], keys: Sequence[bool], step: int, ahead: int | None) -> list[Part]:
    """The parts of a stream whose clock begins anew, moved behind each other; [(0, 0)] where it never does.

    Joined recordings and restarted encoders leave such stamps. Sorted by them, pictures of one part would land among those of
    another; the order of decoding is what is true. A part begins with a key frame that is stamped before a picture which was
    there already, or with a picture that is stamped before more of them than can be reordered.

    Args:
        stamps: For each packet, in decoding order; None where it shows nothing or isn't stamped.
        keys: Whether decoding can start with a packet.
        step: What a picture usually stays, in the stamps' unit.
        ahead: A jump ahead of more is a clock that begins anew; None where the picture may just be held.
    """
    found: list[list[int]] = []
    bounds: list[tuple[int, int]] = []
    recent: deque[int] = deque(maxlen=REORDERED + 1)
    low = high = 0
    for i, (stamp, key) in enumerate(zip(stamps, keys, strict=True)):
        if stamp is None:
            continue
        if recent:
            back = (key and stamp < high - 2 * step) or (len(recent) > REORDERED and stamp < min(recent))
            beyond = ahead is not None and stamp > high + max(ahead, OUTLIER * step)
        if not recent or back or beyond:
            if recent:
                bounds.append((low, high))
            found.append([i])
            # Pictures of the part before say nothing of the order in this one.
            recent.clear()
            low = high = stamp
        low, high = min(low, stamp), max(high, stamp)
        recent.append(stamp)
    bounds.append((low, high))
    made: list[Part] = [(0, 0)]
    end = bounds[0][1]
    for (first,), (low, high) in zip(found[1:], bounds[1:], strict=True):
        # Each part goes on one step after the last picture of the part before.
        made.append((first, end + step - low))
        end = high + made[-1][1]
    return made


def moved(stamps: Sequence[int | None], by: Sequence[Part]) -> list[int | None]:
    """The stamps on one clock."""
    made = list(stamps)
    for place, (first, shift) in enumerate(by):
        last = by[place + 1][0] if place + 1 < len(by) else len(made)
        made[first:last] = [None if stamp is None else stamp + shift for stamp in made[first:last]]
    return made


def restamped(packets: Iterator[Any], by: Sequence[Part]) -> Iterator[Any]:
    """Packets, changed so that they carry the stamps of one clock."""
    coming = list(by)
    shift = 0
    for number, packet in enumerate(packets):
        while coming and coming[0][0] <= number:
            shift = coming.pop(0)[1]
        if shift:
            packet.pts = None if packet.pts is None else packet.pts + shift
            packet.dts = None if packet.dts is None else packet.dts + shift
        yield packet


def seconds(stamps: Sequence[int], unit: Fraction) -> NDArray[np.float64]:
    """Seconds from the first stamp; divided last, so that a stamp on a decimal second gives exactly that."""
    return (np.array(stamps, np.int64) - stamps[0]) * unit.numerator / unit.denominator


def lead(video_s: float, sounds_s: Iterable[float]) -> float:
    """Seconds by which sound starts before the picture: a player's clock starts with the earlier of both.

    Sound may start below 0 by its codec's priming; a player discards that part, so it doesn't shift the picture.
    """
    return video_s - min([video_s, *(max(start, 0.0) for start in sounds_s)]) if video_s >= 0 else 0.0
