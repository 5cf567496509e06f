"""The plan of a training run before it starts: steps, launcher and memory, as an object.

Knows recipes and formulas; prints nothing.
"""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trlt.errors import RecipeError
from trlt.recipe import Effect, Recipe, Train, advice, effect, stands_for
from trlt.train.arguments import count_steps, fit
from trlt.train.memory_plan import (
    GB,
    Architecture,
    Lowered,
    Memory,
    advise,
    estimate,
    find_architecture,
    lower_limits,
    lowered,
    vllm_least,
)

ADAPTERS_RATE = 1e-5
"""Learning rate of the recipes that train adapters."""
MORE = re.compile(r"train\.launch\.processes=(\d+)")
"""What asks for more GPUs in flags."""
MOST_SHARE = 0.9
"""Of a GPU that vLLM can be given beside a training process."""
MACHINE = 8
"""GPUs that a machine has at most, as a rule."""
DEFAULT_GPU_GB = 80.0
"""Of a GPU that isn't there: the paper's."""


def fit_limits(recipe: Recipe, processes: int, *, here: bool) -> tuple[Recipe, list[Lowered], str | None]:
    """The recipe with limits that change no outcome as low as the GPUs need it, and what is said of that.

    On the CPU it stays as it is.

    Args:
        recipe: As resolved; each value is the most that is taken.
        processes: How many train.
        here: Whether it is to run on this machine: see `plan`.

    Raises:
        ModelError: a config.json of no known family.
    """
    model = None if recipe.model.device == "cpu" else find_architecture(recipe.model.path)
    if model is None:
        return recipe, [], None
    gpu_gb, _ = _gpu(recipe, here=here)
    taken = lower_limits(model, recipe, processes, int(gpu_gb * GB))
    changes = lowered(recipe, taken)
    if not changes:
        return recipe, [], None
    listed, gpus = ", ".join(map(str, changes)), f"GPUs of {gpu_gb:g} GB"
    if not estimate(model, taken, processes, int(gpu_gb * GB)).fits:
        return taken, changes, f"it doesn't fit {gpus} by the plan, not even with {listed}"
    rounding = any(effect(change.key) is Effect.ROUNDING for change in changes)
    outcome = "sums are rounded in another order" if rounding else "what is drawn stays the same"
    return taken, changes, f"{listed}, to fit {gpus} by the plan; it takes longer, and {outcome}"


def plan(
    recipe: Recipe, processes: int, folder: Path, command: Sequence[str], count: int | None, *, here: bool = False
) -> dict[str, Any]:
    """The plan of a run.

    Args:
        recipe: As resolved.
        processes: How many train.
        folder: The run's.
        command: Of each process.
        count: Number of samples; None where they aren't there yet.
        here: Whether it is to run on this machine: then its GPUs count where they are smaller than the recipe says.

    Raises:
        RecipeError: a step's prompts can't be spread over the processes.
        ModelError: a config.json of no known family.
    """
    settings = recipe.train
    grpo = settings.method == "grpo"
    asked = settings.prompts_per_step if grpo else settings.sft.batch
    batch = fit(settings, asked if count is None else count, processes)
    group = settings.group_size if grpo else 1
    named = grpo and settings.algorithm is not None
    return {
        "method": settings.method,
        **({"algorithm": stands_for(str(settings.algorithm), settings.model_dump())} if named else {}),
        **({"given_answers": _given(settings)} if grpo and settings.offline else {}),
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
        "memory": _memory(recipe, processes, here=here),
    }


def _given(settings: Train) -> str:
    """Whose answers take places of groups."""
    assert settings.offline
    offline = settings.offline
    return f"up to {offline.per_group} of {settings.group_size} per group from {offline.data}, weights {offline.weights}"


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
    raise RecipeError(
        f"{recipe.model.path} needs about {memory['peak_gb']} GB on {_gpus(found['processes'])} of "
        f"{memory['gpu_gb']:g} GB; {_remedies(memory['changes'], begun=begun)}\n"
        f"{_rate_of_adapters(recipe, memory['changes'])}(`--dry-run` shows what it is made of; train.launch.gpu_gb says how "
        "large a GPU is)"
    )


def refuse_fewer_gpus(processes: int) -> None:
    """Ends a run before any work when its processes would have to share GPUs, which NCCL refuses.

    Args:
        processes: How many are to be started on this machine.

    Raises:
        RecipeError: there are fewer GPUs here.
    """
    found = smallest_gpu()
    if found and found[1] < processes:
        there = "1 GPU is" if found[1] == 1 else f"{found[1]} GPUs are"
        raise RecipeError(
            f"train.launch.processes: {processes} processes need a GPU each, and {there} here; --set "
            f"train.launch.processes={found[1]} takes what there is, with --dry-run to see whether that fits"
        )


