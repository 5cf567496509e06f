"""A benchmark's whole entry in `results.json`: its metrics, and 95% intervals from a bootstrap over videos."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

from trlt.data.datasets import Item, has_role, load, names
from trlt.errors import UsageError
from trlt.stats.intervals import mean_interval


def summary(
    bench: str | ModuleType, items: Sequence[Item], missing_videos: int = 0, bootstrap: int = 1000, seed: int = 0
) -> dict[str, Any]:
    """The entry of one benchmark.

    Args:
        bench: Name of the benchmark, or its module.
        items: One per question, including unanswered ones; questions about missing videos are left out.
        missing_videos: Number of missing videos.
        bootstrap: Resamples of videos.
        seed: Of the resamples.

    Returns:
        `n`, `unanswered`, `missing_videos`, `paper`, `official`, `by`, `ci95` (low and high of each of the paper's
        metrics), and further values of the benchmark; all metrics in percent.

    Raises:
        UsageError: not a benchmark.
        DataError: no items.
    """
    module = load(bench)
    if not has_role(module, "bench"):
        raise UsageError(f"{bench} is no benchmark; choose one of: {', '.join(names('bench'))}")
    entry: dict[str, Any] = module.metrics(items)
    weights = module.weights(items) if hasattr(module, "weights") else [1.0] * len(items)
    rows = [module.values(item) for item in items]
    videos = [item.sample.video_key or item.sample.video for item in items]
    ci95: dict[str, list[float]] = {}
    for key in entry["paper"]:
        mine = [index for index, row in enumerate(rows) if key in row]
        values = [100 * weights[index] * rows[index][key] for index in mine]
        interval = mean_interval(values, [videos[index] for index in mine], bootstrap, seed)
        ci95[key] = [interval.low, interval.high]
    order = ("n", "unanswered", "missing_videos", "paper", "official", "by", "ci95")
    entry |= {"missing_videos": missing_videos, "ci95": ci95}
    return {key: entry[key] for key in (*order, *(key for key in entry if key not in order))}
