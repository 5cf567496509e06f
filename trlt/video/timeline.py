"""Which frames of a video are sampled, from the times at which they are presented. Pure arithmetic, no files."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trlt.video.budget import Budget, frame_count, spread

SLACK_S = 1e-6
"""Bounds written as decimals meet times that are fractions; a frame this close to a bound is on it."""


@dataclass(frozen=True, slots=True, eq=False)
class Timeline:
    """Every frame of a file."""

    times: NDArray[np.float64]
    """(N,) seconds at which each is presented, rising; 0 is where a player starts."""
    rate: float
    """Frames a second, on average."""
    regular: bool
    """The rate is constant: no frame lies half an interval off an even grid."""
    end: float
    """Seconds at which the last frame disappears."""


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """The frames to take."""

    indices: NDArray[np.int64]
    """Positions in the timeline, not falling; a frame that is held long may stand twice."""
    times: NDArray[np.float64]
    """Seconds of the file at which they are presented."""
    total: int
    """Frames of the clip before sampling."""
    rate: float
    """Frames a second before sampling."""
    sample_fps: float
    duration: float
    """Seconds of the clip."""


def timeline(times: NDArray[np.float64], stated_rate: float | None, last_s: float | None = None) -> Timeline:
    """A timeline from rising times.

    Args:
        times: (N,) seconds, N >= 1.
        stated_rate: What the container says; taken where the times agree to 1%, because it is free of their rounding.
        last_s: Seconds that the last frame stays, where known; matters at variable rates only.
    """
    if len(times) < 2:
        rate = stated_rate or 1.0
        return Timeline(times, rate, True, float(times[-1]) + 1 / rate)
    first, last = float(times[0]), float(times[-1])
    rate = (len(times) - 1) / (last - first)
    if stated_rate and abs(stated_rate / rate - 1) < 0.01:
        rate = stated_rate
    off = times - first - np.arange(len(times)) / rate
    if np.abs(off).max() <= 0.5 / rate:
        return Timeline(times, rate, True, last + 1 / rate)
    end = last + (last_s if last_s and last_s > 0 else float(np.median(np.diff(times))))
    return Timeline(times, len(times) / (end - first), False, end)


def choose(line: Timeline, budget: Budget, start: float | None, end: float | None) -> Choice:
    """The frames that a budget takes of the half-open stretch [start, end) in seconds of the file.

    At a constant rate these are the model family's frames: evenly by number. At a variable rate they are those that a player
    shows at evenly spaced times, because the model is told one distance in time for all of them.

    Raises:
        ValueError: the stretch holds fewer than two frames.
    """
    begin = 0.0 if start is None else start
    first = 0 if start is None else int(np.searchsorted(line.times, start - SLACK_S))
    stop = len(line.times) if end is None else int(np.searchsorted(line.times, end - SLACK_S))
    total = stop - first
    if total < 2 and (start is not None or end is not None):
        where = f"[{begin:g} s, {line.end if end is None else end:g} s)"
        raise ValueError(f"the clip {where} holds {max(total, 0)} frames, but 2 are needed; the video ends at {line.end:.2f} s")
    rate = line.rate
    last = stop - 1
    if not line.regular and (start is not None or end is not None):
        until = min(line.end if end is None else end, line.end)
        rate = total / (until - float(line.times[first]))
    count = frame_count(total, rate, budget)
    if line.regular:
        indices = spread(first, last, count)
    else:
        moments = np.linspace(line.times[first], line.times[last], count)
        indices = np.searchsorted(line.times, moments + SLACK_S, side="right") - 1
    duration = (line.end if end is None else min(end, line.end)) - begin
    return Choice(indices, line.times[indices], total, rate, count / total * rate, duration)
