"""Which keys of a recipe distinguish runs: each declares what it changes. Knows neither files nor torch."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from pydantic import BaseModel

from trlt.recipe._base import Effect
from trlt.recipe.keys import every_key
from trlt.recipe.load import differences
from trlt.recipe.sections import Recipe

CONCERN: Mapping[str, tuple[str, ...]] = {
    "probe": ("model", "video", "prompt", "reward", "probe"),
    "eval": ("model", "video", "prompt", "reward", "eval"),
    "infer": ("model", "video", "prompt", "reward", "eval"),
    "train": ("model", "video", "prompt", "reward", "train"),
}
"""The sections that each kind of run depends on."""

TRAINING_ALONE = ("reward.phases", "reward.length")
"""Keys of a section that other kinds of run depend on, but not on these."""


@cache
def effects() -> Mapping[str, Effect]:
    """What each key changes."""
    return {key: mark for key, field in every_key() for mark in field.metadata if isinstance(mark, Effect)}


def effect(key: str) -> Effect:
    """What a key changes; a key inside a table changes the same as the table."""
    while key not in effects():
        key, dot, _ = key.rpartition(".")
        assert dot, "each key has a mark"
    return effects()[key]


def tells_apart(kind: str, old: Recipe, new: Recipe) -> list[str]:
    """Keys by which two recipes make different runs of a kind, each as `key: old -> new`.

    Without `reward.parts`: manifests hold what is in their files, wherever these are, and tell runs apart by that. What the
    reward has for training alone tells apart trainings alone.
    """
    telling = {Effect.OUTCOME}
    if old.train.loss == "bnpo":
        telling.add(Effect.ROUNDING)

    def tells(key: str) -> bool:
        if kind != "train" and key.startswith(TRAINING_ALONE):
            return False
        return key.partition(".")[0] in CONCERN[kind] and key != "reward.parts" and effect(key) in telling

    return differences(_placeless(old), _placeless(new), among=tells)


def _placeless(recipe: Recipe) -> Recipe:
    """A recipe whose phases name functions without their files, which count as those of `reward.parts` do."""
    reward = recipe.reward
    if not any("parts" in phase.changes for phase in reward.phases):
        return recipe
    phases = []
    for phase in reward.phases:
        parts = phase.changes.get("parts")
        bare = {"parts": [{key: value for key, value in part.items() if key != "file"} for part in parts]} if parts else {}
        phases.append(phase.model_copy(update=bare))
    return recipe.model_copy(update={"reward": reward.model_copy(update={"phases": tuple(phases)})})


def changing(recipe: BaseModel, section: str) -> dict[str, Any]:
    """The values of a section that change an outcome, even in the last digit, as JSON values without the defaults.

    The model's path counts: it identifies weights whose content isn't available.
    """
    values: dict[str, Any] = getattr(recipe, section).model_dump(mode="json", exclude_defaults=True)
    return _kept(values, section)


def _kept(values: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in values.items():
        key = f"{prefix}.{name}"
        if key in effects() and effect(key) in (Effect.INPUT, Effect.MEANS) and key != "model.path":
            continue
        if isinstance(value, dict) and value:
            if kept := _kept(value, key):
                found[name] = kept
        else:
            found[name] = value
    return found
