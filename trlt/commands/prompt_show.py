"""`trlt prompt show`: what a recipe asks of some samples, how the completion must look, and the gold one. Loads no model."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, cast, get_args

import typer
from rich.text import Text

from trlt.commands._data import data_flags, open_data
from trlt.commands._output import Output
from trlt.commands._setup import RUNS, resolve
from trlt.commands._shared_options import ColumnMap, Overrides, RecipeFile, SkipBad
from trlt.errors import DataError, UsageError, did_you_mean
from trlt.recipe import Stage
from trlt.task.prompt import asked_as
from trlt.task.sample import Sample


def show(
    *,
    data: Annotated[str, typer.Option(metavar="FILE", help="Samples from `trlt prepare`, or questions of your own.")],
    recipe_path: RecipeFile = None,
    sets: Overrides = (),
    stage: Annotated[str, typer.Option(help="Stage of the recipe that asks: train (default), probe or eval.")] = "train",
    n: Annotated[int, typer.Option("-n", help="Samples of each task.", min=1)] = 1,
    column_map: ColumnMap = None,
    skip_bad: SkipBad = False,
    output: Output,
) -> dict[str, Any]:
    """Shows prompts; see `trlt prompt show --help`.

    Raises:
        TrltError: a recipe, template or file that can't be used.
    """
    if stage not in get_args(Stage):
        raise UsageError(f"--stage {stage}: unknown; {did_you_mean(stage, get_args(Stage))}")
    recipe = resolve(recipe_path, sets, data_flags(column_map, skip_bad=skip_bad))
    form = recipe.form(cast(Stage, stage))
    if stage == "train" and recipe.train.method == "sft":
        form = replace(form, think=recipe.train.sft.targets != "answer")
    samples = open_data(data, recipe, RUNS / recipe.name / "prompt", output, look=False).samples
    form.try_out(samples)
    chosen: dict[str, list[Sample]] = {}
    for sample in samples:
        some = chosen.setdefault(asked_as(sample, as_gqa=form.as_gqa), [])
        if len(some) < n:
            some.append(sample)
    shown = []
    for sample in (sample for some in chosen.values() for sample in some):
        reasoning = sample.meta.get("reasoning")
        prompt = form.prompt(sample)
        target: str | None = None
        fault: str | None = None
        try:
            target = form.target(sample, reasoning if isinstance(reasoning, str) else None)
        except DataError as error:
            fault = str(error)
        shown.append(dict(id=sample.id, task=sample.task, system=prompt.system, user=prompt.user, target=target, fault=fault))
        output.show(Text(f"{sample.id} ({sample.task})", style="bold"))
        # Texts come from files: nothing in them is markup.
        output.show(Text("system: ", style="dim").append(prompt.system or "none", style="default"))
        output.show(Text("user, after the video:", style="dim"), Text(prompt.user))
        output.show(Text("right: ", style="dim").append(target or f"none ({fault})", style="default"), "")
    version = recipe.prompt.words().version
    named = f" ({recipe.prompt.name})" if recipe.prompt.name else ""
    output.show(f"Prompts: {version}{named}, as {stage} asks; the video stands before the user's text")
    return {"prompt": version, "name": recipe.prompt.name, "stage": stage, "samples": shown}
