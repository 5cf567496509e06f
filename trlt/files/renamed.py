"""Names in files of the previous version: read for one version under their new names, with a warning."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trlt.errors.faults import tell

ROW = {"spread": "reward_range"}
"""Of a row of `trlt probe`, `eval` or `infer`, and of a line of `difficulty.jsonl`."""
LOG = ROW | {"reward_spread": "reward_range", "zero_spread": "frac_zero_range", "cut_off": "truncated_frac"}
"""Of a line of `log.jsonl`."""
TRAIN = {"min_spread": "min_reward_range"}
"""Of a recipe's section `train`."""
RUN = {"figures": "metrics"}
"""Of a line of `runs.jsonl`, and of a plan."""
CLAIM = {"figure": "metric"}
"""Of a plan's claim."""
RUN_METRICS = {"train.zero_spread": "train.frac_zero_range"}
"""Of the metrics in a line of `runs.jsonl`."""

_told: set[str] = set()


def renew(values: Any, names: Mapping[str, str], path: Path | str) -> Any:
    """An object with current names, in its order; unchanged if it has no old name.

    Args:
        values: The object as read. If it has both names, the current one counts.
        names: Old to new.
        path: The file, which the warning names once per process.
    """
    if not isinstance(values, dict) or names.keys().isdisjoint(values):
        return values
    if str(path) not in _told:
        _told.add(str(path))
        now = ", ".join(f"{old} is {new} now" for old, new in names.items() if old in values)
        tell(f"{path}: names of an older version ({now}); the next version of trlt won't read them\n")
    return {names.get(name, name): value for name, value in values.items() if name not in names or names[name] not in values}
