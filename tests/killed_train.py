"""Runs `trlt train` and kills it again and again, at moments that a seed draws, until it has ended by itself.

`killed_train.py <recipe> <run folder> <seed> <kills> <steps> [SIGINT ...]` prints how often it was killed while a checkpoint
was being written, and how often elsewhere. With signals, it draws one of these each time, in place of SIGKILL; after SIGINT
sometimes another. The libraries are loaded once: each attempt is a fork of this process.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
import warnings
from pathlib import Path
from random import Random

warnings.filterwarnings("ignore")


def attempt(recipe: Path, folder: Path) -> int:
    """Starts training in a child; its process id."""
    if child := os.fork():
        return child
    code = 1
    try:
        from trlt.commands._output import Output
        from trlt.commands.train import train

        os.setsid()
        signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background jobs ignore
        train(recipe, out=folder, output=Output(json_mode=True))
        code = 0
    finally:
        os._exit(code)


def state(folder: Path) -> tuple[set[Path], int]:
    """Checkpoints that are being written, and steps that are logged."""
    half = {path for path in folder.glob("checkpoints/checkpoint-*") if not (path / "complete").exists()}
    log = folder / "log.jsonl"
    return half, log.read_bytes().count(b"\n") if log.exists() else 0


def ended(child: int) -> int | None:
    """Exit code of a child that has ended."""
    done, status = os.waitpid(child, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if done else None


def main() -> None:
    """See the module."""
    recipe, folder, rng = Path(sys.argv[1]), Path(sys.argv[2]), Random(sys.argv[3])
    kills, most = int(sys.argv[4]), int(sys.argv[5])
    import trlt.train.grpo
    import trlt.train.sft  # noqa: F401

    count = {True: 0, False: 0}
    while True:
        child = attempt(recipe, folder)
        half, steps = state(folder)
        writing, goal = rng.random() < 0.5, min(steps + rng.randint(1, 2), most - 1)
        code = None
        while (code := ended(child)) is None:
            now, logged = state(folder)
            if sum(count.values()) < kills and (now - half if writing else logged >= goal):
                time.sleep(rng.uniform(0, 0.02 if writing else 0.3))
                how = signal.Signals[rng.choice(sys.argv[6:] or ["SIGKILL"])]
                try:
                    os.killpg(child, how)
                except ProcessLookupError:  # it has no group of its own yet
                    continue
                if how == signal.SIGINT and rng.random() < 0.3:
                    time.sleep(rng.uniform(0, 0.1))
                    with contextlib.suppress(ProcessLookupError):  # it has left after the first
                        os.killpg(child, how)
                os.waitpid(child, 0)
                count[bool(state(folder)[0])] += 1
                break
            time.sleep(0.002)
        if code is not None:
            sys.stdout.write(f"{count[True]} {count[False]}\n")
            sys.exit(code)


if __name__ == "__main__":
    main()
