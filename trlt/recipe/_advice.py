"""Advice that names keys of a recipe, and whether it needs a new run. Knows neither files nor torch."""

from __future__ import annotations

import re

from trlt.recipe._base import Effect
from trlt.recipe.effects import CONCERN, effect
from trlt.recipe.keys import every_key

NEW_RUN = "in a new run (another --out, or --fresh)"
"""A run can resume only with changes that keep its outcome."""
_KEYS = re.compile(
    rf"(?<![\w.])({'|'.join(sorted((re.escape(key) for key, _ in every_key()), key=len, reverse=True))})(?![\w.])"
)


def advice(text: str) -> str:
    """Advice for a message, with a note if it needs a new run.

    Args:
        text: One remedy with full key names; pass several separately if only some of them need a new run.
    """
    keys = named(text)
    assert keys, f"{text!r} names no key of a recipe"
    return f"{text} {NEW_RUN}" if any(makes_another_run(key) for key in keys) else text


def named(text: str) -> list[str]:
    """Full names of keys in a text."""
    return [key for key in _KEYS.findall(text) if "." in key]


def makes_another_run(key: str) -> bool:
    """Whether a started run is refused with another value of a key."""
    return effect(key) is Effect.OUTCOME and any(key.partition(".")[0] in sections for sections in CONCERN.values())