def refuse_small_share(recipe: Recipe, processes: int, *, here: bool) -> None:
    """Ends a run before any work when vLLM's share of the GPU can't hold what it samples with; arguments as for `plan`.

    Raises:
        RecipeError: it can't; says how large a share would do.
    """
    train = recipe.train
    model = find_architecture(recipe.model.path)
    if train.rollouts != "vllm" or recipe.model.device == "cpu" or model is None:
        return
    gpu_gb, _ = _gpu(recipe, here=here)
    needed, share = vllm_least(model, recipe, processes) / GB, train.vllm.memory
    if needed <= share * gpu_gb:
        return
    enough = math.ceil(20 * (needed / gpu_gb + 0.05)) / 20  # in steps of 0.05, and as much for what vLLM computes with
    remedy = advice(f"raise train.vllm.memory to {enough:.2f}")
    if enough > MOST_SHARE:
        remedy = advice("take larger GPUs, or train.rollouts: engine")
    raise RecipeError(
        f"train.vllm.memory: {share:g} of {gpu_gb:g} GB is less than the {needed:.1f} GB that vLLM needs for weights, and for "
        f"keys, values and states of one sequence; {remedy}"
    )


def _remedies(changes: Sequence[str], *, begun: bool) -> str:
    """Lines to paste: with the GPUs that there are, with more, and those that start anew."""
    if not changes:
        return "no setting makes it fit; take a smaller model or larger GPUs"
    others = [change for change in changes if begun and _makes_another(change)]
    more = [change for change in changes if change not in others and MORE.search(change)]
    here = [change for change in changes if change not in others and change not in more]
    parts = []
    if here:
        parts.append("any one of these lines, behind the command, makes it fit:" + "".join(f"\n  {line}" for line in here))
    if more:
        several = max(int(MORE.findall(line)[0]) for line in more) > MACHINE
        where = f", which beyond {MACHINE} are several machines, each started by torchrun or srun" if several else ""
        parts.append(f"with more GPUs{where}:" + "".join(f"\n  {line}" for line in more))
    if others:
        fresh = "".join(f"\n  {change} --fresh" for change in others)
        parts.append(f"steps are saved; any one of these lines fits and starts anew:{fresh}")
    return "\n".join(parts)


def _rate_of_adapters(recipe: Recipe, changes: Sequence[str]) -> str:
    """A line on the learning rate where remedies add adapters to a recipe with the low one of full tuning; else empty."""
    train = recipe.train
    if train.lora or train.learning_rate >= ADAPTERS_RATE or not any("train.lora=" in change for change in changes):
        return ""
    return (
        f"Adapters usually need a higher learning rate than this recipe's {train.learning_rate:g}: the 24 GB recipes have "
        f"--set train.learning_rate={ADAPTERS_RATE:g} (another run, as the adapters are)\n"
    )


def _gpus(count: int) -> str:
    return "a GPU" if count == 1 else f"each of {count} GPUs"


def _makes_another(change: str) -> bool:
    """Whether flags change what comes of a run."""
    return any(effect(word.partition("=")[0]) is Effect.OUTCOME for word in shlex.split(change) if word != "--set")


def _memory(recipe: Recipe, processes: int, *, here: bool) -> dict[str, Any] | None:
    """The estimate as an object; None where the model's shape isn't known."""
    model = find_architecture(recipe.model.path)
    if model is None:
        return None
    gpu_gb, origin = _gpu(recipe, here=here)
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


def _gpu(recipe: Recipe, *, here: bool) -> tuple[float, str]:
    """GB of a GPU, and where that is from."""
    asked, found = recipe.train.launch.gpu_gb, None if recipe.model.device == "cpu" else smallest_gpu()
    if asked and not (here and found and found[0] < asked):
        return asked, "train.launch.gpu_gb"
    if found:
        return found[0], f"the smallest of {found[1]} here"
    return DEFAULT_GPU_GB, "assumed: no GPU here" if recipe.model.device != "cpu" else "not used: model.device is cpu"


def smallest_gpu() -> tuple[float, int] | None:
    """GB of the smallest GPU here, and how many there are; None without any."""
    import torch

    if count := torch.cuda.device_count():
        least = min(torch.cuda.get_device_properties(i).total_memory for i in range(count))
        return round(least / GB, 1), count
    return None


def _gb(size: int) -> float:
    return round(size / GB, 1)
