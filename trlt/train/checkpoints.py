"""Checkpoints of a training run: complete or ignored, and verified by checksums before a run resumes from one.

Knows folders and files; nothing of their content. A CRC-32 of each file suffices: it notices every flipped bit and every torn
or empty stretch (of other damage, one in 4 billion passes), at several times the rate of SHA-256. It doesn't protect against
deliberate changes.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from trlt.errors import ResumeError
from trlt.files import checksum, write_text_atomic

COMPLETE = "complete"
"""File in a checkpoint that is written last and holds the checksums of the others; a folder without it was left by a kill."""
READERS = 8
"""Number of files read at once; computing a checksum lets other threads work."""
SHOWN = 3


def latest_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that was written to its end, or None."""
    return next(reversed(checkpoints(folder)), None)


def checkpoints(folder: Path) -> list[Path]:
    """Complete checkpoints, oldest first."""
    found = [path.parent for path in folder.glob(f"checkpoint-*/{COMPLETE}")]
    # By number: as texts, 100 comes before 20.
    return sorted(found, key=lambda path: int(path.name.rpartition("-")[2]))


STATES = {
    "plain": ("optimizer.pt", "train.launch.strategy: ddp, or a single process"),
    "fsdp": ("optimizer.bin", "train.launch.strategy: fsdp2 and several processes"),
    "deepspeed": ("global_step*", "train.launch.strategy: zero2 or zero3 and several processes"),
}
"""What holds the optimizer's states, by who shares them, and by which settings it is written and read."""


def require_states(folder: Path, sharing: str) -> None:
    """Checks that a run can resume from its newest checkpoint with the current sharding of weights.

    Args:
        folder: Folder with the checkpoints of a run.
        sharing: A key of `STATES`.

    Raises:
        ResumeError: the optimizer's states were written by processes that share them otherwise.
    """
    newest = latest_checkpoint(folder)
    if newest is None or any(newest.glob(STATES[sharing][0])):
        return
    written = [by for name, by in STATES.values() if any(newest.glob(name))]
    if written:
        raise ResumeError(
            f"{newest}: its optimizer's states were written with {written[0]}, and are read with that alone; go on so, or "
            "start anew with --fresh"
        )


def seal(checkpoint: Path) -> None:
    """Notes the checksums of a checkpoint's files, those of all processes; from then on it counts."""
    (checkpoint / COMPLETE).unlink(missing_ok=True)
    files = sorted(path.relative_to(checkpoint).as_posix() for path in checkpoint.rglob("*") if path.is_file())
    with ThreadPoolExecutor(READERS) as pool:
        found = pool.map(lambda name: checksum(checkpoint / name), files)
        held = json.dumps(dict(zip(files, found, strict=True)), sort_keys=True)
    # A checksum of the checksums, too: a flipped bit among them would blame a file that is whole.
    own = f"{zlib.crc32(held.encode()):08x}"
    # Last, and in one step: its being there is what makes the checkpoint count.
    write_text_atomic(checkpoint / COMPLETE, f"{own} {held}\n")


def faults(checkpoint: Path) -> list[str]:
    """What differs from when a checkpoint was sealed, by file; nothing is known of one that an older trlt marked."""
    text = (checkpoint / COMPLETE).read_text(encoding="utf-8", errors="replace")
    if not text:
        return []
    own, _, rest = text.removesuffix("\n").partition(" ")
    if own != f"{zlib.crc32(rest.encode()):08x}":
        return [f"{COMPLETE} was changed"]
    sealed: dict[str, Any] = json.loads(rest)
    with ThreadPoolExecutor(READERS) as pool:
        return [fault for fault in pool.map(lambda name: _fault(checkpoint, name, sealed[name]), sealed) if fault]


def _fault(checkpoint: Path, name: str, sealed: str) -> str | None:
    path = checkpoint / name
    try:
        if path.stat().st_size != int(sealed.partition(" ")[2]):
            return f"{name} has {path.stat().st_size} bytes, not {sealed.partition(' ')[2]}"
        return None if checksum(path) == sealed else f"{name} was changed"
    except OSError as error:
        return f"{name} can't be read ({os.strerror(error.errno or 0)})"


def drop_damaged(folder: Path) -> Iterator[str]:
    """Makes sure that the newest complete checkpoint is intact: newer damaged ones no longer count.

    Checks from the newest back to the first intact one; older ones aren't read.

    Args:
        folder: With the checkpoints of a run; no process may be at work there.

    Yields:
        A message for each damaged one.

    Raises:
        ResumeError: there are some, and none is intact; all stay unchanged.
    """
    damaged: list[tuple[Path, str]] = []
    for checkpoint in reversed(checkpoints(folder)):
        found = faults(checkpoint)
        if not found:
            break
        more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        damaged.append((checkpoint, "; ".join(found[:SHOWN]) + more))
    else:
        if damaged:
            told = "\n  ".join(f"{path}: {why}" for path, why in damaged)
            raise ResumeError(
                f"{folder}: no checkpoint is whole, so there is none to go on from; put the files back from a copy, or start "
                f"anew with --fresh. What is damaged:\n  {told}"
            )
    for path, why in damaged:
        (path / COMPLETE).unlink()
        yield f"{path} is damaged ({why}) and no longer counts; going on from {checkpoint.name}"
