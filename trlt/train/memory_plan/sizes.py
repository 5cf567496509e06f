"""What a recipe fills the formulas of memory with: tokens, rows and bytes a number."""

from __future__ import annotations

from dataclasses import dataclass

from trlt.engine.families.shape import Architecture
from trlt.recipe import Recipe
from trlt.train.temporal_contrast import second_size

TEXT_TOKENS = 512
"""What is assumed for the words of a prompt: system text, question and options."""


@dataclass(frozen=True, slots=True)
class ModelSizes:
    """What the formulas are filled with; see `trlt.train.memory_plan.gpu_memory` for the symbols."""

    strategy: str
    """`single`, or one of `train.launch.strategy`."""
    adapted: bool
    """Whether adapters alone are trained, on a base that is held in c."""
    processes: int
    computed: int
    """Bytes c."""
    prompts: int
    """B."""
    completions: int
    """G."""
    video: int
    """Tokens of a video at most."""
    times: int
    """Tokens of the text that tells the times of its frames, and of marks: `Architecture.time_tokens` each temporal patch."""
    new: int
    """C."""
    shared: bool
    checkpointing: bool
    second: int = 0
    """Completions per prompt that see other frames, in rollouts alone: `train.temporal_contrast`."""

    @property
    def per_clip(self) -> int:
        """Completions that share a prompt's keys in rollouts: G, or with a second group the mean of both, rounded down."""
        return max(1, (self.completions + self.second) // 2) if self.second else self.completions

    @property
    def stream(self) -> int:
        """Bytes s."""
        return 4 if self.strategy in ("single", "ddp") and not self.adapted else self.computed

    @property
    def prompt(self) -> int:
        """L."""
        return self.video + self.times + TEXT_TOKENS

    @property
    def tokens(self) -> int:
        """Tokens of a pass: B (L + G C) with a shared prefix, else B G (L + C)."""
        once = self.prompt + self.completions * self.new
        return self.prompts * (once if self.shared else self.completions * (self.prompt + self.new))

    @property
    def clips(self) -> int:
        """Videos of a pass: B, or B G without a shared prefix."""
        return self.prompts * (1 if self.shared else self.completions)


def sizes(recipe: Recipe, processes: int, model: Architecture | None = None, *, strategy: str | None = None) -> ModelSizes:
    """What a recipe fills the formulas with.

    Args:
        recipe: The resolved recipe.
        processes: N.
        model: Whose prompts tell times as text; none do where it isn't given.
        strategy: Another than the recipe's; one process has none.
    """
    train, grpo = recipe.train, recipe.train.method == "grpo"
    # As many frames as a video may have, of which two make a temporal patch.
    times = -(-recipe.video.max_frames // 2) * model.time_tokens if model else 0
    prompts = train.prompts_per_pass
    if grpo and train.tokens_per_pass:
        prompts = max(
            1,
            train.tokens_per_pass // (recipe.video.max_tokens + times + TEXT_TOKENS + train.group_size * train.max_new_tokens),
        )
    return ModelSizes(
        strategy="single" if processes == 1 else strategy or train.strategy,
        adapted=train.lora is not None,
        processes=processes,
        computed=2 if recipe.model.dtype == "bfloat16" else 4,
        prompts=prompts if grpo else min(train.sft.batch, prompts),
        completions=train.group_size if grpo else 1,
        video=recipe.video.max_tokens,
        times=times,
        new=train.max_new_tokens,
        shared=train.shared_prefix or not grpo,
        checkpointing=train.gradient_checkpointing,
        second=second_size(train.temporal_contrast, train.group_size) if grpo else 0,
    )
