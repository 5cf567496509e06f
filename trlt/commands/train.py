"""`trlt train`: the plan, the launch, and the run's folder around GRPO or SFT."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from trlt.arguments import count_steps, fit
from trlt.checkpoints import drop_damaged
from trlt.commands._launch import adopt, check_strategy, launch_together, set_strategy
from trlt.commands._output import Output
from trlt.commands._plan import plan, refuse_what_cannot_fit, tables
from trlt.commands._ranks import Rank, audible, follow_launcher, python_command, rank_device
from trlt.commands._setup import RUNS, limit_threads, next_after_tuning, quiet, resolve
from trlt.commands._train_folder import has_begun, hold, kept, logged, open_folder
from trlt.errors import DataError, Interrupted, RecipeError
from trlt.interruption import Interruption
from trlt.model import locate
from trlt.plan import find_architecture
from trlt.reading import read_log, read_object
from trlt.recipe import Recipe
from trlt.rollout import videos_root
from trlt.sample import Sample, read_samples, write_text_atomic
from trlt.video.resolve import VideoIndex


def train(
    recipe_path: Path,
    *,
    sets: Sequence[str] = (),
    data: Path | None = None,
    model: str | None = None,
    out: Path | None = None,
    fresh: bool = False,
    dry_run: bool = False,
    output: Output,
) -> dict[str, Any]:
    """Tunes the recipe's model; see `trlt train --help`.

    Raises:
        TrltError: a recipe, file or model that can't be used; before any work, where it can be known.
    """
    rank = adopt(os.environ)
    follow_launcher(rank, signal.SIGTERM)
    output = audible(output, rank)
    flags = {"train.data": str(data) if data else None, "model.path": model}
    recipe = resolve(recipe_path, sets, flags)
    if recipe.train.data is None:
        raise RecipeError(
            f"{recipe_path}: train.data: no samples to train on; set it, or give --data (`trlt select` makes them)"
        )
    folder = out or RUNS / recipe.name / f"train-{recipe.train.method}"
    strategy = recipe.train.strategy
    processes = rank.world if rank else _processes(recipe)
    forward = [str(recipe_path), *[f for s in sets for f in ("--set", s)]]
    forward += [f for key, value in (("--data", data), ("--model", model), ("--out", out)) if value for f in (key, str(value))]
    command = python_command("train", *forward)
    path = Path(recipe.train.data)
    if path.exists():
        recipe = _cut_to(recipe, len(read_samples(path)), processes, rank, output)
    if dry_run:
        _look(recipe, path, data, sets, output)
        found = plan(recipe, processes, folder, command)
        output.show(*tables(found))
        shown = {"plan": found, "recipe": recipe.model_dump(mode="json")}
        if found["memory"] and found["memory"]["fits"] is False:
            output.result(shown)
            refuse_what_cannot_fit(recipe, found)
        return shown
    samples = read_samples(path)
    located = locate(recipe.model.path)
    check_strategy(strategy, processes)
    _check_trackers(recipe, recipe_path)
    if rank is None or rank.launcher is None:
        found = plan(recipe, processes, folder, command)
        if _has_gpu(recipe):
            refuse_what_cannot_fit(recipe, found, begun=not fresh and has_begun(folder))
        output.note(_in_short(found))
        if warning := _all_warmup(recipe, found["steps"]):
            output.note(warning)
    if rank is None and processes > 1:
        output.note(f"train: starting {processes} processes: {' '.join(command)}")
        with hold(folder):  # told before any process is started, which then holds it itself
            pass
        try:
            launch_together([*command, *(["--fresh"] if fresh else [])], processes, strategy)
        except Interrupted as interrupted:
            interrupted.kept = kept(folder)
            raise
        return _result(folder)
    chosen = set_strategy(os.environ, strategy, processes)
    if chosen and rank and rank.launcher is None:
        output.note(f"train: the launcher has set {chosen}, so its settings count and not train.launch.strategy ({strategy})")
    result = _run(recipe, path, samples, located, folder, fresh, rank, output)
    if rank and rank.world > 1:
        from trlt.sharding import leave

        leave()
    return result


def _cut_to(recipe: Recipe, samples: int, processes: int, rank: Rank | None, output: Output) -> Recipe:
    """The recipe, with as many prompts a step as there are samples where that is fewer; says so."""
    train = recipe.train
    asked, key = (train.prompts_per_step, "prompts_per_step") if train.method == "grpo" else (train.sft.batch, "sft.batch")
    batch = fit(train, samples, processes)
    if batch.lessons == asked:
        return recipe
    if rank is None or rank.launcher is None:
        steps = count_steps(train, samples, batch)
        more = "" if train.max_steps else f", so {_count(steps, 'step')} in all; train.epochs or train.max_steps makes more"
        output.note(
            f"train: {_count(samples, 'sample')}, fewer than train.{key} ({asked}): {batch.lessons} a step, and an epoch is "
            f"one step{more}"
        )
    if train.method == "sft":  # its empty places teach nothing: the outcome is that of the recipe as it stands
        return recipe
    return recipe.model_copy(
        update={"train": train.model_copy(update={"prompts_per_step": batch.step, "prompts_per_pass": batch.rows})}
    )


def _look(recipe: Recipe, path: Path, data: Path | None, sets: Sequence[str], output: Output) -> None:
    """Whether what a dry run was given is there; data of a recipe may be yet to come.

    Raises:
        ModelError: no such model.
        DataError: no such file, though it was named on the command line.
    """
    if find_architecture(recipe.model.path) is None:
        locate(recipe.model.path)
    if not path.exists():
        if data or any(one.startswith("train.data=") for one in sets):
            read_samples(path)
        output.note(f"train: {path} (train.data) isn't there yet, and without it `trlt train` ends here; steps are unknown")


def _count(number: int, what: str, plural: str = "s") -> str:
    return f"{number:,} {what}{'' if number == 1 else plural}"


def _check_trackers(recipe: Recipe, path: Path) -> None:
    """Ends a run before any work when what it reports to isn't installed."""
    for name in recipe.train.report_to:
        if find_spec(name) is None:
            raise RecipeError(
                f"{path}: train.report_to: {name} isn't installed; `pip install {name}`, or leave it out (log.jsonl in the "
                "run's folder holds every figure)"
            )


