"""How many bytes of requests may be in memory at once. Counts; holds nothing itself. Used by one event loop."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class MemoryFull(Exception):
    """Requests that are under way hold all that may be held."""


class Memory:
    """Counts bytes.

    Args:
        most: May be held at once.
    """

    def __init__(self, most: int) -> None:
        self.most, self.used = most, 0

    @contextmanager
    def share(self) -> Iterator[MemoryShare]:
        """A share for one request, which is given back at the end of the block."""
        share = MemoryShare(self)
        try:
            yield share
        finally:
            share.keep(0)


class MemoryShare:
    """What one request holds.

    Args:
        memory: Of which it is a share.
    """

    def __init__(self, memory: Memory) -> None:
        self._memory, self._size = memory, 0

    def add(self, size: int) -> None:
        """So many bytes more are held.

        Raises:
            MemoryFull: there is no room for them.
        """
        if self._memory.used + size > self._memory.most:
            raise MemoryFull
        self._size += size
        self._memory.used += size

    def keep(self, size: int) -> None:
        """So many bytes are held from now on, whatever there was."""
        self._memory.used += size - self._size
        self._size = size
