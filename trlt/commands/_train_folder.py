"""The folder of a training run: one training at a time works on it, and it belongs to one recipe, model and data."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from trlt.errors import ResumeError
from trlt.files import read_log
from trlt.recipe import Recipe, save_recipe
from trlt.rollout import model_identity, open_run
from trlt.train.checkpoints import latest_checkpoint
from trlt.train.step_notes import LOG, forget_after
from trlt.train.unreadable_videos import cut_broken

WRITTEN = (
    *("checkpoints", "model", "adapter", "completions"),
    *("log.jsonl", "broken.jsonl", "difficulty.jsonl", "online.jsonl", "task_scale.jsonl", "result.json", "report.html"),
)
"""What a run writes, and `--fresh` removes."""
LOCK = ".lock"


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Keeps other trainings out of a folder; the system lets go of it when this process ends, however it does.

    Raises:
        ResumeError: another training is at work there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS):  # a file system without locks
                yield
                return
            file.seek(0)
            raise ResumeError(
                f"{folder}: another training is at work on it ({file.read().strip() or 'just begun'}); wait for its end, or "
                "give another --out"
            ) from None
        file.truncate(0)
        file.write(f"process {os.getpid()} of {os.uname().nodename}\n")
        file.flush()
        yield


def saved_step(folder: Path) -> int:
    """The last step that a run would go on from; 0: none."""
    checkpoint = latest_checkpoint(folder / "checkpoints")
    return int(checkpoint.name.rpartition("-")[2]) if checkpoint else 0


def has_begun(folder: Path) -> bool:
    """Whether there is something to lose: a saved step, or a result."""
    return (folder / "result.json").is_file() or saved_step(folder) > 0


def kept(folder: Path) -> str:
    """What an interruption leaves, in words; what was noted of steps that aren't saved is removed."""
    step, log = saved_step(folder), folder / LOG
    last = max((row["step"] for row in read_log(log)), default=0) if log.is_file() else 0
    forget_after(folder, step)
    lost = f", {last - step} later {'one is' if last - step == 1 else 'ones are'} lost" if last > step else ""
    if not step:
        return f"no step was saved{lost}; the same command starts anew"
    return f"step {step} saved{lost}; the same command goes on from there"


def open_folder(
    recipe: Recipe, inputs: Mapping[str, Mapping[str, Any]], located: str, folder: Path, *, fresh: bool, first: bool
) -> bool:
    """Opens the run's folder; gives whether its run is complete. Where no step was saved, it begins anew.

    Args:
        recipe: As resolved.
        inputs: Identities of its samples (`data`) and of what else it reads, by name.
        located: The model's folder or hub id.
        folder: The run's.
        fresh: Forget what is there.
        first: Whether this is the first of the run's processes; the others find what that one has opened.

    Raises:
        ResumeError: it belongs to another run, of which there are steps.
    """
    fresh = first and (fresh or not has_begun(folder))
    if fresh:
        for name in WRITTEN:
            path = folder / name
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
    elif first:
        cut_broken(folder, saved_step(folder))  # before anything is counted: a file may have been mended since
    settings = {**recipe.train.model_dump(mode="json"), "video": recipe.video.model_dump(mode="json")}
    protocol = {"prompt": recipe.prompt.words().version, **settings}
    run = open_run(
        folder,
        "train",
        recipe,
        model=model_identity(located),
        inputs=inputs,
        protocol=protocol,
        fresh=fresh,
    )
    save_recipe(run.recipe, recipe)
    return (folder / "result.json").is_file()


def logged(folder: Path) -> list[dict[str, object]]:
    """The rows that a resumed run goes on from."""
    log = folder / LOG
    done = saved_step(folder)
    return [row for row in read_log(log) if row["step"] <= done] if log.is_file() else []
