"""Who works on what, in a folder shared by processes: ranks with a heartbeat, claims of pieces, marks of finished ones.

Knows files and processes; nothing of rows and samples. Relies only on guarantees of every shared file system: exclusive
creation of files (`O_EXCL`), atomic renaming of folders, and file times from one clock, the file system's.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import json
import os
import platform
import re
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

LEASE_S = 60.0
"""Seconds without a heartbeat after which a rank counts as dead, unless told otherwise."""
BEATS = 6
"""Heartbeats in the time after which a rank counts as dead: some may be late."""
FORGOTTEN_S = 3600.0
"""Older temporary folders are leftovers of killed processes."""


class Gone(Exception):
    """The folder is gone: a rank has finished the work, or it was started anew."""


@dataclass(frozen=True, slots=True)
class Look:
    """The state of the work at one moment."""

    done: frozenset[str]
    """Finished pieces."""
    leased: dict[str, int]
    """Pieces that were ever claimed, and the number of the latest claim, from 0."""
    ranks: int
    """Ranks that haven't left, including killed ones."""


@dataclass(frozen=True, slots=True)
class Lease:
    """A piece that this rank may work on."""

    name: str
    before: tuple[str, ...]
    """Tokens of dead ranks that had claimed it."""


def make(folder: Path, marks: tuple[str, ...] = ()) -> None:
    """Creates the folder of a work in one step; does nothing if another process was first.

    Args:
        folder: Where; its parents are made too.
        marks: Names of empty files to create in it.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Filled beside its place and then moved there: a folder that grows in place could be joined before `claims` is in it.
    new = folder.with_name(f"{folder.name}.{secrets.token_hex(4)}.new")
    for name in ("ranks", "claims", "done", "parts"):
        (new / name).mkdir(parents=True)
    for mark in marks:
        (new / mark).touch()
    try:
        new.rename(folder)
    except OSError as error:
        shutil.rmtree(new)
        # Another process was first. Which of the two errors says so depends on the file system.
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise


def remove(folder: Path) -> None:
    """Moves the folder away in one step, then deletes it, together with leftovers of earlier kills."""
    with contextlib.suppress(FileNotFoundError):  # another process was first
        # Renamed before it is deleted: ranks that are still at it see it gone at once,
        # and a kill in the middle leaves a `.old`, never half a folder of work.
        folder.rename(folder.with_name(f"{folder.name}.{secrets.token_hex(4)}.old"))
    for left in folder.parent.glob(f"{folder.name}.*"):
        with contextlib.suppress(FileNotFoundError):
            # A new folder may be another rank's that comes just now. The margin is so wide that clocks don't matter.
            if left.suffix == ".old" or time.time() - left.stat().st_mtime > FORGOTTEN_S:
                # Others may be deleting the same folder.
                shutil.rmtree(left, ignore_errors=True)


def at_work(folder: Path) -> list[str]:
    """The tokens of live ranks; none without such a folder."""
    try:
        # The file system's own clock, since those of machines differ: a file that is made now, to compare heartbeats with.
        with tempfile.TemporaryFile(dir=folder) as mine:
            now = os.fstat(mine.fileno()).st_mtime
        return [name for name in sorted(os.listdir(folder / "ranks")) if _alive(folder / "ranks" / name, now, LEASE_S)]
    except FileNotFoundError:
        return []


class Leases:
    """This process as a rank: a context manager that leaves at the end, so that others take over its pieces at once.

    A piece is claimed by creating `claims/<piece>.<number>`, which holds the rank's token. If the rank of the latest number is
    dead, the next number may be created. Claims aren't renamed or passed on, so none can be mistaken for an older one.

    Args:
        folder: Of the work, as `make` made it.
        lease_s: Seconds without a heartbeat after which a rank counts as dead.

    Raises:
        Gone: the folder isn't there.
    """

    def __init__(self, folder: Path, lease_s: float) -> None:
        # With random digits: a rank that starts again may get the process id of a dead one, and mustn't be taken for it.
        self.token = f"{re.sub(r'[^A-Za-z0-9-]', '_', platform.node())}-{os.getpid()}-{secrets.token_hex(4)}"
        self._leases, self._done, self._ranks = folder / "claims", folder / "done", folder / "ranks"
        self._me = self._ranks / self.token
        self._lease_s = lease_s
        self._now = 0.0
        """The file system's time at the latest look."""
        self._owners: dict[str, str] = {}
        """Token by name of a claim's file."""
        about = {"machine": _machine(), "pid": os.getpid(), "started": _started(os.getpid())}
        with gone_if_missing():
            # Before the first claim: a claim whose owner has no file here counts as a dead rank's.
            self._me.write_text(json.dumps(about), encoding="utf-8")
        self._ended = threading.Event()
        # A thread, since a rank may be busy with the model for longer
        # than its lease. A daemon, so that it ends with the process.
        self._heart = threading.Thread(target=self._beat, name="trlt-heartbeat", daemon=True)
        self._heart.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def look(self) -> Look:
        """The finished and claimed pieces now.

        Raises:
            Gone: the folder, or this rank's entry in it, is gone.
        """
        with gone_if_missing():
            # Fails where the file is gone, so a rank that slept through the end of the work learns of it here.
            os.utime(self._me)
            self._now = self._me.stat().st_mtime
            leased: dict[str, int] = {}
            for file in os.listdir(self._leases):
                name, _, number = file.rpartition(".")
                leased[name] = max(leased.get(name, 0), int(number))
            return Look(frozenset(os.listdir(self._done)), leased, len(os.listdir(self._ranks)))

    def take(self, name: str, look: Look) -> Lease | None:
        """Claims a piece that is free or whose rank is dead; None where another rank has it, was faster, or has done it.

        Raises:
            Gone: the folder is gone.
        """
        latest = look.leased.get(name, -1)
        with gone_if_missing():
            # The latest claim alone: it could be made only because the rank of the one before was dead.
            if latest >= 0 and self._is_held(f"{name}.{latest}"):
                return None
            try:
                # A kill between this line and the token leaves an empty claim, which `_is_held` lets go after the lease.
                handle = os.open(self._leases / f"{name}.{latest + 1}", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
            except FileExistsError:
                return None
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(self.token)
            # Its rank may have finished it, and left, since the look.
            if (self._done / name).exists():
                return None
            return Lease(name, tuple(self._owner(f"{name}.{number}") for number in range(latest + 1)))

    def finish(self, name: str) -> None:
        """Marks a piece as done, for good.

        Raises:
            Gone: the folder, or this rank's entry in it, is gone.
        """
        with gone_if_missing():
            os.utime(self._me)  # a rank that slept through the end of the work marks nothing in the next one's folder
            (self._done / name).touch()

    def give_up(self, *names: str) -> None:
        """Makes pieces free again, done or not.

        Raises:
            Gone: the folder is gone.
        """
        with gone_if_missing():
            # The mark goes before the claims. A kill in between leaves claims of a dead rank,
            # which the next one takes over; a mark without claims would count as done.
            for name in names:
                (self._done / name).unlink(missing_ok=True)
                for path in self._leases.glob(f"{name}.*"):
                    path.unlink(missing_ok=True)
                    self._owners.pop(path.name, None)

    def close(self) -> None:
        """Leaves and frees this rank's pieces for the others."""
        self._ended.set()
        self._heart.join()
        with contextlib.suppress(Gone), gone_if_missing():
            self._me.unlink()

    def _beat(self) -> None:
        while not self._ended.wait(self._lease_s / BEATS):
            # A file server that is away for a moment must not end the heartbeat.
            with contextlib.suppress(OSError):
                os.utime(self._me)

    def _owner(self, file: str) -> str:
        """The token in a claim's file; empty if its rank was killed before writing it, or gave the piece up."""
        # Read once, as the token in a claim never changes; an empty one may still be written.
        if not self._owners.get(file):
            with contextlib.suppress(FileNotFoundError):
                self._owners[file] = (self._leases / file).read_text(encoding="utf-8")
        return self._owners.get(file, "")

    def _is_held(self, file: str) -> bool:
        token = self._owner(file)
        if not token:
            try:
                return self._now - (self._leases / file).stat().st_mtime <= self._lease_s
            except FileNotFoundError:
                return True  # given up since the look; the next one shows it
        return token == self.token or _alive(self._ranks / token, self._now, self._lease_s)


@contextlib.contextmanager
def gone_if_missing() -> Iterator[None]:
    """Turns "no such file", and NFS's error for it, into `Gone`."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ESTALE):
            raise
        raise Gone from None


def _alive(path: Path, now: float, lease_s: float) -> bool:
    """Whether the rank of a file in `ranks/` is at work; on the same machine, its process is checked."""
    try:
        with path.open(encoding="utf-8") as file:  # opened, because NFS then asks the server how old it is
            text, beat = file.read(), os.fstat(file.fileno()).st_mtime
    except FileNotFoundError:
        return False
    if now - beat > lease_s:
        return False
    try:
        about: dict[str, object] = json.loads(text)
        pid = int(str(about["pid"]))
    except ValueError:  # killed while it was writing, or not yet done with it
        return True
    # On another machine only the heartbeat tells.
    return about["machine"] != _machine() or about["started"] == _started(pid)


@functools.cache
def _machine() -> str:
    """Identifies the machine, and a container with its own process numbers."""
    parts = [platform.node()]
    with contextlib.suppress(OSError):
        # After a restart, process ids and start times begin anew.
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())
        parts.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(parts)


def _started(pid: int) -> str | None:
    """Start time of a process, which distinguishes it from a later one with the same number; None if it doesn't run."""
    try:
        # A process's name stands in brackets, and may hold any bytes.
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None if Path("/proc/self/stat").exists() else _answers(pid)
    # Behind the name: the state first, and the start time 19 fields on.
    # A zombie has ended, and its parent hasn't looked yet.
    return None if fields[0] in (b"Z", b"X") else fields[19].decode()


def _answers(pid: int) -> str | None:
    """The same without /proc: only whether the number is in use."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return ""
