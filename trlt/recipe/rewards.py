"""The section `reward` of a recipe: weights, and further parts, whose files are run only where completions are graded."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from trlt.errors import RecipeError
from trlt.files.own_code import load_file
from trlt.recipe._base import Input, Outcome, Section, Share
from trlt.recipe.judge import JudgeServer
from trlt.task.parts import JUDGE, RewardPart, own_part
from trlt.task.reward import SHIPPED, Weights


class OwnPart(Section):
    """A further part of the reward: a Python function of yours (`file`, `function`), or one that comes with trlt (`name`)."""

    file: Input[str | None] = None
    """Python file, which is run: [Own rewards](own-rewards.md)."""
    function: Outcome[str | None] = None
    """Name of the function in it, and of the part in rows and logs."""
    name: Outcome[Literal["format", "accuracy", "tiou", "tiou_from"] | None] = None
    """A score as a part, whatever the task's weights are; or 1 for a tIoU from `threshold` on (`tiou_from`)."""
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
        if self.function in (*SHIPPED, "overlong"):
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

    parts: Outcome[tuple[OwnPart, ...]] = Field(default=(), strict=False)
    """Further parts, in the order in which they are added up: [Own rewards](own-rewards.md)."""

    judge: Outcome[JudgeServer | None] = None
    """A model that judges answers in words; null asks none."""

    def weights(self) -> Weights:
        """The same numbers, as `trlt.task.reward` takes them."""
        return Weights(**self.model_dump(exclude={"parts", "judge"}))

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
        """Loads the parts, and asks a judge for a verdict, so that faults are told before a model is loaded.

        Raises:
            RecipeError: as `load`.
            ServerError: the judge can't be reached, refuses, or gives no verdict.
        """
        self.load()
        if self.judge is not None:
            self.judge.try_it()

    def identity(self) -> list[dict[str, Any]]:
        """What each part is, for a run's manifest: its files' checksums stand for what it computes.

        Raises:
            RecipeError: as `load`.
        """
        return [
            {
                "name": part.name,
                "weight": part.weight,
                "file": str(part.file.path) if part.file else None,
                "files": dict(part.file.files) if part.file else {},
            }
            for part in self.model_copy(update={"judge": None}).load()
        ] + ([self.judge.identity()] if self.judge else [])

    @model_validator(mode="after")
    def _labels(self) -> Self:
        labels = [part.label for part in self.parts] + ([JUDGE] if self.judge else [])
        if twice := next((label for label in labels if labels.count(label) > 1), None):
            raise ValueError(f"reward.parts: {twice} stands twice, and rows name a part by it; call one function otherwise")
        return self
