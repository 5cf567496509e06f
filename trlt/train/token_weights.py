"""How much each token of a pass counts that isn't simply the policy's: drawn by other kernels, or given from elsewhere.

TRL's loss multiplies a token's policy term with `importance_sampling_ratio`, which is made here of two rules: the correction of
draws (`importance_weights`) and the weights of given answers (`given_answers`). Knows tensors; neither samples nor models.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from trlt.engine.forest import Completion
from trlt.recipe import Train
from trlt.train.given_answers import OFFLINE, REPLAY, GivenWeights, Rule, shaped, source_of, told_logps, truncated
from trlt.train.importance_weights import Correction
from trlt.train.policy_means import PolicyMeans


class TokenWeights:
    """The weights of a step's passes, and what is logged of them.

    Args:
        train: The recipe's section.
        gather: Stacks a tensor (1, ...) of each process to (processes, ...).
        reduce: Sums a tensor over all processes.
    """

    def __init__(self, train: Train, gather: Callable[[Tensor], Tensor], reduce: Callable[..., Tensor]) -> None:
        mode, cap = train.corrects, train.correction_cap
        rules: dict[str, Rule] = {}
        if offline := train.offline:
            rules[OFFLINE] = shaped(offline.gamma) if offline.weights == "shaped" else truncated(cap)
        if train.online and train.online.replay:
            rules[REPLAY] = truncated(train.online.replay.cap)
        self._correction = None if mode == "none" else Correction(mode, cap, gather)
        self._given = GivenWeights(rules, gather) if rules else None
        self._means = PolicyMeans(reduce)

    @property
    def needed(self) -> bool:
        """Whether any token may count otherwise than once."""
        return self._correction is not None or self._given is not None

    def columns(self, completions: Sequence[Completion], length: int, device: torch.device) -> dict[str, Any]:
        """What `weigh` needs among a pass's inputs; nothing where all tokens count once."""
        if not self.needed:
            return {}
        return {
            "sampler_logps": told_logps(completions, length, device),
            "sources": [source_of(one) for one in completions],
        }

    def weigh(self, inputs: dict[str, Any], logps: Tensor, entropies: Tensor | None) -> None:
        """Puts the weights of a pass's tokens among its inputs; given answers have their own, and no KL term.

        Args:
            inputs: Of the pass, with `columns`.
            logps: (R, T) of the policy that the step began with, without gradient.
            entropies: (R, T), or None.
        """
        told, mask, sources = inputs["sampler_logps"], inputs["completion_mask"], inputs["sources"]
        own = torch.tensor([[not source] for source in sources], device=mask.device)
        weights = self._correction.weigh(logps, told, mask * own) if self._correction else torch.ones_like(logps)
        if self._given:
            weights = self._given.weigh(logps, told, mask, sources, weights)
            reference = inputs.get("ref_per_token_logps")
            if reference is not None:
                # Where both are the same, k3 is 0 and so is its gradient.
                inputs["ref_per_token_logps"] = torch.where(own, reference, logps)
            self._means.see(logps, inputs.get("ref_per_token_logps"), entropies, mask * own)
        inputs["importance_sampling_ratio"] = weights

    def pass_means(self) -> dict[str, float]:
        """KL divergence and entropy over the policy's own tokens of a pass; empty where all tokens are its own."""
        return self._means.exchange() if self._given else {}

    def exchange(self) -> dict[str, float]:
        """What is logged of a step, over all processes, which come here together; begins the next step."""
        both = (self._correction, self._given)
        return {name: value for weights in both if weights for name, value in weights.exchange().items()}
