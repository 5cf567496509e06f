"""What a reader of published figures must know of a benchmark, from its module."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from trlt.data.datasets import dataset_name


def describe(module: ModuleType, protocols: list[str]) -> dict[str, Any]:
    """Its facts as JSON values; what the module doesn't state is None.

    Args:
        module: Of a benchmark, of the package or a user's file.
        protocols: Names of those known for it.
    """
    facts = getattr(module, "FACTS", None)
    return {
        "name": dataset_name(module),
        "title": getattr(module, "TITLE", dataset_name(module)),
        "kind": getattr(module, "TASK", None) or "unknown kind",
        "questions": facts.questions if facts else None,
        "videos": facts.videos if facts else None,
        "rule": facts.rule if facts else None,
        "published": facts.published if facts else None,
        "disagreements": list(facts.disagreements) if facts else [],
        "protocols": protocols,
        "where": getattr(module, "WHERE", None),
        "license": getattr(module, "LICENSE", None),
    }
