"""A folder with a low-rank adapter, as PEFT writes it, and its sum with the weights of its base.

The sum is taken in float32 and rounded to the precision that the base is saved in, tensor by tensor, wherever a model is
loaded: an adapter's folder and the model that `trlt train merge` makes of it are the same weights to the bit.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from trlt.engine.model.files import read_header
from trlt.errors import ModelError, quoted, shown
from trlt.files.bounded_json import read_object

ADAPTER, WEIGHTS, PICKLED = "adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"
BASE = "base_model_name_or_path"
PREFIX = "base_model.model."
"""Of the names in an adapter."""
UNSUPPORTED = ("lora_bias", "trainable_token_indices", "layer_replication")
"""Fields of PEFT that change more than weights of layers."""
Change = Callable[[Any], Any]
"""Of a weight in float32."""


def check_adapter(folder: Path) -> dict[str, Any]:
    """What an adapter says of itself, once it is known to be one that can be added.

    Raises:
        ModelError: it can't; names the file.
    """
    path = folder / ADAPTER
    if not path.is_file():
        raise ModelError(f"{folder}: holds no {ADAPTER}; give the folder that PEFT's `save_pretrained` wrote")
    config = read_object(path, remedy="save the adapter again", error=ModelError, finite=False)
    if config.get("peft_type") != "LORA":
        raise ModelError(f"{path}: peft_type: {shown(config.get('peft_type'))} can't be merged; LORA can")
    if config.get("bias", "none") != "none":
        raise ModelError(f"{path}: bias: {shown(config['bias'])} can't be merged; none can")
    for key in UNSUPPORTED:
        if config.get(key):
            raise ModelError(f"{path}: {key}: {shown(config[key])} can't be merged; leave it out when the adapter is trained")
    if not (folder / WEIGHTS).is_file():
        if (folder / PICKLED).is_file():
            raise ModelError(
                f"{folder / PICKLED}: a pickle may run code when it is read, so it isn't; save the adapter as safetensors "
                "where it was made (`save_pretrained` does)"
            )
        raise ModelError(f"{folder}: holds no {WEIGHTS}; save the adapter again")
    _shapes(folder)
    return config


def _shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of an adapter's tensors."""
    try:
        found = read_header(folder / WEIGHTS)
    except ModelError:
        raise ModelError(f"{folder / WEIGHTS}: is damaged or was cut off; save the adapter again") from None
    # PEFT saves an embedding, or a head, with its adapter: the base has it, too.
    return {name: shape for name, shape in found.items() if ".base_layer." not in name or ".lora_" in name}


def named_base(folder: Path, config: dict[str, Any]) -> str:
    """The base that an adapter names.

    Raises:
        ModelError: none.
    """
    name = config.get(BASE)
    if not isinstance(name, str) or not name:
        raise ModelError(
            f"{folder / ADAPTER}: {BASE}: names no base ({shown(name)}); give it with --base (`trlt train merge`), "
            "or write there where it is"
        )
    return name


def changes(adapters: Sequence[Path], empty: Any, base: str, precision: Any) -> dict[str, Change]:
    """What adapters do to weights, by the names that these have in the model; each gives the rounded sum in float32.

    Args:
        adapters: Their folders, in this order.
        empty: A model on the meta device, which isn't used up.
        base: What errors call the base.
        precision: What each sum is rounded to.

    Raises:
        ModelError: tensors that are missing, have no place, have another shape or aren't finite.
    """
    found: dict[str, Change] = {}
    for folder in adapters:
        for name, change in _changes(folder, empty, base).items():
            found[name] = partial(_rounded, found.get(name), change, precision)
    return found


def _rounded(first: Change | None, change: Change, precision: Any, weight: Any) -> Any:
    # Each sum is rounded as `trlt train merge` would have saved it, so adapters on adapters give the same bits either way.
    return change(weight if first is None else first(weight)).to(precision).float()


