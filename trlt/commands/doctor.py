"""`trlt doctor`: checks that software, machine and recipe work together, with a remedy for each fault."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from trlt.commands import doctor_checks as checks
from trlt.commands._output import Output
from trlt.commands._shared_options import Overrides, RecipeFile
from trlt.commands.doctor_checks import Check, attempt
from trlt.errors import TrltError, counted

if TYPE_CHECKING:
    from trlt.recipe import Recipe

PACKAGE = "trlt"
COLOURS = {"ok": "green", "warning": "yellow", "fault": "bold red"}
AGAIN = "install trlt again from where it came from: `pip install --force-reinstall WHEEL`, or `pip install -e .` in its folder"
VLLM_PYTHON = "TRLT_VLLM_PYTHON"
"""As `trlt.engine.vllm.environment` has it, whose import takes torch."""
SHARED_MEMORY = Path("/dev/shm")


def doctor(
    *,
    recipe_path: RecipeFile = None,
    sets: Overrides = (),
    quick: Annotated[bool, typer.Option("--quick", help="Skip the tiny end-to-end run.")] = False,
    output: Output,
) -> dict[str, Any]:
    """Checks everything that a run needs; see `trlt doctor --help`.

    Raises:
        TrltError: there are faults; all of them are shown first.
    """
    found = _software()
    recipe: list[Recipe] = []
    found += attempt(
        "recipe", lambda: _recipe(recipe, recipe_path, sets), "correct the recipe: the message names file, key and value"
    )
    families: list[str] = []
    if recipe and recipe_path is not None:
        found += attempt("model", lambda: _model(families, recipe[0]), "correct model.path, or download the file that it names")
    found += _vllm(recipe[0].train.vllm.python if recipe else None)
    gpus: list[checks.Card] = []
    found += attempt("CUDA", lambda: _gpus(gpus), AGAIN)
    found += _machine(recipe[0] if recipe else None, len(gpus), planned=recipe_path is not None)
    seconds: dict[str, float] = {}
    if not quick:
        output.note("doctor: a tiny run from end to end; --quick leaves it out")
        found += attempt("a tiny run", lambda: _try_out(seconds, families), AGAIN)
    output.show(_table(found))
    faults = sum(check.state == "fault" for check in found)
    warnings = sum(check.state == "warning" for check in found)
    result = {
        "ok": not faults,
        "faults": faults,
        "warnings": warnings,
        "checks": [asdict(check) for check in found],
        "seconds": seconds,
    }
    if faults:
        output.result(result)
        raise TrltError(f"doctor: {faults} {'faults' if faults > 1 else 'fault'}; the table says what to do about each")
    output.show(f"No fault, {warnings} {'warning' if warnings == 1 else 'warnings'}.")
    return result


def _software() -> list[Check]:
    """What is installed."""

    def python() -> Check:
        wanted = importlib.metadata.metadata(PACKAGE)["Requires-Python"]
        return checks.python_check(platform.python_version(), wanted, sys.platform)

    def libraries() -> list[Check]:
        requirements = importlib.metadata.requires(PACKAGE) or []
        installed = checks.installed_versions(requirements)
        found = checks.library_checks(requirements, installed)
        # A version that doesn't fit is told already.
        return [*found, *checks.tried_checks({k: v for k, v in installed.items() if k not in {one.name for one in found}})]

    def trl() -> Check:
        from trlt.recipe import load_recipe
        from trlt.train.grpo import OVERRIDDEN, VideoGRPOTrainer, unknown
        from trlt.train.trl_fit import misfits

        return checks.trl_check(misfits(VideoGRPOTrainer, OVERRIDDEN), unknown(load_recipe(None)), len(OVERRIDDEN))

    def decoders() -> list[Check]:
        import av

        return checks.decoder_checks(av)

    return [
        *attempt("Python", python, AGAIN),
        *attempt("libraries", libraries, AGAIN),
        *attempt("TRL's trainer", trl, AGAIN),
        *attempt("decoders", decoders, "pip install --force-reinstall --only-binary av av"),
    ]


def _vllm(named: str | None) -> list[Check]:
    """The environment that holds vLLM, where somebody has named one: most do without."""

    def look() -> list[Check]:
        from trlt.engine.vllm.environment import find_vllm

        found = find_vllm(named)
        return [Check("vLLM", "ok", f"{found.version}, of {found.python}")]

    if not named and not os.environ.get(VLLM_PYTHON):
        return []
    return attempt("vLLM", look, f"leave out {'train.vllm.python' if named else VLLM_PYTHON}, if it isn't needed")


def _recipe(kept: list[Recipe], path: Path | None, sets: Sequence[str]) -> list[Check]:
    """Loads the recipe into `kept`."""
    from trlt.recipe import load_recipe

    kept.append(load_recipe(path, sets=sets))
    return [Check("recipe", "ok", f"{path}: no fault")] if path else []


def _model(kept: list[str], recipe: Recipe) -> list[Check]:
    """The recipe's model, whose family goes into `kept`; nothing where it isn't on this machine."""
    from trlt.commands.doctor_checks.model import model_checks
    from trlt.engine.model import family_at

    kept.append(family_at(recipe.model.path).model_types[0])
    return model_checks(recipe)


def _gpus(kept: list[checks.Card]) -> list[Check]:
    """Torch, the driver, and each GPU, which goes into `kept`."""
    import torch

    kept += checks.cards()
    driver = checks.driver_cuda()
    first = checks.cuda_check(torch.__version__, torch.version.cuda, driver, available=torch.cuda.is_available())
    return [first, *(checks.card_check(index, card) for index, card in enumerate(kept))]


def _machine(recipe: Recipe | None, gpus: int, *, planned: bool) -> list[Check]:
    """Disk, memory and limits; and what the recipe's plan takes, where one was given."""
    found: list[Check] = []
    needed = 0
    if recipe is not None and planned:
        processes = max(1, recipe.train.launch.processes or gpus)
        memory: dict[str, Any] = {}
        found += attempt("plan", lambda: _plan(memory, recipe, processes, gpus), "`trlt train RECIPE --dry-run` says more")
        needed = int(memory.get("loading_gb_per_process", 0) * checks.GB) * processes

    def disk() -> Check:
        from trlt.recipe import Video
        from trlt.video.clip_cache import ClipCache

        settings = recipe.video if recipe is not None else Video()
        there = settings.store is not None and Path(settings.store).is_dir()
        held = ClipCache(str(settings.store), int(settings.store_gb * checks.GB)).info().bytes if there else 0
        return checks.disk_check(settings.store, settings.store_gb, held)

    def files() -> Check:
        import resource

        return checks.files_check(resource.getrlimit(resource.RLIMIT_NOFILE)[0])

    def shared() -> Check:
        total = shutil.disk_usage(SHARED_MEMORY).total if SHARED_MEMORY.is_dir() else None
        return checks.shared_memory_check(total, gpus)

    return [
        *found,
        *attempt("disk", disk, "set video.store to a folder that can be read"),
        *attempt("memory", lambda: checks.memory_check(checks.total_memory(), needed), "look at it with `free`"),
        *attempt("open files", files, "ulimit -n 65536"),
        *attempt("shared memory", shared, "look at it with `df /dev/shm`"),
    ]


