"""Rate and remaining time of counted work, and when a line about it is due (pure except for a clock)."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

WINDOW_S = 120.0
"""Seconds that a rate looks back: clips of a run differ, and the rate of an hour ago says little."""
LEAST = 8
"""Minimum number of changes that a rate looks back, however long ago they were."""
EVERY_S = 30.0
"""Seconds between lines if nothing can be redrawn, as in a log."""

Clock = Callable[[], float]


class Pace:
    """The rate of counted work; the first count is taken as done before.

    Args:
        clock: A monotonic clock in seconds.
    """

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._began = clock()
        self._seen = deque[tuple[float, int]]()
        self._first = self.done = 0
        self.total: int | None = None
        """None until the first count."""
        self.moved = False
        """Whether anything was done since the first count."""

    def count(self, done: int, total: int) -> None:
        """Takes the number done and the total."""
        now = self._clock()
        if self.total is None:
            self._began, self._first = now, done
            self._seen.append((now, done))
        elif done > self.done:
            self.moved = True
            self._seen.append((now, done))
            while len(self._seen) > LEAST + 1 and (self._seen[1][0] < now - WINDOW_S or self._seen[0][1] == self._first):
                # The way to the first change (models are loaded, clips prefilled) tells nothing of the rest.
                self._seen.popleft()
        self.done, self.total = done, total

    @property
    def elapsed_s(self) -> float:
        """Seconds since the first count."""
        return self._clock() - self._began

    @property
    def per_s(self) -> float | None:
        """Recent rate per second, including the time since the last change; None before the first change."""
        if not self.moved:
            return None
        since, before = self._seen[0]
        return (self.done - before) / max(1e-9, self._clock() - since)

    @property
    def left_s(self) -> float | None:
        """Remaining seconds at this rate."""
        rate = self.per_s
        return (self.total - self.done) / rate if rate and self.total is not None else None

    def words(self, unit: str) -> str:
        """Rate, and time left if anything is left: `2.1 clips/s, 1:05 left`; empty before the first change."""
        rate, left = self.per_s, self.left_s
        if not rate or left is None:
            return ""
        return rate_words(rate, unit) + (f", {clock_words(left)} left" if self.done < (self.total or 0) else "")


class Rhythm:
    """When a line is due: none within `every_s` of the start or of the last one.

    Args:
        every_s: Seconds between lines.
        clock: A monotonic clock in seconds.
    """

    def __init__(self, every_s: float = EVERY_S, clock: Clock = time.monotonic) -> None:
        self._every_s, self._clock = every_s, clock
        self._last = clock()

    def due(self) -> bool:
        """Whether it is; the next one is then due `every_s` later."""
        if self._clock() - self._last < self._every_s:
            return False
        self._last = self._clock()
        return True


def rate_words(per_s: float, unit: str) -> str:
    """In the largest unit of time below which it is 1 or more: `2.1 answers/s`, `12.0 answers/min`, `3.0 answers/h`."""
    for seconds, name in ((1, "s"), (60, "min")):
        if per_s * seconds >= 1:
            return f"{per_s * seconds:,.1f} {unit}/{name}"
    return f"{per_s * 3600:.1f} {unit}/h"


def clock_words(seconds: float) -> str:
    """`1:05` or `2:01:05`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
