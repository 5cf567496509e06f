"""What a model's config.json has to say, looked at before any weights are read.

Knows both layouts: the published one, with the language model's keys at the top, and the one that transformers 5 writes, with
`text_config`. What isn't said there the library would fill in by values of its own, which are those of another model; so every
key that decides what the model says has to be there.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trlt.engine.model.files import object_in
from trlt.errors import ModelError, shown
from trlt.recipe import advice

CONFIG = "config.json"
MODEL_TYPE = "qwen2_5_vl"
TEXT = (
    *("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "vocab_size"),
    "max_position_embeddings",
)
"""Counts of the language model."""
VISION = (
    *("depth", "hidden_size", "intermediate_size", "num_heads", "out_hidden_size", "patch_size", "spatial_merge_size"),
    *("temporal_patch_size", "window_size"),
)
"""Counts of the vision tower."""
TOKENS = ("image_token_id", "video_token_id", "vision_start_token_id")
LEAST_THETA = 1000
"""Published: 1,000,000; turns repeat within a prompt where it is as small as this."""
DTYPES = ("float32", "bfloat16", "float16")
AGAIN = "download config.json again"


def check_config(path: Path) -> dict[str, Any]:
    """The object in a model's config.json, once it is known to be that of a Qwen2.5-VL.

    Raises:
        ModelError: names the file, the key, its value and the remedy.
    """
    if not path.is_file():
        raise ModelError(f"model.path: {path.parent} holds no {CONFIG}; give the folder that `save_pretrained` wrote")
    config = object_in(path, finite=False)
    if config.get("model_type") != MODEL_TYPE:
        raise ModelError(
            f"model.path: {path} says model_type {config.get('model_type')!r}; trlt tunes {MODEL_TYPE} (Qwen2.5-VL)"
        )
    try:
        _check(config)
    except _ConfigFault as fault:
        raise ModelError(f"model.path: {path}: {fault}") from None
    return config


class _ConfigFault(Exception):
    """What is wrong, with the key."""

    def __init__(self, key: str, found: object, wanted: str, remedy: str = AGAIN) -> None:
        super().__init__(f"{key}: {wanted}, not {shown(found)}; {remedy}" if found is not None else f"{key}: missing; {remedy}")


def _check(config: Mapping[str, Any]) -> None:
    text = _section(config, "text_config") if config.get("text_config") is not None else config
    vision = _section(config, "vision_config")
    where = "text_config." if text is not config else ""
    for section, keys, name in ((text, TEXT, where), (vision, VISION, "vision_config.")):
        for key in keys:
            _whole(section.get(key), f"{name}{key}")
        if not isinstance(section.get("hidden_act"), str):
            raise _ConfigFault(f"{name}hidden_act", section.get("hidden_act"), "the name of a function is expected")
    heads = text["num_attention_heads"]
    _divides(text, "hidden_size", heads, f"{where}num_attention_heads", where)
    _divides(text, "num_attention_heads", text["num_key_value_heads"], f"{where}num_key_value_heads", where)
    _divides(vision, "hidden_size", 4 * vision["num_heads"], "4 x vision_config.num_heads", "vision_config.")
    cell = vision["patch_size"] * vision["spatial_merge_size"]
    _divides(vision, "window_size", cell, "vision_config.patch_size x spatial_merge_size", "vision_config.")
    if vision["out_hidden_size"] != text["hidden_size"]:
        wanted = f"{where}hidden_size ({text['hidden_size']}) is expected"
        raise _ConfigFault("vision_config.out_hidden_size", vision["out_hidden_size"], wanted)
    _number(text.get("rms_norm_eps"), f"{where}rms_norm_eps", most=1)
    # 2 in all published files, and 4 in the library where nothing is said: it can't be left out.
    _number(vision.get("tokens_per_second"), "vision_config.tokens_per_second")
    _check_rope(text, where, text["hidden_size"] // heads)
    _check_blocks(vision)
    _check_rest(config, text, where)


def _check_rope(text: Mapping[str, Any], where: str, width: int) -> None:
    """M-RoPE turns pairs of a head's numbers: some by time, some by row, some by column."""
    name = "rope_parameters" if text.get("rope_parameters") is not None else "rope_scaling"
    rope = _section(text, name, where)
    sections = rope.get("mrope_section")
    if not isinstance(sections, list) or len(sections) != 3 or not all(_is_whole(part) for part in sections):
        raise _ConfigFault(f"{where}{name}.mrope_section", sections, "three whole numbers above 0 are expected")
    if 2 * sum(sections) != width:
        wanted = f"numbers that add up to {width / 2:g} are expected, half of a head's {width}"
        raise _ConfigFault(f"{where}{name}.mrope_section", sections, wanted)
    inner = rope.get("rope_theta") is not None
    theta = rope["rope_theta"] if inner else text.get("rope_theta")
    # A damaged file that said 1.5 once gave a model without a word (docs/log.md).
    _number(theta, f"{where}{name + '.' if inner else ''}rope_theta", least=LEAST_THETA)


def _check_blocks(vision: Mapping[str, Any]) -> None:
    blocks, depth = vision.get("fullatt_block_indexes"), vision["depth"]
    if not isinstance(blocks, list) or not all(isinstance(one, int) and 0 <= one < depth for one in blocks):
        wanted = f"a list of blocks, from 0 to {depth - 1}, is expected"
        raise _ConfigFault("vision_config.fullatt_block_indexes", blocks, wanted)


def _check_rest(config: Mapping[str, Any], text: Mapping[str, Any], where: str) -> None:
    for key in TOKENS:
        token = config.get(key)
        if not isinstance(token, int) or isinstance(token, bool) or not 0 <= token < text["vocab_size"]:
            raise _ConfigFault(key, token, f"a token's number below {where}vocab_size ({text['vocab_size']}) is expected")
    if config.get("quantization_config") is not None:
        remedy = advice("take the model that it was made of; `train.lora.quantize: nf4` holds that in 4 bits")
        raise _ConfigFault(
            "quantization_config", config["quantization_config"], "weights that aren't quantized are expected", remedy
        )
    for key in ("dtype", "torch_dtype"):
        if config.get(key) is not None and config[key] not in DTYPES:
            raise _ConfigFault(key, config[key], f"one of {', '.join(DTYPES)} is expected")
    for section, name in ((config, ""), (text, where)):
        tied = section.get("tie_word_embeddings")
        if tied is not None and not isinstance(tied, bool):
            raise _ConfigFault(f"{name}tie_word_embeddings", tied, "true or false is expected")


def _section(config: Mapping[str, Any], key: str, where: str = "") -> Mapping[str, Any]:
    found = config.get(key)
    if not isinstance(found, dict):
        raise _ConfigFault(f"{where}{key}", found, "an object is expected")
    return found


def _is_whole(value: object) -> bool:
    # JSON's `true` would pass for 1.
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _whole(value: object, key: str) -> None:
    if not _is_whole(value):
        raise _ConfigFault(key, value, "a whole number above 0 is expected")


def _number(value: object, key: str, least: float = 0, most: float = 1e12) -> None:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not least < value < most:
        raise _ConfigFault(key, value, f"a number above {least:g} and below {most:g} is expected")


def _divides(section: Mapping[str, Any], key: str, by: int, name: str, where: str) -> None:
    if section[key] % by:
        raise _ConfigFault(f"{where}{key}", section[key], f"a multiple of {name} ({by}) is expected")
