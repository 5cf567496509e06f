"""Models for training, straight from their files to where their weights stay.

Under FSDP2 no process ever holds a model: it is built without weights and cut into slices, and each process then reads its own
slice of each weight, tensor by tensor. ZeRO-3 has a way of its own: one process reads, and each weight is shared out at once.
A reference model, which no optimizer moves, is held in the precision that it is computed in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from huggingface_hub.errors import StrictDataclassError
from safetensors import safe_open
from torch import nn

from trlt.engine.model import (
    CONFIG,
    LoadedModel,
    draw_adapters,
    folder_of,
    load,
    load_processor,
    match,
    refuse_not_finite,
    refuse_tied,
    resolve,
    with_adapters,
)
from trlt.engine.model.adapter import Change, changes
from trlt.engine.model.config import read_config
from trlt.engine.model.find import full_name
from trlt.engine.model.load import precision_of
from trlt.engine.model.tensors import UNEXPECTED
from trlt.engine.sharding import WholeCopy, by_deepspeed, by_fsdp, in_zero3_slices, join, own_slice, shard, with_slice
from trlt.errors import ModelError, RecipeError
from trlt.recipe import Model, Recipe


@dataclass(frozen=True)
class WeightSource:
    """Where a weight is read from, and where it goes."""

    file: Path
    key: str
    owners: tuple[tuple[nn.Module, str], ...]
    """Modules that hold it, with its name there: several where it is tied."""
    change: Change | None = None
    """What adapters make of it, in float32, where the model is an adapter's folder."""
    turned: bool = False
    """Whether the model holds its last two axes the other way round; the first, which is cut, stays the first."""


def load_policy(settings: Model, recipe: Recipe) -> LoadedModel:
    """The model that a run trains, within its adapters, and shared out where the launcher's strategy says so.

    Weights that are trained are kept in float32 whatever the recipe computes in: at a learning rate of 1e-6, BF16 weights don't
    move. Adapters are float32 by themselves, and DeepSpeed makes its own float32 masters of what it computes in.

    Args:
        settings: Which weights, as located, and this process's device.
        recipe: As resolved.

    Raises:
        ModelError: it isn't found or available.
        RecipeError: a launcher shares the weights by a strategy that doesn't go with the recipe.
    """
    processes = join(settings.device)
    lora, seed = recipe.train.lora, recipe.train.seed
    shared = processes > 1
    held = settings.dtype if lora or (shared and by_deepspeed()) else "float32"
    settings = settings.model_copy(update={"dtype": held})
    quantize = lora.quantize if lora else None
    computed = getattr(torch, recipe.model.dtype)
    if shared and by_fsdp():
        if quantize:
            raise RecipeError(
                f"train.lora.quantize: FSDP can't cut weights in 4 bits ({quantize}) into slices; let the launcher take DDP"
            )
        return _load_slices(settings, recipe, computed)
    with in_zero3_slices(recipe.model.dtype == "bfloat16") as zero3:
        loaded = load(settings, quantize=quantize)
    whole = None
    if zero3:
        empty = skeleton(loaded.path, computed, PartialState().device)
        # Under ZeRO-3 Transformers 5.23 notes every rule of names that it knows, and saves under names that no rule gave.
        loaded.model._weight_conversions = empty._weight_conversions
        whole = WholeCopy(empty, computed)
    return LoadedModel(loaded.model, loaded.processor, loaded.path, with_adapters(loaded.model, lora, seed), whole)


def _load_slices(settings: Model, recipe: Recipe, computed: torch.dtype) -> LoadedModel:
    lora, device = recipe.train.lora, PartialState().device
    empty, model = (skeleton(settings.path, getattr(torch, settings.dtype), device) for _ in range(2))
    # Looked up by the plain names, before adapters change them. What is noted are modules, which stay the
    # same when adapters wrap them and sharding replaces their weights; only after that are they filled.
    sources = find_sources(model, settings.path)
    trained = with_adapters(model, lora)
    shard(trained, computed)
    fill(sources, device)
    draw_adapters(trained, recipe.train.seed, device)
    # The copy needs the names of what it borrows from.
    with_adapters(empty, lora)
    return LoadedModel(model, load_processor(settings.path), settings.path, trained, WholeCopy(empty, computed))


