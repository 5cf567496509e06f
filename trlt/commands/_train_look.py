"""Checks and messages of `trlt train` before a run: samples, processes, trackers, the plan in short."""

from __future__ import annotations

import math
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from trlt.commands._data import OpenedData, open_data
from trlt.commands._output import Output
from trlt.commands._setup import refuse_plain
from trlt.commands.launch.ranks import Rank
from trlt.engine.model import fit_adapters, known_family, locate
from trlt.errors import RecipeError, counted
from trlt.files import file_digest
from trlt.recipe import Recipe, advice
from trlt.rollout import RunFiles, model_identity
from trlt.rollout.changed_model import called, changed_model
from trlt.task.sample import Sample
from trlt.train.answer_lines import read_answers
from trlt.train.arguments import count_steps, fit
from trlt.train.memory_plan import find_architecture
from trlt.train.online.probed import probe_identity


def fit_to_family(recipe: Recipe) -> Recipe:
    """The recipe, with adapters as its model's family takes them, where that is known.

    Raises:
        RecipeError: adapters that the family can't have.
        ModelError: a folder without a model.
    """
    train, family = recipe.train, known_family(recipe.model.path)
    if train.lora is None or family is None:
        return recipe
    return recipe.model_copy(update={"train": train.model_copy(update={"lora": fit_adapters(train.lora, family)})})


def cut_to(recipe: Recipe, samples: int, processes: int, rank: Rank | None, output: Output) -> Recipe:
    """The recipe, with as many prompts per step as there are samples if those are fewer, with a note."""
    train = recipe.train
    asked, key = (train.prompts_per_step, "prompts_per_step") if train.method == "grpo" else (train.sft.batch, "sft.batch")
    batch = fit(train, samples, processes)
    if batch.examples == asked:
        return recipe
    if rank is None or rank.launcher is None:
        steps = count_steps(train, samples, batch)
        raised = advice("raise train.epochs or train.max_steps for more,")
        more = "" if train.max_steps else f", so {counted(steps, 'step')} in all; {raised}"
        output.note(
            f"train: {counted(samples, 'sample')}, fewer than train.{key} ({asked}): {batch.examples} per step, and an epoch "
            f"is one step{more}"
        )
    if train.method == "sft":  # its empty places teach nothing: the outcome is that of the recipe as it stands
        return recipe
    return recipe.model_copy(
        update={"train": train.model_copy(update={"prompts_per_step": batch.step, "prompts_per_pass": batch.rows})}
    )


def look(recipe: Recipe, opened: OpenedData | None, data: str | None, sets: Sequence[str], output: Output) -> None:
    """Whether what a dry run was given is there; data of a recipe may be yet to come.

    Raises:
        ModelError: no such model, or one that reasons where the recipe's answers don't.
        DataError: no such file, though it was named on the command line.
    """
    if find_architecture(recipe.model.path) is None:
        locate(recipe.model.path)
    refuse_plain(recipe, "train", fetch=False)
    if opened is None:
        path = Path(recipe.train.data or "")
        if data or any(one.startswith("train.data=") for one in sets):
            open_data(path, recipe, path, output)
        output.note(f"train: {path} (train.data) isn't there yet, and without it `trlt train` ends here; steps are unknown")


def offline_identity(recipe: Recipe, samples: Sequence[Sample] | None) -> dict[str, Any] | None:
    """What tells the file of `train.offline` apart; None without one. It is read for its faults, before any model is loaded.

    Args:
        recipe: As resolved.
        samples: To train on; None where they aren't there yet.

    Raises:
        DataError: the file isn't there, or holds lines that can't be used.
    """
    offline = recipe.train.offline
    if offline is None or recipe.train.method != "grpo":
        return None
    if samples is not None:
        read_answers(offline, [sample.id for sample in samples])
    path = Path(offline.data)
    return {"path": str(path.resolve()), "sha256": file_digest(path)} if path.is_file() else {}


