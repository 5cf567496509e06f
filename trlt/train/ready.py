"""What each recipe that ships with trlt is for, and the GPUs that it needs by the plan of memory. Loads no model."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trlt.recipe import Recipe, is_plan, load_recipe, read_yaml, shipped
from trlt.train.memory_plan import GB, estimate, find_architecture

GROUPS = ("recipe", "ablation", "plan")


@dataclass(frozen=True, slots=True)
class ReadyRecipe:
    """A shipped recipe or plan, in short."""

    name: str
    path: str
    kind: str
    """One of `GROUPS`."""
    purpose: str
    """What is done by it."""
    model: str
    """Empty where none has a say."""
    processes: int
    """GPUs, one a process; 0 where it runs on the CPU or trains nothing."""
    gpu_gb: float | None
    """GB (10^9 bytes) of each; None where it doesn't say."""
    needed_gb: float | None
    """By the plan; None where it is not known or not needed."""
    fits: bool | None
    comment: str
    """The first line of its comment."""

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    @property
    def gpus(self) -> str:
        """The GPUs in words."""
        if not self.processes:
            return "none"
        asked = f"{self.processes} x {self.gpu_gb:g} GB" if self.gpu_gb else f"{self.processes}"
        return asked if self.needed_gb is None else f"{asked} ({self.needed_gb:.1f} by plan)"


def ready_recipes() -> list[ReadyRecipe]:
    """All of them, in the order of their names: recipes, ablations, plans."""
    return [ready(name) for name in shipped()]


def ready(name: str) -> ReadyRecipe:
    """One of them, by its name."""
    path = shipped()[name]
    comment = first_comment(path)
    if is_plan(name):
        values = read_yaml(path, "install trlt again")
        asked = str(values["recipe"]["model"]["path"])
        return ReadyRecipe(name, str(path), "plan", "trlt reproduce --plan", asked, 0, None, None, None, comment)
    recipe = load_recipe(path)
    kind = "ablation" if "/" in name else "recipe"
    purpose, on_gpu = purpose_of(recipe), recipe.train.data is not None and recipe.model.device != "cpu"
    if not on_gpu:
        model_path = recipe.model.path if recipe.train.data else ""
        return ReadyRecipe(name, str(path), kind, purpose, model_path, 0, None, None, None, comment)
    processes, gpu_gb = recipe.train.launch.processes or 1, recipe.train.launch.gpu_gb
    needed, fits = None, None
    if gpu_gb and (model := find_architecture(recipe.model.path)):
        plans = [estimate(model, one, processes, int(gpu_gb * GB)) for one in _each_stage(recipe)]
        needed, fits = max(round(memory.peak / GB, 1) for memory in plans), all(memory.fits for memory in plans)
    return ReadyRecipe(name, str(path), kind, purpose, recipe.model.path, processes, gpu_gb, needed, fits, comment)


def purpose_of(recipe: Recipe) -> str:
    """What a recipe's training is, in a few words; without one, whether it makes samples or asks benchmarks."""
    train = recipe.train
    if train.data is None:
        return "samples" if recipe.prepare.sources else "benchmarks"
    if train.lora is None:
        trained = "all weights"
    else:
        trained = "QLoRA" if train.lora.quantize else "LoRA"
    methods = [one.train.method.upper() for one in _each_stage(recipe)]
    return f"{', then '.join(methods)}, {trained}"


def _each_stage(recipe: Recipe) -> list[Recipe]:
    """The recipe of each stage; of one without stages, itself."""
    train = recipe.train
    sections = [train.stage(place) for place in range(len(train.stages))] or [train]
    return [recipe.model_copy(update={"train": section}) for section in sections]


def first_comment(path: Path) -> str:
    """The first line of the comment that a file begins with; empty without one."""
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    return first.removeprefix("#").strip() if first.startswith("#") else ""
