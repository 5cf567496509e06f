"""Counted work on the terminal while it goes: a bar with rate and time left; in a log, a plain line now and then.

Knows rich and numbers; nothing of what is counted.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from trlt.report.bars import bar
from trlt.stats.pace import Clock, Pace, Rhythm, clock_words

WIDEST, NARROWEST = 40, 8
"""Characters of the bar."""


def redraws(console: Console) -> bool:
    """Whether lines can be drawn again, with block characters."""
    return console.is_terminal and not console.is_dumb_terminal and not console.options.ascii_only


def start_live(console: Console, view: Callable[[], RenderableType], *, at_once: bool) -> Live | None:
    """Draws a view again and again until it is stopped; None where nothing can be redrawn, or nothing is to be shown.

    Args:
        console: Where it is drawn.
        view: Makes what is drawn, in a thread of rich.
        at_once: Draw it now, and not only after a moment.
    """
    if not redraws(console) or console.quiet:
        return None
    # Output that is piped away must not be drawn on the terminal.
    live = Live(console=console, get_renderable=view, refresh_per_second=4, redirect_stdout=sys.stdout.isatty())
    live.start(refresh=at_once)
    return live


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
        self._live = start_live(self._console, self.view, at_once=False)
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