def online_identity(recipe: Recipe, samples: Sequence[Sample] | None) -> dict[str, str] | None:
    """What tells the rows of `train.online.probe` apart; None without them. Arguments and errors as `offline_identity`."""
    online = recipe.train.online
    if online is None or online.probe is None:
        return None
    return probe_identity(online.probe, [sample.id for sample in samples] if samples is not None else None)


def other_prompt(recipe: Recipe, data: Path) -> str | None:
    """Message for samples that were selected by answers to other prompts than training will ask."""
    chosen_by = (RunFiles(data).read_manifest() or {}).get("inputs", {}).get("probe")
    probed = chosen_by.get("prompt") if isinstance(chosen_by, dict) else None
    asked = recipe.prompt.words().version
    if probed in (None, asked):
        return None
    return (
        f"train: {data} was selected by answers to prompts {probed}, and training asks by {asked} (`prompt` in the recipe): "
        "how hard a sample is may differ; probe and select again with this recipe"
    )


def other_model(located: str, data: Path) -> str | None:
    """Message for samples that were selected by answers of another model than the one that is tuned; `located` is its place."""
    chosen_by = (RunFiles(data).read_manifest() or {}).get("inputs", {}).get("probe")
    probed = chosen_by.get("model") if isinstance(chosen_by, dict) else None
    if not isinstance(probed, dict) or "served" in probed:  # whose weights aren't known
        return None
    tuned = model_identity(located)
    if not changed_model(probed, tuned):
        return None
    before, now = called(probed), called(tuned)
    if before.rpartition("/")[2] == now.rpartition("/")[2] and ("hub" in probed) != ("hub" in tuned):
        return None  # a copy of what is on the hub, as far as names tell
    whose = now if before != now else f"other files of the name {now}"
    return (
        f"train: {data} was selected by answers of {before}, and training tunes {whose}: how hard a sample is differs from "
        "model to model; probe and select again with the model that is tuned"
    )


def check_trackers(recipe: Recipe, path: Path) -> None:
    """Ends a run before any work when what it reports to isn't installed."""
    for name in recipe.train.report_to:
        if find_spec(name) is None:
            raise RecipeError(
                f"{path}: train.report_to: {name} isn't installed; `pip install {name}`, or leave it out (log.jsonl in the "
                "run's folder holds every metric)"
            )


def processes_of(recipe: Recipe) -> int:
    """As many as the recipe says, else one per local GPU, else one."""
    if recipe.train.launch.processes:
        return recipe.train.launch.processes
    if recipe.model.device != "auto":
        return 1
    import torch

    return max(1, torch.cuda.device_count())


def has_gpu(recipe: Recipe) -> bool:
    if recipe.model.device == "cpu":
        return False
    import torch

    return bool(torch.cuda.is_available())


def all_warmup(recipe: Recipe, steps: int | None) -> str | None:
    """Message for a run that ends before its learning rate is reached."""
    warmup = recipe.train.warmup_steps
    if steps is None or not warmup or (warmup if warmup >= 1 else math.ceil(warmup * steps)) < steps:
        return None
    return (
        f"train: train.warmup_steps ({warmup:g}) takes all {counted(steps, 'step')}, from a rate of 0 on: train.learning_rate "
        f"({recipe.train.learning_rate:g}) is never reached; {advice('lower train.warmup_steps')}"
    )


def in_short(found: dict[str, Any]) -> str:
    """The plan in a line."""
    memory = found["memory"]
    need = f"; about {memory['peak_gb']} GB per GPU" if memory and memory["fits"] is not None else ""
    drawn = f"{counted(found['prompts_per_step'], 'prompt')} x {counted(found['completions_per_prompt'], 'completion')}"
    return (
        f"train: {drawn} per step over "
        f"{counted(found['processes'], 'process', 'es')} ({found['strategy']}), {counted(found['steps'], 'step')}{need}"
    )
