"""The generated parts of `docs/families.md`: the families, their released sizes, and the memory that some of them need."""

from __future__ import annotations

from pathlib import Path

from trlt.engine.families import FAMILIES, Family
from trlt.engine.families.published import PUBLISHED
from trlt.engine.families.shape import Architecture
from trlt.engine.model import fit_adapters
from trlt.engine.model.which import published_family
from trlt.recipe import Recipe, load_recipe
from trlt.train.memory_plan import GB, advise, can_fit, estimate, lower_limits, lowered

KIB, MIB = 2**10, 2**20
RECIPE = Path(__file__).resolve().parents[2] / "recipes" / "qwen3-vl-8b.yaml"
PLANNED = ("Qwen3-VL-4B", "Qwen3-VL-8B", "Qwen3-VL-30B-A3B", "Qwen3.5-9B")
MACHINES = ((1, 24), (1, 80), (8, 80))
"""GPUs, and GB of each."""
WAYS = {"full": None, "LoRA": "{}", "QLoRA": "{quantize: nf4}"}
"""`train.lora`."""


def families() -> str:
    """What distinguishes families, as a table."""
    rows = [
        "| family | `model_type` | sizes | pixels a side of a token | times of frames | features a token |",
        "|---|---|---|---|---|---|",
    ]
    times = {None: "none", "positions": "in positions", "text": "as text in the prompt"}
    for family in FAMILIES:
        sizes = [name for name in PUBLISHED if published_family(name) is family]
        deep = PUBLISHED[sizes[0]].deepstack
        cells = (
            *(family.name, ", ".join(f"`{kind}`" for kind in family.model_types)),
            ", ".join(name.removeprefix(f"{family.name.removesuffix('-MoE')}-") for name in sizes),
            *(str(family.geometry.side), times[family.time_in], f"1 + {deep} (DeepStack)" if deep else "1"),
        )
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def sizes() -> str:
    """Released sizes with their parameters and what a token keeps, as a table."""
    rows = [
        "| model | parameters | of which a token meets | keys and values a token | state a sequence | features a token |",
        "|---|---|---|---|---|---|",
    ]
    for name, shape in PUBLISHED.items():
        active = f"{shape.active / GB:.2f}B" if shape.experts else "all"
        state = f"{shape.state(2) / MIB:.1f} MiB" if shape.linear else "none"
        cells = (name, f"{shape.parameters:,}", active, f"{shape.cache(2) / KIB:g} KiB", state)
        rows.append(f"| {' | '.join(cells)} | {2 * shape.feature_width / KIB:g} KiB |")
    return "\n".join(rows)


def memory() -> str:
    """What `trlt train --dry-run` says of a recipe with other models on other machines, as a table."""
    rows = ["| model | trained | GPUs | needed on each | fits, or flags that make it fit |", "|---|---|---|---|---|"]
    for name in PLANNED:
        family = published_family(name)
        assert family is not None, "a published name"
        for way, lora in WAYS.items():
            if lora and "quantize" in lora and family.experts:
                rows.append(f"| {name} | {way} | – | – | refused: experts aren't held in 4 bits |")
                continue
            for count, gb in MACHINES:
                needed, flags = _planned(name, family, lora, count, gb)
                rows.append(f"| {name} | {way} | {count} x {gb} GB | {needed} | {flags} |")
    return "\n".join(rows)


def _planned(name: str, family: Family, lora: str | None, count: int, gb: int) -> tuple[str, str]:
    """Memory needed, and what makes it fit: lower limits, or the first line of advice that changes no number of GPUs."""
    shape, recipe = PUBLISHED[name], _recipe(family, lora, count)
    needed = f"{estimate(shape, recipe, count, gb * GB).peak / GB:.1f} GB"
    if not can_fit(shape, recipe, count, gb * GB):
        return needed, _flags(shape, recipe, count, gb)
    taken = lower_limits(shape, recipe, count, gb * GB)
    return needed, f"fits with {taken.train.max_sequences} at once" if lowered(recipe, taken) else "fits"


def _flags(shape: Architecture, recipe: Recipe, count: int, gb: int) -> str:
    lines = [str(change) for change in advise(shape, recipe, count, gb * GB)]
    here = [line for line in lines if "train.launch.processes" not in line]
    return f"`{here[0]}`" if here else f"more GPUs: `{lines[0]}`" if lines else "none"


def _recipe(family: Family, lora: str | None, count: int) -> Recipe:
    sets = [f"train.launch.processes={count}", *([f"train.lora={lora}"] if lora else [])]
    recipe = load_recipe(RECIPE, sets=sets)
    if recipe.train.lora is None:
        return recipe
    fitted = fit_adapters(recipe.train.lora, family)
    return recipe.model_copy(update={"train": recipe.train.model_copy(update={"lora": fitted})})
