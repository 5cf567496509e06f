"""The plan of a training run before it starts: steps, launcher and memory, as an object.

Knows recipes and formulas; prints nothing.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trlt.errors import RecipeError
from trlt.recipe import Effect, Recipe, Train, effect
from trlt.train.arguments import count_steps, fit
from trlt.train.memory_plan import GB, Architecture, Memory, advise, estimate, find_architecture

DEFAULT_GPU_GB = 80.0
"""Of a GPU that isn't there: the paper's."""


def plan(recipe: Recipe, processes: int, folder: Path, command: Sequence[str], count: int | None) -> dict[str, Any]:
    """The plan of a run.

    Args:
        recipe: As resolved.
        processes: How many train.
        folder: The run's.
        command: Of each process.
        count: Number of samples; None where they aren't there yet.

    Raises:
        RecipeError: a step's prompts can't be spread over the processes.
        ModelError: a config.json of no known family.
    """
    settings = recipe.train
    grpo = settings.method == "grpo"
    asked = settings.prompts_per_step if grpo else settings.sft.batch
    batch = fit(settings, asked if count is None else count, processes)
    group = settings.group_size if grpo else 1
    return {
        "method": settings.method,
        "model": recipe.model.path,
        "data": recipe.train.data or "",
        "samples": count,
        "processes": processes,
        "strategy": settings.strategy if processes > 1 else "single process",
        "launcher": f"{processes} x {' '.join(command)}" if processes > 1 else "this process",
        "prompts_per_step": batch.examples,
        "completions_per_prompt": group,
        "completions_per_step": batch.examples * group,
        "rollouts": _rollouts(settings, recipe.model.device),
        "prompts_per_process_and_step": batch.step // processes,
        "passes_per_process_and_step": batch.step // (batch.rows * processes) if grpo else None,
        "steps": settings.max_steps if count is None else count_steps(settings, count, batch),
        "video_tokens_at_most": recipe.video.max_tokens,
        "new_tokens_at_most": settings.max_new_tokens,
        "folder": str(folder),
        "memory": _memory(recipe, processes),
    }


def _rollouts(settings: Train, device: str) -> str:
    """Who draws the completions."""
    if settings.method == "sft":
        return "none"
    if settings.rollouts == "engine":
        return "engine"
    return f"vLLM, with {settings.vllm.memory:.0%} of {'the machine' if device == 'cpu' else 'each GPU'}'s memory"


def refuse_what_cannot_fit(recipe: Recipe, found: dict[str, Any], *, begun: bool = False) -> None:
    """Ends a run before any work when its plan doesn't fit the GPU.

    Args:
        recipe: As resolved.
        found: Its plan.
        begun: Whether steps of this run are saved, which go on only with what changes no outcome.

    Raises:
        RecipeError: it doesn't; names what to change.
    """
    memory = found["memory"]
    if memory is None or memory["fits"] is not False:
        return
    others = [change for change in memory["changes"] if begun and _makes_another(change)]
    lines = [change for change in memory["changes"] if change not in others]
    remedy = "no setting makes it fit; take a smaller model or larger GPUs"
    if lines:
        remedy = "any one of these lines, behind the command, makes it fit:\n  " + "\n  ".join(lines)
    if others:
        fresh = "\n  ".join(f"{change} --fresh" for change in others)
        remedy = (f"{remedy}\n" if lines else "") + f"steps are saved; any one of these lines fits and starts anew:\n  {fresh}"
    raise RecipeError(
        f"{recipe.model.path} needs about {memory['peak_gb']} GB on {_gpus(found['processes'])} of "
        f"{memory['gpu_gb']:g} GB; {remedy}\n"
        "(`--dry-run` shows what it is made of; train.launch.gpu_gb says how large a GPU is)"
    )


def _gpus(count: int) -> str:
    return "a GPU" if count == 1 else f"each of {count} GPUs"


def _makes_another(change: str) -> bool:
    """Whether flags change what comes of a run."""
    return any(effect(word.partition("=")[0]) is Effect.OUTCOME for word in shlex.split(change) if word != "--set")


def _memory(recipe: Recipe, processes: int) -> dict[str, Any] | None:
    """The estimate as an object; None where the model's shape isn't known."""
    model = find_architecture(recipe.model.path)
    if model is None:
        return None
    gpu_gb, origin = _gpu(recipe)
    memory = estimate(model, recipe, processes, int(gpu_gb * GB))
    on_cpu = recipe.model.device == "cpu"
    changes = [] if on_cpu or memory.fits else advise(model, recipe, processes, memory.gpu)
    return {
        "parameters": model.parameters,
        "active_parameters": model.active,
        "parameters_of": _parts(model),
        "shape": model.source,
        "gpu_gb": gpu_gb,
        "gpu": origin,
        "lines": [
            {"when": line.when, "name": line.name, "gb": _gb(line.size), "formula": line.formula} for line in memory.lines
        ],
        **_sums(memory),
        "fits": None if on_cpu else memory.fits,
        "headroom_gb": _gb(memory.headroom),
        "changes": [str(change) for change in changes],
    }


def _parts(model: Architecture) -> dict[str, int]:
    return {"language": model.language, "head": model.head, "vision": model.vision}


def _sums(memory: Memory) -> dict[str, Any]:
    return {
        "held_gb": _gb(memory.of("held")),
        "pass_gb": _gb(memory.of("pass")),
        "rollout_gb": _gb(memory.of("rollout")),
        "start_gb": _gb(memory.start),
        "peak_gb": _gb(memory.peak),
        "loading_gb_per_process": _gb(memory.loading),
        "saving_gb": _gb(memory.saving),
    }


def _gpu(recipe: Recipe) -> tuple[float, str]:
    """GB of a GPU, and where that is from."""
    if recipe.train.launch.gpu_gb:
        return recipe.train.launch.gpu_gb, "train.launch.gpu_gb"
    if recipe.model.device != "cpu":
        import torch

        if count := torch.cuda.device_count():
            least = min(torch.cuda.get_device_properties(i).total_memory for i in range(count))
            return round(least / GB, 1), f"the smallest of {count} here"
    return DEFAULT_GPU_GB, "assumed: no GPU here" if recipe.model.device != "cpu" else "not used: model.device is cpu"


def _gb(size: int) -> float:
    return round(size / GB, 1)
