"""Counted work on the terminal while it goes: a bar with rate and time left; in a log, a plain line now and then.

Knows rich and numbers; nothing of what is counted.
"""

from __future__ import annotations

import sys
import threading
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from trlt.pace import Clock, Pace, Rhythm, clock_words
from trlt.report.bars import bar

WIDEST, NARROWEST = 40, 8
"""Characters of the bar."""


def redraws(console: Console) -> bool:
    """Whether lines can be drawn again, with block characters."""
    return console.is_terminal and not console.is_dumb_terminal and not console.options.ascii_only


class ProgressView:
    """How many of how many are done; a context manager that is called with both numbers, from any thread.

    Args:
        console: Where it is shown; one that is `quiet` shows nothing.
        label: What is done.
        unit: What is counted, as a plural (`answers`).
        terse: Where nothing can be redrawn, leave out the last line: only what takes long is told of.
        clock: Seconds that only grow.
    """

    def __init__(self, console: Console, label: str, unit: str, *, terse: bool = False, clock: Clock = time.monotonic) -> None:
        self._console, self._label, self._unit, self._terse = console, label, unit, terse
        self._lock = threading.Lock()  # rich draws from a thread of its own
        self._pace, self._rhythm = Pace(clock), Rhythm(clock=clock)
        self._said: int | None = None
        """What the last plain line counted."""
        self._live: Live | None = None

    def __enter__(self) -> Self:
        if redraws(self._console) and not self._console.quiet:
            # Output that is piped away must not be drawn on the terminal.
            self._live = Live(
                console=self._console, get_renderable=self.view, refresh_per_second=4, redirect_stdout=sys.stdout.isatty()
            )
            self._live.start(refresh=False)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._live:
            self._live.stop()
            self._live = None
        elif self._pace.moved and not self._terse and self._said != self._pace.done:
            self._say()

    def __call__(self, done: int, total: int) -> None:
        """Takes how many of how many are done; the first call says what was there before."""
        with self._lock:
            self._pace.count(done, total)
            if not self._live and self._pace.moved and self._rhythm.due():
                self._say()

    def _say(self) -> None:
        pace = self._pace
        words = [f"{self._label}: {pace.done:,} of {pace.total or 0:,} {self._unit}", pace.words(self._unit)]
        words.append(f"{clock_words(pace.elapsed_s)} in all" if pace.done == pace.total else "")
        self._console.print(Text(", ".join(word for word in words if word)), soft_wrap=True)
        self._said = pace.done

    def view(self) -> Text:
        """The line, as wide as the terminal is now; empty while nothing is known."""
        with self._lock:
            pace = self._pace
            line = Text(no_wrap=True, overflow="ellipsis")
            if pace.total is None:
                return line
            tail = f" {pace.done:,}/{pace.total:,} {self._unit}  {clock_words(pace.elapsed_s)}"
            if pace.done < pace.total and not pace.moved:
                tail += ", none is done yet" if not pace.done else ", no further one is done yet"
            elif words := pace.words(self._unit):
                tail += f", {words}"
            room = min(WIDEST, self._console.size.width - len(self._label) - len(tail) - 1)
            line.append(self._label)
            if room >= NARROWEST:
                filled = bar(pace.done / pace.total if pace.total else 1.0, room)
                line.append(" ").append(filled, "green").append("─" * (room - len(filled)), "dim")
            return line.append(tail)
