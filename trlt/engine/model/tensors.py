"""Tensors in files, held to those that a model has by its config.json: names, shapes, and that numbers are numbers.

The library would draw what is missing at random, leave out what has no place, and answer by that.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from trlt.engine.families import Family, family_of
from trlt.engine.model.config import CONFIG, read_config
from trlt.engine.model.files import Stored, stored_tensors
from trlt.errors import ModelError, quoted

OTHERS = f"the weights aren't those of this {CONFIG}; download the model again"

UNEXPECTED = (OSError, ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
"""What the library's own code makes of a file, or a value in it, that it didn't expect."""


def blank(folder: Path) -> Any:
    """The model that a folder's config.json describes, without weights, on the meta device.

    Raises:
        ModelError: the library can't make one by it; repeats what it says.
    """
    import torch
    from huggingface_hub.errors import StrictDataclassError

    _, family = read_config(folder / CONFIG)
    classes = family.classes()
    try:
        config = classes.config.from_pretrained(str(folder), trust_remote_code=False)
        with torch.device("meta"):
            return classes.model(config)
    except (StrictDataclassError, *UNEXPECTED) as error:
        raise ModelError(
            f"model.path: {folder / CONFIG}: the library can't make a model by it ({type(error).__name__}: "
            f"{quoted(error)}); download it again"
        ) from error


def match(model: Any, folder: Path) -> dict[str, Stored]:
    """Where each weight of a model is stored, by its name in the model.

    Args:
        model: Without weights, say; a tied head is its embedding.
        folder: With the files.

    Raises:
        ModelError: tensors that are missing, too many, or of another shape; names the file, the first few, and both shapes.
    """
    from transformers.conversion_mapping import get_model_conversion_mapping
    from transformers.core_model_loading import WeightConverter, rename_source_key

    # The published names differ from those of the modules; Transformers knows how.
    family = family_of(model)
    rules: Any = get_model_conversion_mapping(model)
    joined = [rule for rule in rules if isinstance(rule, WeightConverter)]
    renamed = [rule for rule in rules if not isinstance(rule, WeightConverter)]
    names = dict(model.named_parameters())
    # With duplicates: a file may hold a tied weight under either of its names, or under both.
    every = dict(model.named_parameters(remove_duplicate=False))
    found: dict[str, Stored] = {}
    unexpected, odd = [], []
    for key, stored in stored_tensors(folder).items():
        if key.startswith(family.unloaded):
            continue
        name, _ = rename_source_key(key, renamed, joined, model.base_model_prefix, every)
        if name not in every:
            unexpected.append(key)
        elif name in found:
            raise ModelError(f"model.path: {stored.file}: {key} and {found[name].key} are the same weight, {name}; {OTHERS}")
        else:
            shape = tuple(every[name].shape)
            found[name] = _turned(stored, name, shape, family)
            if stored.shape != shape and not found[name].turned:
                odd.append((stored, shape))
    refuse_misfits(str(folder), names.keys() - found.keys(), unexpected)
    if odd:
        first, shape = odd[0]
        raise ModelError(
            f"model.path: {first.file}: {first.key} has shape {first.shape}, and {shape} is expected by {CONFIG} "
            f"({len(odd)} such tensors); {OTHERS}"
        )
    _refuse_untied(found, names, every)
    return {name: found[name] for name in names}


def _turned(stored: Stored, name: str, shape: tuple[int, ...], family: Family) -> Stored:
    """A tensor, with a note where it lies the other way round than in the model; shapes tell, as `Family.check` sees to."""
    turned = name.endswith(family.turned) and stored.shape != shape == (*stored.shape[:-2], *stored.shape[:-3:-1])
    return replace(stored, turned=True) if turned else stored


def _refuse_untied(found: dict[str, Stored], names: dict[str, Any], every: dict[str, Any]) -> None:
    """Ends where a file holds a tied weight twice with two values: the library takes one, and passes over the other."""
    for twin in found.keys() - names.keys():
        name = next(name for name in names if names[name] is every[twin])
        if not read(found[twin]).equal(read(found[name])):
            raise ModelError(
                f"model.path: {found[twin].file}: {found[twin].key} isn't {found[name].key}, and {CONFIG} says "
                "tie_word_embeddings: true; set it to false where the model has a head of its own, or download it again"
            )


def read(stored: Stored) -> Any:
    """A tensor's values, as the model holds them."""
    from safetensors import safe_open

    with safe_open(stored.file, framework="pt") as file:
        value = file.get_tensor(stored.key)
    return value.transpose(-1, -2) if stored.turned else value


def refuse_misfits(path: str, missing: Iterable[str], unexpected: Iterable[str]) -> None:
    """Ends where tensors and model don't belong together: the library would draw what is missing, and answer by that.

    Raises:
        ModelError: names the first few.
    """
    for names, what in ((sorted(missing), "lacks {} tensors of the model"), (sorted(unexpected), "holds {} tensors too many")):
        if names:
            raise ModelError(f"model.path: {path} {what.format(len(names))}: {_few(names)}; {OTHERS}")


def refuse_tied(changed: Iterable[str], stored: Iterable[str], path: str) -> None:
    """Ends where an adapter changes a weight that no file holds, since it is another one's twin.

    Raises:
        ModelError: names the first.
    """
    if odd := sorted(set(changed) - set(stored)):
        raise ModelError(f"model.path: {path}: changes {odd[0]}, which is tied to another weight; leave it out of the adapter")


def refuse_not_finite(path: str, weights: Iterable[tuple[str, Any]]) -> None:
    """Ends where weights are NaN or infinite. Reads each once, where it is, and makes no copy of its size.

    Raises:
        ModelError: names the first few.
    """
    import torch

    found = []
    for name, weight in weights:
        held = getattr(weight, "ds_tensor", weight).detach()  # under ZeRO-3, this process's slice
        # The largest and the smallest value are finite where all are: NaN comes through.
        if held.is_floating_point() and held.numel() and not torch.stack(torch.aminmax(held)).isfinite().all():
            found.append(name)
    if found:
        raise ModelError(
            f"model.path: {path}: NaN or infinite numbers in {len(found)} tensors: {_few(found)}; download the model again, or "
            "take an earlier checkpoint"
        )


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
