"""Merges a low-rank adapter and its base into one model, which loads without PEFT."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from trlt.engine.model import check_adapter, draw_as, folder_of, load, locate, named_base, precision_of, resolve
from trlt.errors import ModelError
from trlt.recipe import Model, Recipe, load_recipe

if TYPE_CHECKING:
    from transformers import PreTrainedModel, ProcessorMixin

ADAPTER_OF_A_RUN = "adapter"
"""Below a training's folder."""


class Merged(NamedTuple):
    """The sum, not yet written."""

    model: PreTrainedModel
    """In the precision that its base is saved in."""
    processor: ProcessorMixin
    recipe: Recipe
    """Of the run whose adapter it is, else the defaults: how the model is asked."""


def adapter_in(folder: Path) -> Path:
    """The adapter's folder, where a training run's was named."""
    return folder / ADAPTER_OF_A_RUN if (folder / ADAPTER_OF_A_RUN).is_dir() else folder


def base_of(adapter: Path, base: str | None) -> str:
    """The base's name: the one that is given, else the one that the adapter names.

    Raises:
        ModelError: not an adapter that can be merged.
    """
    return base or named_base(adapter, check_adapter(adapter))


def merge_adapter(adapter: Path, located: str, base: str | None = None) -> Merged:
    """Adds an adapter to its base's weights, in float32, whatever either is saved in.

    Args:
        adapter: Folder that PEFT's `save_pretrained` wrote.
        located: Where it is, as `locate_adapter` gives it.
        base: Folder, hub id or `miniature`; None takes the one that the adapter names.

    Raises:
        ModelError: an adapter or base that can't be used, or that don't belong together.
    """
    loaded = load(Model(path=located, dtype="float32", device="cpu"), base=base)
    model = loaded.model.to(precision_of(folder_of(resolve(located, base).base)))
    recipe = _recipe(adapter)
    draw_as(model, loaded.processor, recipe.eval)
    return Merged(model, loaded.processor, recipe)


def locate_adapter(adapter: Path, base: str | None) -> str:
    """The adapter's folder, once it and its base are known to be there.

    Raises:
        ModelError: they aren't.
    """
    if base is None:
        return locate(str(adapter))
    try:
        locate(base)
    except ModelError as error:
        raise ModelError(f"--base: {str(error).removeprefix('model.path: ')}") from None
    return locate(str(adapter), base)


def _recipe(adapter: Path) -> Recipe:
    """That of the run whose adapter it is, else the defaults."""
    run = adapter.resolve().parent
    return load_recipe(run / "recipe.yaml" if (run / "manifest.json").is_file() else None)
