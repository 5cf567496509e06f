"""The section `train.temporal_contrast` of a recipe. Knows neither files nor torch."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from trlt.recipe._base import Outcome, Positive, Section
from trlt.task.sample import Task


class TemporalContrast(Section):
    """A bonus for right answers where the frames' order helps (T-GRPO): [Temporal contrast](temporal-contrast.md)."""

    alpha: Outcome[Annotated[float, Field(gt=0)]] = 0.3
    """The bonus."""
    mu: Outcome[Annotated[float, Field(ge=0)]] = 0.8
    """It is paid where the mean accuracy is at least this times that of a second group, which sees the frames shuffled."""
    group_size: Outcome[Positive | None] = None
    """Completions of the second group; null draws half of `train.group_size`."""
    tasks: Outcome[tuple[Task, ...]] = Field(default=("multi_choice", "grounded_qa"), min_length=1, strict=False)
    """Tasks of which prompts are contrasted; for `grounding`, tIoU stands in for accuracy."""
