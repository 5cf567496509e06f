"""Differences between the reward's own parts of two runs, in words (pure)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def changed_parts(old: Sequence[Mapping[str, Any]], new: Sequence[Mapping[str, Any]]) -> list[str]:
    """Differences between the reward's own parts of two runs, in words; where a file is makes none.

    Args:
        old: As a manifest holds them (`reward`).
        new: Likewise, or as a recipe gives them (`Rewards.identity`).
    """
    before, now_there = ({part["name"]: part for part in some} for some in (old, new))
    found = []
    for name in [*before, *(name for name in now_there if name not in before)]:
        a, b = before.get(name), now_there.get(name)
        if a is None or b is None:
            found.append(f"reward part {name}: {'is new' if a is None else 'is gone'}")
            continue
        if a["weight"] != b["weight"]:
            found.append(f"reward part {name}: weight {a['weight']!r} -> {b['weight']!r}")
        if a.get("judge") != b.get("judge"):
            told = [
                key
                for key in ("model", "scale", "prompt")
                if (a.get("judge") or {}).get(key) != (b.get("judge") or {}).get(key)
            ]
            found.append(f"reward part {name}: another {' and '.join(told)}")
        # The file itself comes first, and may have another name now.
        (old_file, old_sum), (new_file, new_sum) = (next(iter(part["files"].items()), ("", "")) for part in (a, b))
        if old_sum != new_sum:
            renamed = old_file and new_file and old_file != new_file
            said = f"{old_file} -> {new_file}" if renamed else f"{new_file or old_file} changed"
            found.append(f"reward part {name}: {said}")
        others = [{key: value for key, value in part["files"].items() if key not in (old_file, new_file)} for part in (a, b)]
        for key in sorted(others[0].keys() | others[1].keys()):
            if others[0].get(key) != others[1].get(key):
                found.append(f"reward part {name}: {key} changed, which {new_file} imports")
    if not found and [part["name"] for part in old] != [part["name"] for part in new]:
        found.append(f"reward parts: their order, {', '.join(before)} -> {', '.join(now_there)}")
    return found
