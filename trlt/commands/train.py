"""`trlt train`: the plan, the launch, and the run's folder around GRPO or SFT."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from trlt.commands._data import OpenedData, data_flags, open_data
from trlt.commands._output import Output
from trlt.commands._page import NoPage, with_page
from trlt.commands._plan import tables
from trlt.commands._setup import RUNS, next_after_tuning, refuse_plain, resolve, try_prompts
from trlt.commands._shared_options import ColumnMap, ModelName, Overrides, SkipBad, SkipMissing
from trlt.commands._train_folder import has_begun, hold, kept, open_folder, saved_step
from trlt.commands._train_look import (
    all_warmup,
    check_trackers,
    cut_to,
    fit_to_family,
    has_gpu,
    in_short,
    look,
    offline_identity,
    online_identity,
    other_model,
    other_prompt,
    processes_of,
)
from trlt.commands._train_reward import late_phases, refuse_unused, rewards_told
from trlt.commands._train_stages import look_ahead, refuse_shadowed, run_stages, stage_folder, stage_of
from trlt.commands._train_work import tune
from trlt.commands.launch.ranks import Rank, audible, follow_launcher, python_command
from trlt.commands.launch.train_processes import adopt, check_strategy, launch_together, set_strategy
from trlt.data.own import is_hub
from trlt.engine.model import locate
from trlt.errors import DataError, Interrupted, RecipeError, UsageError, counted
from trlt.errors.interruption import Interruption, deaf_at_exit
from trlt.files import write_json
from trlt.files.bounded_json import read_object
from trlt.recipe import Recipe, recipe_file
from trlt.task.sample import Sample
from trlt.train.checkpoints import drop_damaged
from trlt.train.memory_plan import Lowered, least, limits_of
from trlt.train.run_plan import fit_limits, plan, refuse_fewer_gpus, refuse_small_share, refuse_what_cannot_fit


def train(
    recipe_path: Annotated[
        Path, typer.Argument(metavar="RECIPE", help="Recipe: a file, or a name of `trlt recipe list`, e.g. 32k.")
    ],
    *,
    sets: Overrides = (),
    data: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="Samples to train on, or your own table of questions; default: the recipe's `train.data`."
        ),
    ] = None,
    videos: Annotated[
        Path | None, typer.Option(help="Folder that the videos' paths are relative to; default: where prepare found them.")
    ] = None,
    columns: ColumnMap = None,
    skip_bad: SkipBad = False,
    skip_missing: SkipMissing = False,
    model: ModelName = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the run; default: one in runs/.")] = None,
    stage: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Of a recipe with stages, this one alone; those before it are done.")
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start anew instead of from the last checkpoint.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan and the launcher without running.")] = False,
    no_page: NoPage = False,
    output: Output,
) -> dict[str, Any]:
    """Tunes the recipe's model; see `trlt train --help`.

    Raises:
        TrltError: a recipe, file or model that can't be used; before any work, where it can be known.
    """
    rank = adopt(os.environ)
    follow_launcher(rank, signal.SIGTERM)
    output = audible(output, rank)
    flags = {"train.data": data, "model.path": model, "video.root": videos}
    flags |= data_flags(columns, skip_bad, skip_missing)
    recipe = resolve(recipe_path, sets, flags)
    final = True
    if recipe.train.stages:
        refuse_shadowed(recipe.train, sets, flags)
        whole = out or RUNS / recipe.name / f"train-{recipe.train.last.method}"
        if stage is None:
            again: dict[str, Any] = {"data": data, "videos": videos, "columns": columns, "skip_bad": skip_bad}
            again |= {"skip_missing": skip_missing, "model": model, "out": out, "fresh": fresh, "dry_run": dry_run}

            def one(number: int) -> dict[str, Any]:
                return train(recipe_path, sets=sets, stage=number, no_page=no_page, output=output, **again)

            if not dry_run:
                look_ahead(recipe, whole)
            return run_stages(recipe, rank, whole, output, one, dry_run=dry_run)
        staged = stage_of(recipe, stage, whole, dry_run=dry_run)
        folder, final = stage_folder(whole, recipe.train, stage), stage == len(recipe.train.stages)
        recipe = staged
    elif stage is not None:
        raise UsageError(f"--stage {stage}: {recipe_path} has no stages (train.stages); leave it out")
    else:
        folder = out or RUNS / recipe.name / f"train-{recipe.train.method}"
    recipe = fit_to_family(recipe)
    if recipe.train.data is None:
        raise RecipeError(
            f"{recipe_path}: train.data: no samples to train on; set it, or give --data (`trlt select` makes them)"
        )
    # Its faults are told before a model is loaded.
    if dry_run or recipe.train.method == "sft":
        recipe.reward.load_all()
    else:
        recipe.reward.ready()
    strategy = recipe.train.strategy
    processes = rank.world if rank else processes_of(recipe)
    given, opened = recipe.train.data, None
    if is_hub(given) or Path(given).exists():
        opened = open_data(given, recipe, folder, output)
        recipe = cut_to(recipe, len(opened.samples), processes, rank, output)
    own_key = "train." if stage is None else f"train.stages.{stage - 1}."
    forwarded = list(sets)
    if opened is not None and opened.text is not None:  # other processes take what is made of it
        if stage is None:
            data = str(opened.path)
        else:
            data, forwarded = None, [*forwarded, f"{own_key}data={opened.path}"]
    offline = offline_identity(recipe, opened.samples if opened else None)
    probe = online_identity(recipe, opened.samples if opened else None)
    # What is typed counts; what a recipe says of its GPUs is no word about those of this machine.
    here = not dry_run and not any(one.startswith("train.launch.gpu_gb=") for one in sets)
    changes, told = list[Lowered](), None
    if dry_run or has_gpu(recipe):
        recipe, changes, told = fit_limits(recipe, processes, here=here)
        if told:
            output.note(f"train: {told}")
    # The file itself: a name would be told again by each process.
    forwarded += [f"{one.key.replace('train.', own_key, 1)}={one.taken}" for one in changes]
    forward = [str(recipe_file(recipe_path)), *[f for s in forwarded for f in ("--set", s)]]
    named = (("--data", data), ("--videos", videos), ("--model", model), ("--out", out), ("--stage", stage))
    forward += [f for key, value in named if value for f in (key, str(value))]
    command = python_command("train", *forward)
    count = len(opened.samples) if opened else None
    if dry_run:
        look(recipe, opened, data, sets, output)
        if opened:
            try_prompts(recipe, "train", opened.samples)
            refuse_unused(recipe, opened.samples)
        found = plan(recipe, processes, folder, command, count) | {"limits": told or "as the recipe says"}
        output.show(*tables(found))
        if warning := late_phases(recipe, found["steps"]):
            output.note(warning)
        shown = {"plan": found, "recipe": recipe.model_dump(mode="json")}
        try:
            refuse_small_share(recipe, processes, here=here)
            refuse_what_cannot_fit(recipe, found)
        except RecipeError:
            output.result(shown)
            raise
        return shown
    if opened is None and data is None and not any(one.startswith("train.data=") for one in sets):
        raise DataError(
            f"{given}: there is no such file. It's the train.data of {recipe_path}, which `trlt prepare`, `probe` and `select` "
            "make (the head of a recipe that comes with trlt has the commands); or name your own table of questions by --data"
        )
    opened = opened or open_data(given, recipe, folder, output)
    recipe = recipe.model_copy(update={"train": recipe.train.model_copy(update={"data": str(opened.path)})})
    try_prompts(recipe, "train", opened.samples)
    refuse_unused(recipe, opened.samples)
    located = locate(recipe.model.path)
    refuse_plain(recipe, "train")
    check_strategy(strategy, processes)
    check_trackers(recipe, recipe_path)
    if rank is None or rank.launcher is None:
        # A later stage's model is the one that answered, tuned.
        other = other_model(located, opened.path) if stage in (None, 1) else None
        for warning in (other_prompt(recipe, opened.path), other):
            if warning:
                output.note(warning)
        found = plan(recipe, processes, folder, command, count, here=here)
        if has_gpu(recipe):
            if rank is None:
                refuse_fewer_gpus(processes)
            refuse_small_share(recipe, processes, here=here)
            refuse_what_cannot_fit(recipe, found, begun=not fresh and has_begun(folder))
        output.note(in_short(found))
        for warning in (all_warmup(recipe, found["steps"]), late_phases(recipe, found["steps"])):
            if warning:
                output.note(warning)
    if rank is None and processes > 1:
        output.note(f"train: starting {processes} processes: {' '.join(command)}")
        with hold(folder):  # told before any process is started, which then holds it itself
            opened.write(anew=fresh or not has_begun(folder))
        try:
            launch_together([*command, *(["--fresh"] if fresh else [])], processes, strategy)
        except Interrupted as interrupted:
            interrupted.kept = kept(folder)
            raise
        return with_page(_result(folder), folder, output, wanted=not no_page)
    chosen = set_strategy(os.environ, strategy, processes)
    if chosen and rank and rank.launcher is None:
        output.note(f"train: the launcher has set {chosen}, so its settings count and not train.launch.strategy ({strategy})")
    paged = not no_page and (rank is None or (rank.place == 0 and rank.launcher is None))  # else its launcher writes it
    more = {"offline": offline, "probe": probe}
    inputs = {"data": opened.identity} | {name: identity for name, identity in more.items() if identity}
    result = _run(recipe, opened, inputs, located, folder, fresh, rank, output, paged, final)
    if rank and rank.world > 1:
        from trlt.engine.sharding import leave

        leave()
    return result


def _run(
    recipe: Recipe,
    opened: OpenedData,
    inputs: Mapping[str, Mapping[str, Any]],
    located: str,
    folder: Path,
    fresh: bool,
    rank: Rank | None,
    output: Output,
    paged: bool,
    final: bool,
) -> dict[str, Any]:
    first = rank is None or rank.place == 0
    recipe = _agreed(recipe, rank)
    with ExitStack() as held:
        with _first_alone(rank):
            if first:
                held.enter_context(hold(folder))
            complete = open_folder(recipe, inputs, located, folder, fresh=fresh, first=first)
            if first:
                opened.write()
            if first and not complete:
                for damage in drop_damaged(folder / "checkpoints"):
                    output.note(f"train: {damage}")
                if step := saved_step(folder):
                    output.note(f"train: goes on from step {step}")
        if complete:
            output.note(f"train: {folder} is complete; --fresh starts anew, and another --out keeps both")
            return with_page(_result(folder), folder, output, wanted=paged)
        result = _interruptible(recipe, opened.samples, opened.root, located, folder, rank, output)
    if not first:
        return result
    write_json(folder / "result.json", result)
    output.show(*rewards_told(recipe, folder, result))
    if result["broken"]:
        output.note(f"train: {counted(len(result['broken']), 'sample')} couldn't be used: {folder / 'broken.jsonl'} says why")
    output.show(f"Model: {result['model']}")
    result = with_page(result, folder, output, wanted=paged)
    if final:
        output.show(next_after_tuning(Path(result["model"]), folder / "recipe.yaml", recipe, f"{folder}/"))
    return result


def _interruptible(
    recipe: Recipe, samples: list[Sample], root: Path, located: str, folder: Path, rank: Rank | None, output: Output
) -> dict[str, Any]:
    """Trains, and reports what is saved on an interruption; of several processes, one reports."""
    with Interruption(at_once=rank is not None and rank.launcher is not None) as interruption:
        try:
            return tune(recipe, samples, root, located, folder, rank, output, interruption)
        except KeyboardInterrupt as error:
            number = error.signal if isinstance(error, Interrupted) else signal.SIGINT
    interrupted = Interrupted(number)
    if rank and (rank.place or rank.launcher is not None):
        deaf_at_exit()  # its launcher may ask again
        raise SystemExit(interrupted.exit_code)
    interrupted.kept = kept(folder)
    raise interrupted


def _agreed(recipe: Recipe, rank: Rank | None) -> Recipe:
    """Joins the processes that train together, and gives the lowest limits that any of them took for its machine's GPUs."""
    if rank is None or rank.world == 1:
        return recipe
    from trlt.engine.sharding import gathered, join

    join(recipe.model.device)
    return least(recipe, gathered(limits_of(recipe)))


@contextmanager
def _first_alone(rank: Rank | None) -> Iterator[None]:
    """Lets the first of several processes run before the others, which then find its files."""
    if rank is None or rank.world == 1:
        yield
        return
    from accelerate import PartialState

    with PartialState().main_process_first():
        yield


def _result(folder: Path) -> dict[str, Any]:
    path = folder / "result.json"
    if not path.is_file():
        raise DataError(f"{path}: missing although training ended; look at the output above")
    return read_object(path, remedy="delete it, and run the same command again")
