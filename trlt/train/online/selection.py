"""What the trainer holds of online selection: a step's slots, its re-probes, and what is learned from both.

All processes hold the same state, made of the history's lines alone; the main one writes them. Knows samples' numbers and
scored groups; neither models nor losses.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trlt.errors import counted
from trlt.recipe import Online, Train
from trlt.train.dynamic_sampling import PromptSlot, ScoredGroup
from trlt.train.given_answers import GivenAnswer
from trlt.train.online.asked_slot import AskedSlot, noted
from trlt.train.online.choice import Choice, Chooser
from trlt.train.online.curriculum import moved
from trlt.train.online.estimates import Estimates
from trlt.train.online.exchange import exchanged
from trlt.train.online.history import AskedGroup, History
from trlt.train.online.probed import read_probe
from trlt.train.online.replay import ReplayBuffer
from trlt.train.online.shuffles import lazily_shuffled
from trlt.train.online.skipping import Skipping
from trlt.train.online.staleness import Staleness
from trlt.train.retirement import Retirement, Visit

Ask = Callable[[Sequence[int]], Sequence[ScoredGroup | None]]
"""Samples' indices to their scored groups; None for one that can't be used."""


class OnlineSelection:
    """The online selection of a run.

    Args:
        settings: `train.online`.
        train: The recipe's section.
        folder: The run's folder.
        ids: Of the samples.
        retirement: Samples that have left; a re-probe may bring them back.
        process: (rank, how many there are).
        writes: Whether this process is the one that writes.

    Raises:
        DataError: `train.online.probe` can't be read, or is of other samples.
    """

    def __init__(
        self,
        settings: Online,
        train: Train,
        folder: Path,
        ids: Sequence[str],
        retirement: Retirement,
        *,
        process: tuple[int, int] = (0, 1),
        writes: bool = True,
    ) -> None:
        self._settings, self._train, self._retirement, self._process = settings, train, retirement, process
        self._history = History(folder, ids, writes=writes)
        self._count, self._seed = len(ids), f"online:{train.seed}"
        self._probed = read_probe(Path(settings.probe), ids) if settings.probe else {}
        self._slots: list[AskedSlot] = []
        self._asked_again: list[AskedGroup] = []
        self._begin()

    @property
    def told(self) -> str:
        """What users are to know before the first step; empty if there is nothing."""
        if self._settings.probe is None:
            return ""
        lacking = self._count - len(self._probed)
        rest = f"; {counted(lacking, 'other')} begin with an even chance" if lacking else ""
        return f"{counted(len(self._probed), 'sample')} begin with the estimate of {self._settings.probe}{rest}"

    def _begin(self) -> None:
        settings, count = self._settings, self._count
        self._estimates = Estimates(count, settings.discount)
        self._estimates.begin(self._probed, settings.probe_weight)
        self._skipping = Skipping(settings.skip, count, self._train.min_reward_range) if settings.skip else None
        self.replay = ReplayBuffer(settings.replay) if settings.replay else None
        ordered: Sequence[int] = ()
        if settings.reprobe and self._probed:
            ordered = [sample for sample in lazily_shuffled(count, f"{self._seed}:stale") if sample in self._probed]
        self._staleness = Staleness(ordered) if settings.reprobe else None
        self._target = settings.curriculum.start if settings.curriculum else None
        self._difficulty = _difficulties(self._probed, count)
        by = settings.near or settings.curriculum
        self._chooser = Chooser(
            count,
            self._train.prompts_per_step,
            self._seed,
            candidates=by.candidates if by else None,
            distance=self._distance if by else None,
            chance=self._skipping.asked_with if self._skipping else None,
        )
        self._chosen: tuple[int, Choice] | None = None

    def resume(self, step: int) -> None:
        """Restores the state before a step, from the history alone; after `cut_history`, and after the retirement's."""
        self._begin()
        for done, groups, chosen in self._history.read(step):
            self._learn(done, groups)
            self._chooser.go_to(chosen["position"])

    # -- a step ---------------------------------------------------------------------------------------------------------

    def coming(self, step: int, own: Sequence[int]) -> list[int]:
        """The samples that this process will ask first in a step: its clips can be loaded while others are worked on."""
        choice = self._choice(step)
        return [*(choice.prompts[slot] for slot in own), *self._share(self._to_reprobe(step))]

    def slots(self, step: int, own: Sequence[int]) -> Sequence[PromptSlot]:
        """The slots of this process in a step.

        Args:
            step: Steps that are done.
            own: Which of the step's slots are this process's.
        """
        choice, most = self._choice(step), self._settings.replay.most if self._settings.replay else 0
        self._slots = [AskedSlot(self._chooser.line(step, choice, slot, self._retirement.left), most=most) for slot in own]
        return self._slots

    def replayed(self, sample: int, step: int) -> Sequence[GivenAnswer]:
        """The kept completion that takes a place in a sample's group of a step, if any: none in a re-probe."""
        if self.replay is None or sample in self._to_reprobe(step):
            return ()
        return self.replay.answers(sample)

    def reprobing(self, step: int, ask: Ask) -> Ask:
        """Asks this process's share of the step's re-probes beside the first prompts, so that all grow side by side."""
        waiting = self._share(self._to_reprobe(step))
        most = self._settings.replay.most if self._settings.replay else 0
        self._asked_again = []

        def both(asked: Sequence[int]) -> Sequence[ScoredGroup | None]:
            again, count = list(waiting), len(asked)
            waiting.clear()
            scored = ask([*asked, *again])
            self._asked_again += [noted(one, "probe", most) for one in scored[count:] if one is not None]
            return scored[:count]

        return both

    def learn(self, step: int, gather: Callable[[Tensor], Tensor], device: torch.device) -> dict[str, float]:
        """Exchanges and notes the groups of a step, learns from them, and chooses the next step's prompts.

        Args:
            step: Steps that were done before it.
            gather: Stacks a tensor (1, ...) of each process to (processes, ...).
            device: Of the exchanged tensors.

        Returns:
            Metrics of the step, the same in all processes.
        """
        began = time.perf_counter()
        mine = [note._asdict() for slot in self._slots for note in slot.notes]
        every = exchanged([{"asked": mine, "again": [note._asdict() for note in self._asked_again]}], gather, device)
        # A process's slots are next to each other; its share of the re-probes goes round.
        groups = [AskedGroup(**row) for one in every for row in one["asked"]]
        again = sorted((AskedGroup(**row) for one in every for row in one["again"]), key=lambda group: group.sample)
        groups += again
        choice = self._choice(step)
        self._history.write(step, groups, self._chosen_line(choice))
        metrics = self._metrics(groups, choice)
        self._learn(step, groups)
        metrics["online/back"] = float(len(self._retirement.come_back(step, [_visit(g) for g in again if g.reward_range > 0])))
        if self.replay is not None:
            metrics["online/kept"] = float(len(self.replay))
        learned = time.perf_counter()
        self._choice(step + 1)
        return metrics | {"time/state_s": learned - began, "time/choose_s": time.perf_counter() - learned}

    def _learn(self, step: int, groups: Sequence[AskedGroup]) -> None:
        if self._target is not None and self._settings.curriculum:
            kept = [group.score for group in groups if group.kind == "kept"]
            if kept:
                self._target = round(moved(self._target, sum(kept) / len(kept), self._settings.curriculum), 9)
        self._estimates.see(groups)
        if self._skipping:
            self._skipping.see(groups)
        if self._staleness:
            self._staleness.see(group.sample for group in groups)
        if self.replay is not None:
            self.replay.see(step, groups)
        for group in groups:
            self._chooser.visits[group.sample] += 1

    # -- what is asked ----------------------------------------------------------------------------------------------------

    def _choice(self, step: int) -> Choice:
        """A step's prompts: chosen once, since the passes over the pool go on."""
        if self._chosen is None or self._chosen[0] != step:
            left = self._retirement.left
            first: list[int] = []
            if self.replay is not None and self._settings.replay:
                first = self.replay.waiting(int(self._settings.replay.share * self._train.prompts_per_step), left)
            self._chosen = (step, self._chooser.choose(step, first, left))
        return self._chosen[1]

    def _to_reprobe(self, step: int) -> list[int]:
        settings = self._settings.reprobe
        # Before the first step nothing has changed since the probe.
        if settings is None or self._staleness is None or step == 0 or step % settings.every:
            return []
        return self._staleness.oldest(settings.samples, set(self._choice(step).prompts))

    def _share(self, samples: Sequence[int]) -> list[int]:
        rank, processes = self._process
        return list(samples[rank::processes])

    def _distance(self, candidates: NDArray[np.int64], random: np.random.Generator) -> NDArray[np.float64]:
        if self._settings.near:
            return np.abs(self._estimates.drawn(candidates, random) - self._settings.near.target)
        assert self._settings.curriculum and self._target is not None
        fixed = self._settings.curriculum.difficulty == "probe"
        difficulty = self._difficulty[candidates] if fixed else 1 - self._estimates.mean(candidates)
        return np.abs(difficulty - self._target)

    # -- what is told -----------------------------------------------------------------------------------------------------

    def _chosen_line(self, choice: Choice) -> dict[str, Any]:
        skipped = [self._history.id(sample) for sample in choice.skipped]
        return {"position": choice.position, **({"skipped": skipped} if skipped else {})}

    def _metrics(self, groups: Sequence[AskedGroup], choice: Choice) -> dict[str, float]:
        asked = np.asarray([group.sample for group in groups], dtype=np.int64)
        apart = np.abs(self._estimates.mean(asked) - np.asarray([group.score for group in groups]))
        probes = sum(group.kind == "probe" for group in groups)
        found = {
            "online/groups": float(len(groups)),
            "online/completions": float(sum(group.n for group in groups)),
            "online/score": _mean([group.score for group in groups if group.kind == "kept"]),
            "online/error": float(apart.mean()) if len(apart) else 0.0,
        }
        if self._skipping:
            found |= {
                "online/skipped": float(len(choice.skipped)),
                "online/ask_easy": self._skipping.easy,
                "online/ask_hard": self._skipping.hard,
            }
        if self._target is not None:
            found["online/target"] = self._target
        if self.replay is not None:
            found["online/replayed"] = float(sum(group.replayed for group in groups))
        if self._staleness:
            found["online/probes"] = float(probes)
        return found


def _visit(group: AskedGroup) -> Visit:
    return Visit(group.sample, group.mean, group.reward_range)


def _difficulties(probed: Mapping[int, tuple[float, int]], count: int) -> NDArray[np.float64]:
    """1 minus the mean score in the probe; a half where a sample has none.

    Not by the estimates: their prior would squeeze it, rows of few answers more than others, and `probe_weight` with them.
    """
    found = np.full(count, 0.5)
    for sample, (scores, answers) in probed.items():
        found[sample] = 1 - scores / answers
    return found


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
