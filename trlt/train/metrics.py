"""Metrics of each step's rollouts: collected within a step, then exchanged once. Knows neither scores nor models."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor

STEP_METRICS = (
    "reward",
    "reward_range",
    "frac_zero_range",
    "reward/format",
    "reward/accuracy",
    "reward/tiou",
    "reward/overlong",
    "contrast/ordered",
    "contrast/shuffled",
    "contrast/passed",
    "contrast/earned",
    "length",
    "truncated_frac",
    "same_answer",
    "given/reward",
    "given/share",
    "video_tokens",
    "rounds",
    "asked",
    "left",
    "time/video_wait_s",
    "time/rollout_s",
    "time/score_s",
)
"""What is logged of each step's rollouts beside TRL's own metrics: means over all processes, of `rounds` the most."""


class StepMetrics:
    """The metrics of one optimizer step, over all processes.

    Args:
        gather: Stacks a tensor (1, ...) of each process to (processes, ...).
        device: Device of the exchanged tensors.
        parts: Names of the reward's own parts, in the same order in all processes.
    """

    def __init__(self, gather: Callable[[Tensor], Tensor], device: torch.device, parts: Sequence[str] = ()) -> None:
        self._gather, self._device = gather, device
        self._values: dict[str, list[float]] = {name: [] for name in (*STEP_METRICS, *(f"reward/{part}" for part in parts))}

    def add(self, values: Mapping[str, Iterable[float]]) -> None:
        """Adds this process's numbers, by name."""
        for name, numbers in values.items():
            self._values[name] += numbers

    def exchange(self) -> dict[str, float]:
        """The step's metrics that any process has numbers of; begins the next step.

        One exchange in a fixed order, since processes differ in how many rounds they took.
        """
        local = [[sum(values), len(values), max(values, default=0)] for values in self._values.values()]
        every = self._gather(torch.tensor([local], dtype=torch.float64, device=self._device))
        (totals, counts), most = every[..., :2].sum(dim=0).T.tolist(), every[..., 2].amax(dim=0).tolist()
        found = {}
        for place, (name, values) in enumerate(self._values.items()):
            if counts[place]:
                found[name] = most[place] if name == "rounds" else totals[place] / counts[place]
            values.clear()
        return found
