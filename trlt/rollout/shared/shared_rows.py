"""Rows of a run that several processes or machines write together, each taking the next piece of work when it is ready.

Knows samples and pieces of work; `leases` knows which rank has which piece, and `rank_files` which file has which row. When
every piece is done, one rank puts all rows into the one file, in the order of the samples. See docs/decisions/sharing-work.md.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from trlt.errors import ResumeError
from trlt.files import append
from trlt.rollout.rows_file import encode
from trlt.rollout.shared.leases import LEASE_S, Gone, Lease, Leases, Look, gone_if_missing, remove
from trlt.rollout.shared.rank_files import RowCounter, base_lines, merge, part_file, part_lines, places, prepare, work_folder
from trlt.task.sample import Sample

CHUNKS = 4096
"""Maximum number of pieces of a run: many more than ranks, and few enough to list each time one is taken."""
MERGE = "merge"
"""The last piece, when all others are done."""


@dataclass(frozen=True, slots=True)
class Sharing:
    """How a process shares a run with others."""

    ranks: int = 1
    """Expected number of processes; more or fewer may take part."""
    lease_s: float = LEASE_S
    """Seconds without a heartbeat after which another rank takes over; on one machine, an ended process is noticed at once."""
    poll_s: float = 0.5
    """Seconds between checks while a rank waits for others."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of work: samples that share clips."""

    name: str
    """Its index in the plan and a digest of its ids, so that no other plan's piece is mistaken for it."""
    groups: tuple[Sequence[Sample], ...]
    ids: frozenset[str]


def plan(groups: Sequence[Sequence[Sample]]) -> list[Chunk]:
    """The pieces of work, in the order of taking; the same in every process with the same samples.

    Args:
        groups: Samples that share a clip, which are never separated.
    """
    size = math.ceil(sum(map(len, groups)) / CHUNKS)
    chunks: list[Chunk] = []
    some: list[Sequence[Sample]] = []
    # Samples of a clip stay in one piece, or two ranks would decode it.
    for place, group in enumerate(groups):
        some.append(group)
        if sum(map(len, some)) >= size or place == len(groups) - 1:
            ids = [sample.id for one in some for sample in one]
            digest = hashlib.sha256("\0".join(ids).encode("utf-8", "surrogatepass")).hexdigest()[:8]
            chunks.append(Chunk(f"{len(chunks):05}-{digest}", tuple(some), frozenset(ids)))
            some = []
    return chunks


