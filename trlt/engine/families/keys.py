"""What a config.json has to say, key by key: faults that name the key, what was found and the remedy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from trlt.errors import shown

AGAIN = "download config.json again"
TOWER_ROPE = {"rope_theta": 10000.0, "rope_type": "axial"}
LEAST_THETA = 1000
"""Published: 1,000,000 and more; turns repeat within a prompt where it is as small as this."""


class ConfigFault(Exception):
    """What is wrong, with the key."""

    def __init__(self, key: str, found: object, wanted: str, remedy: str = AGAIN) -> None:
        super().__init__(f"{key}: {wanted}, not {shown(found)}; {remedy}" if found is not None else f"{key}: missing; {remedy}")


def section(config: Mapping[str, Any], key: str, where: str = "") -> Mapping[str, Any]:
    """An object within another.

    Raises:
        ConfigFault: it is none.
    """
    found = config.get(key)
    if not isinstance(found, dict):
        raise ConfigFault(f"{where}{key}", found, "an object is expected")
    return found


def text_section(config: Mapping[str, Any]) -> tuple[Mapping[str, Any], str]:
    """The language model's keys, and what stands before their names: at the top in some published layouts."""
    if config.get("text_config") is not None:
        return section(config, "text_config"), "text_config."
    return config, ""


def is_whole(value: object) -> bool:
    """Whether a value is a whole number above 0."""
    # JSON's `true` would pass for 1.
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def whole(found: Mapping[str, Any], keys: Iterable[str], where: str) -> None:
    """Holds keys to whole numbers above 0.

    Raises:
        ConfigFault: one isn't.
    """
    for key in keys:
        if not is_whole(found.get(key)):
            raise ConfigFault(f"{where}{key}", found.get(key), "a whole number above 0 is expected")


def number(value: object, key: str, least: float = 0, most: float = 1e12) -> None:
    """Holds a value to a number between bounds.

    Raises:
        ConfigFault: it isn't.
    """
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not least < value < most:
        raise ConfigFault(key, value, f"a number above {least:g} and below {most:g} is expected")


def function(found: Mapping[str, Any], where: str, key: str = "hidden_act") -> None:
    """Holds a key to the name of an activation function.

    Raises:
        ConfigFault: it isn't one.
    """
    if not isinstance(found.get(key), str):
        raise ConfigFault(f"{where}{key}", found.get(key), "the name of a function is expected")


def divides(found: Mapping[str, Any], key: str, by: int, name: str, where: str) -> None:
    """Holds a key to a multiple of another.

    Raises:
        ConfigFault: it isn't.
    """
    if found[key] % by:
        raise ConfigFault(f"{where}{key}", found[key], f"a multiple of {name} ({by}) is expected")


def indexes(found: Mapping[str, Any], key: str, depth: int, where: str) -> None:
    """Holds a key to a list of a tower's blocks.

    Raises:
        ConfigFault: it isn't.
    """
    blocks = found.get(key)
    if not isinstance(blocks, list) or not all(isinstance(one, int) and 0 <= one < depth for one in blocks):
        raise ConfigFault(f"{where}{key}", blocks, f"a list of blocks, from 0 to {depth - 1}, is expected")


def width_of_features(vision: Mapping[str, Any], text: Mapping[str, Any], where: str, key: str = "out_hidden_size") -> None:
    """Holds the width of a tower's features to that of the language model's states.

    Raises:
        ConfigFault: they differ.
    """
    if vision[key] != text["hidden_size"]:
        raise ConfigFault(f"vision_config.{key}", vision[key], f"{where}hidden_size ({text['hidden_size']}) is expected")


def no_sliding_window(text: Mapping[str, Any], where: str) -> None:
    """Every token sees all before it in published models.

    Raises:
        ConfigFault: some layers have a sliding window.
    """
    if text.get("use_sliding_window"):
        raise ConfigFault(f"{where}use_sliding_window", text["use_sliding_window"], "false is expected, as published")


def interleaved(text: Mapping[str, Any], where: str) -> None:
    """M-RoPE turns by time, row and column in turn, and not section by section.

    Raises:
        ConfigFault: the configuration doesn't say so; the library takes it for granted, other programs don't.
    """
    name = "rope_parameters" if text.get("rope_parameters") is not None else "rope_scaling"
    found = section(text, name, where).get("mrope_interleaved")
    if found is not True:
        raise ConfigFault(f"{where}{name}.mrope_interleaved", found, "true is expected")


def rope(text: Mapping[str, Any], where: str, turned: int) -> None:
    """M-RoPE turns pairs of a head's numbers: some by time, some by row, some by column.

    Args:
        text: The language model's keys.
        where: What stands before their names.
        turned: Numbers of a head that are turned.

    Raises:
        ConfigFault: the sections don't add up to half of these, or the base is missing.
    """
    name = "rope_parameters" if text.get("rope_parameters") is not None else "rope_scaling"
    found = section(text, name, where)
    sections = found.get("mrope_section")
    if not isinstance(sections, list) or len(sections) != 3 or not all(is_whole(part) for part in sections):
        raise ConfigFault(f"{where}{name}.mrope_section", sections, "three whole numbers above 0 are expected")
    if 2 * sum(sections) != turned:
        wanted = f"numbers that add up to {turned / 2:g} are expected, half of a head's {turned}"
        raise ConfigFault(f"{where}{name}.mrope_section", sections, wanted)
    inner = found.get("rope_theta") is not None
    theta = found["rope_theta"] if inner else text.get("rope_theta")
    # A damaged file that said 1.5 once gave a model without a word (docs/log.md).
    number(theta, f"{where}{name + '.' if inner else ''}rope_theta", least=LEAST_THETA)


def tower_rope(vision: Mapping[str, Any]) -> None:
    """Every tower turns a patch by its row and column, at one base; published files don't say so, the library writes it down.

    Raises:
        ConfigFault: it says something else.
    """
    found = vision.get("rope_parameters")
    if found is not None and found != TOWER_ROPE:
        raise ConfigFault("vision_config.rope_parameters", found, f"{TOWER_ROPE} is expected", "leave it out")


def as_published(found: Mapping[str, Any], key: str, wanted: object, where: str) -> None:
    """Holds a key, which neither shapes nor names of tensors show, to the one value that was published.

    Raises:
        ConfigFault: it has another.
    """
    # JSON's `true` equals 1.
    if found.get(key) != wanted or type(found[key]) is not type(wanted):
        raise ConfigFault(f"{where}{key}", found.get(key), f"{wanted!r} is expected, as published")
