"""The section `reward` of a recipe: weights, and further parts, whose files are run only where completions are graded."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from trlt.errors import RecipeError, did_you_mean, shown
from trlt.files.own_code import load_file
from trlt.recipe._base import Input, Outcome, Section, Share
from trlt.recipe.judge import JudgeServer
from trlt.recipe.reward_rules import LengthBand, Phase, TaskReward
from trlt.task.choices import ChoicesRule
from trlt.task.parts import JUDGE, RewardPart, own_part
from trlt.task.reward import SHIPPED, Weights
from trlt.task.reward_rules import NumericRule, Rules, SeveralRule, SpanRule, TaskWeight, WordsRule
from trlt.task.sample import Task
from trlt.task.span_rewards import STEPS

RESERVED = ("format", "accuracy", "tiou", "tiou_from", "overlong", "temporal_contrast")
"""Names in rows and logs that no function of a user's may have."""


class OwnPart(Section):
    """A further part of the reward: a Python function of yours (`file`, `function`), or one that comes with trlt (`name`)."""

    file: Input[str | None] = None
    """Python file, which is run: [Own rewards](own-rewards.md)."""
    function: Outcome[str | None] = None
    """Name of the function in it, and of the part in rows and logs."""
    name: Outcome[
        Literal["format", "accuracy", "tiou", "tiou_from", "timestamp_iou", "giou", "diou", "union", "matched"] | None
    ] = None
    """A score as a part, whatever the task's weights are; 1 for a tIoU from `threshold` on (`tiou_from`); or a measure of spans
    ([Rewards](rewards.md))."""
    threshold: Outcome[Share | None] = None
    """Threshold of `tiou_from`."""
    weight: Outcome[float] = 1.0
    """With 0, the part is noted and pays nothing."""

    @property
    def label(self) -> str:
        """What the part is called in rows and logs."""
        return self.function or (f"{self.name}_{self.threshold:g}" if self.threshold is not None else str(self.name))

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if (self.file is None) != (self.function is None) or (self.file is None) == (self.name is None):
            raise ValueError("a part is a file with a function, as {file: my_reward.py, function: near}, or a name")
        if (self.name == "tiou_from") != (self.threshold is not None):
            raise ValueError("threshold goes with name: tiou_from, as {name: tiou_from, threshold: 0.7}")
        if self.function in RESERVED:
            raise ValueError(f"function ({self.function}) would be taken for trlt's own part of that name; call it otherwise")
        return self

    def load(self) -> RewardPart:
        """The part with its function; a file is run for it, once per process.

        Raises:
            RecipeError: the file or the function can't be used.
        """
        if self.file is not None and self.function is not None:
            return own_part(self.function, self.weight, load_file(Path(self.file)))
        function = SHIPPED[str(self.name)]
        if self.threshold is not None:
            function = partial(function, threshold=self.threshold)
        return RewardPart(self.label, self.weight, function)