def load_reference(path: str, computed: torch.dtype) -> Any:
    """The model that a run begins with, frozen, whose log-probabilities equal those of the policy before its first step.

    Under FSDP2 and DeepSpeed all of it is held in `computed`, as a pass sees the policy's weights. Else a pass sees float32
    weights under autocast, which rounds those of linear layers and convolutions alone: they are held rounded, and the rest,
    which decides in which precision a token's residual goes from layer to layer, in float32.

    Args:
        path: As located.
        computed: `model.dtype` of the recipe.
    """
    state = PartialState()
    if by_deepspeed() and state.num_processes > 1:
        # Where ZeRO-3 is on, since the trainer's arguments were made, Transformers shares it out.
        where = Model(path=path, dtype="bfloat16" if computed == torch.bfloat16 else "float32", device=str(state.device))
        return load(where).model.requires_grad_(False)
    sharded = by_fsdp() and state.num_processes > 1
    model = skeleton(path, computed if sharded else torch.float32, state.device).requires_grad_(False)
    sources = find_sources(model, path)
    if sharded:
        shard(model, computed)
        fill(sources, state.device)
    else:
        fill(sources, state.device, {source.key: computed for source in sources if _rounded_by_autocast(source)})
    return model


def _rounded_by_autocast(source: WeightSource) -> bool:
    return all(isinstance(module, (nn.Linear, nn.Conv3d)) for module, _ in source.owners)


def skeleton(path: str, dtype: torch.dtype, device: torch.device | str) -> Any:
    """A model without weights, on the meta device, in evaluation mode; its buffers, which no file holds, are on `device`.

    Raises:
        ModelError: it isn't found or available.
    """
    folder = folder_of(path)
    _, family = read_config(folder / CONFIG)
    try:
        model = family.classes().model.from_pretrained(
            str(folder),
            dtype=dtype,
            attn_implementation="sdpa",
            use_safetensors=True,
            trust_remote_code=False,
            device_map={"": "meta"},
        )
    except (StrictDataclassError, *UNEXPECTED) as error:
        raise ModelError(f"model.path: {path} can't be loaded: {error}") from error
    for module in model.modules():
        for name, buffer in module.named_buffers(recurse=False):
            # Buffers stand in no file, and those of the skeleton hold nothing:
            # they are computed as `from_pretrained` does, and then moved.
            module.register_buffer(name, torch.empty_like(buffer, device="cpu"), persistent=False)
        if module._buffers:
            model._init_weights(module)  # as `from_pretrained` computes them
        for name, buffer in module.named_buffers(recurse=False):
            module.register_buffer(name, buffer.to(device), persistent=False)
    model.name_or_path = full_name(path)  # which PEFT notes in the checkpoints of adapters
    model.train(False)
    family.adapt(model)
    return model


def find_sources(model: Any, path: str) -> list[WeightSource]:
    """Where each weight of a `skeleton` is read from.

    Raises:
        ModelError: the files don't hold all of them, or hold others.
    """
    owners: dict[int, list[tuple[nn.Module, str]]] = {}
    for module in model.modules():
        for leaf, weight in module.named_parameters(recurse=False):
            owners.setdefault(id(weight), []).append((module, leaf))
    names, folder, adapters = dict(model.named_parameters()), folder_of(path), resolve(path).adapters
    stored = match(model, folder)
    changed = changes(adapters, model, str(folder), precision_of(folder)) if adapters else {}
    refuse_tied(changed, stored, path)
    return [
        WeightSource(at.file, at.key, tuple(owners[id(names[name])]), changed.get(name), at.turned)
        for name, at in stored.items()
    ]


def fill(sources: list[WeightSource], device: torch.device, dtypes: Mapping[str, torch.dtype] | None = None) -> None:
    """Reads weights into the modules that wait for them: all of each, or this process's slice of it.

    Args:
        sources: From where to where.
        device: Where they stay.
        dtypes: Precision of some, by their keys; the others have that of the empty weight.
    """
    # Files are mapped: only the rows that this process keeps are read, and no process waits for another.
    for file in dict.fromkeys(source.file for source in sources):
        with safe_open(file, "pt") as tensors:
            for source in (source for source in sources if source.file == file):
                module, leaf = source.owners[0]
                # Looked up now, as sharding has put another one in its place.
                weight = getattr(module, leaf)
                whole = tensors.get_slice(source.key)
                # What an adapter adds is a product that needs the whole weight, so each process reads that.
                if source.change is not None:
                    stored = tensors.get_tensor(source.key)
                    whole = source.change((stored.transpose(-1, -2) if source.turned else stored).float())
                own = own_slice(whole, weight)
                if source.turned and source.change is None:
                    own = own.transpose(-1, -2)
                dtype = (dtypes or {}).get(source.key, weight.dtype)
                # Each process looks at its own slice: together they see every value once.
                refuse_not_finite(str(file), [(source.key, own)])
                # Copied, because `own` is a view of the mapped file.
                value = with_slice(weight, torch.empty(own.shape, dtype=dtype, device=device).copy_(own))
                # One parameter for all places that hold it: tied weights stay tied.
                for owner, name in source.owners:
                    setattr(owner, name, value)
