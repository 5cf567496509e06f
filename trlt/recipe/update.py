"""What a recipe says of the update: how fast it learns, its loss, and what counts in it. Knows neither files nor torch."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from trlt.recipe._base import Decoding, Outcome, Positive

Correction = Literal["none", "token_truncate", "token_mask", "sequence_truncate", "sequence_mask"]


class Update(Decoding):
    """The part of `train` that an optimizer step is made by."""

    max_new_tokens: Outcome[Positive] = 768
    learning_rate: Outcome[Annotated[float, Field(gt=0)]] = 1e-6
    scheduler: Outcome[Literal["constant", "linear", "cosine"]] = "constant"
    """The learning rate after the warm-up: `constant`, or down to 0 by the last step, in a line (`linear`) or by a `cosine`."""
    warmup_steps: Outcome[Annotated[float, Field(ge=0)]] = 0.0
    """Steps over which the learning rate rises from 0; a number below 1 is a share of all steps."""
    weight_decay: Outcome[Annotated[float, Field(ge=0)]] = 0.01
    max_grad_norm: Outcome[Annotated[float, Field(gt=0)]] = 1.0
    epochs: Outcome[Annotated[float, Field(gt=0)]] = 1.0
    max_steps: Outcome[Annotated[int, Field(ge=1)] | None] = None
    """Optimizer steps; null goes by `epochs`."""
    beta: Outcome[Annotated[float, Field(ge=0)]] = 0.01
    """Weight of the KL term; 0 needs no reference model."""
    kl: Outcome[Literal["k3", "k3_corrected"]] = "k3"
    """How the KL term is estimated: by `k3`, as it stands, or times the probability ratio (`k3_corrected`), which makes its
    gradient that of the KL divergence itself (DeepSeek-V3.2; TRL's default)."""
    epsilon: Outcome[Annotated[float, Field(gt=0)]] = 0.2
    """Clip range of the probability ratio."""
    epsilon_high: Outcome[Annotated[float, Field(gt=0)] | None] = None
    """Upper clip range where it differs (DAPO); null takes `epsilon`. With `loss: cispo` the most that a ratio itself counts,
    at least 1 (ScaleRL takes 5)."""
    ratio_level: Outcome[Literal["token", "sequence"]] = "token"
    """What has a probability ratio: each token, or a whole completion, by the geometric mean of its tokens' (GSPO)."""
    loss: Outcome[Literal["grpo", "bnpo", "dr_grpo", "dapo", "cispo"]] = "grpo"
    """How tokens' losses are averaged: over each completion and then all (`grpo`, the paper's), over the tokens of a pass
    (`bnpo`) or of a step (`dapo`), or by the token limit (`dr_grpo`, with `scale_rewards: none`). `cispo` averages as `dapo`,
    and bounds ratios instead of clipping gains."""
    scale_rewards: Outcome[Literal["group", "none"]] = "group"
    """Divide advantages by the standard deviation of their group (Eq. 3), or don't (Dr. GRPO)."""
    mask_truncated: Outcome[bool] = False
    """Leave completions out of the loss that the token limit cut off (DAPO); their rewards still count in their group."""
    overlong_tokens: Outcome[Positive | None] = None
    """Tokens before `max_new_tokens` over which a penalty grows from 0 to 1, taken off the reward in training alone (DAPO's
    soft overlong punishment); null takes none off."""
    correction: Outcome[Correction | None] = None
    """Weigh tokens by how much likelier the trainer finds them than what drew them: by the ratio of each `token` or of the
    whole completion (`sequence`), which is cut down to `correction_cap` (`truncate`) or counts nothing above it (`mask`); or
    don't (`none`). Null is `token_truncate` with `rollouts: vllm`, and `none` with the engine."""
    correction_cap: Outcome[Annotated[float, Field(ge=1)]] = 3.0
    """The most that such a weight can be (TRL's default)."""

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
    def _length(self) -> Self:
        if self.overlong_tokens is not None and self.overlong_tokens >= self.max_new_tokens:
            raise ValueError(
                f"train.overlong_tokens ({self.overlong_tokens}) must be below train.max_new_tokens ({self.max_new_tokens}): "
                "every completion would be penalized; lower it"
            )
        return self
