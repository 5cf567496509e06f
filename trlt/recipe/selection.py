"""The section `select` of a recipe. Knows neither files nor torch."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from trlt.recipe._base import Outcome, Positive, Section, Share
from trlt.recipe.selection_rules import META, ROW_MEASURES, Bounds, Target, balance_fault, bounds_fault, flat_meta, task_fault

DURATION_BINS = (30.0, 60.0, 90.0, 120.0, 150.0, 180.0, 210.0, 240.0)
"""Edges of TimeLens's duration bins in seconds (`training/data/hybrid.py` of its released code)."""


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
    by: Outcome[Literal["rules", "variance", "random", "all"]] = "rules"
    """`rules` goes by difficulty and Δ_IoU, as above; `variance` takes the samples whose rewards vary most; `random` samples
    uniformly from each task, whatever the difficulty and source, as a control; `all` takes samples of any difficulty, evenly
    over sources, for `within` and `target` to narrow ([Rules of selection](selection-rules.md))."""
    budget: Outcome[Positive | None] = None
    """Total number of samples, split among the tasks in proportion to `sizes`; null uses `sizes` as they are."""
    seed: Outcome[Annotated[int, Field(ge=0)]] = 0

    within: Outcome[Annotated[dict[str, dict[str, Bounds]], BeforeValidator(flat_meta)]] = Field(default_factory=dict)
    """Bounds by task and measure, both included: `{multi_choice: {pass_rate: [0.2, 0.8]}}`."""
    target: Outcome[dict[str, Target]] = Field(default_factory=dict)
    """The distribution of a measure that a task's selection shall have: `{grounding: {of: mean_iou}}`."""
    balance: Outcome[Annotated[tuple[str, ...], Field(strict=False)]] = ("source",)
    """What sizes are shared evenly over, from outside in: `source`, `duration`, `first_word`, `answer_type`, `meta.<name>`."""
    duration_bins: Outcome[Annotated[tuple[float, ...], Field(strict=False, min_length=1)]] = DURATION_BINS
    """Edges of the bins of `balance: [duration]` in seconds; a bin includes its upper edge."""
    per_video: Outcome[Positive | None] = None
    """Maximum number of samples of a video (`video_key`, else the file), whatever their task; those that are farthest apart."""
    per_clip: Outcome[Positive | None] = None
    """The same of a clip (video and bounds)."""
    per_question: Outcome[Positive | None] = None
    """Maximum number of samples of a task with the same question but for case, punctuation and articles, in all videos."""
    question_overlap: Outcome[Share | None] = None
    """Of a clip's questions that share at least this part of their words, one is kept; 1: the same words."""

    def told(self) -> dict[str, Any]:
        """The section as JSON values; of the rules beyond the paper, only those that are set."""
        values = self.model_dump(mode="json")
        defaults = Select().model_dump(mode="json")
        return {key: value for key, value in values.items() if key not in BEYOND or value != defaults[key]}

    def goes_beyond(self) -> bool:
        """Whether rules beyond the paper's, its ablations' and variance are set."""
        return self.by == "all" or any(key in BEYOND for key in self.told())

    def narrows(self) -> bool:
        """Whether rules beyond the paper's leave samples out."""
        limits = (self.per_video, self.per_clip, self.per_question, self.question_overlap)
        return bool(self.within or self.target) or any(limit is not None for limit in limits)

    def needs_samples(self) -> bool:
        """Whether a rule needs the samples (videos, questions, durations, meta), beside their rows."""
        measures = [name for bounds in self.within.values() for name in bounds]
        measures += [target.of for target in self.target.values()]
        thinned = (self.per_video, self.per_clip, self.per_question, self.question_overlap)
        further = any(name != "source" for name in self.balance)
        return further or any(limit is not None for limit in thinned) or any(name not in ROW_MEASURES for name in measures)

    def goes_by_rewards(self) -> bool:
        """Whether rows that were rewarded otherwise would be selected otherwise."""
        measures = {name for bounds in self.within.values() for name in bounds} | {target.of for target in self.target.values()}
        return self.by == "variance" or bool(measures & {"mean_reward", "deviation"})

    def meta_names(self) -> tuple[str, ...]:
        """The fields of `meta` that rules name, sorted."""
        names = {name for bounds in self.within.values() for name in bounds} | {target.of for target in self.target.values()}
        return tuple(sorted(name.removeprefix(META) for name in {*names, *self.balance} if name.startswith(META)))

    @model_validator(mode="after")
    def _rules(self) -> Self:
        faults = (
            task_fault("within", self.within),
            task_fault("target", self.target),
            bounds_fault(self.within),
            balance_fault(self.balance),
        )
        for fault in faults:
            if fault:
                raise ValueError(f"select.{fault}")
        edges = self.duration_bins
        if list(edges) != sorted(set(edges)) or edges[0] <= 0:
            raise ValueError(f"select.duration_bins ({list(edges)}) must be rising seconds above 0")
        if self.by == "random" and (self.target or self.balance != ("source",)):
            key = "target" if self.target else "balance"
            raise ValueError(f"select.by random leaves all to chance, so select.{key} can't hold; set select.by to all")
        return self

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


BEYOND = ("within", "target", "balance", "duration_bins", "per_video", "per_clip", "per_question", "question_overlap")
"""The keys of rules beyond the paper."""
