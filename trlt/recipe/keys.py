"""All keys of a recipe, and the keys that a word may mean. Knows neither files nor torch."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from trlt.recipe.sections import Recipe

ELSEWHERE = {
    "lr": "train.learning_rate",
    "batch_size": "train.prompts_per_step",
    "per_device_train_batch_size": "train.prompts_per_pass",
    "num_generations": "train.group_size",
    "max_completion_length": "train.max_new_tokens",
    "num_train_epochs": "train.epochs",
    "steps": "train.max_steps",
    "kl_coef": "train.beta",
    "gpus": "train.launch.processes",
}
"""Names that other tools use."""


def every_key(model: type[BaseModel] = Recipe, prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """(dotted key, field) of everything that isn't a section; keys of a list's or table's entries follow its own."""
    for name, field in model.model_fields.items():
        if not isinstance(field.annotation, type) or not issubclass(field.annotation, BaseModel):
            yield f"{prefix}{name}", field
        for inner in _sections(field.annotation):
            yield from every_key(inner, f"{prefix}{name}.")


def _sections(kind: Any) -> Iterator[type[BaseModel]]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        yield kind
    for part in get_args(kind):
        yield from _sections(part)


def meant(word: str) -> list[str]:
    """Keys that an unknown word or key may mean: by other tools' names, by the same last name, or by a similar one."""
    last = word.rpartition(".")[2].lower().replace("-", "_")
    if last in ELSEWHERE:
        return [ELSEWHERE[last]]
    keys = list(dict(every_key()))
    same = [key for key in keys if key.rpartition(".")[2] == last]
    if same or not last:
        return same
    near = difflib.get_close_matches(last, {key.rpartition(".")[2] for key in keys}, n=1, cutoff=0.75)
    return [key for key in keys if near and key.rpartition(".")[2] == near[0]]
