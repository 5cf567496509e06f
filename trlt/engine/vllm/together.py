"""A failure that is agreed on: what ends one of several training processes ends all, and none waits for one that has gone.

A launcher that ends the others does so, too; not every launcher does, and the timeout of an exchange is hours.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from accelerate import PartialState
from accelerate.utils import gather_object

from trlt.errors import TrltError


@contextmanager
def together() -> Iterator[None]:
    """What all processes do, and each may fail at; they must come to its end together, and exchange nothing within.

    Raises:
        TrltError: this process's own, else what the first of the others that failed has said, with its exit code.
        OSError: this process's own.
    """
    try:
        yield
    except (TrltError, OSError) as error:
        _tell(error)
        raise
    for place, one in enumerate(_tell(None)):
        if one is not None:
            code, words = one
            failure = TrltError(f"process {place} failed, and so all end: {words}")
            failure.exit_code = code
            raise failure


def _tell(failure: TrltError | OSError | None) -> list[tuple[int, str] | None]:
    """Exit code and words of each process's failure."""
    if PartialState().num_processes == 1:
        return []
    own = None if failure is None else (getattr(failure, "exit_code", TrltError.exit_code), str(failure))
    told: list[tuple[int, str] | None] = gather_object([own])
    return told
