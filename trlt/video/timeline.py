"""Which frames of a video are sampled, from the times at which they are presented. Pure arithmetic, no files."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trlt.video.budget import Budget, frame_count, spread
from trlt.video.geometry import Geometry

SLACK_S = 1e-6
"""Bounds written as decimals meet times that are fractions; a frame this close to a bound is on it."""
LATE_S = 0.05
"""A picture that comes no later than this counts as there from second 0: coders of sound begin up to 0.05 s early."""


@dataclass(frozen=True, slots=True, eq=False)
class Timeline:
    """Every frame of a file."""

    times: NDArray[np.float64]
    """(N,) seconds of a player's clock at which each is presented, rising."""
    rate: float
    """Frames per second, on average."""
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
    """Seconds of a player's clock at which each is on screen."""
    by_time: bool
    """Taken by the clock, not by number; `times` are then the evenly spaced moments."""
    stamps: NDArray[np.float64]
    """Seconds from the beginning of the clip, as `Clip.stamps`."""
    total: int
    """Frames of the clip before sampling."""
    rate: float
    """Frames per second before sampling."""
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


def on_screen(line: Timeline, start: float | None, end: float | None, geometry: Geometry = Geometry()) -> tuple[int, int, bool]:
    """(first, stop, by time): the pictures of [start, end) in seconds of a player's clock, and whether the clock picks them.

    At a constant rate they are those that are presented in the stretch, as the model family counts them. Where the rate varies,
    or the picture comes later than the sound, the one that is on screen when the stretch begins belongs to it too. So does the
    one that is there all the while, at any rate: a held picture is still seen.

    Raises:
        ValueError: nothing is shown in the stretch.
    """
    begin = 0.0 if start is None else start
    first = 0 if start is None else int(np.searchsorted(line.times, start - SLACK_S))
    stop = len(line.times) if end is None else int(np.searchsorted(line.times, end - SLACK_S))
    late = begin < line.times[0] - LATE_S
    # By number, as the model's own package does, where nothing speaks against it. A stretch
    # with fewer pictures than make a temporal patch takes what is on screen instead.
    if line.regular and not late and stop - first >= geometry.temporal:
        return first, stop, False
    until = line.end if end is None else min(end, line.end)
    if until - begin <= SLACK_S or stop == 0:
        where = f"[{begin:g} s, {line.end if end is None else end:g} s)"
        shown = f"the video is shown from {line.times[0]:.2f} to {line.end:.2f} s"
        raise ValueError(f"the clip {where} holds no picture; {shown}")
    # The picture that began before the stretch and is still on screen.
    first = max(0, int(np.searchsorted(line.times, begin + SLACK_S, side="right")) - 1)
    return first, stop, True


def choose(line: Timeline, budget: Budget, start: float | None, end: float | None, geometry: Geometry = Geometry()) -> Choice:
    """The frames that a budget takes of the half-open stretch [start, end) in seconds of a player's clock.

    At a constant rate these are the model family's frames: evenly by number. Elsewhere they are those that a player shows at
    evenly spaced moments from the stretch's beginning on, because the model is told one distance in time for all of them and
    counts from there. A picture that is held may be taken several times; the first one stands for the time before it.

    Raises:
        ValueError: a video of one frame, or a stretch in which nothing is shown.
    """
    begin = 0.0 if start is None else start
    if len(line.times) < geometry.temporal:
        # For its error, which says how many frames there are.
        frame_count(len(line.times), line.rate, budget, geometry)
    first, stop, by_time = on_screen(line, start, end, geometry)
    duration = (line.end if end is None else min(end, line.end)) - begin
    if not by_time:
        total = stop - first
        count = frame_count(total, line.rate, budget, geometry)
        # The last frame taken is the last of the file, while the model places it a step earlier, since it
        # spreads them over the whole length. The models were trained like this, so it stays.
        indices = spread(first, stop - 1, count)
        # By number and rate, not by presentation times, which containers round: written with one decimal, a half must fall
        # to the side to which it falls in the family's own processor.
        stamps = (indices - first) / line.rate
        return Choice(indices, line.times[indices], False, stamps, total, line.rate, count / total * line.rate, duration)
    total = max(stop - first, round(duration * line.rate), geometry.temporal)
    count = frame_count(total, total / duration, budget, geometry)
    stamps = np.arange(count, dtype=np.float64) * (duration / count)
    moments = begin + stamps
    # Before the first picture, the first is shown, as most players do.
    indices = np.maximum(np.searchsorted(line.times, moments + SLACK_S, side="right") - 1, 0)
    return Choice(indices, moments, True, stamps, total, total / duration, count / duration, duration)
