"""`trlt train merge`: a LoRA adapter and its base become one model, which loads without PEFT."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path
from typing import Any

from trlt import __version__
from trlt.card import BEGIN, END, NAME, NO_RESULTS, write_card
from trlt.commands._output import Output
from trlt.commands._setup import quiet
from trlt.errors import ModelError, UsageError
from trlt.model import draw_as, load, locate, save
from trlt.reading import loads
from trlt.recipe import Model, Recipe, load_recipe, to_yaml
from trlt.report.answers import visible
from trlt.usage import use

CONFIG, WEIGHTS, PICKLED = "adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"
BASE = "base_model_name_or_path"
SHOWN = 300
"""Characters of what PEFT says."""


def merge(adapter: Path, *, base: str | None = None, out: Path, output: Output) -> dict[str, Any]:
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
    config = _config(adapter)
    name, located = _base(adapter, config, base)
    quiet()
    from trlt.positions import follows_library

    output.note(f"train merge: {adapter} into {name}")
    with output.stages(["train merge"]) as stage:
        stage(0, "loading the base")
        loaded = load(Model(path=located, dtype="float32", device="cpu"))
        precision = _precision(loaded.model.config, located)
        stage(0, "adding the adapter")
        merged = _merged(loaded.model, adapter, name).to(precision)
        partial = out.with_name(f".{out.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        recipe = _recipe(adapter)
        draw_as(merged, loaded.processor, recipe.eval)
        stage(0, "writing the model")
        save(merged, loaded.processor, partial)
        write_card(partial, _card(adapter, name, out.name, recipe, follows_library(merged.config)))
        partial.rename(out)
        stage(0, "")
    output.show(f"Model: {out}\nNext: trlt eval --bench all --model {out}")
    return {"model": str(out), "adapter": str(adapter), "base": name, "dtype": str(precision).removeprefix("torch.")}


def _config(adapter: Path) -> dict[str, Any]:
    """What the adapter says of itself, once it is known to be one that can be merged."""
    path = adapter / CONFIG
    if not path.is_file():
        raise ModelError(f"{adapter}: holds no {CONFIG}; give the folder that PEFT's `save_pretrained` wrote")
    try:
        config = loads(path.read_bytes(), finite=False)
        kind = config.get("peft_type")
    except (ValueError, AttributeError):
        raise ModelError(f"{path}: is no JSON object; save the adapter again") from None
    if kind != "LORA":
        raise ModelError(f"{path}: peft_type: {kind!r} can't be merged; LORA can")
    if not (adapter / WEIGHTS).is_file():
        if (adapter / PICKLED).is_file():
            raise ModelError(
                f"{adapter / PICKLED}: a pickle may run code when it is read, so it isn't; save the adapter as safetensors "
                "where it was made (`save_pretrained` does)"
            )
        raise ModelError(f"{adapter}: holds no {WEIGHTS}; save the adapter again")
    return dict(config)


def _base(adapter: Path, config: dict[str, Any], given: str | None) -> tuple[str, str]:
    """The base's name, and the folder or hub id behind it."""
    name = given or config.get(BASE)
    if not isinstance(name, str) or not name:
        raise ModelError(f"{adapter / CONFIG}: {BASE}: names no base ({name!r}); give it with --base")
    try:
        return name, locate(name)
    except ModelError as error:
        why = str(error).removeprefix("model.path: ")
        where = "--base" if given else f"{adapter / CONFIG}: {BASE}"
        raise ModelError(f"{where}: {why}" + ("" if given else "; another place of the base is given with --base")) from None


def _precision(config: Any, located: str) -> Any:
    """The dtype that the base is saved in, as its `config.json` says; BF16 where it says nothing."""
    import torch

    saved = config.get_config_dict(located)[0]
    return torch.float32 if (saved.get("dtype") or saved.get("torch_dtype")) == "float32" else torch.bfloat16


def _merged(model: Any, adapter: Path, base: str) -> Any:
    """The base with the adapter's weights added.

    Raises:
        ModelError: tensors of the adapter that the base has no place for, that are missing, or that aren't finite.
    """
    from peft import PeftModel, get_peft_model_state_dict
    from safetensors import SafetensorError, safe_open

    belongs = f"{base} isn't the base that it was trained on; give that one with --base"
    try:
        with safe_open(adapter / WEIGHTS, framework="pt") as file:
            there = set(file.keys())
        with warnings.catch_warnings():
            # PEFT only warns of what is missing, and passes over what has no place; both are told below.
            warnings.simplefilter("ignore")
            wrapped = PeftModel.from_pretrained(model, str(adapter))
        wanted = set(get_peft_model_state_dict(wrapped))
    except SafetensorError as error:
        raise ModelError(f"{adapter / WEIGHTS}: can't be read ({error}); save the adapter again") from None
    except (RuntimeError, ValueError, TypeError, KeyError) as error:
        raise ModelError(f"{adapter}: doesn't fit {base} ({visible(str(error), SHOWN)}); {belongs}") from None
    if there != wanted:
        odd = sorted(there ^ wanted)
        side = "no place in the base" if odd[0] in there else f"isn't in {WEIGHTS}"
        raise ModelError(f"{adapter / WEIGHTS}: {odd[0]}: {side} ({len(odd)} such tensors); {belongs}")
    try:
        return wrapped.merge_and_unload(safe_merge=True)
    except ValueError as error:
        raise ModelError(
            f"{adapter / WEIGHTS}: {visible(str(error), SHOWN)}; the training went astray, take an earlier one"
        ) from None


def _recipe(adapter: Path) -> Recipe:
    """That of the run whose adapter it is, else the defaults; says how the model is asked."""
    run = adapter.resolve().parent
    return load_recipe(run / "recipe.yaml" if (run / "manifest.json").is_file() else None)


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
