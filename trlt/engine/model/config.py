"""What a model's config.json has to say, looked at before any weights are read.

Knows both layouts: the published one, with the language model's keys at the top, and the one that transformers 5 writes, with
`text_config`. What isn't said there the library would fill in by values of its own, which are those of another model; so every
key that decides what the model says has to be there.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trlt.engine.families import FAMILIES, ConfigFault, Family, family_named, keys
from trlt.engine.model.files import object_in
from trlt.errors import ModelError, shown
from trlt.recipe import advice

CONFIG = "config.json"
TOKENS = ("image_token_id", "video_token_id", "vision_start_token_id")
DTYPES = ("float32", "bfloat16", "float16")


def check_config(path: Path) -> dict[str, Any]:
    """The object in a model's config.json, once it is known to be that of a family that trlt tunes.

    Raises:
        ModelError: names the file, the key, its value and the remedy.
    """
    return read_config(path)[0]


def read_config(path: Path) -> tuple[dict[str, Any], Family]:
    """See `check_config`; with the model's family."""
    if not path.is_file():
        raise ModelError(f"model.path: {path.parent} holds no {CONFIG}; give the folder that `save_pretrained` wrote")
    config = object_in(path, finite=False)
    kind = config.get("model_type")
    family = family_named(kind)
    if family is None:
        known = ", ".join(f"{one.model_types[0]} ({one.name})" for one in FAMILIES)
        said = "has no model_type" if kind is None else f"says model_type {shown(kind)}"
        raise ModelError(f"model.path: {path} {said}; trlt tunes {known}")
    try:
        family.check(config)
        _check_rest(config, family)
    except ConfigFault as fault:
        raise ModelError(f"model.path: {path}: {fault}") from None
    return config, family


def _check_rest(config: Mapping[str, Any], family: Family) -> None:
    """What every family's has to say."""
    text, where = keys.text_section(config)
    keys.tower_rope(keys.section(config, "vision_config"))
    for key in TOKENS:
        token = config.get(key)
        if not isinstance(token, int) or isinstance(token, bool) or not 0 <= token < text["vocab_size"]:
            raise ConfigFault(key, token, f"a token's number below {where}vocab_size ({text['vocab_size']}) is expected")
    if config.get("quantization_config") is not None:
        remedy = "take the model that it was made of"
        if not family.experts:  # those aren't held in 4 bits
            remedy = f"{remedy}; {advice('`train.lora.quantize: nf4` holds that in 4 bits')}"
        raise ConfigFault(
            "quantization_config", config["quantization_config"], "weights that aren't quantized are expected", remedy
        )
    for key in ("dtype", "torch_dtype"):
        if config.get(key) is not None and config[key] not in DTYPES:
            raise ConfigFault(key, config[key], f"one of {', '.join(DTYPES)} is expected")
    for section, name in ((config, ""), (text, where)):
        tied = section.get("tie_word_embeddings")
        if tied is not None and not isinstance(tied, bool):
            raise ConfigFault(f"{name}tie_word_embeddings", tied, "true or false is expected")