def _changes(folder: Path, empty: Any, base: str) -> dict[str, Change]:
    """Those of one adapter."""
    import copy

    import torch
    from peft import LoraConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
    from peft.tuners.lora import LoraLayer
    from peft.utils import ModulesToSaveWrapper
    from safetensors.torch import load_file

    shapes, belongs = _shapes(folder), f"{base} isn't the base that it was trained on; give that one"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PEFT warns of what is told below
        try:
            config = LoraConfig.from_pretrained(str(folder))
            config.inference_mode = True
            # A copy: PEFT puts its layers into the model that it is given, and `empty` is needed again.
            wrapped: Any = get_peft_model(copy.deepcopy(empty), config)
        except (RuntimeError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise ModelError(f"{folder / ADAPTER}: doesn't fit {base} ({quoted(error)}); {belongs}") from None
        wanted = {
            name: tuple(value.shape) for name, value in get_peft_model_state_dict(wrapped, save_embedding_layers=False).items()
        }
        _refuse_misfits(folder / WEIGHTS, shapes, wanted, base, belongs)
        tensors = {name: value.float() for name, value in load_file(folder / WEIGHTS).items() if name in shapes}
        _refuse_not_finite(folder / WEIGHTS, tensors)
        layers = {name: module for name, module in wrapped.named_modules() if isinstance(module, LoraLayer)}
        for layer in layers.values():  # PEFT moves an adapter to its layer's device: here a place in memory without any size
            inner, leaf = layer.get_base_layer(), adapted(layer)
            empty_one = torch.zeros(1).expand(getattr(inner, leaf).shape)
            setattr(inner, leaf, torch.nn.Parameter(empty_one, requires_grad=False))
        set_peft_model_state_dict(wrapped, tensors, low_cpu_mem_usage=True)
    found: dict[str, Change] = {
        f"{plain(name).removeprefix(PREFIX)}.{adapted(layer)}": partial(_added, layer) for name, layer in layers.items()
    }
    for name, module in wrapped.named_modules():
        if isinstance(module, ModulesToSaveWrapper):
            for leaf, value in module.modules_to_save["default"].named_parameters():
                found[f"{name.removeprefix(PREFIX)}.{leaf}"] = partial(_replaced, value.detach())
    return found


def _refuse_misfits(
    path: Path, there: dict[str, tuple[int, ...]], wanted: dict[str, tuple[int, ...]], base: str, belongs: str
) -> None:
    if odd := sorted(there.keys() ^ wanted.keys()):
        side = "no place in the base" if odd[0] in there else f"isn't in {path.name}"
        raise ModelError(f"{path}: {odd[0]}: {side} ({len(odd)} such tensors); {belongs}")
    if odd := sorted(name for name in there if there[name] != wanted[name]):
        raise ModelError(
            f"{path}: doesn't fit {base}: {odd[0]} has shape {there[odd[0]]}, and {wanted[odd[0]]} is expected "
            f"({len(odd)} such tensors); {belongs}"
        )


def _refuse_not_finite(path: Path, tensors: dict[str, Any]) -> None:
    if odd := [name for name, value in tensors.items() if not value.isfinite().all()]:
        raise ModelError(
            f"{path}: NaN or infinite numbers in {odd[0]} ({len(odd)} such tensors); the training went astray, take an earlier "
            "one"
        )


def adapted(layer: Any) -> str:
    """Which parameter of its base a layer of PEFT adds to: the weight, or one of several that aren't layers by themselves."""
    return str(getattr(layer, "parameter_name", "weight"))


def plain(name: str) -> str:
    """A name without the layers of PEFT that stand around what it names, in each other where they add to several parameters."""
    return name.replace(".base_layer", "")


def _added(layer: Any, weight: Any) -> Any:
    """A weight with the layer's adapter added, as PEFT merges it."""
    import torch

    base, leaf = layer.get_base_layer(), adapted(layer)
    empty = getattr(base, leaf)
    # The layer holds a true weight only while it is added to: in memory there is one at a time.
    setattr(base, leaf, torch.nn.Parameter(weight.clone(), requires_grad=False))
    layer.merge(safe_merge=True)
    merged = getattr(base, leaf).detach()
    setattr(base, leaf, empty)
    layer.merged_adapters.clear()  # it holds none: the next weight is added to anew
    return merged


def _replaced(value: Any, weight: Any) -> Any:
    """A weight that an adapter holds as a whole."""
    return value
