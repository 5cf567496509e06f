"""Means of a pass that say something of the policy, where some of the pass's completions aren't its own. Knows tensors only."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


class PolicyMeans:
    """KL divergence and entropy over the tokens that the policy drew, in place of TRL's over all tokens of a pass.

    Args:
        reduce: Sums a tensor over all processes.
    """

    def __init__(self, reduce: Callable[..., Tensor]) -> None:
        self._reduce = reduce
        self._sums: dict[str, Tensor] = {}

    def see(self, logps: Tensor, reference: Tensor | None, entropies: Tensor | None, mask: Tensor) -> None:
        """Takes a pass.

        Args:
            logps: (R, T) of the policy.
            reference: (R, T) of the reference model; None without one.
            entropies: (R, T); None where they weren't computed.
            mask: (R, T), 1 for tokens that count and that the policy drew.
        """
        values = {"entropy": entropies}
        if reference is not None:
            values["kl"] = (reference - logps).exp() - (reference - logps) - 1
        self._sums = {
            name: torch.stack([(one.detach() * mask).sum(), mask.sum()]).double()
            for name, one in values.items()
            if one is not None
        }

    def exchange(self) -> dict[str, float]:
        """The pass's means over all processes, which come here together."""
        found = {name: self._reduce(sums, reduction="sum").tolist() for name, sums in self._sums.items()}
        return {name: total / max(count, 1.0) for name, (total, count) in found.items()}
