"""A command's output: tables and progress for people, or one JSON object for machines."""

from __future__ import annotations

import io
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console, RenderableType
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Column
from rich.text import Text

from trlt.stats.pace import Rhythm, clock_words

if TYPE_CHECKING:
    from trlt.report.live import LiveView
    from trlt.report.progress import ProgressView


class Output:
    """Where a command's words go: tables to stdout, notes and progress to stderr.

    Args:
        json_mode: Show no tables and no notes: stdout is for the result alone.
        quiet: Show no progress either; None: as `json_mode`.
    """

    def __init__(self, json_mode: bool = False, *, quiet: bool | None = None) -> None:
        self.json_mode = json_mode
        if isinstance(sys.stdout, io.TextIOWrapper):
            # A file's name may be no text at all, and must not end what shows it; in JSON this is how it is written, too.
            sys.stdout.reconfigure(errors="backslashreplace")
        # Tables keep their columns when they are piped into a file, where rich would assume 80 characters.
        self._console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
        self._errors = Console(stderr=True, highlight=False, quiet=json_mode)
        # The same where notes are shown, so that these stand above what is drawn again and again.
        self._bars = self._errors
        if quiet is not None and quiet != json_mode:
            self._bars = Console(stderr=True, highlight=False, quiet=quiet)

    def show(self, *what: RenderableType) -> None:
        """Tables and lines for a person."""
        if not self.json_mode:
            for one in what:
                # A path that is broken into lines can't be copied.
                self._console.print(Text(one) if isinstance(one, str) else one, soft_wrap=isinstance(one, str))

    def note(self, text: str) -> None:
        """A status line; never markup."""
        self._errors.print(Text(text, style="dim"), soft_wrap=True)

    def result(self, value: Any) -> None:
        """The one object of `--json`."""
        if self.json_mode:
            text = json.dumps(value, ensure_ascii=False)
            try:
                text.encode(sys.stdout.encoding or "utf-8")
            except UnicodeEncodeError:  # what the terminal's encoding can't hold is escaped as JSON has it
                text = json.dumps(value)
            sys.stdout.write(text + "\n")
            sys.stdout.flush()

    @contextmanager
    def stages(self, names: Sequence[str]) -> Iterator[Callable[[int, str], None]]:
        """A line for each of several tasks, with its current step and the time so far.

        Yields a function that takes a task and its current step; an empty text ends the task.
        """
        from trlt.report.progress import redraws

        if not redraws(self._bars):
            yield self._plain_stages(names)
            return
        columns = (SpinnerColumn(finished_text="·"), TextColumn("{task.description}"), TimeElapsedColumn())
        # A long state is cut, and takes no room from names and times.
        state_column = TextColumn("{task.fields[state]}", table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis"))
        with Progress(*columns, state_column, console=self._bars, expand=True) as lines:
            tasks = [lines.add_task(Text(name).markup, total=1, start=False, state="") for name in names]

            def update(place: int, state: str) -> None:
                task = tasks[place]
                if lines.tasks[place].start_time is None:
                    lines.start_task(task)
                lines.update(task, state=Text(state).markup, completed=0 if state else 1)

            yield update

    def _plain_stages(self, names: Sequence[str]) -> Callable[[int, str], None]:
        """The same as plain lines: at most one each half minute, and the end of each."""
        rhythm, began = Rhythm(), dict[int, float]()

        def update(place: int, state: str) -> None:
            began.setdefault(place, time.monotonic())
            taken = clock_words(time.monotonic() - began[place])
            if state and rhythm.due():
                self._bars.print(Text(f"{names[place]}: {state}, {taken}"), soft_wrap=True)
            elif not state and not self.json_mode:
                self._bars.print(Text(f"{names[place]}: done, {taken}"), soft_wrap=True)

        return update

    def training(self, name: str, rows: Sequence[Mapping[str, Any]] = ()) -> LiveView:
        """The view of a training run; a context manager. `rows` are those that a resumed run already has."""
        from trlt.report.live import LiveView

        return LiveView(self._bars, name, rows=rows, terse=self.json_mode)

    def progress(self, label: str, unit: str) -> ProgressView:
        """A bar with rate and time left: a context manager, called with the number done and the total.

        Args:
            label: Name of the work.
            unit: Unit of the count, as a plural.
        """
        from trlt.report.progress import ProgressView

        return ProgressView(self._bars, label, unit, terse=self.json_mode)
