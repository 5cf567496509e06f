"""Which samples a step asks, by what earlier steps earned: those that were retired are left out, online selection chooses.

Knows samples' numbers and scored groups; neither models nor losses. All processes hold the same state; the main one writes it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from accelerate import Accelerator

from trlt.recipe import Train
from trlt.train.dynamic_sampling import PromptSlot, ScoredGroup, make_slots
from trlt.train.given_answers import Provider
from trlt.train.online.selection import Ask, OnlineSelection
from trlt.train.retirement import Retirement, Visit


class PromptChoice:
    """The choice of a training's prompts.

    Args:
        train: The recipe's section.
        folder: The run's folder.
        ids: Of the samples.
        processes: Of the run.
        seed: Of replacements.
        announce: Is told of samples whose clips are needed soon, and of how many clips to keep at most.

    Raises:
        DataError: `train.online.probe` can't be read, or is of other samples.
    """

    def __init__(
        self,
        train: Train,
        folder: Path,
        ids: Sequence[str],
        processes: Accelerator,
        seed: int,
        announce: Callable[..., None],
    ) -> None:
        self._processes, self._count, self._seed, self._announce = processes, len(ids), seed, announce
        rank, writes = (processes.process_index, processes.num_processes), processes.is_main_process
        self._retirement = Retirement(folder, ids, train.retire_after, writes=writes)
        self._online: OnlineSelection | None = None
        if train.online:
            self._online = OnlineSelection(train.online, train, folder, ids, self._retirement, process=rank, writes=writes)

    @property
    def told(self) -> str:
        """What users are to know before the first step; empty if there is nothing."""
        return self._online.told if self._online else ""

    @property
    def left(self) -> int:
        """How many samples have been retired."""
        return len(self._retirement.left)

    @property
    def replayed(self) -> Provider | None:
        """Gives the earlier completions that take places of groups; None without `train.online.replay`."""
        return self._online.replayed if self._online and self._online.replay is not None else None

    def resume(self, step: int) -> None:
        """Restores what was known after a step."""
        self._retirement.resume(step)
        if self._online:
            self._online.resume(step)

    def announce_order(self, coming: Sequence[int], most: int) -> None:
        """Announces the clips of TRL's order, where that is what is asked.

        Args:
            coming: Samples in that order.
            most: Clips to keep at most.
        """
        if self._online:  # chooses other prompts, and announces them as soon as they are known
            return
        self._announce([index for index in coming if index not in self._retirement.left], most=most)

    def slots(self, step: int, wanted: Sequence[int]) -> Sequence[PromptSlot]:
        """This process's slots of a step.

        Args:
            step: Steps that are done.
            wanted: Samples that TRL's order gives to this process.
        """
        state = self._processes
        own = range(state.process_index * len(wanted), (state.process_index + 1) * len(wanted))
        # Of all processes: replacements are shared out among all slots of the step, not among those of one process.
        every = state.gather(torch.tensor(wanted, device=state.device)).tolist()
        if self._online:
            return self._online.slots(step, own)
        return make_slots(every, own, self._count, f"{self._seed}:{step}", self._retirement.left)

    def asking(self, step: int, ask: Ask) -> Ask:
        """`ask`, with what a step asks beside its prompts."""
        return self._online.reprobing(step, ask) if self._online else ask

    def learn(self, step: int, scored: Sequence[ScoredGroup]) -> dict[str, float]:
        """Takes the groups of a step, over all processes, and announces the clips of the next one's prompts.

        Args:
            step: Steps that were done before it.
            scored: The groups of this process's slots.

        Returns:
            Metrics of online selection, the same in all processes.
        """
        seen = [[s.index, sum(s.own.rewards) / len(s.own.rewards), s.reward_range] for s in scored]
        every = self._processes.gather(torch.tensor(seen, dtype=torch.float64, device=self._processes.device))
        visits = [Visit(int(index), mean, reward_range) for index, mean, reward_range in every.tolist()]
        self._retirement.see(step, visits)
        if not self._online:
            return {}
        metrics = self._online.learn(step, self._processes.gather, self._processes.device)
        first = self._processes.process_index * len(scored)
        coming = self._online.coming(step + 1, range(first, first + len(scored)))
        self._announce(coming, most=len(coming))
        return metrics
