"""Does stages: commands as child processes with a log each, the rest in this process. Knows files and processes.

A mark beside a stage's folder says that it is complete; without one, the command goes on from what is there.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, Protocol

from trlt.errors import DataError, ResumeError, TrltError
from trlt.files import write_json, write_jsonl
from trlt.files.bounded_json import read_object
from trlt.lab.miniature import layout
from trlt.lab.reproduce import recipes
from trlt.lab.reproduce.plan_sections import World
from trlt.lab.reproduce.recipes import filled
from trlt.lab.reproduce.stages import Stage
from trlt.lab.reproduce.subset import drawn, swapped
from trlt.rollout import RunFiles, videos_root
from trlt.task.sample import read_samples, write_samples

LOCK = ".lock"
TAIL = 20
"""Lines of a failed command's log that are shown."""


class Work(Protocol):
    """A stage that is being done."""

    def poll(self) -> str | None:
        """None while it goes on, then an empty text, or why it failed."""

    def stop(self) -> None:
        """Ends it, and waits for that."""


@contextmanager
def locked(out: Path) -> Iterator[int]:
    """Keeps a second `trlt reproduce` off the folder, and off commands of a killed one that still run; gives the lock's handle.

    Raises:
        ResumeError: one is at work there.
    """
    out.mkdir(parents=True, exist_ok=True)
    handle = os.open(out / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ResumeError(
                f"{out}: another `trlt reproduce`, or a command that it started, is at work there; wait for it, or end it"
            ) from None
        yield handle  # children hold it too, so that it outlives this process where they do
    finally:
        os.close(handle)


class Launcher:
    """Starts stages in an output folder.

    Args:
        out: The folder.
        world: What is laid out in it.
        lock: Handle of `locked`, which children keep.
        progress: Shows how many clips of how many are written, while they are.
    """

    def __init__(
        self,
        out: Path,
        world: World,
        lock: int | None = None,
        progress: Callable[[], AbstractContextManager[layout.Progress | None]] = nullcontext,
    ):
        self._out, self._world, self._lock, self._progress = out, world, lock, progress

    def is_done(self, stage: Stage) -> bool:
        """Whether a stage is complete."""
        return self._mark(stage).get("id") == stage.id

    def seconds(self, stage: Stage) -> float | None:
        """How long a complete stage took when it was done; None for one that isn't complete."""
        found = self._mark(stage).get("seconds")
        return float(found) if isinstance(found, (int, float)) else None

    def start(self, stage: Stage) -> Work:
        """Begins a stage; one that is done in this process is complete on return."""
        began = time.monotonic()
        if stage.kind in ("world", "subset", "gold"):
            try:
                self._here(stage)
            except TrltError as error:
                return _EndedWork(str(error))
            self._finish(stage, began)
            return _EndedWork("")
        recipe = stage.beside("recipe.yaml", self._out)
        if stage.recipe is not None:
            recipes.write(stage.recipe, recipe, self._out)
        log = stage.beside("log", self._out)
        with log.open("ab") as sink:
            process = subprocess.Popen(
                [sys.executable, "-m", "trlt", *words(stage, self._out)],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "120"},
                pass_fds=() if self._lock is None else (self._lock,),
            )
        return _Child(process, log, lambda: self._finish(stage, began))

    def _here(self, stage: Stage) -> None:
        if stage.kind == "world":
            world = self._world
            place = Path(filled(stage.place, self._out))
            with self._progress() as progress:
                layout.write(
                    place,
                    seed=world.seed,
                    scale=world.scale,
                    bench_scale=world.bench_scale,
                    graded=world.graded,
                    progress=progress,
                )
        if stage.kind == "gold" and stage.recipe is not None:
            form = stage.recipe.form("train")
            asked = read_samples(Path(filled(stage.needs[0].place, self._out)))
            gold = [{"id": sample.id, "text": form.target(sample)} for sample in asked]
            write_jsonl(Path(filled(stage.place, self._out)), gold)
        if stage.subset is not None:
            wanted = stage.subset
            source = Path(filled(wanted.source, self._out))
            samples = drawn(read_samples(source), wanted.tasks, wanted.limit, wanted.seed)
            path = Path(filled(stage.place, self._out))
            write_samples(path, swapped(samples, wanted.seed) if wanted.swap else samples)
            RunFiles(path).write_manifest({"schema": 1, "kind": "subset", "videos": str(videos_root(None, source).resolve())})

    def _finish(self, stage: Stage, began: float) -> None:
        if stage.kind == "train":  # what a run that is complete never goes on from
            shutil.rmtree(Path(filled(stage.place, self._out)) / "checkpoints", ignore_errors=True)
        mark = {"id": stage.id, "seconds": round(time.monotonic() - began, 1)}
        write_json(stage.beside("done.json", self._out), mark)

    def _mark(self, stage: Stage) -> dict[str, Any]:
        with suppress(DataError):
            return read_object(stage.beside("done.json", self._out), remedy="")
        return {}


def words(stage: Stage, out: Path) -> list[str]:
    """The words of a stage's command after `trlt`; none for what is done in this process."""
    recipe = str(stage.beside("recipe.yaml", out))
    return [filled(word, out).replace("{recipe}", recipe) for word in stage.arguments]


class _EndedWork:
    """Work that is over."""

    def __init__(self, fault: str) -> None:
        self._fault = fault

    def poll(self) -> str | None:
        return self._fault

    def stop(self) -> None:
        return None


class _Child:
    """A command at work."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path, finish: Callable[[], None]) -> None:
        self._process, self._log, self._finish = process, log, finish

    def poll(self) -> str | None:
        code = self._process.poll()
        if code is None:
            return None
        if code == 0:
            self._finish()
            return ""
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()[-TAIL:]
        return "\n".join([f"ended with exit code {code}; the end of {self._log}:", *(f"  {line}" for line in lines)])

    def stop(self) -> None:
        """First as Ctrl-C would, so that it ends its own processes; whoever doesn't listen is killed."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            if self._process.poll() is None:
                self._process.send_signal(number)
            try:
                self._process.wait(10)
                return
            except subprocess.TimeoutExpired:
                continue