def _processes(recipe: Recipe) -> int:
    """As many as the recipe says, else one a local GPU, else one."""
    if recipe.train.launch.processes:
        return recipe.train.launch.processes
    if recipe.model.device != "auto":
        return 1
    import torch

    return max(1, torch.cuda.device_count())


def _has_gpu(recipe: Recipe) -> bool:
    if recipe.model.device == "cpu":
        return False
    import torch

    return bool(torch.cuda.is_available())


def _all_warmup(recipe: Recipe, steps: int | None) -> str | None:
    """What to say of a run that ends before its learning rate is reached."""
    warmup = recipe.train.warmup_steps
    if steps is None or not warmup or (warmup if warmup >= 1 else math.ceil(warmup * steps)) < steps:
        return None
    return (
        f"train: train.warmup_steps ({warmup:g}) takes all {_count(steps, 'step')}, from a rate of 0 on: train.learning_rate "
        f"({recipe.train.learning_rate:g}) is never reached; lower train.warmup_steps"
    )


def _in_short(found: dict[str, Any]) -> str:
    """The plan in a line."""
    memory = found["memory"]
    need = f"; about {memory['peak_gb']} GB a GPU" if memory and memory["fits"] is not None else ""
    drawn = f"{_count(found['prompts_per_step'], 'prompt')} x {_count(found['completions_per_prompt'], 'completion')}"
    return (
        f"train: {drawn} a step over "
        f"{_count(found['processes'], 'process', 'es')} ({found['strategy']}), {_count(found['steps'], 'step')}{need}"
    )


def _run(
    recipe: Recipe,
    data: Path,
    samples: list[Sample],
    located: str,
    folder: Path,
    fresh: bool,
    rank: Rank | None,
    output: Output,
) -> dict[str, Any]:
    first = rank is None or rank.place == 0
    root = videos_root(recipe.video.root, data)
    with ExitStack() as held:
        with _first_alone(recipe, rank):
            if first:
                held.enter_context(hold(folder))
            complete = open_folder(recipe, data, samples, located, folder, fresh=fresh, first=first)
            if first and not complete:
                for damage in drop_damaged(folder / "checkpoints"):
                    output.note(f"train: {damage}")
        if complete:
            output.note(f"train: {folder} is complete; --fresh starts anew, and another --out keeps both")
            return _result(folder)
        result = _interruptible(recipe, samples, root, located, folder, rank, output)
    if not first:
        return result
    write_text_atomic(folder / "result.json", json.dumps(result, indent=2) + "\n")
    first, last = result["reward_first"], result["reward_last"]
    if first is not None:
        output.show(f"Reward: {first:.3f} over the first steps, {last:.3f} over the last")
    if result["broken"]:
        output.note(f"train: {len(result['broken'])} samples have a video that can't be read: {folder / 'broken.jsonl'}")
    output.show(f"Model: {result['model']}")
    output.show(next_after_tuning(Path(result["model"]), folder / "recipe.yaml", recipe, data))
    return result


