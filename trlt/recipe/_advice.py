"""Advice that names keys of a recipe, with what follows from it for a run that has begun. Knows neither files nor torch."""

from __future__ import annotations

import re

from trlt.recipe._base import Effect
from trlt.recipe.effects import CONCERN, effect
from trlt.recipe.keys import every_key

NEW_RUN = "in a new run (another --out, or --fresh)"
"""A run goes on only with what changes no outcome."""
_KEYS = re.compile(
    rf"(?<![\w.])({'|'.join(sorted((re.escape(key) for key, _ in every_key()), key=len, reverse=True))})(?![\w.])"
)


def advice(text: str) -> str:
    """Advice as a message gives it: where it makes another run, it says so.

    Args:
        text: One remedy, which names its keys in full; of several, of which only some make another run, each goes by itself.
    """
    keys = named(text)
    assert keys, f"{text!r} names no key of a recipe"
    return f"{text} {NEW_RUN}" if any(makes_another_run(key) for key in keys) else text


def named(text: str) -> list[str]:
    """Keys that stand in a text, by their full names."""
    return [key for key in _KEYS.findall(text) if "." in key]


def makes_another_run(key: str) -> bool:
    """Whether a run that has begun is refused with another value of a key."""
    return effect(key) is Effect.OUTCOME and any(key.partition(".")[0] in sections for sections in CONCERN.values())
