"""Families of models, one file each: the only place that knows what distinguishes them. See docs/families.md."""

from __future__ import annotations

from typing import Any

from trlt.engine.families.family import THINKING, Family, Rendered, chat
from trlt.engine.families.keys import ConfigFault
from trlt.engine.families.qwen2_5_vl import Qwen25VL
from trlt.engine.families.qwen2_vl import Qwen2VL
from trlt.engine.families.qwen3_5 import Qwen35
from trlt.engine.families.qwen3_vl import Qwen3VL
from trlt.engine.families.qwen3_vl_moe import Qwen3VLMoe

__all__ = ["FAMILIES", "THINKING", "ConfigFault", "Family", "Rendered", "chat", "family_named", "family_of"]

FAMILIES: tuple[Family, ...] = (Qwen25VL(), Qwen2VL(), Qwen3VL(), Qwen3VLMoe(), Qwen35())


def family_named(model_type: object) -> Family | None:
    """The family that says so in its config.json; None if there is none."""
    return next((family for family in FAMILIES if model_type in family.model_types), None)


def family_of(model: Any) -> Family:
    """The family of a loaded model, within its adapters where it has some."""
    found = family_named(model.config.model_type)
    assert found is not None, "a model of another family can't have been loaded"
    return found
