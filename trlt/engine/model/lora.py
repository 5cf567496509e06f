"""The low-rank adapters that a training adds: their shape, their first values, and how they are saved."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from trlt.engine.families import Family, family_of
from trlt.engine.model.find import full_name
from trlt.errors import RecipeError
from trlt.errors.system import named
from trlt.recipe import Lora, advice


def fit_adapters(settings: Lora, family: Family) -> Lora:
    """Settings of adapters as a family takes them: where nothing is said of `targets`, experts get none.

    An expert's matrices are small, and each gets adapters of its own: they wouldn't be few numbers.

    Raises:
        RecipeError: what the family's experts can't have.
    """
    if family.experts and "targets" not in settings.model_fields_set:
        settings = settings.model_copy(update={"targets": "attention"})
    _refuse(settings, family)
    return settings


def _refuse(settings: Lora, family: Family) -> None:
    if family.experts and settings.quantize:
        raise RecipeError(
            f"train.lora.quantize: {settings.quantize} holds linear layers in 4 bits, and the experts of {family.name}, nearly "
            f"all of its weights, are none; {advice('set train.lora.quantize: null')}"
        )
    if family.experts and settings.targets == "all" and settings.dropout:
        raise RecipeError(
            f"train.lora.dropout: adapters of the experts of {family.name} (train.lora.targets: all) can't have any, not "
            f"{settings.dropout:g}; {advice('set train.lora.dropout: 0 or train.lora.targets: attention')}"
        )


def adapters(settings: Lora, family: Family) -> Any:
    """PEFT's configuration of low-rank adapters on the linear layers of a family's language model, and on its experts.

    Raises:
        RecipeError: what the family's experts can't have.
    """
    from peft import LoraConfig

    _refuse(settings, family)
    every = settings.targets == "all"
    layers = family.attention_layers + (family.mlp_layers if every else ())
    return LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        # Of the language model alone: layers of the vision tower's MLPs have the same names.
        target_modules=rf".*language_model\..*\.({'|'.join(layers)})",
        # Tensors of all experts at once, which no layer of PEFT stands for.
        target_parameters=list(family.experts) if every and family.experts else None,
        task_type="CAUSAL_LM",
    )


def with_adapters(model: Any, settings: Lora | None, seed: int = 0) -> Any:
    """The model within low-rank adapters, which alone are trained; itself where there are none.

    Args:
        model: One without weights, on the meta device, gets adapters without any.
        settings: Their shape.
        seed: Of the first values; see `draw_adapters`.
    """
    if settings is None:
        return model
    from peft import get_peft_model

    adapted = get_peft_model(model, adapters(settings, family_of(model)))
    if model.device.type != "meta":
        draw_adapters(adapted, seed, model.device)
    return adapted


def draw_adapters(model: Any, seed: int, device: Any) -> None:
    """Gives low-rank adapters their first values, which depend on the seed alone and not on how weights are shared.

    A is drawn as PEFT draws it, by He et al.'s uniform distribution with a = sqrt(5); B is 0, so that the model starts as its
    base.

    Args:
        model: Of PEFT; its adapters may be slices without values.
        seed: Of all draws.
        device: Where they stay.
    """
    import torch

    from trlt.engine.sharding import own_slice, with_slice

    # On the CPU and whole, whatever the device and the sharding: every process draws all numbers
    # and keeps its slice, so the values don't depend on how many processes there are.
    generator = torch.Generator().manual_seed(seed)
    for name, weight in list(model.named_parameters()):
        if ".lora_" not in name:
            continue
        whole = torch.zeros(weight.shape)
        if ".lora_A." in name:
            torch.nn.init.kaiming_uniform_(whole, a=math.sqrt(5), generator=generator)
        owner, _, leaf = name.rpartition(".")
        value = with_slice(weight, own_slice(whole, weight).to(device, weight.dtype, copy=True))
        setattr(model.get_submodule(owner), leaf, value)


def in_float32(model: Any, seed: int) -> None:
    """Undoes TRL's rounding of adapters on a base in 4 bits to BF16, in which a learning rate of 1e-6 moves nothing."""
    for weight in model.parameters():
        if weight.requires_grad:
            weight.data = weight.data.float()
    draw_adapters(model, seed, model.device)


def save_adapter(model: Any, base: str, folder: Path) -> None:
    """Writes the adapters of a PEFT model as safetensors; `trlt train merge` adds them to the base.

    Of several processes the main one writes. Where they share the weights (FSDP), all must call this together.
    """
    from trlt.engine.sharding import is_main, whole_state

    # All processes before any of them leaves: gathering is an exchange.
    state = whole_state(model)
    if not is_main():
        return
    for config in model.peft_config.values():
        config.base_model_name_or_path = full_name(base)
    with named(folder):
        # Else PEFT would look for the base's config.json, on the hub too, to see whether words were added.
        model.save_pretrained(folder, save_embedding_layers=False, **({} if state is None else {"state_dict": state}))