def _plan(kept: dict[str, Any], recipe: Recipe, processes: int, gpus: int) -> list[Check]:
    """Whether training by the recipe fits the GPUs; the plan's memory goes into `kept`."""
    from trlt.train.run_plan import fit_limits, plan

    recipe, _, told = fit_limits(recipe, processes, here=True)
    memory = plan(recipe, processes, Path(), [], None, here=True)["memory"]
    if memory is None:
        return [
            Check("plan", "warning", f"{recipe.model.path}: its size isn't known here", "give a folder with its config.json")
        ]
    kept |= memory
    found = f"{memory['peak_gb']} GB of {memory['gpu_gb']:g} GB ({memory['gpu']}) for {counted(processes, 'process', 'es')}"
    found = f"{found}; {told}" if told else found
    if memory["fits"] is False:
        remedy = memory["changes"][0] if memory["changes"] else "no change of the recipe makes it fit: take a smaller model"
        return [Check("plan", "fault", found, remedy)]
    if gpus and processes > gpus:
        remedy = "--set train.launch.processes=0 takes those that are there"
        return [Check("plan", "warning", f"{found}; {counted(gpus, 'GPU')} {'is' if gpus == 1 else 'are'} here", remedy)]
    return [Check("plan", "ok", found)]


def _try_out(seconds: dict[str, float], families: Sequence[str]) -> list[Check]:
    """The tiny run, also of a model of these families; the time of each stage goes into `seconds`."""
    from trlt.commands.doctor_checks.trial import trial

    tried = trial(*families)
    seconds |= tried.seconds
    return tried.checks


def _table(found: Sequence[Check]) -> Table:
    table = Table(title="What was found", title_justify="left")
    for column in ("check", "", "found", "remedy"):
        table.add_column(column, overflow="fold")
    for check in found:
        table.add_row(Text(check.name), Text(check.state, style=COLOURS[check.state]), Text(check.found), Text(check.remedy))
    return table
