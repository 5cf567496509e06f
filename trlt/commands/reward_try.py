"""`trlt reward try`: what reward functions of the user's would have paid on a probe's rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from trlt.commands._output import Output
from trlt.commands._probed import noted_data, probe_rows, run_of
from trlt.commands._setup import resolve
from trlt.commands._shared_options import Overrides, ProbedSamples, RecipeFile
from trlt.errors import DataError, RecipeError, TrltError, UsageError
from trlt.files.own_code import load_file
from trlt.recipe import to_yaml
from trlt.report.reward_trial_table import changed_groups, groups_text, parts_table
from trlt.rollout import read_rows
from trlt.select.reward_trial import try_parts
from trlt.task.parts import BATCH_TAKES, TAKES, parts_of
from trlt.task.sample import read_samples

TRACES = 3
"""Number of tracebacks shown."""


def try_reward(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="[FILE]", help="Python file with the functions; default: the recipe's `reward.parts`."),
    ] = None,
    *,
    probe: Annotated[Path, typer.Option(help="Rows of `trlt probe`, or its folder.")],
    functions: Annotated[
        Sequence[str],
        typer.Option("--function", help="Function of the file; repeatable. Default: all that take four arguments."),
    ] = (),
    weights: Annotated[
        Sequence[float], typer.Option("--weight", help="Weight of each function, in their order, or one for all. Default: 1.")
    ] = (),
    data: ProbedSamples = None,
    recipe_path: RecipeFile = None,
    sets: Overrides = (),
    output: Output,
) -> dict[str, Any]:
    """Pays functions on a probe's rows; see `trlt reward try --help`. Without a recipe, the probe's counts.

    Raises:
        RecipeError: the file or a function can't be used.
        RewardError: a function gave what is no reward.
        TrltError: every call of a function raised; rows and samples that can't be used, or don't belong together.
    """
    run = run_of(probe)
    rows = probe_rows(run)
    if file is None and (functions or weights):
        raise UsageError("--function and --weight go with a FILE; a recipe's parts have their own")
    given = {} if file is None else {"reward.parts": _parts(file, functions, weights)}
    # A file's functions are tried alone: no judge is asked for them.
    sets = sets if file is None else [*sets, "reward.judge=null"]
    recipe = resolve(recipe_path or (run.recipe if run.recipe.is_file() else None), sets, given)
    parts = recipe.reward.load(run.replies)
    if not parts:
        raise UsageError(
            "which functions? give a FILE, or a recipe with reward.parts or reward.judge (--recipe); a measure can be tried "
            'as a part: --set "reward.parts=[{name: giou}]"'
        )
    samples = {sample.id: sample for sample in read_samples(data if data is not None else noted_data(run))}
    trial = try_parts(read_rows(rows), samples, replace(recipe.grader("probe"), parts=()), parts)
    if not trial.samples and not any(part.errors for part in trial.parts):
        raise DataError(f"{rows}: no row has answers; probe again with --retry-errors")
    output.show(parts_table(trial.parts), "", groups_text(trial), *changed_groups(trial.changed))
    for trace in [fault.trace for part in trial.parts for fault in part.faults.values()][:TRACES]:
        output.show("", trace.rstrip())
    if raised := [part for part in trial.parts if part.errors and not part.values and not part.none]:
        told = "\n".join(f"  {next(iter(part.faults.values()))}" for part in raised)
        names = ", ".join(part.name for part in raised)
        raise TrltError(f"every call of {names} raised, so this can't be a recipe's yet; the first of each:\n{told}")
    if file is not None:
        shown = {"reward": {"parts": [part.model_dump(exclude_defaults=True) for part in recipe.reward.parts]}}
        output.show("", "In a recipe:", "", to_yaml(shown).rstrip())
    return {"rows": str(rows), **trial.to_json()}


def _parts(file: Path, functions: Sequence[str], weights: Sequence[float]) -> list[dict[str, Any]]:
    """A file's functions as a recipe's `reward.parts`.

    Raises:
        RecipeError: the file can't be run, or has no such functions.
        UsageError: as many weights as functions are needed, or one.
    """
    names = list(functions) or parts_of(load_file(file))
    if not names:
        raise RecipeError(
            f"{file}: no function takes {TAKES}, or lists as {BATCH_TAKES}; write one, or name it with --function"
        )
    if len(weights) not in (0, 1, len(names)):
        raise UsageError(
            f"--weight: {len(weights)} are given for {len(names)} functions ({', '.join(names)}); give one for each"
        )
    each = weights if len(weights) == len(names) else [*(weights or [1.0])] * len(names)
    return [{"file": str(file), "function": name, "weight": weight} for name, weight in zip(names, each, strict=True)]
