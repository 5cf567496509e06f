"""Which processes a test has left behind."""

import contextlib
from pathlib import Path


def children() -> set[int]:
    """Processes started by this one, dead ones that nobody waited for included."""
    found: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(FileNotFoundError):  # a thread that ended meanwhile
            found |= {int(pid) for pid in (task / "children").read_text().split()}
    return found


def peak_bytes(pids: set[int]) -> int:
    """The most memory that any of these processes has held so far; those that have ended count no more."""
    most = 0
    for pid in pids:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith("VmHWM:"):
                    most = max(most, 1024 * int(line.split()[1]))
    return most
