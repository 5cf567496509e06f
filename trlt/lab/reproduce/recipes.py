"""The recipes of a plan's arms: overlays on what all share, checked as recipes, with `{out}` for the output folder."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from trlt.errors import RecipeError
from trlt.files import write_text_atomic
from trlt.lab.miniature import layout
from trlt.lab.reproduce.plan_sections import Plan
from trlt.recipe import Recipe, load_recipe, to_yaml
from trlt.recipe.load import renew_keys

OUT = "{out}"
"""Stands for the output folder, so that what a run is doesn't depend on where it lies."""
WORLD = f"{OUT}/data"
PROBE = "{probe}"
"""Stands, in an arm's recipe, for the probe of the pool that its samples are selected by."""
GOLD = "{gold}"
"""The same for the gold answers to its samples, as JSONL with `id` and `text`."""


def resolve(plan: Plan, where: str, *overlays: Mapping[str, Any]) -> Recipe:
    """The recipe of a plan with overlays, the later over the earlier; sources and benchmarks by default are the world's.

    Args:
        plan: Whose recipe it begins with.
        where: The plan's file, and the key of the last overlay, for the error.
        overlays: Keys of a recipe.

    Raises:
        RecipeError: every fault at once.
    """
    values = merged(_world(), plan.recipe)
    for overlay in overlays:
        values = merged(values, overlay)
    renew_keys(values, where)
    try:
        return Recipe.model_validate(values)
    except ValidationError:
        raise RecipeError(_told(values, where)) from None


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Both, section by section; what stands above counts."""
    result = dict(below)
    for key, value in above.items():
        old = result.get(key)
        result[key] = merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result


def filled(value: Any, out: Path) -> Any:
    """JSON values with the output folder in the place of `{out}`."""
    return _replaced(value, OUT, out.as_posix())


def _replaced(value: Any, mark: str, text: str) -> Any:
    """JSON values with a text in the place of a mark."""
    if isinstance(value, str):
        return value.replace(mark, text)
    if isinstance(value, Mapping):
        return {key: _replaced(one, mark, text) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_replaced(one, mark, text) for one in value]
    return value


def names(recipe: Recipe, mark: str) -> bool:
    """Whether a text of the recipe holds a mark."""
    return mark in str(recipe.model_dump(mode="json"))


def marked(recipe: Recipe, mark: str, place: str) -> Recipe:
    """The recipe with a place where it holds a mark."""
    return Recipe.model_validate(_replaced(recipe.model_dump(mode="json"), mark, place)) if names(recipe, mark) else recipe


def write(recipe: Recipe, path: Path, out: Path) -> None:
    """Writes a recipe for an output folder."""
    write_text_atomic(path, to_yaml(filled(recipe.model_dump(mode="json"), out)))


def _world() -> dict[str, Any]:
    """Sources and benchmarks of the miniature world."""
    places = layout.layout(Path(WORLD))
    files = {
        group: {name: {"annotations": place.annotations.as_posix(), "videos": place.videos.as_posix()} for name, place in of}
        for group, of in (("train", places.train.items()), ("bench", places.bench.items()))
    }
    sources = [{"dataset": name, **place} for name, place in files["train"].items()]
    return {"prepare": {"sources": sources}, "eval": {"benchmarks": files["bench"]}}


def _told(values: Mapping[str, Any], where: str) -> str:
    """The faults of a recipe in the words of every command that reads one."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "recipe.yaml"
        try:
            write_text_atomic(path, to_yaml(dict(values)))
            load_recipe(path)
        except RecipeError as error:
            return str(error).replace(f"{path}: ", f"{where}: ")
    return f"{where}: isn't a recipe"
