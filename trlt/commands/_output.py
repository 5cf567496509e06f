"""What a command says: tables and progress for people, or one JSON object for machines."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

if TYPE_CHECKING:
    from trlt.report.live import LiveView


class _Rate(ProgressColumn):
    """Steps a second, or a minute where it is slow."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        if not speed:
            return Text("")
        return Text(f"{speed:.1f}/s" if speed >= 1 else f"{60 * speed:.1f}/min", style="progress.data.speed")


class Output:
    """Where a command's words go: tables to stdout, notes and progress to stderr; with `json_mode` only the result."""

    def __init__(self, json_mode: bool = False) -> None:
        self.json_mode = json_mode
        if isinstance(sys.stdout, io.TextIOWrapper):
            # A file's name may be no text at all, and must not end what shows it; in JSON this is how it is written, too.
            sys.stdout.reconfigure(errors="backslashreplace")
        # Tables keep their columns when they are piped into a file, where rich would assume 80 characters.
        self._console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
        self._errors = Console(stderr=True, highlight=False, quiet=json_mode)

    def show(self, *what: RenderableType) -> None:
        """Tables and lines for a person."""
        if not self.json_mode:
            for one in what:
                # A path that is broken into lines can't be copied.
                self._console.print(Text(one) if isinstance(one, str) else one, soft_wrap=isinstance(one, str))

    def note(self, text: str) -> None:
        """A line about what is going on; never markup."""
        self._errors.print(Text(text, style="dim"), soft_wrap=True)

    def result(self, value: Any) -> None:
        """The one object of `--json`."""
        if self.json_mode:
            sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
            sys.stdout.flush()

    @contextmanager
    def stages(self, names: Sequence[str]) -> Iterator[Callable[[int, str], None]]:
        """A line for each of several pieces of work, with what is being done and the time it took so far.

        Gives the function that is told which piece is at what; an empty text ends it.
        """
        columns = (SpinnerColumn(finished_text="·"), TextColumn("{task.description}"), TimeElapsedColumn())
        with Progress(*columns, TextColumn("{task.fields[state]}"), console=self._errors) as lines:
            tasks = [lines.add_task(Text(name).markup, total=1, start=False, state="") for name in names]

            def update(place: int, state: str) -> None:
                task = tasks[place]
                if lines.tasks[place].start_time is None:
                    lines.start_task(task)
                lines.update(task, state=Text(state).markup, completed=0 if state else 1)

            yield update

    def training(self, name: str, rows: Sequence[Mapping[str, Any]] = ()) -> LiveView:
        """The view of a training run; a context manager. `rows` are those that a resumed run goes on from."""
        from trlt.report.live import LiveView

        return LiveView(self._errors, name, rows=rows)

    @contextmanager
    def progress(self, label: str) -> Iterator[Callable[[int, int], None]]:
        """A bar with rate and time left; gives the function that is told how many of how many are done."""
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate(), TimeElapsedColumn())
        with Progress(*columns, TimeRemainingColumn(), console=self._errors) as bars:
            task = bars.add_task(Text(label).markup, total=None)

            def update(done: int, total: int) -> None:
                if bars.tasks[0].total is None:
                    # What was there before the start must not count as speed.
                    bars.reset(task, total=total, completed=done)
                else:
                    bars.update(task, completed=done, total=total)

            yield update
