"""Progress of counted work: a bar with rate and time left in the terminal; in a log, a plain line now and then.

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
    """Whether lines can be redrawn, with block characters."""
    return console.is_terminal and not console.is_dumb_terminal and not console.options.ascii_only


def start_live(console: Console, view: Callable[[], RenderableType], *, at_once: bool) -> Live | None:
    """Redraws a view until stopped; None if nothing can be redrawn or shown.

    Args:
        console: Where it is drawn.
        view: Renders the view, in a thread of rich.
        at_once: Draw it now instead of after a moment.
    """
    if not redraws(console) or console.quiet:
        return None
    # Output that is piped away must not be drawn on the terminal.
    live = Live(console=console, get_renderable=view, refresh_per_second=4, redirect_stdout=sys.stdout.isatty())
    live.start(refresh=at_once)
    return live


class ProgressView:
    """The number done and the total: a context manager, called with both from any thread.

    Args:
        console: Where it is shown; a `quiet` one shows nothing.
        label: Name of the work.
        unit: Unit of the count, as a plural (`answers`).
        terse: If nothing can be redrawn, leave out the last line: only long work is reported.
        clock: Seconds that only grow.
    """

    def __init__(self, console: Console, label: str, unit: str, *, terse: bool = False, clock: Clock = time.monotonic) -> None:
        self._console, self._label, self._unit, self._terse = console, label, unit, terse
        self._lock = threading.Lock()  # rich draws from a thread of its own
        self._pace, self._rhythm = Pace(clock), Rhythm(clock=clock)
        self._said: int | None = None
        """Count of the last plain line."""
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
        """Takes the number done and the total; the first call gives the start."""
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
        """The line, fitted to the terminal's current width; empty before the first count."""
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
