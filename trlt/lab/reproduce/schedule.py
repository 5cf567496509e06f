"""Which stage is next: several at a time, each after what it needs, the runs in their order. Knows no commands and no files."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Protocol

from trlt.lab.reproduce.launch import Launcher, Work
from trlt.lab.reproduce.stages import ArmRun, Stage

WAIT_S = 0.1
"""Between looks at what is being done."""


class Listener(Protocol):
    """Is told what comes of it."""

    def stage(self, stage: Stage, done: int, of: int) -> None:
        """A stage is complete; so many of all are."""

    def finished(self, run: ArmRun) -> None:
        """All stages of a run are complete."""

    def failed(self, run: ArmRun, stage: Stage, error: str) -> None:
        """A run can't be completed, because of this stage."""


def work(
    runs: Sequence[ArmRun], starter: Launcher, listener: Listener, *, jobs: int, pause: Callable[[float], None] = time.sleep
) -> None:
    """Does all stages of the runs, at most `jobs` at a time; the stages of an earlier run come first.

    A stage that fails ends the runs that need it; the others go on. On an interrupt, what is being done is ended.
    """
    stages = {stage.place: stage for run in runs for stage in run.stages}
    done = {place for place, stage in stages.items() if starter.is_done(stage)}
    failed: dict[str, str] = {}
    going: dict[str, Work] = {}
    pending = list(runs)
    try:
        while True:
            pending = [run for run in pending if not _settled(run, done, failed, listener)]
            for stage in _ready(pending, done, failed, going):
                if len(going) >= jobs:
                    break
                going[stage.place] = starter.start(stage)
            if not going:
                return
            if not _look(stages, going, done, failed, listener):
                pause(WAIT_S)
    finally:
        for one in going.values():
            one.stop()


def _settled(run: ArmRun, done: set[str], failed: dict[str, str], listener: Listener) -> bool:
    """Whether a run is over, which is told."""
    for stage in run.stages:
        if stage.place in failed:
            listener.failed(run, stage, failed[stage.place])
            return True
    if all(stage.place in done for stage in run.stages):
        listener.finished(run)
        return True
    return False


def _ready(pending: Sequence[ArmRun], done: set[str], failed: dict[str, str], going: dict[str, Work]) -> list[Stage]:
    """Stages that can begin, in the order of the runs."""
    found: dict[str, Stage] = {}
    for run in pending:
        for stage in run.stages:
            begun = stage.place in done or stage.place in going or stage.place in failed
            if not begun and all(needed.place in done for needed in stage.needs):
                found.setdefault(stage.place, stage)
    return list(found.values())


def _look(stages: dict[str, Stage], going: dict[str, Work], done: set[str], failed: dict[str, str], listener: Listener) -> bool:
    """Takes note of what is over; gives whether anything is."""
    over = {place: fault for place, one in going.items() if (fault := one.poll()) is not None}
    for place, fault in over.items():
        del going[place]
        if fault:
            failed[place] = fault
        else:
            done.add(place)
            listener.stage(stages[place], len(done), len(stages))
    return bool(over)
