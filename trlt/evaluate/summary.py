"""A benchmark's whole entry in `results.json`: its metrics, and 95% intervals from a bootstrap over videos."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import ModuleType
from typing import Any

from trlt.data.datasets import Item, has_role, item_values, item_weights, load, names
from trlt.data.protocols import Protocol
from trlt.errors import UsageError
from trlt.evaluate.lenient_items import lenient_items
from trlt.stats.intervals import mean_interval

_ORDER = (
    *("n", "unanswered", "missing_videos", "paper", "official", "by", "ci95"),
    *("lenient", "lenient_ci95", "lenient_unanswered"),
)


def summary(
    bench: str | ModuleType,
    items: Sequence[Item],
    missing_videos: int = 0,
    bootstrap: int = 1000,
    seed: int = 0,
    *,
    lenient: Sequence[Item] | None = None,
) -> dict[str, Any]:
    """The entry of one benchmark.

    Args:
        bench: Name of the benchmark, or its module.
        items: One per question, including unanswered ones; questions about missing videos are left out.
        missing_videos: Number of missing videos.
        bootstrap: Resamples of videos.
        seed: Of the resamples.
        lenient: The same items, read leniently; None reads them.

    Returns:
        `n`, `unanswered`, `missing_videos`, `paper`, `official`, `by`, `ci95` (low and high of each of the paper's
        metrics), `lenient`, `lenient_ci95` and `lenient_unanswered` (the same of the lenient protocol), and further values of
        the benchmark; all metrics in percent.

    Raises:
        UsageError: not a benchmark.
        DataError: no items.
    """
    module = load(bench)
    if not has_role(module, "bench"):
        raise UsageError(f"{bench} is no benchmark; choose one of: {', '.join(names('bench'))}")
    entry: dict[str, Any] = module.metrics(items)
    lenient = lenient_items(items) if lenient is None else lenient
    read = module.metrics(lenient)
    entry |= {
        "missing_videos": missing_videos,
        "ci95": _intervals(module, items, entry["paper"], bootstrap, seed),
        "lenient": read["paper"],
        "lenient_ci95": _intervals(module, lenient, read["paper"], bootstrap, seed),
        "lenient_unanswered": read["unanswered"],
    }
    return {key: entry[key] for key in (*_ORDER, *(key for key in entry if key not in _ORDER))}


def harness_metrics(
    bench: str | ModuleType, items: Sequence[Item], protocol: Protocol, bootstrap: int = 1000, seed: int = 0
) -> dict[str, Any]:
    """A benchmark's metrics by a harness's own reading of the outputs, with 95% intervals.

    Args:
        bench: Name of the benchmark, or its module.
        items: One per question.
        protocol: The harness's.
        bootstrap: Resamples of videos.
        seed: Of the resamples.

    Returns:
        `metrics`, `ci95` and `unanswered`; without a reading of its own, the official metrics, which have no intervals.
    """
    module = load(bench)
    read = protocol.items(list(items))
    entry = module.metrics(read)
    if protocol.read is None:
        return {"metrics": entry["official"], "ci95": {}, "unanswered": entry["unanswered"]}
    intervals = _intervals(module, read, entry["paper"], bootstrap, seed)
    return {"metrics": entry["paper"], "ci95": intervals, "unanswered": entry["unanswered"]}


def _intervals(
    module: ModuleType, items: Sequence[Item], metrics: Iterable[str], bootstrap: int, seed: int
) -> dict[str, list[float]]:
    """The 95% interval of each metric."""
    weights, micro = item_weights(module, items), getattr(module, "MICRO", ())
    rows = item_values(module, items)
    videos = [item.sample.video_key or item.sample.video for item in items]
    ci95: dict[str, list[float]] = {}
    for key in metrics:
        mine = [index for index, row in enumerate(rows) if key in row]
        scale = [1.0 if key in micro else weights[index] for index in mine]
        values = [100 * rows[index][key] for index in mine]
        interval = mean_interval(values, [videos[index] for index in mine], bootstrap, seed, weights=scale)
        ci95[key] = [interval.low, interval.high]
    return ci95
