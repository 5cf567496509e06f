"""Tables inside a recipe's section `reward`: the band of lengths, a task's own weights, and phases."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import ConfigDict, Field, model_validator

from trlt.recipe._base import Outcome, Positive, Section


class LengthBand(Section):
    """Pay for completions of a moderate length, in training only: docs/rewards.md."""

    low: Outcome[Positive]
    """Fewest tokens that are paid in full, the end mark included."""
    high: Outcome[Positive]
    """Most tokens that are paid in full."""
    ramp: Outcome[Positive] = 64
    """Tokens over which it falls linearly to 0, below `low` and above `high`."""
    weight: Outcome[float] = 0.2
    """Weight in the reward (0.2 in Video-R1)."""
    above: Outcome[Annotated[float, Field(ge=0, lt=1)] | None] = None
    """Pay only completions whose answer or span earns more than this (0.1 in Video-R1's code); null pays all."""

    @model_validator(mode="after")
    def _is_a_band(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"reward.length.low ({self.low}) is above reward.length.high ({self.high}); swap them")
        return self


class TaskReward(Section):
    """A task's own weights."""

    weight: Outcome[Annotated[float, Field(gt=0)]] = 1.0
    """Weight of the task's whole reward, further parts included; needs `train.scale_rewards: none` to matter in training."""
    format: Outcome[float | None] = None
    """Weight of the format for this task; null is `reward.format`."""


class Phase(Section):
    """Other values of the reward's keys from a step of training on."""

    model_config = ConfigDict(extra="allow")

    after_steps: Outcome[Positive]
    """Optimizer steps that are done when the phase begins; the keys beside it are those of `reward`."""

    @property
    def changes(self) -> dict[str, Any]:
        """The keys of `reward` that it sets, with their values."""
        return dict(self.model_extra or {})

    @property
    def named(self) -> str:
        """What messages call it."""
        return f"reward.phases: after_steps {self.after_steps}"
