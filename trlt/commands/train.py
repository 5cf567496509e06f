"""`trlt train`: the plan, the launch, and the run's folder around GRPO or SFT."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.table import Table

from trlt.commands._output import Output
from trlt.commands._setup import RUNS, limit_threads, quiet, resolve
from trlt.errors import DataError, RecipeError, TrltError
from trlt.model import locate
from trlt.prompt import VERSION
from trlt.recipe import Recipe, save_recipe
from trlt.rollout import file_digest, model_identity, open_run, videos_root
from trlt.sample import Sample, read_samples, write_text_atomic
from trlt.video.resolve import VideoIndex

IGNORED = ("probe.", "select.", "prepare.", "eval.", "train.launch.", "train.report_to", "train.keep_checkpoints", "train.data")
"""Keys of a recipe that don't change a run's trajectory."""


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
    flags = {"train.data": str(data) if data else None, "model.path": model}
    recipe = resolve(recipe_path, sets, flags)
    if recipe.train.data is None:
        raise RecipeError(
            f"{recipe_path}: train.data: no samples to train on; set it, or give --data (`trlt select` makes them)"
        )
    folder = out or RUNS / recipe.name / f"train-{recipe.train.method}"
    worker = "RANK" in os.environ or "LOCAL_RANK" in os.environ
    processes = int(os.environ.get("WORLD_SIZE", "1")) if worker else _processes(recipe)
    forward = [str(recipe_path), *[f for s in sets for f in ("--set", s)]]
    forward += [f for key, value in (("--data", data), ("--model", model), ("--out", out)) if value for f in (key, str(value))]
    command = launch_command(recipe, processes, forward)
    if dry_run:
        found = plan(recipe, processes, folder, command)
        output.show(_plan_table(found))
        return {"plan": found, "recipe": recipe.model_dump(mode="json")}
    path = Path(recipe.train.data)
    samples = read_samples(path)
    locate(recipe.model.path)
    if processes > 1 and not worker:
        output.note(f"train: starting {processes} processes: {' '.join(command)}")
        code = subprocess.run([*command, *(["--fresh"] if fresh else [])], check=False).returncode
        if code:
            raise TrltError(f"train: the processes ended with exit code {code}; what went wrong stands above")
        return _result(folder)
    return _run(recipe, path, samples, folder, fresh, output)


def plan(recipe: Recipe, processes: int, folder: Path, command: Sequence[str]) -> dict[str, Any]:
    """What a run would do: batch arithmetic and launcher.

    Raises:
        RecipeError: a step's prompts can't be spread over the processes.
    """
    settings = recipe.train
    each = settings.prompts_per_pass * processes
    if settings.method == "grpo" and settings.prompts_per_step % each:
        raise RecipeError(
            f"train.prompts_per_step: {settings.prompts_per_step} prompts can't be spread evenly over {processes} processes of "
            f"{settings.prompts_per_pass}; take a multiple of {each}"
        )
    path = Path(recipe.train.data or "")
    count = len(read_samples(path)) if path.exists() else None
    batch = settings.prompts_per_step if settings.method == "grpo" else settings.sft.batch
    steps = settings.max_steps or (math.ceil(settings.epochs * count / batch) if count else None)
    return {
        "method": settings.method,
        "model": recipe.model.path,
        "data": str(path),
        "samples": count,
        "processes": processes,
        "strategy": settings.launch.strategy if processes > 1 else "single process",
        "launcher": " ".join(command) if processes > 1 else "this process",
        "prompts_per_step": batch,
        "completions_per_prompt": settings.group_size if settings.method == "grpo" else 1,
        "prompts_per_process_and_step": batch // processes,
        "passes_per_process_and_step": batch // each if settings.method == "grpo" else None,
        "steps": steps,
        "video_tokens_at_most": recipe.video.max_tokens,
        "new_tokens_at_most": settings.max_new_tokens,
        "folder": str(folder),
    }


def launch_command(recipe: Recipe, processes: int, arguments: Sequence[str]) -> list[str]:
    """How `trlt train` starts itself on all local GPUs, through Accelerate."""
    strategy = recipe.train.launch.strategy
    command = [sys.executable, "-m", "accelerate.commands.launch", "--num_processes", str(processes), "--num_machines", "1"]
    command += ["--mixed_precision", "bf16" if recipe.model.dtype == "bfloat16" else "no", "--dynamo_backend", "no"]
    if strategy == "fsdp2":
        command += ["--use_fsdp", "--fsdp_version", "2", "--fsdp_auto_wrap_policy", "TRANSFORMER_BASED_WRAP"]
        command += ["--fsdp_transformer_layer_cls_to_wrap", "Qwen2_5_VLDecoderLayer,Qwen2_5_VLVisionBlock"]
        command += ["--fsdp_reshard_after_forward", "true", "--fsdp_state_dict_type", "FULL_STATE_DICT"]
    elif strategy in ("zero2", "zero3"):
        command += ["--use_deepspeed", "--zero_stage", strategy[-1]]
    else:
        command += ["--multi_gpu"]
    return [*command, "-m", "trlt", "train", *arguments]


def _processes(recipe: Recipe) -> int:
    """As many as the recipe says, else one a local GPU, else one."""
    if recipe.train.launch.processes:
        return recipe.train.launch.processes
    if recipe.model.device != "auto":
        return 1
    import torch

    return max(1, torch.cuda.device_count())


def _run(recipe: Recipe, data: Path, samples: list[Sample], folder: Path, fresh: bool, output: Output) -> dict[str, Any]:
    root = videos_root(recipe.video.root, data)
    located = locate(recipe.model.path)
    if fresh:
        for name in ("checkpoints", "model", "log.jsonl", "broken.jsonl", "result.json"):
            path = folder / name
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
    source = {"sha256": file_digest(data), "samples": len(samples), "path": str(data.resolve())}
    protocol = {"prompt": VERSION, **recipe.train.model_dump(mode="json"), "video": recipe.video.model_dump(mode="json")}
    run = open_run(
        folder,
        "train",
        recipe,
        model=model_identity(located),
        inputs={"data": source | {"videos": str(root.resolve())}},
        protocol=protocol,
        ignore=IGNORED,
        fresh=fresh,
    )
    save_recipe(run.recipe, recipe)
    if (folder / "result.json").is_file():
        output.note(f"train: {folder} is complete; --fresh starts anew, and another --out keeps both")
        return _result(folder)
    result = _train(recipe, samples, root, folder, output)
    write_text_atomic(folder / "result.json", json.dumps(result, indent=2) + "\n")
    first, last = result["reward_first"], result["reward_last"]
    if first is not None:
        output.show(f"Reward: {first:.3f} over the first steps, {last:.3f} over the last")
    output.show(f"Model: {result['model']}\nNext: trlt eval --bench all --model {result['model']}")
    return result


def _result(folder: Path) -> dict[str, Any]:
    path = folder / "result.json"
    if not path.is_file():
        raise DataError(f"{path}: missing although training ended; look at the output above")
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _train(recipe: Recipe, samples: list[Sample], root: Path, folder: Path, output: Output) -> dict[str, Any]:
    quiet()
    # What libraries say about their next versions is for whoever raises the pins.
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"(transformers|trl)\b")
    from trlt import model as models
    from trlt.engine.inputs import InputBuilder
    from trlt.training import Material, read_log
    from trlt.video.workers import ClipLoader

    settings = recipe.train
    # Weights are kept in float32 whatever the recipe computes in: at a learning rate of 1e-6, BF16 weights don't move.
    loaded = models.load(recipe.model.model_copy(update={"dtype": "float32", "path": locate(recipe.model.path)}))
    if settings.method == "grpo":  # the many short steps of sampling; supervised batches gain from threads
        limit_threads(loaded.model)
    with ClipLoader(recipe.video) as loader, output.progress(f"train ({settings.method})") as progress:
        builder = InputBuilder(loaded.model, loaded.processor)
        material = Material(samples, VideoIndex(root, recipe.video.downloads), loader, builder)
        material.require_videos()
        parity: dict[str, Any] | None = None
        if settings.method == "grpo":
            from trlt import grpo

            steps, measured = grpo.train(loaded, material, recipe, folder, lambda row: progress(row["step"], row["of"]))
            parity = asdict(measured)
        else:
            from trlt import sft

            steps = sft.train(loaded, material, recipe, folder, lambda row: progress(row["step"], row["of"]))
    final = folder / "model"
    if int(os.environ.get("RANK", "0")) == 0:
        _save(loaded, final)
    rewards = [row["reward"] for row in read_log(folder / "log.jsonl") if "reward" in row]
    some = max(1, len(rewards) // 5)
    return {
        "method": settings.method,
        "steps": steps,
        "model": str(final),
        "log": str(folder / "log.jsonl"),
        "parity": parity,
        "reward_first": sum(rewards[:some]) / some if rewards else None,
        "reward_last": sum(rewards[-some:]) / some if rewards else None,
    }


def _save(loaded: Any, final: Path) -> None:
    """The final model appears as a whole or not at all."""
    from trlt.model import save

    partial = final.with_name(".model.partial")
    shutil.rmtree(partial, ignore_errors=True)
    save(loaded.model, loaded.processor, partial)
    shutil.rmtree(final, ignore_errors=True)
    partial.rename(final)


def _plan_table(found: dict[str, Any]) -> Table:
    table = Table(title="What would run", show_header=False)
    table.add_column()
    table.add_column(overflow="fold")
    for key, value in found.items():
        table.add_row(key.replace("_", " "), "unknown until the data is there" if value is None else str(value))
    return table
