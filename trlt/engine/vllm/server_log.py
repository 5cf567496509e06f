"""Why a vLLM server ended: the lines of its log that say so, out of hundreds that don't."""

from __future__ import annotations

import re
from pathlib import Path

MOST_LINES = 6
"""That an error shows."""
END_LINES = 8
"""Of the log's end, where no line says why."""
TAIL_BYTES = 1 << 20
"""Of a log that is looked at: a run may have written gigabytes before."""

_PREFIX = re.compile(r"^(\([\w ]+pid=\d+\)\s*)?((DEBUG|INFO|WARNING|ERROR|CRITICAL) \d\d-\d\d [\d:.]+ \[[^\]]*\]\s?)?")
"""What vLLM puts before its lines: `(EngineCore pid=123) ERROR 11-30 14:31:10 [core.py:1108] `."""
_CAUSE = re.compile(r"^\s*([\w.]*(Error|Exception)|\S+: error): \S|^\s*Value error, ")
"""The last line of a traceback, of a refusal of arguments, or of settings that don't fit."""
_STEP = re.compile(r"\b(INFO|WARNING|ERROR) \d\d-\d\d |\d+%\|")
"""In a line of vLLM's own, or a bar: what libraries warn of is neither."""
_ECHO = ("See root cause above", "check the stack trace above")
"""In lines by which one process tells that another has failed."""
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def tail(log: Path) -> list[str]:
    """The last lines of a log; none where it doesn't exist."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - TAIL_BYTES))
            text = file.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return []
    # Bars are drawn again and again on one line.
    lines = (_COLOURS.sub("", line.rpartition("\r")[2] or line) for line in text.splitlines())
    return [line for line in lines if line.strip()]


def said_last(log: Path) -> str:
    """The last step that it tells of, without what vLLM puts before each line; else its last line."""
    lines = tail(log)
    last = next((line for line in reversed(lines) if _STEP.search(line)), lines[-1] if lines else "")
    return _PREFIX.sub("", last).strip()[:200]


def reasons(log: Path) -> list[str]:
    """The lines that say why: how tracebacks end, each once; else the end of the log."""
    lines = [_PREFIX.sub("", line).rstrip() for line in tail(log)]
    causes = list(dict.fromkeys(line.strip() for line in lines if _CAUSE.match(line)))
    own = [line for line in causes if not any(words in line for words in _ECHO)]
    return (own or causes)[:MOST_LINES] or lines[-END_LINES:]
