"""How the models of two manifests differ, in names: checksums say that something changed, and not what (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NAMES = ("name", "hub", "served")
"""Keys of a model's identity that name it."""
WHAT = {
    "sha256": "the weights or the config.json of {} changed",
    "adapter": "the weights or the settings of {} changed",
    "revision": "the revision of {} on the hub changed",
    "predictions": "the predictions changed",
}
"""Further keys, and what a difference in them means for a model of the same name."""


def changed_model(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """A line for each difference; none where both are the same model, whatever its folder is called.

    Args:
        old: Identity of a model as a manifest holds it: a folder, an id on a hub, a name at a server, or given predictions.
        new: Likewise.
    """
    keys = [key for key in {**old, **new} if key not in ("name", "files", "path") and old.get(key) != new.get(key)]
    before, now = called(old), called(new)
    if keys and before != now:
        return [f"model: {before} -> {now}"]
    lines = [
        f"model: {WHAT[key].format(now)}" if key in WHAT else f"model.{key}: {old.get(key)!r} -> {new.get(key)!r}"
        for key in keys
    ]
    if "files" in old and "files" in new:  # which earlier manifests don't name
        files, files_now = old["files"], new["files"]
        for file in sorted(files.keys() | files_now.keys()):
            if files.get(file) != files_now.get(file):
                how = "is new" if file not in files else "is gone" if file not in files_now else "changed"
                lines.append(f"model: {file} of {now} {how}")
    return lines


def called(model: Mapping[str, Any]) -> str:
    """A model's name for a reader."""
    if "predictions" in model:
        return "given predictions"
    name = next((str(model[key]) for key in NAMES if key in model), "an unnamed model")
    kind = " (an adapter)" if "adapter" in model else " at a server" if "served" in model else ""
    return name + kind
