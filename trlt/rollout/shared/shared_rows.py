"""Rows of a run that several processes or machines write together, each taking the next piece of work when it is ready.

Knows questions and pieces of work; `leases` knows which rank has which piece, and `rank_files` which file has which row. When
every piece is done, one rank puts all rows into their files, in the order of the samples. See docs/decisions/sharing-work.md.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import math
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import FileIO
from types import TracebackType
from typing import Any, Self

from trlt.errors import ResumeError
from trlt.files import append
from trlt.rollout.question_sets import Question, QuestionSet, Round, alike
from trlt.rollout.rows_file import encode
from trlt.rollout.shared.leases import LEASE_S, Gone, Lease, Leases, Look, gone_if_missing, remove
from trlt.rollout.shared.rank_files import RowCounter, failed_rows, part_lines, places, prepare, put_together
from trlt.rollout.shared.work_files import RowKey, WorkFiles, part_file

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
    """A piece of work: questions that share clips, and are all sampled alike."""

    name: str
    """Its index in the plan and a digest of its questions, so that no other plan's piece is mistaken for it."""
    groups: tuple[Sequence[Question], ...]
    keys: frozenset[RowKey]


def plan(groups: Sequence[Sequence[Question]]) -> list[Chunk]:
    """The pieces of work, in the order of taking; the same in every process with the same questions.

    Args:
        groups: Questions that share a clip, which are never separated; those that are sampled alike follow each other.
    """
    size = math.ceil(sum(map(len, groups)) / CHUNKS)
    chunks: list[Chunk] = []
    some: list[Sequence[Question]] = []
    # Questions about a clip stay in one piece, or two ranks would decode it.
    for place, group in enumerate(groups):
        some.append(group)
        last = place == len(groups) - 1 or not alike(group[0].of, groups[place + 1][0].of)
        if last or sum(map(len, some)) >= size:
            keys = [question.key for one in some for question in one]
            named = "\0".join("\0".join(filter(None, key)) for key in keys)
            digest = hashlib.sha256(named.encode("utf-8", "surrogatepass")).hexdigest()[:8]
            chunks.append(Chunk(f"{len(chunks):05}-{digest}", tuple(some), frozenset(keys)))
            some = []
    return chunks


