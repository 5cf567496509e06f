"""What completions of a training step earn: the grader of the reward's phase, and the pay for lengths.

The phase follows from the number of optimizer steps that are done, so a resumed run, and each process, has the same one. Knows
recipes and grades; neither models nor clips.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from trlt.recipe import LengthBand, Recipe
from trlt.task.grade import Grade, Grader
from trlt.task.reward import in_band
from trlt.task.sample import Sample

LENGTH = "length_band"
"""What rows, logs and files of completions call the pay for a length."""


class Paid(NamedTuple):
    """What a completion earns with its length."""

    reward: float
    parts: Mapping[str, float | None]
    """By name, as `Grade.parts`."""


@dataclass(frozen=True, slots=True)
class RewardPhase:
    """The reward between two steps."""

    grader: Grader
    band: LengthBand | None

    def paid(self, sample: Sample, grade: Grade, tokens: int) -> Paid:
        """A completion's reward with the pay for its length.

        With `above`, what counts is what its answer or its span earns, the larger one, before weights.

        Args:
            sample: The question.
            grade: Of the completion.
            tokens: Sampled ones, the end mark included.
        """
        if self.band is None:
            return Paid(grade.reward, grade.parts)
        value: float = in_band(tokens, self.band.low, self.band.high, self.band.ramp)
        earned = (grade.parts.get("answer", grade.scores.accuracy), grade.parts.get("span", grade.scores.tiou))
        if self.band.above is not None and max(one or 0.0 for one in earned) <= self.band.above:
            value = 0.0
        scale = self.grader.rules.scale(sample.task)
        return Paid(grade.reward + scale * (self.band.weight * value), {**grade.parts, LENGTH: value})


class RewardPhases:
    """The phases of a recipe's reward; files of their parts are run at once, so that faults are told before training.

    Raises:
        RecipeError: a part can't be used.
    """

    def __init__(self, recipe: Recipe) -> None:
        self._phases = {
            step: RewardPhase(recipe.grader("train", step), recipe.reward.at(step).length)
            for step in (0, *(phase.after_steps for phase in recipe.reward.phases))
        }
        every = [
            name
            for phase in self._phases.values()
            for name in (*phase.grader.noted, *((LENGTH,) if phase.band is not None else ()))
        ]
        self.names = list(dict.fromkeys(every))
        """What any phase notes beside scores, by which logs and files have it."""

    def at(self, step: int) -> RewardPhase:
        """The reward when so many optimizer steps are done."""
        return self._phases[max(begin for begin in self._phases if begin <= step)]
