"""The work of `trlt train`: the model is loaded and tuned, and the tuned one written with its card. Knows no launchers."""

from __future__ import annotations

import shutil
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

from trlt.commands._output import Output
from trlt.commands._setup import limit_threads, quiet
from trlt.commands._train_folder import logged
from trlt.commands.launch.ranks import Rank, rank_device
from trlt.errors import counted, shown
from trlt.errors.interruption import Interruption
from trlt.files import read_log
from trlt.files.bounded_json import read_object
from trlt.recipe import Recipe
from trlt.task.sample import Sample, iter_sample_lines
from trlt.train.checkpoints import require_states
from trlt.video.resolve import VideoIndex


def tune(
    recipe: Recipe,
    samples: list[Sample],
    root: Path,
    located: str,
    folder: Path,
    rank: Rank | None,
    output: Output,
    interruption: Interruption,
) -> dict[str, Any]:
    """Loads and tunes the model, and writes the tuned one; gives what `result.json` holds.

    Args:
        recipe: As resolved.
        samples: To train on.
        root: The folder that their videos' paths are relative to.
        located: The model's folder or hub id.
        folder: The run's.
        rank: Of this process; None where it trains alone.
        output: Shows the steps.
        interruption: Is asked after each step.

    Raises:
        TrltError: a model, or more samples than train.max_broken, that can't be used.
        Interrupted: the run was left early.
    """
    quiet()
    # What libraries say about their next versions is for whoever raises the pins.
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"(transformers|trl)\b")
    from trlt.engine import model as models
    from trlt.engine.families import family_of
    from trlt.engine.inputs import InputBuilder
    from trlt.engine.mrope import follows_library
    from trlt.engine.sharding import by_deepspeed, by_fsdp
    from trlt.report.model_card import adapter_card, model_card
    from trlt.train.sharded_loading import load_policy
    from trlt.train.trainer import TrainingData
    from trlt.train.unreadable_videos import read_broken
    from trlt.video.workers import ClipLoader

    settings = recipe.train
    several = rank is not None and rank.world > 1
    require_states(
        folder / "checkpoints", "plain" if not several else "fsdp" if by_fsdp() else "deepspeed" if by_deepspeed() else "plain"
    )
    held = {"path": located, "device": rank_device(rank, recipe.model.device)}
    loaded = load_policy(recipe.model.model_copy(update=held), recipe)
    models.draw_as(loaded.model, loaded.processor, recipe.eval)
    if settings.method == "grpo":  # the many short steps of sampling; supervised batches gain from threads
        limit_threads(loaded.model)
    geometry = family_of(loaded.model).geometry
    with ClipLoader(recipe.video, geometry) as loader, output.training(f"train ({settings.method})", logged(folder)) as view:
        builder = InputBuilder(loaded.model, loaded.processor)
        index = VideoIndex(root, recipe.video.downloads, recipe.video.links)
        training_data = TrainingData(samples, index, loader, builder, output.note)
        _leave_out(training_data, recipe, folder, rank, output)
        parity: dict[str, Any] | None = None
        if settings.method == "grpo":
            from trlt.train import grpo_run

            steps, measured = grpo_run.train(
                loaded, training_data, recipe, folder, view.step, view.example, interruption, told=view.answers
            )
            parity = asdict(measured)
        else:
            from trlt.train import sft

            steps = sft.train(loaded, training_data, recipe, folder, view.step, interruption)
    if training_data.outside:
        number = counted(len(training_data.outside), "sample")
        output.note(f"train: {number} with a gold span outside the video, of those that this process took")
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
    config, family = loaded.model.config, family_of(loaded.model)
    rules = {"library_positions": follows_library(config), "outer_marks": family.has_outer_marks(config)}
    card = model_card(recipe, manifest, outcome, family, **rules)
    if settings.lora:
        _merge(folder, located, rank, card, adapter_card(recipe, manifest, outcome, family))
    else:
        _save(loaded, folder / "model", rank, card)
    return outcome


def _leave_out(training_data: Any, recipe: Recipe, folder: Path, rank: Rank | None, output: Output) -> None:
    """Lists what can't be trained on before the first step, where that is seen without opening videos.

    Raises:
        DataError: it is more than train.max_broken.
    """
    from trlt.train.unreadable_videos import BROKEN, BrokenSamples

    assert recipe.train.data is not None
    found = training_data.faults()
    if not found:
        return
    where = {id: place for place, id, _ in iter_sample_lines(Path(recipe.train.data))}
    told = {id: f"{where[id]}: {shown(id)}: {error}" for id, error in found.items()}
    broken = BrokenSamples(folder, len(training_data.samples), recipe.train.max_broken)
    broken.add_all(told, 0, writes=rank is None or rank.place == 0)
    first = next(iter(told.values()))
    output.note(f"train: {counted(len(told), 'sample')} left out, see {folder / BROKEN}; the first: {first}")


def _merge(folder: Path, base: str, rank: Rank | None, card: str, adapters: str) -> None:
    """The final model of a run with adapters: the base with them added; a card for each of both."""
    from trlt.commands.merge import merge
    from trlt.report.model_card import write_card

    if rank is None or rank.place == 0:
        shutil.rmtree(folder / "model", ignore_errors=True)
        write_card(folder / "adapter", adapters)  # in place of the form that PEFT leaves to be filled in
        merge(folder / "adapter", base=base, out=folder / "model", output=Output(json_mode=True))
        write_card(folder / "model", card)


def _save(loaded: Any, final: Path, rank: Rank | None, card: str) -> None:
    """The final model appears as a whole or not at all; all processes take part, the first one writes."""
    from trlt.engine.model import save
    from trlt.report.model_card import write_card

    partial = final.with_name(".model.partial")
    writes = rank is None or rank.place == 0
    if writes:
        shutil.rmtree(partial, ignore_errors=True)
    save(loaded.model, loaded.processor, partial)
    if writes:
        write_card(partial, card)
        shutil.rmtree(final, ignore_errors=True)
        partial.rename(final)