class SharedRows:
    """Rows that this process writes together with others: a context manager that leaves the work at its end.

    Args:
        out: The final JSONL file of all rows.
        ids: The samples' ids, in the order of the finished file.
        groups: The samples by clip, in an order that depends on the samples alone.
        sharing: The number of processes, and when a silent one counts as dead.
        retry_errors: Ask samples again whose row in `out` has an error.

    Raises:
        ResumeError: there are rows of other samples.
        DataError: `out` is damaged.
    """

    def __init__(
        self, out: Path, ids: Sequence[str], groups: Sequence[Sequence[Sample]], sharing: Sharing, *, retry_errors: bool = False
    ) -> None:
        self.path = out
        self.errors = 0
        """Number of rows with an error; known after `finish`."""
        self._ids, self._known, self._sharing = ids, frozenset(ids), sharing
        self._folder = work_folder(out)
        self._chunks = plan(groups)
        self._chunk_of = {id: chunk.name for chunk in self._chunks for id in chunk.ids}
        self._complete: set[str] = set()
        """Pieces whose rows were there when this rank joined."""
        self._left: dict[str, set[str]] = {}
        """Ids whose rows are still to be written, by piece of this rank."""
        self._buried: set[str] = set()
        """Dead ranks whose rows were read."""
        self._taken = 1
        self._part: FileIO | None = None
        self._leases: Leases | None = None
        self._there: set[str] = set()
        self._all_there = False
        there = prepare(out, ids, retry_errors=retry_errors)
        if there < len(self._known):
            self._join()
        self._tally = RowCounter(out, there, len(self._known))

    def __len__(self) -> int:
        """Number of rows, including those of other ranks."""
        return len(self._known) if self._all_there else self._tally.count()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._part:
            # Before the claims are let go: on a network file system, others see rows once their file is closed.
            self._part.close()
        if self._leases:
            self._leases.close()

    def rounds(self) -> Iterator[Iterator[list[Sample]]]:
        """Samples by clip while there is something to do; the rows of a round must be appended before the next.

        Rounds are long while there are many pieces, and short towards the end, so that the ranks end together.
        """
        with contextlib.suppress(Gone):  # `finish` sees whether that was the work's end
            while self._leases and not self._is_over(self._leases):
                self._taken = 0
                yield self._groups(self._leases)

    def append(self, row: dict[str, Any]) -> None:
        """Writes a row at once: a later kill doesn't lose it."""
        with contextlib.suppress(Gone), gone_if_missing():  # `finish` sees why
            assert self._leases is not None
            # Opened with the first row, so that a rank that gets no work leaves no file.
            if self._part is None:
                self._part = part_file(self._folder, self._leases.token).open("ab", buffering=0)
            append(self._part, encode(row), self.path)
            self._there.add(row["id"])
            name = self._chunk_of[row["id"]]
            self._left[name].discard(row["id"])
            if not self._left[name]:
                del self._left[name]
                # On a network file system, others see what was written only now; and it must not be later than the mark.
                os.fsync(self._part.fileno())
                self._leases.finish(name)

    def finish(self) -> None:
        """Reads the outcome of the rounds; the rows are already in order.

        Raises:
            ResumeError: rows are missing, because another process removed the folder of the work.
        """
        # From the file: another rank may have merged, or have taken the work away.
        failed = {line.id: line.failed for line in base_lines(self.path, self._known)}
        if len(failed) < len(self._known):
            raise ResumeError(
                f"{self._folder}: another process has removed it (it began anew, or went on alone); "
                "start the same command again to take part"
            )
        self.errors = sum(failed.values())
        self._all_there = True

    def _join(self) -> None:
        try:
            self._leases = Leases(self._folder, self._sharing.lease_s)
            # Rows that dead ranks left count: nothing that is written is asked again.
            self._there = set(places(self.path, self._known))
        except Gone:  # since `prepare`; `finish` sees why
            return
        except BaseException:
            self.__exit__(None, None, None)
            raise
        self._complete = {chunk.name for chunk in self._chunks if chunk.ids <= self._there}

    def _is_over(self, leases: Leases) -> bool:
        """Whether all is done and merged; takes the last piece, merging."""
        # A round without work: others hold what is left.
        if not self._taken:
            time.sleep(self._sharing.poll_s)
        look = leases.look()
        # Merging is claimed like a piece, so that one rank does it, and another where that one dies.
        if self._open(look) or leases.take(MERGE, look) is None:
            return False
        return self._merge(leases)

    def _open(self, look: Look) -> list[Chunk]:
        """Pieces that aren't done, and that this rank doesn't have."""
        closed = look.done | self._complete | self._left.keys()
        return [chunk for chunk in self._chunks if chunk.name not in closed]

    def _groups(self, leases: Leases) -> Iterator[list[Sample]]:
        """Samples of pieces that this rank takes now, one after the other, without those with rows."""
        with contextlib.suppress(Gone):  # `finish` sees why
            while (chunk := self._take(leases)) is not None:
                self._taken += 1
                pending = [[sample for sample in group if sample.id not in self._there] for group in chunk.groups]
                yield from filter(None, pending)

    def _take(self, leases: Leases) -> Chunk | None:
        """The next piece with something to ask; None if there is none, or if this rank has its share of the rest."""
        look = leases.look()
        open_ = self._open(look)
        free = [chunk for chunk in open_ if chunk.name not in look.leased]
        # Half of an even share at a time: what is left then evens out how fast the ranks are.
        share = sum(len(chunk.ids) for chunk in free) // (2 * max(self._sharing.ranks, look.ranks))
        if self._left and sum(map(len, self._left.values())) >= share:
            return None
        # Pieces that were never claimed first. Claimed ones can be had from dead ranks alone, which costs a look at each.
        for chunk in (*free, *(chunk for chunk in open_ if chunk.name in look.leased)):
            lease = leases.take(chunk.name, look)
            if lease and self._has_work(leases, chunk, lease):
                return chunk
        return None

    def _has_work(self, leases: Leases, chunk: Chunk, lease: Lease) -> bool:
        """Notes which rows of a piece are to be written; for one taken over, the dead rank's rows count."""
        # Without the empty token, of a rank that was killed before it could write it.
        for token in {*lease.before} - self._buried - {""}:
            self._there.update(line.id for line in part_lines(part_file(self._folder, token), self._known))
            self._buried.add(token)
        left = set(chunk.ids - self._there)
        if left:
            self._left[chunk.name] = left
        else:
            leases.finish(chunk.name)
        return bool(left)

    def _merge(self, leases: Leases) -> bool:
        """Puts all rows into the one file in one step, and removes the folder; False if rows are missing.

        A power failure may leave a mark without its rows. Such pieces become free again.
        """
        found = places(self.path, self._known)
        missing = [id for id in self._ids if id not in found]
        if missing:
            self._there.difference_update(missing)
            lost = {self._chunk_of[id] for id in missing}
            self._complete -= lost
            leases.give_up(*sorted(lost), MERGE)
            return False
        # In the folder of the work: on the file system of the rows, so that it can be moved
        # there in one step, and gone with the folder where a kill leaves it half written.
        merged = self._folder / f"merged-{leases.token}"
        with gone_if_missing():
            merge(merged, [found[id] for id in self._ids])
            leases.look()  # not after a sleep in which others finished the work
            # A kill between this line and the removal leaves the folder beside a finished
            # file; the next start finds nothing to ask, and removes it (`prepare`).
            os.replace(merged, self.path)
        remove(self._folder)
        return True