class SharedRows:
    """Rows that this process writes together with others: a context manager that leaves the work at its end.

    Args:
        work: The files of rows, and the folder of the work.
        groups: The questions by clip, in an order that depends on the questions alone.
        sharing: The number of processes, and when a silent one counts as dead.
        retry_errors: Ask samples again whose row has an error.

    Raises:
        ResumeError: there are rows of other samples.
        DataError: a file is damaged.
    """

    def __init__(
        self, work: WorkFiles, groups: Sequence[Sequence[Question]], sharing: Sharing, *, retry_errors: bool = False
    ) -> None:
        self.work = work
        self.errors = 0
        """Number of rows with an error; known after `finish`."""
        self._known, self._sharing = {name: frozenset(ids) for name, ids in work.ids.items()}, sharing
        self._chunks = plan(groups)
        self._chunk_of = {key: chunk.name for chunk in self._chunks for key in chunk.keys}
        self._complete: set[str] = set()
        """Pieces whose rows were there when this rank joined."""
        self._left: dict[str, set[RowKey]] = {}
        """Rows that are still to be written, by piece of this rank."""
        self._buried: set[str] = set()
        """Dead ranks whose rows were read."""
        self._taken = 1
        self._parts: dict[str, FileIO] = {}
        self._leases: Leases | None = None
        self._there: set[RowKey] = set()
        self._all_there = False
        there = prepare(work, retry_errors=retry_errors)
        if sum(there.values()) < len(work):
            self._join()
        self._tally = RowCounter(work, there)

    def by_set(self) -> dict[str, int]:
        """Number of rows, including those of other ranks."""
        return {name: len(ids) for name, ids in self.work.ids.items()} if self._all_there else self._tally.by_set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for part in self._parts.values():
            # Before the claims are let go: on a network file system, others see rows once their file is closed.
            part.close()
        if self._leases:
            self._leases.close()

    def rounds(self) -> Iterator[Round]:
        """Questions by clip while there is something to do; the rows of a round must be appended before the next.

        Rounds are long while there are many pieces, and short towards the end, so that the ranks end together. All of a round
        are sampled alike.
        """
        with contextlib.suppress(Gone):  # `finish` sees whether that was the work's end
            while self._leases and not self._is_over(self._leases):
                first = self._take(self._leases)
                self._taken = first is not None
                if first is not None:
                    like = first.groups[0][0].of
                    yield Round(like, self._groups(self._leases, first))

    def append(self, key: RowKey, row: dict[str, Any]) -> None:
        """Writes a row at once: a later kill doesn't lose it."""
        with contextlib.suppress(Gone), gone_if_missing():  # `finish` sees why
            assert self._leases is not None
            # Opened with the first row, so that a rank that gets no work leaves no file.
            if key.set not in self._parts:
                path = part_file(self.work.folder, self._leases.token, key.set)
                self._parts[key.set] = path.open("ab", buffering=0)
            append(self._parts[key.set], encode(row), self.work.files[key.set])
            self._there.add(key)
            name = self._chunk_of[key]
            self._left[name].discard(key)
            if not self._left[name]:
                del self._left[name]
                # On a network file system, others see what was written only now; and it must not be later than the mark.
                for part in self._parts.values():
                    os.fsync(part.fileno())
                self._leases.finish(name)

    def finish(self) -> None:
        """Reads the outcome of the rounds; the rows are already in order.

        Raises:
            ResumeError: rows are missing, because another process removed the folder of the work.
        """
        # From the files: another rank may have merged, or have taken the work away.
        failed = failed_rows(self.work)
        if len(failed) < len(self.work):
            raise ResumeError(
                f"{self.work.folder}: another process has removed it (it began anew, or went on alone); "
                "start the same command again to take part"
            )
        self.errors = sum(failed.values())
        self._all_there = True

    def _join(self) -> None:
        try:
            self._leases = Leases(self.work.folder, self._sharing.lease_s)
            # Rows that dead ranks left count: nothing that is written is asked again.
            self._there = set(places(self.work))
        except Gone:  # since `prepare`; `finish` sees why
            return
        except BaseException:
            self.__exit__(None, None, None)
            raise
        self._complete = {chunk.name for chunk in self._chunks if chunk.keys <= self._there}

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

    def _groups(self, leases: Leases, first: Chunk) -> Iterator[list[Question]]:
        """Questions of pieces that this rank takes now, one after the other, without those with rows."""
        like = first.groups[0][0].of
        with contextlib.suppress(Gone):  # `finish` sees why
            more = iter(lambda: self._take(leases, like), None)
            for chunk in itertools.chain([first], more):
                pending = [[one for one in group if one.key not in self._there] for group in chunk.groups]
                yield from filter(None, pending)

    def _take(self, leases: Leases, like: QuestionSet | None = None) -> Chunk | None:
        """The next piece with something to ask; None if there is none, or if this rank has its share of the rest.

        `like`: only what is sampled alike.
        """
        look = leases.look()
        open_ = self._open(look)
        free = [chunk for chunk in open_ if chunk.name not in look.leased]
        # Half of an even share at a time: what is left then evens out how fast the ranks are.
        share = sum(len(chunk.keys) for chunk in free) // (2 * max(self._sharing.ranks, look.ranks))
        if self._left and sum(map(len, self._left.values())) >= share:
            return None
        # Pieces that were never claimed first. Claimed ones can be had from dead ranks alone, which costs a look at each.
        for chunk in (*free, *(chunk for chunk in open_ if chunk.name in look.leased)):
            if like is not None and not alike(like, chunk.groups[0][0].of):
                return None
            lease = leases.take(chunk.name, look)
            if lease and self._has_work(leases, chunk, lease):
                return chunk
        return None

    def _has_work(self, leases: Leases, chunk: Chunk, lease: Lease) -> bool:
        """Notes which rows of a piece are to be written; for one taken over, the dead rank's rows count."""
        # Without the empty token, of a rank that was killed before it could write it.
        for token in {*lease.before} - self._buried - {""}:
            for name, known in self._known.items():
                lines = part_lines(part_file(self.work.folder, token, name), known)
                self._there.update(RowKey(name, line.id) for line in lines)
            self._buried.add(token)
        left = set(chunk.keys - self._there)
        if left:
            self._left[chunk.name] = left
        else:
            leases.finish(chunk.name)
        return bool(left)

    def _merge(self, leases: Leases) -> bool:
        """Puts all rows into their files, each in one step, and removes the folder; False if rows are missing.

        A power failure may leave a mark without its rows. Such pieces become free again.
        """
        found = places(self.work)
        missing = [key for key in self.work.keys if key not in found]
        if missing:
            self._there.difference_update(missing)
            lost = {self._chunk_of[key] for key in missing}
            self._complete -= lost
            leases.give_up(*sorted(lost), MERGE)
            return False
        put_together(self.work, found, leases.token, leases.look)
        remove(self.work.folder)
        return True
