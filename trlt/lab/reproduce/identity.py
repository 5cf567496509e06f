"""What makes a piece of work the same as another: digests of the settings that change its outcome (pure).

Settings at their defaults are left out, so that a key that a later version adds leaves earlier work what it was.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Sequence
from typing import Any

from pydantic import BaseModel

from trlt.recipe import TRAINING_ALONE, changing

FIRST_NAMES = {"min_reward_range": "min_spread"}
"""Keys as they were called when work was first recorded, so that it is found again."""


def settings(recipe: BaseModel, sections: Collection[str]) -> dict[str, Any]:
    """What of a recipe's sections changes the outcome, as JSON values."""
    found = {name: changing(recipe, name) for name in sorted(sections)}
    if "train" not in sections:  # else arms that differ in these alone would each probe the pool
        found = {name: _without_training(name, section) for name, section in found.items()}
    return {name: {FIRST_NAMES.get(key, key): value for key, value in section.items()} for name, section in found.items()}


def _without_training(section: str, values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if f"{section}.{key}" not in TRAINING_ALONE}


def digest(kind: str, values: Any, needs: Sequence[str]) -> str:
    """Hexadecimal SHA-256 of a piece of work: its kind, its settings, and the digests of what it begins with."""
    text = json.dumps([kind, values, list(needs)], sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