class Rewards(Section):
    """Weights of the reward's parts (2.2 and 2.3 of the paper)."""

    format: Outcome[float] = 1.0
    accuracy: Outcome[float] = 1.0
    """Weight of multi-choice answers (Eq. 1)."""
    tiou: Outcome[float] = 1.0
    """Weight of grounding spans (Eq. 2)."""
    grounded_accuracy: Outcome[float] = 0.5
    grounded_tiou: Outcome[float] = 0.5
    tiou_from: Outcome[Share | None] = None
    """tIoU threshold of a discrete reward (1 at or above it, else 0); null rewards the tIoU itself (Eq. 2)."""
    span: Outcome[SpanRule] = "tiou"
    """What a span is paid by: its tIoU (Eq. 2), the timestamp-aware IoU of Time-R1, the generalized or the distance IoU, which
    pay disjoint spans by how near they are, or the share of `span_steps` that the tIoU reaches ([Rewards](rewards.md))."""
    span_steps: Outcome[tuple[Share, ...] | None] = Field(default=None, min_length=1, strict=False)
    """tIoU thresholds of `span: steps`; null is 0.3, 0.5 and 0.7."""
    several: Outcome[SeveralRule] = "first"
    """What the answer to a question for several spans is paid by: its first span, the IoU of all spans with all gold ones, the
    best one-to-one matching, or half of either."""
    choices: Outcome[ChoicesRule] = "exact"
    """What an answer to a question for all options that apply is paid by: 1 for the right set, the Jaccard index of both sets,
    or the share of right options that it names if it names no wrong one (`subset`)."""
    numeric: Outcome[NumericRule] = "mean_relative"
    """What an answer that is a number is paid by: mean relative accuracy, 1 minus the relative error, or equality."""
    words: Outcome[WordsRule] = "threshold"
    """What an answer in words to a question without options is paid by: 1 from the stage's `open_threshold` on, or its token
    F1."""
    format_as: Outcome[Literal["add", "multiply"]] = "add"
    """Add the format to the reward (2.3), or multiply by it what the answer earns."""
    tasks: Outcome[dict[Task, TaskReward]] = Field(default_factory=dict)
    """Weights of a task of its own: `{grounding: {weight: 2.0, format: 0.5}}`."""
    length: Outcome[LengthBand | None] = None
    """Pay for a length in training, as `{low: 320, high: 512}` does; null pays none."""
    phases: Outcome[tuple[Phase, ...]] = Field(default=(), strict=False)
    """Other values of these keys from a step of training on: `[{after_steps: 100, span: timestamp_iou}]`."""

    parts: Outcome[tuple[OwnPart, ...]] = Field(default=(), strict=False)
    """Further parts, in the order in which they are added up: [Own rewards](own-rewards.md)."""

    judge: Outcome[JudgeServer | None] = None
    """A model that judges answers in words; null asks none."""

    def weights(self) -> Weights:
        """The same numbers, as `trlt.task.reward` takes them."""
        return Weights(**self.model_dump(include=set(Weights.__dataclass_fields__)))

    def rules(self) -> Rules:
        """What spans, numbers and words are paid by, as `trlt.task.reward_rules` takes it."""
        return Rules(
            span=self.span,
            steps=self.span_steps or STEPS,
            several=self.several,
            choices=self.choices,
            numeric=self.numeric,
            words=self.words,
            multiply=self.format_as == "multiply",
            tasks={task: TaskWeight(own.weight, own.format) for task, own in self.tasks.items()},
        )

    def at(self, step: int) -> Rewards:
        """The reward when `step` optimizer steps are done, without phases; one without any is returned as it is.

        A phase's keys stand in place of those here; what it doesn't name is as here, whatever earlier phases say.
        """
        if not self.phases:
            return self
        begun = [phase for phase in self.phases if phase.after_steps <= step]
        return self.changed(begun[-1].changes if begun else {})

    def changed(self, changes: Mapping[str, Any]) -> Rewards:
        """The reward with other values of some keys, without phases.

        Raises:
            ValidationError: of such values.
        """
        return type(self).model_validate(self.model_dump(exclude={"phases"}) | dict(changes))

    def load(self, folder: Path | None = None) -> tuple[RewardPart, ...]:
        """The further parts with their functions; raises as `OwnPart.load`, with every fault.

        Args:
            folder: Where a judge's replies are kept; None keeps them for this process.
        """
        loaded, faults = [], []
        for part in self.parts:
            try:
                loaded.append(part.load())
            except RecipeError as error:
                faults.append(f"reward.parts: {error}")
        if self.judge is not None:
            try:
                loaded.append(self.judge.load(folder))
            except RecipeError as error:
                faults.append(str(error))
        if faults:
            raise RecipeError("\n".join(faults))
        return tuple(loaded)

    def ready(self) -> None:
        """Loads the parts, and asks each judge for a verdict, so that faults are told before a model is loaded.

        Raises:
            RecipeError: as `load`.
            ServerError: a judge can't be reached, refuses, or gives no verdict.
        """
        self.load_all()
        judges: list[JudgeServer] = []
        for reward in self.each():
            if reward.judge is not None and reward.judge not in judges:
                judges.append(reward.judge)
        for judge in judges:
            judge.try_it()

    def load_all(self) -> None:
        """Loads the parts of all phases for their faults; raises as `load`."""
        for reward in self.each():
            reward.load()

    def each(self) -> list[Rewards]:
        """The reward of the first steps, and that of each phase."""
        return [self.at(0), *(self.at(phase.after_steps) for phase in self.phases)]

    def identity(self, *, phases: bool = False) -> list[dict[str, Any]]:
        """What each part is, for a run's manifest: its files' checksums stand for what it computes.

        Args:
            phases: Those of phases as well, each once.

        Raises:
            RecipeError: as `load`.
        """
        rewards = self.each() if phases else [self]
        found: list[dict[str, Any]] = []
        for part in (part for reward in rewards for part in reward.model_copy(update={"judge": None}).load()):
            entry = {
                "name": part.name,
                "weight": part.weight,
                "file": str(part.file.path) if part.file else None,
                "files": dict(part.file.files) if part.file else {},
            }
            if entry not in found:
                found.append(entry)
        judges = [reward.judge.identity() for reward in rewards if reward.judge is not None]
        return found + [judge for place, judge in enumerate(judges) if judge not in judges[:place]]

    @model_validator(mode="after")
    def _labels(self) -> Self:
        labels = [part.label for part in self.parts] + ([JUDGE] if self.judge else [])
        if twice := next((label for label in labels if labels.count(label) > 1), None):
            raise ValueError(f"reward.parts: {twice} stands twice, and rows name a part by it; call one function otherwise")
        return self

    @model_validator(mode="after")
    def _rules(self) -> Self:
        if self.span_steps is not None and self.span != "steps":
            raise ValueError(
                f"reward.span_steps are thresholds of reward.span: steps, and reward.span is {self.span}; set both"
            )
        if self.tiou_from is not None and self.span != "tiou":
            raise ValueError(
                f"reward.tiou_from ({self.tiou_from:g}) makes the tIoU discrete, and reward.span ({self.span}) pays another "
                "measure; leave one out, or take reward.span: steps with the threshold in reward.span_steps"
            )
        if self.format_as == "multiply":
            weighed = {"format": self.format, **{f"tasks.{task}.format": own.format for task, own in self.tasks.items()}}
            for key, weight in weighed.items():
                if weight not in (1, None):
                    raise ValueError(
                        f"reward.{key} ({weight:g}) is a weight in a sum, and reward.format_as: multiply has no place for it; "
                        f"leave reward.{key} out"
                    )
        noted = {*self.rules().noted, *(("length_band",) if self.length else ())}
        if taken := next((part.label for part in self.parts if part.label in noted), None):
            raise ValueError(f"reward.parts: {taken} is what rows and logs call {_CALLED[taken]}; call the function otherwise")
        return self

    @model_validator(mode="after")
    def _phases(self) -> Self:
        before = 0
        for phase in self.phases:
            if phase.after_steps <= before:
                raise ValueError(f"{phase.named} comes after after_steps {before}; give phases in their order, each once")
            before = phase.after_steps
            keys = [key for key in type(self).model_fields if key != "phases"]
            if not phase.changes:
                raise ValueError(f"{phase.named} changes nothing; give it keys of reward, as span: timestamp_iou")
            for key in phase.changes:
                if key not in keys:
                    raise ValueError(f"{phase.named}: {key}: unknown key; {did_you_mean(key, keys)}")
            try:
                self.changed(phase.changes)
            except ValidationError as error:
                fault = error.errors(include_url=False)[0]
                place = ".".join(str(part) for part in fault["loc"])
                said = fault["msg"].removeprefix("Value error, ")
                got = "" if fault["type"] == "value_error" else f" (got {shown(fault['input'])})"
                raise ValueError(f"{phase.named}: {f'{place}: ' if place else ''}{said}{got}") from None
        return self


_CALLED = {"span": "what a span is paid", "answer": "what an answer is paid", "length_band": "what a length is paid"}
"""What the names of `Rules.noted`, and that of the band of lengths, stand for."""
