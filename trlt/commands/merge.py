"""`trlt train merge`: a LoRA adapter and its base become one model, which loads without PEFT."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from trlt import __version__
from trlt.card import BEGIN, END, NAME, NO_RESULTS, write_card
from trlt.commands._output import Output
from trlt.commands._setup import next_after_tuning, quiet
from trlt.errors import ModelError, UsageError
from trlt.files import new_folder
from trlt.model import check_adapter, draw_as, folder_of, load, locate, named_base, precision_of, resolve, save
from trlt.recipe import Model, Recipe, load_recipe, to_yaml
from trlt.rollout import Run
from trlt.usage import use

ADAPTER_OF_A_RUN = "adapter"
"""Below a training's folder."""


def merge(
    adapter: Annotated[Path, typer.Argument(help="Folder of a LoRA adapter: `<run>/adapter` of a run with `train.lora`.")],
    *,
    out: Annotated[Path, typer.Option(help="Folder of the merged model.")],
    base: Annotated[
        str | None, typer.Option(help="Folder, hub id, or `miniature`; default: the base that the adapter names.")
    ] = None,
    output: Output,
) -> dict[str, Any]:
    """Adds an adapter to its base's weights, and saves the whole; see `trlt train merge --help`.

    The sum is taken in float32 and written in the precision that the base is saved in. `out` appears as a whole or not at all.

    Args:
        adapter: Folder that PEFT's `save_pretrained` wrote.
        base: Folder, hub id or `miniature`; None takes the one that the adapter names.
        out: Folder of the merged model, which mustn't be there.
        output: Says what is going on.

    Raises:
        UsageError: `out` is there.
        ModelError: an adapter or base that can't be used, or that don't belong together.
    """
    if out.exists():
        raise UsageError(f"--out: {out} is there already; give another folder, or remove it first")
    adapter = adapter / ADAPTER_OF_A_RUN if (adapter / ADAPTER_OF_A_RUN).is_dir() else adapter
    name = base or named_base(adapter, check_adapter(adapter))
    located = _located(adapter, base)
    quiet()
    from trlt.positions import follows_library

    output.note(f"train merge: {adapter} into {name}")
    with output.stages(["train merge"]) as stage:
        stage(0, "loading the base, and adding the adapter")
        loaded = load(Model(path=located, dtype="float32", device="cpu"), base=base)
        precision = precision_of(folder_of(resolve(located, base).base))
        merged = loaded.model.to(precision)
        recipe = _recipe(adapter)
        draw_as(merged, loaded.processor, recipe.eval)
        stage(0, "writing the model")
        with new_folder(out) as new:
            save(merged, loaded.processor, new)
            write_card(new, _card(adapter, name, out.name, recipe, follows_library(merged.config)))
        stage(0, "")
    output.show(f"Model: {out}")
    if line := _next(adapter, out, recipe):
        output.show(line)
    return {"model": str(out), "adapter": str(adapter), "base": name, "dtype": str(precision).removeprefix("torch.")}


def _located(adapter: Path, base: str | None) -> str:
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
    """That of the run whose adapter it is, else the defaults; says how the model is asked."""
    run = adapter.resolve().parent
    return load_recipe(run / "recipe.yaml" if (run / "manifest.json").is_file() else None)


def _next(adapter: Path, out: Path, recipe: Recipe) -> str | None:
    """How the merged model is looked at; None where the adapter isn't of a run, so that neither benchmark nor data is known."""
    run = Run(adapter.resolve().parent)
    data = ((run.read_manifest() or {}).get("inputs", {}).get("data") or {}).get("path")
    return next_after_tuning(out, run.recipe, recipe, Path(data) if data else None, f"{out}-")


def _card(adapter: Path, base: str, title: str, recipe: Recipe, library_positions: bool) -> str:
    """The adapter's card where trlt wrote it, else a short one: PEFT's own says how to load an adapter."""
    path = adapter / NAME
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    if BEGIN in text:
        return text
    head = {
        "base_model": base,
        "library_name": "transformers",
        "pipeline_tag": "video-text-to-text",
        "tags": ["video", "temporal-grounding", "trlt"],
    }
    parts = [
        f"---\n{to_yaml(head)}---",
        f"# {title}",
        f"A Qwen2.5-VL: the base `{base}` with a LoRA adapter added to its weights by trlt {__version__}.",
        f"## Use\n\n{use(recipe, library_positions=library_positions)}",
        f"## Results\n\n{BEGIN}\n{NO_RESULTS}\n{END}",
    ]
    return "\n\n".join(parts) + "\n"
