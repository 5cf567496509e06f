"""`trlt train` of a recipe with stages: each is a run of its own, and the last one's folder is the training's.

The others have folders in it. So whatever is done with a run (evaluating, exporting, reporting) is done with the last stage as
it is with a training without stages. See docs/decisions/training.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from trlt.commands._data import open_data
from trlt.commands._output import Output
from trlt.commands._train_look import offline_identity, online_identity
from trlt.commands.launch.ranks import Rank
from trlt.data.own import is_hub
from trlt.errors import DataError, RecipeError, UsageError, counted
from trlt.files import write_text_atomic
from trlt.recipe import Recipe, Train, dump_recipe, shadowed

WHOLE = "stages.yaml"
"""The resolved recipe with all stages, in the folder of the training; its `recipe.yaml` is the last stage's."""


def stage_folder(whole: Path, train: Train, number: int) -> Path:
    """The folder of a stage, by its number from 1."""
    last = number == len(train.stages)
    return whole if last else whole / f"stage-{number}-{train.stage(number - 1).method}"


def stage_of(recipe: Recipe, number: int, whole: Path, *, dry_run: bool) -> Recipe:
    """A stage's own recipe: it begins with the model that the one before it has ended with.

    Args:
        recipe: As resolved, with all stages.
        number: Of the stage, from 1.
        whole: Folder of the training.
        dry_run: Take the base in place of a model that isn't there yet: it has the same shape.

    Raises:
        UsageError: there is no such stage.
        RecipeError: the one before it isn't done.
    """
    train = recipe.train
    if not 1 <= number <= len(train.stages):
        stages = counted(len(train.stages), "stage")
        raise UsageError(f"--stage {number}: the recipe has {stages} (train.stages); give a number from 1 to that")
    found = recipe.model_copy(update={"train": train.stage(number - 1)})
    if number == 1:
        return found
    before = stage_folder(whole, train, number - 1)
    if not (before / "result.json").is_file():
        if dry_run:
            return found
        raise RecipeError(f"{before}: stage {number - 1} isn't complete; train it first, with --stage {number - 1}")
    return found.model_copy(update={"model": recipe.model.model_copy(update={"path": str(before / "model")})})


def refuse_shadowed(train: Train, sets: Sequence[str], flags: Mapping[str, Any]) -> None:
    """Ends where something is typed that stages say otherwise, since it would go unheard.

    Raises:
        RecipeError: names the key, and how to type it for a stage.
    """
    typed = {item.partition("=")[0]: f"--set {item}" for item in sets}
    typed |= {key: f"--{key.rpartition('.')[2]}" for key, value in flags.items() if value is not None}
    for key, source in typed.items():
        section, _, name = key.partition(".")
        if section == "train" and (places := shadowed(name, train.stages)):
            listed = " and ".join(f"train.stages.{place}.{name}" for place in places)
            raise RecipeError(f"{source}: the recipe's stages say it themselves; set it there: {listed}")


def look_ahead(recipe: Recipe, whole: Path) -> None:
    """Looks at what later stages need, so that it isn't told only after the first one has trained.

    Args:
        recipe: As resolved, with all stages.
        whole: Folder of the training.

    Raises:
        TrltError: data, a probe, offline answers or parts of the reward that can't be used, or a judge that gives no verdict.
    """
    first, quiet, tried = recipe.train.stage(0), Output(json_mode=True), False
    for place in range(1, len(recipe.train.stages)):
        folder = stage_folder(whole, recipe.train, place + 1)
        staged = recipe.model_copy(update={"train": recipe.train.stage(place)})
        train, given = staged.train, staged.train.data
        if (folder / "result.json").is_file() or given is None:
            continue
        if train.method == "grpo" and not tried:  # all stages have one reward
            recipe.reward.ready()
            tried = True
        if given == first.data and train.offline is None and train.online is None:
            continue
        if not is_hub(given) and not Path(given).exists():
            raise DataError(f"{given}: there is no such file; stage {place + 1} trains on it (train.stages.{place}.data)")
        opened = open_data(given, staged, folder, quiet)
        offline_identity(staged, opened.samples)
        online_identity(staged, opened.samples)


def run_stages(
    recipe: Recipe, rank: Rank | None, whole: Path, output: Output, run: Callable[[int], dict[str, Any]], *, dry_run: bool
) -> dict[str, Any]:
    """Runs all stages in their order; gives the last one's result, with those of all under `stages`.

    Args:
        recipe: As resolved, with all stages.
        rank: Of this process; only one that trains alone, or starts others, can run several.
        whole: Folder of the training.
        output: Is told where each begins.
        run: Trains a stage, by its number from 1; one that is complete gives its result at once.
        dry_run: Nothing is trained or written.

    Raises:
        UsageError: a launcher has started this process, for one training.
    """
    if rank is not None:
        raise UsageError(
            "train.stages: a launcher has started this process for one training, and each stage is one; start "
            "`trlt train --stage 1` by it, then --stage 2, and so on"
        )
    count = len(recipe.train.stages)
    results = []
    for number in range(1, count + 1):
        method = recipe.train.stage(number - 1).method
        output.note(f"train: stage {number} of {count} ({method}): {stage_folder(whole, recipe.train, number)}")
        results.append(run(number))
        if not dry_run:  # not before it is known that the folder is this training's
            write_text_atomic(whole / WHOLE, dump_recipe(recipe))
    return results[-1] | {"stages": results}
