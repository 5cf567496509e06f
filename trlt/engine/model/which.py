"""Which family a model belongs to, by its config.json or, where that isn't at hand, by its published name. Loads nothing."""

from __future__ import annotations

import re
from pathlib import Path

from trlt.engine.families import FAMILIES, Family
from trlt.engine.model.config import CONFIG, read_config
from trlt.engine.model.find import SHIPPED, find, resolve
from trlt.engine.model.hub import cached
from trlt.errors import ModelError
from trlt.recipe import advice

QUANTIZED = re.compile(
    r"(?<![a-z0-9])(awq|gptq|gguf|ggml|fp8|fp4|nvfp4|mxfp[48]|bnb|exl[23]|mlx|onnx|autoround|[2-8]-?bits?|int[2-8]|w\d+a\d+|"
    r"q[2-8](_[a-z0-9]+)*)(?![a-z0-9])"
)
"""What names of quantized models, and of models for other programs, have in them, in lower case."""
MIXTURE = re.compile(r"(?<![a-z0-9])\d+(\.\d+)?b-a\d+(\.\d+)?b(?![a-z0-9])")
"""How names of mixtures of experts tell parameters, and those that a token meets."""


def config_at(name: str) -> Path | None:
    """The config.json of a model; None where it isn't on this machine.

    Args:
        name: `model.path` of a recipe: a folder, also of a run or an adapter, a hub id, or `miniature`.

    Raises:
        ModelError: a folder without a model.
    """
    there = name in SHIPPED or Path(name).expanduser().exists()
    base = resolve(find(name)).base if there else name
    folder = Path(base) if Path(base).is_dir() else _cached(base)
    return folder / CONFIG if folder is not None and (folder / CONFIG).is_file() else None


def family_at(name: str) -> Family:
    """The family of a model that needn't be on this machine; `name` as for `config_at`.

    Raises:
        ModelError: a config.json of another family, or neither that nor a published name.
    """
    if family := known_family(name):
        return family
    raise ModelError(
        f"model.path: {name!r}: its {CONFIG} isn't on this machine, and the name is none of a published model; give the folder "
        "of the model"
    )


def known_family(name: str) -> Family | None:
    """The same; None where neither a config.json nor the name tells it.

    Raises:
        ModelError: a folder without a model, or a config.json of another family.
    """
    config = config_at(name)
    return published_family(name) if config is None else read_config(config)[1]


def published_family(name: str) -> Family | None:
    """The family that publishes models by such names, the one with most of it; None if none does."""
    last = name.rpartition("/")[2].lower()
    # One family's names may go on where another's end, as those of a mixture of experts do.
    parts = {part: family for family in FAMILIES for part in family.hub_names if part in last}
    return parts[max(parts, key=len)] if parts else None


def refuse_name(name: str) -> None:
    """Ends where a name alone tells that a model can't be used; for those whose config.json isn't at hand, which would tell.

    Raises:
        ModelError: quantized weights, or a mixture of experts of a family of which trlt knows none.
    """
    last, family = name.rpartition("/")[2], published_family(name)
    if found := QUANTIZED.search(last.lower()):
        base = last[: found.start()].rstrip("-_.")
        held = "" if family is not None and family.experts else f"; {advice('`train.lora.quantize: nf4` holds that in 4 bits')}"
        raise ModelError(
            f"model.path: {name!r}: by its name ({found[0]}) its weights are quantized or those of another program, and trlt "
            f"takes BF16 or float32; take the model that it was made of{f', {base}' if base else ''}{held}"
        )
    if family is not None and not family.experts and MIXTURE.search(last.lower()):
        mixtures = ", ".join(one.name for one in FAMILIES if one.experts)
        raise ModelError(
            f"model.path: {name!r}: by its name it is a mixture of experts, and trlt knows none of {family.name}; it tunes "
            f"mixtures of {mixtures}, and of {family.name} those without experts"
        )


def _cached(name: str) -> Path | None:
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        return None
    return cached(name)
