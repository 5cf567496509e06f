"""Stages of a training (`train.stages`): each is the section `train` with keys of its own. Knows neither files nor torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from trlt.errors import did_you_mean, shown

ALL = "stages"


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Keys of `base` and those of `over`, which go before; sections in both are merged alike."""
    found = dict(base)
    for key, value in over.items():
        inner = found.get(key)
        found[key] = merged(inner, value) if isinstance(inner, Mapping) and isinstance(value, Mapping) else value
    return found


def complete(values: Mapping[str, Any], section: type[BaseModel]) -> dict[str, Any]:
    """A section `train` whose stages say everything that is other in them, what an algorithm's name stands for included.

    So a recipe that was saved, whose section says all keys, has the same stages.

    Args:
        values: As read.
        section: What a stage is, once its keys are put over the others.

    Raises:
        ValueError: stages that can't be used; names each fault with its place.
    """
    stages, rest = values[ALL], {key: value for key, value in values.items() if key != ALL}
    if not isinstance(stages, Sequence) or not all(isinstance(one, Mapping) for one in stages):
        raise ValueError("train.stages: expected a list of sections, e.g. [{method: sft}, {method: grpo}]")
    try:
        usual = section.model_validate(rest).model_dump(mode="json")
    except ValidationError:  # whose faults are told by themselves
        return dict(values)
    found, faults = [], []
    for place, one in enumerate(stages):
        if ALL in one:
            faults.append(f"train.stages.{place}.stages: a stage has no stages of its own")
            continue
        try:
            whole = section.model_validate(merged(rest, one)).model_dump(mode="json")
        except ValidationError as error:
            faults += [_told(place, fault, section) for fault in error.errors(include_url=False)]
            continue
        other = {key for key, value in whole.items() if value != usual[key]} - {ALL}
        found.append({key: value for key, value in whole.items() if key in other | set(one)})
    if faults:
        raise ValueError("; ".join(faults))
    return {**rest, ALL: found}


def _told(place: int, fault: Any, section: type[BaseModel]) -> str:
    where = ".".join(["train.stages", str(place), *map(str, fault["loc"])])
    if fault["type"] == "extra_forbidden":
        return f"{where}: unknown key; {did_you_mean(str(fault['loc'][-1]), [*section.model_fields])}"
    if fault["type"] == "value_error":
        return f"train.stages.{place}: {fault['msg'].removeprefix('Value error, ')}"
    return f"{where}: {fault['msg']} (got {shown(fault['input'])})"


def shadowed(key: str, stages: Sequence[Mapping[str, Any]]) -> list[int]:
    """Places of the stages that say a key of `train` themselves, so that the section's own value isn't theirs."""
    *parents, last = key.split(".")
    found = []
    for place, one in enumerate(stages):
        section: Any = one
        for part in parents:
            section = section.get(part) if isinstance(section, Mapping) else None
        if isinstance(section, Mapping) and last in section:
            found.append(place)
    return found
