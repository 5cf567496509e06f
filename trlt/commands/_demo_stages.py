"""The stages of `trlt demo`: a line with the time for each, and a log of what its commands say. Knows processes and files."""

from __future__ import annotations

import os
import select
import shlex
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from rich.console import Console, RenderableType
from rich.rule import Rule
from rich.text import Text

from trlt.commands._output import Output
from trlt.commands.launch.ranks import end, python_command
from trlt.errors import Interrupted, TrltError
from trlt.errors.interruption import Interruption
from trlt.errors.system import named

TAIL = 20
"""Lines of a failed command that are shown of the log."""
TICK_S = 0.5
"""Seconds between looks at a command that says nothing."""
WIDTH = 120
"""Characters of the log's tables."""
_LEFT = (128 + signal.SIGINT, 128 + signal.SIGTERM)
"""Exit codes of a command that a signal ended."""


class DemoStages:
    """Stages one after the other, of commands in processes of their own; made by `demo_stages`.

    Args:
        output: Of the demo.
        names: Of the stages, in their order.
        log: Gets what is said; None shows it as it comes.
        update: Takes a stage's place and its state.
    """

    def __init__(self, output: Output, names: Sequence[str], log: _Log | None, update: Callable[[int, str], None]) -> None:
        self._output, self._names, self._log, self._update = output, names, log, update
        self._place = -1
        self.seconds: dict[str, float] = {}
        """What each command took, by its number and name."""

    @contextmanager
    def next(self) -> Iterator[None]:
        """The next stage, as long as it is entered."""
        self._place += 1
        self.show("", Rule(self._names[self._place], align="left"))
        self._update(self._place, "at work")
        yield
        self._update(self._place, "")

    def show(self, *what: RenderableType) -> None:
        """Tables and lines, where what commands say goes."""
        if self._log:
            self._log.show(*what)
        else:
            self._output.show(*what)

    @contextmanager
    def progress(self, label: str, unit: str) -> Iterator[Callable[[int, int], None]]:
        """Shows how far counted work of this process is; see `Output.progress`."""
        if self._log:
            yield lambda done, total: self._update(self._place, f"{label}: {done:,} of {total:,} {unit}")
        else:
            with self._output.progress(label, unit) as shown:
                yield shown

    def run(self, command: str, *arguments: object) -> None:
        """Runs a command of `trlt`.

        Raises:
            TrltError: it failed; with the end of what it said, and its exit code.
            Interrupted: a signal ended it, or this process, which then ends it.
        """
        words = [command, *map(str, arguments)]
        line = f"trlt {shlex.join(words)}"
        self.show("", Rule(line, align="left"))
        began = time.monotonic()
        code = self._finish(words)
        self.seconds[f"{len(self.seconds) + 1} {command}"] = round(time.monotonic() - began, 1)
        if code in _LEFT:
            raise Interrupted(code - 128)
        if code:
            where = f"the end of {self._log.path}:\n{self._log.tail()}" if self._log else "its own words stand above"
            error = TrltError(f"demo: `{line}` ended with exit code {code}; {where}")
            error.exit_code = max(code, TrltError.exit_code)
            raise error

    def _finish(self, words: Sequence[str]) -> int:
        """The exit code of a command that has ended."""
        out = subprocess.PIPE if self._log else subprocess.DEVNULL if self._output.json_mode else None
        process = subprocess.Popen(
            python_command(*words),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT if self._log else None,
            start_new_session=True,  # so that Ctrl-C reaches it once: from here
        )
        try:
            if self._log:
                self._follow(process, self._log)
            return process.wait()
        except BaseException:
            end([process])
            if self._log and process.stdout:  # what it has saved, as it says
                os.set_blocking(process.stdout.fileno(), False)
                self._log.write(process.stdout.read() or b"")
            raise
        finally:
            if process.stdout:
                process.stdout.close()

    def _follow(self, process: subprocess.Popen[bytes], log: _Log) -> None:
        """Logs what a command says until it has ended, and shows its last line."""
        assert process.stdout is not None
        log.begin()
        handle = process.stdout.fileno()
        while True:
            ended = process.poll() is not None
            if select.select([handle], [], [], 0 if ended else TICK_S)[0]:
                if not (said := os.read(handle, 1 << 16)):
                    return
                log.write(said)
            elif ended:  # something that it started still holds the pipe
                return
            self._update(self._place, log.last() or "at work")


class _Log:
    """A log file, and the last lines of the command at work: also those that no disk has room for."""

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        self.path, self._file = path, file
        self.begin()

    def begin(self) -> None:
        """Forgets the lines of the command before."""
        self._lines, self._open = deque[str](maxlen=TAIL), b""

    def write(self, said: bytes) -> None:
        """Appends what a command says.

        Raises:
            OSError: with the file's name.
        """
        *lines, self._open = (self._open + said).split(b"\n")
        self._lines.extend(line.decode("utf-8", "replace").rstrip() for line in lines if line.strip())
        with named(self.path):
            self._file.write(said)

    def show(self, *what: RenderableType) -> None:
        """Appends tables and lines of the demo itself."""
        console = Console(width=WIDTH, highlight=False, force_terminal=False, no_color=True)
        with console.capture() as held:
            for one in what:
                console.print(Text(one) if isinstance(one, str) else one, soft_wrap=isinstance(one, str))
        self.write(held.get().encode("utf-8", "backslashreplace"))

    def last(self) -> str:
        """The last line, if there is one."""
        return self._lines[-1] if self._lines else ""

    def tail(self) -> str:
        """The last lines, indented."""
        return "\n".join(f"  {line}" for line in [*self._lines, self._open.decode("utf-8", "replace")] if line)


@contextmanager
def demo_stages(output: Output, names: Sequence[str], log: Path | None) -> Iterator[DemoStages]:
    """The stages of a demo, to be entered one after the other; Ctrl-C and SIGTERM also end the command at work.

    Args:
        output: Shows a line for each stage.
        names: Of the stages, in their order.
        log: The file for what commands say; None shows it as it comes, and no lines of stages.

    Raises:
        OSError: the log can't be written.
    """
    with Interruption():
        if log is None:
            yield DemoStages(output, names, None, lambda place, state: None)
            return
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb", buffering=0) as file, output.stages(names) as update:
            yield DemoStages(output, names, _Log(log, file), update)
