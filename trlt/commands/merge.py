"""`trlt train merge`: a LoRA adapter and its base become one model, which loads without PEFT."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from trlt import __version__
from trlt.commands._output import Output
from trlt.commands._setup import next_after_tuning, quiet
from trlt.engine.families import family_of
from trlt.engine.model import save
from trlt.errors import UsageError
from trlt.files import new_folder
from trlt.report.model_card import BEGIN, NAME, RESULTS, opening, write_card
from trlt.rollout import RunFiles
from trlt.train.merge_adapter import Merged, adapter_in, base_of, locate_adapter, merge_adapter


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

    Raises:
        UsageError: `out` is there.
        ModelError: an adapter or base that can't be used, or that don't belong together.
    """
    if out.exists():
        raise UsageError(f"--out: {out} is there already; give another folder, or remove it first")
    adapter = adapter_in(adapter)
    name = base_of(adapter, base)
    located = locate_adapter(adapter, base)  # before anything heavy is imported
    quiet()
    output.note(f"train merge: {adapter} into {name}")
    with output.stages(["train merge"]) as stage:
        stage(0, "loading the base, and adding the adapter")
        merged = merge_adapter(adapter, located, base)
        stage(0, "writing the model")
        with new_folder(out) as new:
            save(merged.model, merged.processor, new)
            write_card(new, _card(adapter, name, out.name, merged))
        stage(0, "")
    output.show(f"Model: {out}")
    run = RunFiles(adapter.resolve().parent)
    if run.recipe.is_file():  # else the adapter isn't of a run, and neither benchmark nor settings are known
        output.show(next_after_tuning(out, run.recipe, merged.recipe, f"{out}-"))
    return {"model": str(out), "adapter": str(adapter), "base": name, "dtype": str(merged.model.dtype).removeprefix("torch.")}


def _card(adapter: Path, base: str, title: str, merged: Merged) -> str:
    """The adapter's card where trlt wrote it, else a short one: PEFT's own says how to load an adapter."""
    path = adapter / NAME
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    if BEGIN in text:
        return text
    from trlt.engine.mrope import follows_library

    config, family = merged.model.config, family_of(merged.model)
    rules = follows_library(config), family.has_outer_marks(config)
    made = f"A {family.name}: the base `{base}` with a LoRA adapter added to its weights by trlt {__version__}."
    return "\n\n".join([*opening(base, title, made, merged.recipe, [], family, *rules), RESULTS]) + "\n"
