"""Answers that the policy didn't draw, in places of its groups: what they are, and how much their tokens count.

A given answer is graded and stands in its group's mean and deviation as any other. Its tokens are of another policy mu, so with
the ratio rho = pi / mu they add w A grad log pi to the gradient, where those of a fresh draw add A grad log pi:

    truncated:  w = min(rho, C), truncated importance sampling
    shaped:     w = gamma rho / (rho + gamma)^2, the gradient of LUFFY's rho / (rho + gamma) A (arXiv 2504.14945)

`w` is what a token's policy term is multiplied by. Where mu isn't known it is taken for 1, as LUFFY does. Clipping has no part
in it, and neither has the KL term, which is a mean over the policy's own draws. Knows completions and tensors; neither where
answers are from (`offline_answers`) nor losses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from trlt.engine.forest import Completion

OFFLINE = "offline"
"""Source of answers from a file."""
REPLAY = "replay"
"""Source of answers that the policy drew in an earlier step."""


@dataclass(frozen=True)
class GivenAnswer(Completion):
    """A completion that wasn't drawn by the policy of this step.

    Its `logps` are those of whoever wrote it, for each token, the end mark included; empty where they aren't known.
    """

    source: str = OFFLINE
    """By which its rule is found, and what logs call it."""


Provider = Callable[[int, int], Sequence[GivenAnswer]]
"""(sample's index, steps that are done) -> the answers that take the last places of its group; the same in every process."""
Rule = Callable[[Tensor], Tensor]
"""Ratios pi / mu of tokens -> their weights w."""


def first_given(*providers: Provider | None) -> Provider:
    """Gives what the first of some gives that gives anything: places of a group are never shared by two."""

    def given(index: int, step: int) -> Sequence[GivenAnswer]:
        every = (provider(index, step) for provider in providers if provider)
        return next((answers for answers in every if answers), ())

    return given


def source_of(completion: Completion) -> str:
    """Where a completion is from; empty for one that the policy drew."""
    return completion.source if isinstance(completion, GivenAnswer) else ""


def drawn(completions: Sequence[Completion]) -> list[int]:
    """Places of the completions that the policy drew: means that say something of the policy are taken over them."""
    return [place for place, one in enumerate(completions) if not isinstance(one, GivenAnswer)]


def truncated(cap: float) -> Rule:
    """The ratio itself, at most `cap`."""
    return lambda ratio: ratio.clamp(max=cap)


def shaped(gamma: float) -> Rule:
    """LUFFY's policy shaping f(rho) = rho / (rho + gamma), as the weight f'(rho) rho: highest, 1/4, at rho = gamma.

    Rare tokens count more beside frequent ones than by the ratio itself, and tokens that the policy is sure of count little.
    """
    return lambda ratio: gamma * ratio / (ratio + gamma).square()


def ratios(policy: Tensor, behaviour: Tensor) -> Tensor:
    """The ratio pi / mu of each token, (R, T).

    Args:
        policy: (R, T) log-probabilities.
        behaviour: (R, T) those of whoever wrote the tokens; NaN where they aren't known, which counts as mu = 1.
    """
    return (policy - behaviour.nan_to_num(nan=0.0)).exp()


def told_logps(completions: Sequence[Completion], length: int, device: torch.device) -> Tensor:
    """(R, length) log-probabilities as completions bring them; NaN where they bring none, 0 behind their ends.

    Raises:
        ValueError: a completion brings some, and not one for each token.
    """
    rows = []
    for one in completions:
        if one.logps and len(one.logps) != len(one.tokens):
            raise ValueError(f"{len(one.logps)} log-probabilities for {len(one.tokens)} tokens")
        row = torch.tensor(one.logps or (torch.nan,) * len(one.tokens), device=device)
        rows.append(torch.nn.functional.pad(row, (0, length - len(row))))
    return torch.stack(rows)


class GivenWeights:
    """The weights of given answers' tokens in a step's passes, and what is logged of them.

    Args:
        rules: Of each source.
        gather: Stacks a tensor (1, ...) of each process to (processes, ...).
    """

    def __init__(self, rules: Mapping[str, Rule], gather: Callable[[Tensor], Tensor]) -> None:
        self._rules, self._gather = dict(rules), gather
        self._sums: Tensor | None = None

    def weigh(self, policy: Tensor, behaviour: Tensor, mask: Tensor, sources: Sequence[str], own: Tensor) -> Tensor:
        """Weights of a pass, (R, T).

        Args:
            policy: (R, T) log-probabilities, without gradient.
            behaviour: (R, T); see `ratios`.
            mask: (R, T), 1 for tokens that count.
            sources: Of each row; empty for those that the policy drew.
            own: (R, T) or (R, 1) weights of the latter.
        """
        weights = own.expand_as(policy).clone()
        sums = torch.zeros(3, dtype=torch.float64, device=policy.device)
        for place, source in enumerate(sources):
            if not source:
                continue
            weights[place] = self._rules[source](ratios(policy[place], behaviour[place]))
            counted = mask[place].bool()
            sums += torch.stack([weights[place][counted].sum(), policy[place][counted].exp().sum(), counted.sum()]).double()
        self._sums = sums if self._sums is None else self._sums + sums
        return weights

    def exchange(self) -> dict[str, float]:
        """Mean weight and mean probability of a step's given tokens over all processes; begins the next step.

        Empty where no answer was given.
        """
        assert self._sums is not None, "a step has passes"
        weight, probability, count = self._gather(self._sums[None]).sum(dim=0).tolist()
        self._sums = None
        return {"given/weight": weight / count, "given/probability": probability / count} if count else {}