def _interruptible(
    recipe: Recipe, samples: list[Sample], root: Path, located: str, folder: Path, rank: Rank | None, output: Output
) -> dict[str, Any]:
    """Trains, and says what is saved when that is interrupted; of several processes, one does."""
    with Interruption(at_once=rank is not None and rank.launcher is not None) as interruption:
        try:
            return _train(recipe, samples, root, located, folder, rank, output, interruption)
        except KeyboardInterrupt as error:
            number = error.signal if isinstance(error, Interrupted) else signal.SIGINT
    interrupted = Interrupted(number)
    if rank and (rank.place or rank.launcher is not None):
        raise SystemExit(interrupted.exit_code)
    interrupted.kept = kept(folder)
    raise interrupted


@contextmanager
def _first_alone(recipe: Recipe, rank: Rank | None) -> Iterator[None]:
    """The first of several processes goes through before the others, which then find what it has written."""
    if rank is None or rank.world == 1:
        yield
        return
    from trlt.sharding import join

    join(recipe.model.device)
    from accelerate import PartialState

    with PartialState().main_process_first():
        yield


def _result(folder: Path) -> dict[str, Any]:
    path = folder / "result.json"
    if not path.is_file():
        raise DataError(f"{path}: missing although training ended; look at the output above")
    return read_object(path, remedy="delete it, and run the same command again")


def _train(
    recipe: Recipe,
    samples: list[Sample],
    root: Path,
    located: str,
    folder: Path,
    rank: Rank | None,
    output: Output,
    interruption: Interruption,
) -> dict[str, Any]:
    quiet()
    # What libraries say about their next versions is for whoever raises the pins.
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"(transformers|trl)\b")
    from trlt import model as models
    from trlt.broken import read_broken
    from trlt.card import model_card
    from trlt.engine.inputs import InputBuilder
    from trlt.loading import load_policy
    from trlt.positions import follows_library
    from trlt.training import Material
    from trlt.video.workers import ClipLoader

    settings = recipe.train
    held = {"path": located, "device": rank_device(rank, recipe.model.device)}
    loaded = load_policy(recipe.model.model_copy(update=held), recipe)
    models.draw_as(loaded.model, loaded.processor, recipe.eval)
    if settings.method == "grpo":  # the many short steps of sampling; supervised batches gain from threads
        limit_threads(loaded.model)
    with ClipLoader(recipe.video) as loader, output.training(f"train ({settings.method})", logged(folder)) as view:
        builder = InputBuilder(loaded.model, loaded.processor)
        index = VideoIndex(root, recipe.video.downloads, recipe.video.links)
        material = Material(samples, index, loader, builder)
        material.require_videos()
        parity: dict[str, Any] | None = None
        if settings.method == "grpo":
            from trlt import grpo_run

            steps, measured = grpo_run.train(
                loaded, material, recipe, folder, view.step, view.example, interruption, told=view.answers
            )
            parity = asdict(measured)
        else:
            from trlt import sft

            steps = sft.train(loaded, material, recipe, folder, view.step, interruption)
    rewards = [row["reward"] for row in read_log(folder / "log.jsonl") if "reward" in row]
    some = max(1, len(rewards) // 5)
    outcome = {
        "method": settings.method,
        "steps": steps,
        "model": str(folder / "model"),
        "log": str(folder / "log.jsonl"),
        "parity": parity,
        "broken": read_broken(folder),
        "reward_first": sum(rewards[:some]) / some if rewards else None,
        "reward_last": sum(rewards[-some:]) / some if rewards else None,
    }
    manifest = read_object(folder / "manifest.json", remedy="start anew with --fresh")
    card = model_card(recipe, manifest, outcome, library_positions=follows_library(loaded.model.config))
    if settings.lora:
        _merge(folder, located, rank, card)
    else:
        _save(loaded, folder / "model", rank, card)
    return outcome


def _merge(folder: Path, base: str, rank: Rank | None, card: str) -> None:
    """The final model of a run with adapters: the base with them added."""
    from trlt.card import write_card
    from trlt.commands.merge import merge

    if rank is None or rank.place == 0:
        shutil.rmtree(folder / "model", ignore_errors=True)
        merge(folder / "adapter", base=base, out=folder / "model", output=Output(json_mode=True))
        write_card(folder / "model", card)


def _save(loaded: Any, final: Path, rank: Rank | None, card: str) -> None:
    """The final model appears as a whole or not at all; all processes take part, the first one writes."""
    from trlt.card import write_card
    from trlt.model import save

    partial = final.with_name(".model.partial")
    writes = rank is None or rank.place == 0
    if writes:
        shutil.rmtree(partial, ignore_errors=True)
    save(loaded.model, loaded.processor, partial)
    if writes:
        write_card(partial, card)
        shutil.rmtree(final, ignore_errors=True)
        partial.rename(final)
