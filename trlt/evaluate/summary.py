"""A benchmark's whole entry in `results.json`: its metrics, and 95% intervals from a bootstrap over videos."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any, NamedTuple

from trlt.data.datasets import Item, has_role, item_values, item_weights, load, names
from trlt.data.protocols import Protocol
from trlt.errors import UsageError
from trlt.evaluate.lenient_items import lenient_items
from trlt.evaluate.several import Rows, SeveralSamples, mean_entry, mean_rows
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
    return summary_of_samples(bench, [items], missing_videos, bootstrap, seed, lenient=None if lenient is None else [lenient])


def summary_of_samples(
    bench: str | ModuleType,
    samples: Sequence[Sequence[Item]],
    missing_videos: int = 0,
    bootstrap: int = 1000,
    seed: int = 0,
    *,
    lenient: Sequence[Sequence[Item]] | None = None,
) -> dict[str, Any]:
    """The same of several outputs per question: metrics are means over them, and `samples` has pass@k and the majority.

    Args:
        bench: Name of the benchmark, or its module.
        samples: Items of the first outputs, of the second ones, and so on; the same questions in each.
        missing_videos: Number of missing videos.
        bootstrap: Resamples of videos.
        seed: Of the resamples.
        lenient: The same items, read leniently; None reads them.

    Raises:
        UsageError: not a benchmark.
        DataError: no items.
    """
    module = load(bench)
    if not has_role(module, "bench"):
        raise UsageError(f"{bench} is no benchmark; choose one of: {', '.join(names('bench'))}")
    lenient = [lenient_items(items) for items in samples] if lenient is None else lenient
    entries, readings = ([module.metrics(items) for items in of] for of in (samples, lenient))
    entry, read = (mean_entry(of) if len(of) > 1 else of[0] for of in (entries, readings))
    scored = [mean_rows([item_values(module, items) for items in of]) for of in (samples, lenient)]
    strict, loose = (_intervals(module, samples[0], rows, bootstrap, seed) for rows in scored)
    entry |= {
        "missing_videos": missing_videos,
        "ci95": {key: strict[key] for key in entry["paper"] if key in strict},
        "lenient": read["paper"],
        "lenient_ci95": {key: loose[key] for key in read["paper"] if key in loose},
        "lenient_unanswered": read["unanswered"],
    }
    if len(samples) > 1:

        def estimates(rows: Rows) -> dict[str, dict[str, Any]]:
            means = _means(module, samples[0], rows)
            bounds = _intervals(module, samples[0], rows, bootstrap, seed)
            return {key: {"value": means[key], "ci95": bounds[key]} for key in means}

        mean = {key: {"value": value, "ci95": entry["ci95"][key]} for key, value in entry["paper"].items() if key in strict}
        entry["samples"] = SeveralSamples.of(module, samples).entry(mean, estimates)
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
    intervals = _intervals(module, read, item_values(module, read), bootstrap, seed)
    return {"metrics": entry["paper"], "ci95": intervals, "unanswered": entry["unanswered"]}


class _MetricValues(NamedTuple):
    """A metric's questions."""

    metric: str
    videos: list[str]
    values: list[float]
    """Percent; their weighted mean is the metric."""
    weights: list[float]


def _means(module: ModuleType, items: Sequence[Item], rows: Rows) -> dict[str, float]:
    """Each metric in percent."""
    found = {}
    for one in _weighted(module, items, rows):
        total = math.fsum(weight * value for weight, value in zip(one.weights, one.values, strict=True))
        found[one.metric] = total / math.fsum(one.weights)
    return found


def _intervals(module: ModuleType, items: Sequence[Item], rows: Rows, bootstrap: int, seed: int) -> dict[str, list[float]]:
    """The 95% interval of each metric that is a mean over questions; Video-MMMU's `delta` is made of others."""
    found = {}
    for one in _weighted(module, items, rows):
        interval = mean_interval(one.values, one.videos, bootstrap, seed, weights=one.weights)
        found[one.metric] = [interval.low, interval.high]
    return found


def _weighted(module: ModuleType, items: Sequence[Item], rows: Rows) -> Iterator[_MetricValues]:
    """Each metric over the questions that have it."""
    weights, micro = item_weights(module, items), getattr(module, "MICRO", ())
    videos = [item.sample.video_key or item.sample.video for item in items]
    for key in dict.fromkeys(key for row in rows for key in row):
        mine = [index for index, row in enumerate(rows) if key in row]
        scale = [1.0 if key in micro else weights[index] for index in mine]
        values = [100 * rows[index][key] for index in mine]
        yield _MetricValues(key, [videos[index] for index in mine], values, scale)
