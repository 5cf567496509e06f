"""Truncated or masked importance sampling: weights for tokens whose sampling probability differs from the trainer's.

What draws (vLLM, or the engine in BF16) computes by other kernels than the trainer, so it draws from slightly another policy.
A token's weight is the bounded ratio of the two probabilities. Modes and bounds are those of TRL 1.16 for vLLM. Knows
log-probabilities only.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def ratios(trainer: Tensor, sampler: Tensor, mask: Tensor, mode: str) -> Tensor:
    """Probability by the trainer over probability by the sampler: (R, T) of each token, or (R, 1) of each completion.

    Args:
        trainer: (R, T) log-probabilities.
        sampler: (R, T); what isn't a number, because the sampler couldn't tell, makes no difference.
        mask: (R, T), 1 for tokens that count.
        mode: `Update.correction`, but for `none`.
    """
    # NaN goes before the mask is applied: times 0 it would still be NaN.
    apart = (trainer - sampler).nan_to_num(nan=0.0) * mask
    return (apart.sum(dim=-1, keepdim=True) if mode.startswith("sequence") else apart).exp()


def bounded(ratio: Tensor, mode: str, cap: float) -> Tensor:
    """The weights: ratios cut down to `cap`, or 0 in place of those above it."""
    return ratio.clamp(max=cap) if mode.endswith("truncate") else ratio.masked_fill(ratio > cap, 0.0)


class Correction:
    """The weights of a step's passes, and what is logged of them.

    Args:
        mode: `Update.correction`, but for `none`.
        cap: Maximum of a weight.
        gather: Stacks a tensor (1, ...) of each process to (processes, ...).
    """

    def __init__(self, mode: str, cap: float, gather: Callable[[Tensor], Tensor]) -> None:
        self._mode, self._cap, self._gather = mode, cap, gather
        self._seen: list[Tensor] = []

    def weigh(self, trainer: Tensor, sampler: Tensor, mask: Tensor) -> Tensor:
        """Weights of a pass, (R, T) or (R, 1); see `ratios`."""
        ratio = ratios(trainer, sampler, mask, self._mode)
        # One ratio a completion counts where any of its tokens does.
        there = mask.bool() if ratio.shape == mask.shape else mask.any(dim=-1, keepdim=True)
        # Before the cap, so that the log shows how often it is reached.
        self._seen.append(ratio[there])
        return bounded(ratio, self._mode, self._cap)

    def exchange(self) -> dict[str, float]:
        """Mean, least and largest ratio of a step's tokens or completions over all processes, and the share above the cap.

        Empty where nothing counted. Begins the next step.
        """
        seen = torch.cat(self._seen).double()
        self._seen.clear()
        # A process whose completions all don't count still takes part, and the least of no numbers is an error.
        inf = seen.new_tensor([torch.inf])
        local = [seen.sum(), seen.new_tensor(len(seen)), (seen > self._cap).sum().double()]
        local += [torch.cat([seen, inf]).min(), torch.cat([seen, -inf]).max()]
        every = self._gather(torch.stack(local)[None])
        (total, count, above), least, most = every[:, :3].sum(dim=0).tolist(), every[:, 3].min(), every[:, 4].max()
        if not count:
            return {}
        return {
            "correction/ratio_mean": total / count,
            "correction/ratio_min": float(least),
            "correction/ratio_max": float(most),
            "correction/above_cap": above / count,
        }
