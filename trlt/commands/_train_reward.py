"""What `trlt train` tells about a reward, before a run and after it: parts without effect, and steps that taught nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trlt.errors import RecipeError, counted
from trlt.files import read_log
from trlt.recipe import Recipe, advice
from trlt.task.judge import applies
from trlt.task.sample import Sample


def refuse_unused(recipe: Recipe, samples: Sequence[Sample]) -> None:
    """Ends a run whose samples are all of kinds that a key of its recipe isn't for.

    Raises:
        RecipeError: none is contrasted (`train.temporal_contrast`), or none is judged (`reward.judge`).
    """
    if recipe.train.method != "grpo" or not samples:
        return
    tasks = sorted({sample.task for sample in samples})
    contrast = recipe.train.temporal_contrast
    if contrast and not set(tasks) & set(contrast.tasks):
        raise RecipeError(
            f"train.temporal_contrast.tasks ({', '.join(contrast.tasks)}): {_all(samples)} of {', '.join(tasks)}, so none "
            f"would be contrasted; --set train.temporal_contrast.tasks=[{','.join(tasks)}], or train.temporal_contrast=null"
        )
    judges = [reward.judge for reward in recipe.reward.each() if reward.judge is not None]
    if judges and not any(applies(sample, judge.questions) for sample in samples for judge in judges):
        raise RecipeError(
            f"reward.judge: {_all(samples)} without an answer that a judge decides on (reward.judge.questions: "
            f"{judges[0].questions}); --set reward.judge.questions=all judges options and numbers, --set reward.judge=null none"
        )


def _all(samples: Sequence[Sample]) -> str:
    return "the only sample is" if len(samples) == 1 else f"all {len(samples):,} samples are"


def late_phases(recipe: Recipe, steps: int | None) -> str | None:
    """Message for phases of the reward that a run is too short for; None without, or where its length isn't known."""
    late = [phase for phase in recipe.reward.phases if steps is not None and phase.after_steps >= steps]
    if not late or recipe.train.method != "grpo":
        return None
    told = " and ".join(phase.named for phase in late)
    return (
        f"train: {told} never begin{'s' * (len(late) == 1)} in {counted(steps or 0, 'step')}, which is what train.epochs "
        f"({recipe.train.epochs:g}) of the samples are; {advice('raise train.epochs, or lower after_steps')}"
    )


def rewards_told(recipe: Recipe, folder: Path, result: dict[str, Any]) -> list[str]:
    """What a run's rewards came to, a line each."""
    first, last = result["reward_first"], result["reward_last"]
    if first is None:
        return []
    phases = [phase.after_steps for phase in recipe.reward.phases if phase.after_steps < result["steps"]]
    apart = f", of another phase of the reward (from step {max(phases) + 1} on)" if phases else ""
    told = [f"Reward: {first:.3f} over the first steps, {last:.3f} over the last{apart}"]
    equal = [row["frac_zero_range"] for row in read_log(folder / "log.jsonl") if "frac_zero_range" in row]
    if equal and min(equal) == 1:
        told.append(
            "Nothing was learned: in every group all completions earned the same. Are the questions too easy or too hard for "
            "the model (`trlt probe`, `trlt select`), or is all weighed by 0 in `reward`?"
        )
    return told
