"""Loads a model for use: what a name stands for is found, looked at, read, and added to where it is an adapter."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trlt.engine.model.adapter import changes
from trlt.engine.model.config import CONFIG, check_config, read_config
from trlt.engine.model.files import Stored
from trlt.engine.model.find import folder_of, full_name, locate, resolve
from trlt.engine.model.four_bits import in_4_bits, keep_layout
from trlt.engine.model.processor import load_processor
from trlt.engine.model.tensors import blank, match, read, refuse_misfits, refuse_not_finite, refuse_tied
from trlt.errors import ModelError
from trlt.recipe import Model


@dataclass(frozen=True)
class LoadedModel:
    """A model ready for use, and where it came from."""

    model: Any
    """In evaluation mode on its device; its class is that of its family."""
    processor: Any
    """With the model's own tokenizer and chat template."""
    path: str
    """Folder or hub id."""
    trained: Any = None
    """What a trainer gets: the model, or PEFT's around it; None where nobody has asked for one yet."""
    whole: Any = None
    """`WholeCopy` that borrows the weights, where each process holds a slice of them."""


def load(settings: Model, *, quantize: str | None = None, base: str | None = None) -> LoadedModel:
    """The model and processor of a recipe.

    Args:
        settings: Which weights, and how they are held.
        quantize: `nf4` holds the language model's linear layers in 4 bits, computed with in `settings.dtype`.
        base: Of an adapter, in place of the one that it names.

    Raises:
        ModelError: it isn't found or available, isn't of a known family, or the device isn't there; bitsandbytes is missing.
    """
    import torch
    from transformers.integrations.deepspeed import is_deepspeed_zero3_enabled

    path = locate(settings.path, base)
    place = resolve(path, base)
    device = settings.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ModelError(f"model.device: {device} was asked for, but torch sees no GPU; use --set model.device=cpu")
    if device == "cuda":
        device = f"cuda:{torch.cuda.current_device()}"
    # Tensor by tensor from the file to the GPU; where ZeRO-3 is on, it places its slices itself.
    sliced = bool(is_deepspeed_zero3_enabled())  # type: ignore[no-untyped-call]
    placed: dict[str, Any] = {"device_map": {"": device}} if quantize or not (sliced or device == "cpu") else {}
    # The sum is taken of whole weights as they are stored. It would have to come before quantization or sharding.
    if place.adapters and (sliced or quantize):
        how = "in 4 bits" if quantize else "under ZeRO-3"
        raise ModelError(f"model.path: {path} is an adapter, and can't be loaded {how}; {_merge_first(path)}")
    folder = folder_of(place.base)
    # Headers take milliseconds, so names and shapes are compared before
    # gigabytes are read. The library would draw at random what is missing.
    _, family = read_config(folder / CONFIG)
    empty = blank(folder)
    stored = match(empty, folder)
    # Before the weights: a fault of the tokenizer or the template shows at once.
    processor = load_processor(place.base)
    try:
        read_in: Any = family.classes().model.from_pretrained(
            str(folder),
            dtype=getattr(torch, settings.dtype),
            attn_implementation="sdpa",
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
            **placed,
            **({} if quantize is None else {"quantization_config": in_4_bits(getattr(torch, settings.dtype))}),
        )
    except (OSError, ValueError) as error:
        raise ModelError(f"model.path: {path} can't be loaded: {error}") from error
    model, found = read_in
    refuse_misfits(path, found["missing_keys"], found["unexpected_keys"])
    # Now, as the values have been read anyway.
    refuse_not_finite(path, model.named_parameters())
    if place.adapters:
        # Added to the weights and not run beside them, as PEFT does: that is another
        # product in each layer, and rounds otherwise than the merged model.
        _add(model, place.adapters, empty, stored, folder)
    model.name_or_path = full_name(path)  # which PEFT notes in the checkpoints of adapters
    if quantize is not None:
        # Before anything is evaluated: the first evaluation would repack the layers for good.
        keep_layout(model)
    model.train(False)
    family.adapt(model)
    return LoadedModel(model, processor, path)


def precision_of(folder: Path) -> Any:
    """The dtype that a model is saved in, as its `config.json` says; BF16 where it says nothing."""
    import torch

    saved = check_config(folder / CONFIG)
    return torch.float32 if (saved.get("dtype") or saved.get("torch_dtype")) == "float32" else torch.bfloat16


def _add(model: Any, adapters: tuple[Path, ...], empty: Any, stored: dict[str, Stored], folder: Path) -> None:
    """Puts the sums of weights and adapters in place of the weights."""
    changed = changes(adapters, empty, str(folder), precision_of(folder))
    refuse_tied(changed, stored, str(adapters[-1]))
    for name, change in changed.items():
        model.get_parameter(name).data.copy_(change(read(stored[name]).float()))


def _merge_first(path: str) -> str:
    return f"merge it first: trlt train merge {path} --out FOLDER, and give that folder"
