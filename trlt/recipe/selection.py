"""The section `select` of a recipe. Knows neither files nor torch."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from trlt.recipe._base import Outcome, Positive, Section


class Sizes(Section):
    """How many samples of each task a selection holds at most."""

    multi_choice: Outcome[Annotated[int, Field(ge=0)]] = 16_000
    grounding: Outcome[Annotated[int, Field(ge=0)]] = 8_000
    grounded_qa: Outcome[Annotated[int, Field(ge=0)]] = 8_000


class Select(Section):
    """Which probed samples are trained on (3.2 to 3.4 and appendix A of the paper)."""

    hard: Outcome[Annotated[int, Field(ge=0)]] = 1
    """Correct answers of n up to which a sample is hard."""
    easy: Outcome[Annotated[int, Field(ge=1)]] = 7
    """Correct answers of n from which a sample is easy; a sample with only correct answers is always easy."""
    delta_iou: Outcome[Annotated[float, Field(ge=0, le=1)]] = 0.3
    """Minimum Δ_IoU (max - mean of the IoUs) of a grounding sample."""
    grounded_delta_iou: Outcome[Annotated[float, Field(ge=0, le=1)]] = 0.1
    """The same for grounded QA, which must be medium as well."""
    sizes: Sizes = Sizes()
    ratio: Outcome[Annotated[str, Field(pattern=r"^\d+:\d+:\d+$")]] = "0:10:0"
    """easy:medium:hard shares of multi-choice samples (Table 4a)."""
    by: Outcome[Literal["rules", "variance", "random"]] = "rules"
    """`rules` goes by difficulty and Δ_IoU, as above; `variance` takes the samples whose rewards vary most; `random` samples
    uniformly from each task, whatever the difficulty and source, as a control."""
    budget: Outcome[Positive | None] = None
    """Total number of samples, split among the tasks in proportion to `sizes`; null uses `sizes` as they are."""
    seed: Outcome[Annotated[int, Field(ge=0)]] = 0

    @model_validator(mode="after")
    def _order(self) -> Self:
        if self.hard >= self.easy:
            raise ValueError(
                f"hard ({self.hard}) must be below easy ({self.easy}): with the paper's literal text "
                "(easy from 1, hard up to 7) no sample is medium; its two names are swapped here"
            )
        if not any(int(part) for part in self.ratio.split(":")):
            raise ValueError("ratio must have at least one share above 0")
        if self.budget is not None and not any(self.sizes.model_dump().values()):
            raise ValueError(f"budget ({self.budget}) is shared in proportion to sizes, of which one must be above 0")
        return self
