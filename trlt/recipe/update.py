"""A recipe's keys for the update: learning rate, loss, and what counts in it. Knows neither files nor torch."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from trlt.recipe._base import Decoding, Input, Means, Outcome, Positive, Section
from trlt.recipe.algorithms import Name

Correction = Literal["none", "token_truncate", "token_mask", "sequence_truncate", "sequence_mask"]


class Offline(Section):
    """Answers that somebody else wrote, in places of groups (LUFFY); see [algorithms](algorithms.md#given-answers)."""

    data: Input[str]
    """JSONL with a sample's `id`, the `text` of an answer to it and, where they are known, `logps` of its tokens."""
    per_group: Outcome[Positive] = 1
    """Places of a group that they take at most; the policy draws the others."""
    weights: Outcome[Literal["shaped", "truncated"]] = "shaped"
    """What the ratio of the policy's to the writer's probability becomes: LUFFY's `ratio / (ratio + gamma)`, or the ratio up to
    `correction_cap` (`truncated`, which needs `logps`). Without `logps` the writer's probability counts as 1."""
    gamma: Outcome[Annotated[float, Field(gt=0)]] = 0.1
    """Of `shaped`: the smaller, the more unlikely tokens count."""


class Update(Decoding):
    """The keys of `train` that define an optimizer step."""

    algorithm: Means[Name | None] = None
    """A name for the fields that it sets, as its paper has them, where the recipe says nothing of them: see
    [algorithms](algorithms.md#names). Runs are told apart by those fields."""
    max_new_tokens: Outcome[Positive] = 768
    learning_rate: Outcome[Annotated[float, Field(gt=0)]] = 1e-6
    scheduler: Outcome[Literal["constant", "linear", "cosine"]] = "constant"
    """Schedule after the warm-up: `constant`, or decay to 0 at the last step, `linear` or `cosine`."""
    warmup_steps: Outcome[Annotated[float, Field(ge=0)]] = 0.0
    """Steps over which the learning rate rises from 0; a number below 1 is a fraction of all steps."""
    weight_decay: Outcome[Annotated[float, Field(ge=0)]] = 0.01
    max_grad_norm: Outcome[Annotated[float, Field(gt=0)]] = 1.0
    epochs: Outcome[Annotated[float, Field(gt=0)]] = 1.0
    max_steps: Outcome[Annotated[int, Field(ge=1)] | None] = None
    """Optimizer steps; null uses `epochs`."""
    beta: Outcome[Annotated[float, Field(ge=0)]] = 0.01
    """Weight of the KL term; 0 needs no reference model."""
    kl: Outcome[Literal["k3", "k3_corrected"]] = "k3"
    """Estimator of the KL term: `k3`, or `k3` times the probability ratio (`k3_corrected`), whose gradient is that of the KL
    divergence itself (DeepSeek-V3.2; TRL's default)."""
    epsilon: Outcome[Annotated[float, Field(gt=0)]] = 0.2
    """Clip range of the probability ratio."""
    epsilon_high: Outcome[Annotated[float, Field(gt=0)] | None] = None
    """Upper clip range if different (DAPO); null uses `epsilon`. With `loss: cispo`, the upper bound of the ratio, at least 1
    (ScaleRL uses 5)."""
    ratio_level: Outcome[Literal["token", "sequence"]] = "token"
    """Probability ratios per token, or per completion as the geometric mean over its tokens (GSPO)."""
    loss: Outcome[Literal["grpo", "bnpo", "dr_grpo", "dapo", "cispo"]] = "grpo"
    """How tokens' losses are averaged: over each completion and then all (`grpo`, the paper's), over the tokens of a pass
    (`bnpo`) or of a step (`dapo`), or by the token limit (`dr_grpo`, with `scale_rewards: none`). `cispo` averages as `dapo`,
    and bounds ratios instead of clipping gains."""
    scale_rewards: Outcome[Literal["group", "batch", "task", "none"]] = "group"
    """Divide advantages by the standard deviation of their group's rewards (Eq. 3), by that of all rewards of the step
    (`batch`), or by a running one of their task's (`task`, EMA-GRPO), or don't (`none`, Dr. GRPO)."""
    task_decay: Outcome[Annotated[float, Field(ge=0, lt=1)]] = 0.99
    """How much of `task`'s running moments stays in each step."""
    baseline: Outcome[Literal["mean", "leave_one_out"]] = "mean"
    """What is subtracted from a reward: the mean of its group, or of the group's other rewards (RLOO)."""
    mask_truncated: Outcome[bool] = False
    """Exclude truncated completions from the loss (DAPO); their rewards still count in their group."""
    overlong_tokens: Outcome[Positive | None] = None
    """Tokens before `max_new_tokens` over which a penalty grows from 0 to 1, subtracted from the reward in training only
    (DAPO's soft overlong punishment); null subtracts none."""
    correction: Outcome[Correction | None] = None
    """Importance weights from the ratio of the trainer's to the sampler's probability, per `token` or per completion
    (`sequence`), truncated at `correction_cap` (`truncate`) or set to 0 above it (`mask`); `none` for no weights. Null is
    `token_truncate` with `rollouts: vllm`, and `none` with the engine."""
    correction_cap: Outcome[Annotated[float, Field(ge=1)]] = 3.0
    """Maximum of such a weight (TRL's default)."""
    offline: Outcome[Offline | None] = None
    """Mix answers of a file into groups; null draws all."""

    @model_validator(mode="after")
    def _rate(self) -> Self:
        if self.warmup_steps > 1 and not self.warmup_steps.is_integer():
            raise ValueError(
                f"train.warmup_steps ({self.warmup_steps:g}) must be a whole number of steps, or a share of all below 1"
            )
        if self.max_steps is not None and self.warmup_steps > self.max_steps:
            raise ValueError(
                f"train.warmup_steps ({self.warmup_steps:g}) is above train.max_steps ({self.max_steps}): the learning rate "
                "would never be reached; lower it, or give a share below 1"
            )
        return self

    @model_validator(mode="after")
    def _loss(self) -> Self:
        if self.kl != "k3" and self.beta == 0:
            raise ValueError(
                f"train.kl ({self.kl}) says how the KL term is estimated, and train.beta: 0 leaves it out; set one of them"
            )
        if self.loss == "cispo" and (self.epsilon_high is None or self.epsilon_high < 1):
            raise ValueError(
                f"train.loss: cispo takes train.epsilon_high ({self.epsilon_high}) for the most that a probability ratio "
                "counts, which is at least 1; set it, e.g. to 5"
            )
        if self.ratio_level == "sequence" and self.loss != "grpo":
            raise ValueError(
                f"train.ratio_level: sequence (GSPO) averages over completions, and train.loss: {self.loss} over tokens; take "
                "train.loss: grpo"
            )
        if self.ratio_level == "sequence" and self.kl == "k3_corrected":
            raise ValueError(
                "train.kl: k3_corrected needs the ratio of each token, and train.ratio_level is sequence; take train.kl: k3"
            )
        return self

    @model_validator(mode="after")
    def _given(self) -> Self:
        if self.offline is not None and self.ratio_level == "sequence":
            raise ValueError(
                "train.offline weighs each token, and train.ratio_level: sequence whole completions; take train.ratio_level: "
                "token"
            )
        return self

    @model_validator(mode="after")
    def _length(self) -> Self:
        if self.overlong_tokens is not None and self.overlong_tokens >= self.max_new_tokens:
            raise ValueError(
                f"train.overlong_tokens ({self.overlong_tokens}) must be below train.max_new_tokens ({self.max_new_tokens}): "
                "every completion would be penalized; lower it"
            )
        return self
