"""What makes a piece of work the same as another: digests of the settings that change its outcome (pure).

Settings at their defaults are left out, so that a key that a later version adds leaves earlier work what it was.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Sequence
from typing import Any

from pydantic import BaseModel

WITHOUT_EFFECT: dict[str, set[str]] = {
    "model": {"device"},
    "video": {"root", "store", "store_gb", "timeout_s", "memory_gb", "workers", "downloads", "links"},
    "probe": {"max_sequences"},
    "eval": {"max_sequences", "benchmarks"},
    "train": {
        *("data", "launch", "report_to", "save_steps", "keep_checkpoints", "completions_every", "max_sequences"),
        *("features", "features_gb", "max_broken", "gradient_checkpointing"),
    },
}
"""Keys, by section, that change how long work takes and not what comes of it."""


def settings(recipe: BaseModel, sections: Collection[str]) -> dict[str, Any]:
    """What of a recipe's sections changes the outcome, as JSON values."""
    return {
        name: getattr(recipe, name).model_dump(mode="json", exclude_defaults=True, exclude=WITHOUT_EFFECT.get(name))
        for name in sorted(sections)
    }


def digest(kind: str, values: Any, needs: Sequence[str]) -> str:
    """Hexadecimal SHA-256 of a piece of work: its kind, its settings, and the digests of what it begins with."""
    text = json.dumps([kind, values, list(needs)], sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
