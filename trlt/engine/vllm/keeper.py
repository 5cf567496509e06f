"""Runs a command for as long as whoever started this does, and ends it with all that it has started. A program of its own.

`python keeper.py COMMAND...`: its input is a pipe, whose other end closes when that process ends, however it ends: also by
SIGKILL or by the system when memory runs out. Then nothing of the command may stay, because it would hold GPUs. It ends with
the command's exit status, or 128 and the number of the signal. The standard library alone; POSIX only.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import time

GRACE_S = 10.0
"""Between SIGTERM, on which the command removes what it shares, and SIGKILL; on a busy machine vLLM takes some seconds."""
LOOK_S = 0.1


def _end(group: int, number: int) -> bool:
    """Signals a group of processes; whether there are any."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    except PermissionError:
        # Of some systems, where only processes that have ended and weren't waited for are left.
        return False
    return True


def main() -> int:
    """Keeps the command."""
    told: list[int] = []
    # Ctrl-C and a closing terminal are for who started this, which then closes the pipe. By functions: what is ignored
    # would be ignored by the command, too.
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    signal.signal(signal.SIGTERM, lambda *_: told.append(1))
    process = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, start_new_session=True)
    inputs = selectors.DefaultSelector()
    inputs.register(0, selectors.EVENT_READ)
    while process.poll() is None and not told:
        if inputs.select(LOOK_S) and not os.read(0, 1):
            break
    code = process.poll()
    until = time.monotonic() + GRACE_S
    if code is None:
        # To itself first: in order, it ends what it has started, and removes what they share.
        process.terminate()
        while process.poll() is None and time.monotonic() < until:
            time.sleep(LOOK_S)
    # Where the command has ended by itself, too: it may have left others of its group.
    _end(process.pid, signal.SIGTERM)
    while _end(process.pid, 0) and time.monotonic() < until:
        process.poll()
        time.sleep(LOOK_S)
    _end(process.pid, signal.SIGKILL)
    ended = process.wait() if code is None else code
    return ended if ended >= 0 else 128 - ended


if __name__ == "__main__":
    sys.exit(main())
