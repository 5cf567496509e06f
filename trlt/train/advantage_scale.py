"""Advantages of a step's groups: what is subtracted from rewards, and which deviation they are divided by.

Of the deviations, `group` is of the group itself (Eq. 3), `batch` of all rewards of the step, and `task` a running one of each
task. The last follows OneThinker's public code for EMA-GRPO (arXiv 2512.03043): of each step, the mean and the mean square of a
task's rewards move the task's running moments by 1 - decay, and then

    A_i = (R_i - mean) / (sigma_task + 1e-6),   sigma_task = max(sqrt(m2 - m1^2), 1e-3)

unless an advantage of the group is beyond 5, where the group's own deviation (divided by G) takes its place. Unlike there, the
moments are in float64, stand in a file of the run, and are found again when it goes on. Knows rewards and tasks; no tensors.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from trlt.files import append_jsonl, read_log, write_jsonl
from trlt.files.forms import MomentsForm
from trlt.task.reward import advantages
from trlt.task.sample import TASKS, Task

if TYPE_CHECKING:  # an interruption cuts this file's notes back, and must not load more for it
    from trlt.recipe import Update

SCALES = "task_scale.jsonl"
"""Its name in a run's folder: one line per step and task, with the moments of the step's rewards and the deviation then."""
LEAST = 1e-3
"""Least running deviation."""
GUARD = 5.0
"""Largest advantage by a running deviation."""
EPS = 1e-6
"""Added to running deviations."""
BATCH_EPS = 1e-4
"""Added to a step's deviation, as TRL does."""

Gather = Callable[[Sequence[Sequence[float]]], Sequence[Sequence[float]]]
"""Rows of this process -> those of all processes."""


class Moments(NamedTuple):
    """Running mean and mean square of a task's rewards."""

    mean: float
    square: float

    @property
    def deviation(self) -> float:
        """What advantages are divided by."""
        return math.sqrt(max(self.square - self.mean**2, LEAST**2))


class GroupRewards(NamedTuple):
    """What the advantages of a group are made of."""

    task: Task
    rewards: tuple[float, ...]


class AdvantageScale:
    """The advantages of a run, step by step; all processes hold the same moments, the main one writes them.

    Args:
        folder: The run's folder.
        settings: `scale_rewards`, `baseline` and `task_decay` count.
        gather: See `Gather`; used where groups of other processes count.
        writes: Whether this process is the one that writes.
    """

    def __init__(self, folder: Path, settings: Update, gather: Gather, *, writes: bool) -> None:
        self._path, self._settings, self._gather, self._writes = folder / SCALES, settings, gather, writes
        self._running: dict[Task, Moments] = {}

    @property
    def deviations(self) -> dict[Task, float]:
        """The running deviation of each task seen so far; empty but for `task`."""
        return {task: moments.deviation for task, moments in self._running.items()}

    def resume(self, step: int) -> None:
        """Restores the moments after a step, from the file alone."""
        self._running = {}
        for row in _read(self._path):
            if row["step"] <= step:
                self._move(row["task"], Moments(row["mean"], row["square"]))

    def __call__(self, step: int, groups: Sequence[GroupRewards]) -> list[list[float]]:
        """Advantages of this process's groups; all processes come here together, with equally many.

        Args:
            step: Its number as in `log.jsonl`, from 1.
            groups: All of one size.
        """
        scale, apart = self._settings.scale_rewards, self._settings.baseline == "leave_one_out"
        if scale == "batch":
            every = [reward for _, *rewards in self._all(groups) for reward in rewards]
            divisor = _deviation(every, len(every) - 1) + BATCH_EPS
            return [[a / divisor for a in centred(one.rewards, leave_one_out=apart)] for one in groups]
        if scale == "task":
            self._learn(step, self._all(groups))
            return [self._by_task(one, leave_one_out=apart) for one in groups]
        if not apart:
            return [advantages(one.rewards, scale=scale == "group") for one in groups]
        divisors = [_deviation(one.rewards, len(one.rewards) - 1) + BATCH_EPS if scale == "group" else 1.0 for one in groups]
        return [
            [a / divisor for a in centred(one.rewards, leave_one_out=True)]
            for one, divisor in zip(groups, divisors, strict=True)
        ]

    def _all(self, groups: Sequence[GroupRewards]) -> Sequence[Sequence[float]]:
        """(number of the task, rewards) of each group of all processes."""
        return self._gather([[float(TASKS.index(one.task)), *one.rewards] for one in groups])

    def _learn(self, step: int, every: Sequence[Sequence[float]]) -> None:
        rows = []
        for number, task in enumerate(TASKS):
            rewards = [reward for found, *rest in every if found == number for reward in rest]
            if rewards:
                # Exact sums, so that the order of processes and groups makes no difference.
                step_moments = Moments(
                    math.fsum(rewards) / len(rewards), math.fsum(reward * reward for reward in rewards) / len(rewards)
                )
                self._move(task, step_moments)
                deviation = self._running[task].deviation
                rows.append({"step": step, "task": task, **step_moments._asdict(), "deviation": deviation})
        if self._writes:
            append_jsonl(self._path, *rows)

    def _move(self, task: Task, by: Moments) -> None:
        before, stays = self._running.get(task), self._settings.task_decay
        if before is not None:
            by = Moments(*(stays * old + (1 - stays) * new for old, new in zip(before, by, strict=True)))
        self._running[task] = by

    def _by_task(self, one: GroupRewards, *, leave_one_out: bool) -> list[float]:
        apart = centred(one.rewards, leave_one_out=leave_one_out)
        found = [a / (self._running[one.task].deviation + EPS) for a in apart]
        if max(map(abs, found)) > GUARD:
            divisor = _deviation(one.rewards, len(one.rewards)) + EPS
            return [a / divisor for a in apart]
        return found


def centred(rewards: Sequence[float], *, leave_one_out: bool) -> list[float]:
    """Rewards minus their mean, or each minus the mean of the others (RLOO); exact zeros where all are equal."""
    if min(rewards) == max(rewards):
        return [0.0] * len(rewards)
    if not leave_one_out:
        return advantages(rewards, scale=False)
    places = range(len(rewards))
    return [rewards[i] - math.fsum(rewards[j] for j in places if j != i) / (len(rewards) - 1) for i in places]


def _deviation(rewards: Sequence[float], divisor: int) -> float:
    mean = math.fsum(rewards) / len(rewards)
    return math.sqrt(math.fsum((reward - mean) ** 2 for reward in rewards) / divisor)


def cut_scales(folder: Path, step: int) -> None:
    """Removes what was noted after a step: a resumed run notes it again."""
    path = folder / SCALES
    if path.is_file():
        write_jsonl(path, [row for row in _read(path) if row["step"] <= step])


def _read(path: Path) -> list[dict[str, Any]]:
    return read_log(path, MomentsForm) if path.is_file() else []
