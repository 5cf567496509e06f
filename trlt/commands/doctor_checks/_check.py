"""What one check found, and the guard that turns its failure into a finding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warning", "fault"]
"""`warning`: something runs slower, or not at all, that not everybody needs; `fault`: a command will fail."""


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the report."""

    name: str
    state: State
    found: str
    """What there is, in a line."""
    remedy: str = ""
    """What to do, in a line; empty where nothing is."""


def attempt(name: str, look: Callable[[], Check | list[Check]], remedy: str) -> list[Check]:
    """The findings of a check; where it fails itself, a fault.

    Args:
        name: Of the check.
        look: Finds something out.
        remedy: Said where `look` fails.
    """
    try:
        found = look()
    except Exception as error:  # a library that is half installed raises anything, and finding that out is the purpose
        said = " ".join(str(error).split())
        return [Check(name, "fault", f"{type(error).__name__}: {said}" if said else type(error).__name__, remedy)]
    return found if isinstance(found, list) else [found]
