"""Ctrl-C and SIGTERM: where work can be finished first, it is; anywhere else the process ends at once.

Knows signals only. A second Ctrl-C always ends at once; a second SIGTERM doesn't, since job schedulers send it more than once
(Slurm on request, and again when time is up).
"""

from __future__ import annotations

import atexit
import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

from trlt.errors import Interrupted


class Interruption:
    """Handles signals while entered, in the main thread only.

    Args:
        at_once: SIGINT is always a second Ctrl-C: of a process whose launcher passes the first one on as SIGTERM.
    """

    def __init__(self, *, at_once: bool = False) -> None:
        self._at_once = at_once
        self._before: dict[int, Any] = {}
        self.heard = 0
        """The first signal that came while work was being finished; 0: none."""
        self.finishes: str | None = None
        """What is finished after a first signal, in words; None ends at once. An empty text prints nothing."""

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                # What is started in the background by a shell isn't meant when Ctrl-C is pressed.
                if signal.getsignal(number) != signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._hear)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _hear(self, number: int, frame: FrameType | None) -> None:
        again = number == signal.SIGINT and (self._at_once or bool(self.heard))
        if self.finishes is None or again:
            self.heard = self.heard or number
            raise Interrupted(number)
        if not self.heard:
            self.heard = number
            if self.finishes:  # not by a stream: its lock may be held by what was interrupted
                os.write(2, f"\n{self.finishes}; Ctrl-C again leaves at once\n".encode())


def deaf_at_exit() -> None:
    """Ignores Ctrl-C while the interpreter exits, when libraries that clean up would end in a traceback."""
    atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)  # those registered last come first
