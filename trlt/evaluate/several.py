"""Several outputs per question: means over them, the best of k, the majority, and what agreement tells (pure).

Samples are lists of items, one list per sample, with the same questions in the same order.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from trlt.data.datasets import Item, is_answered, item_values
from trlt.evaluate.majority import Majority, majority
from trlt.stats.best_of import best_of

BINS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Lower bounds of the bins of agreement; the last holds full agreement alone."""

Rows = list[dict[str, float]]
"""One question's named values from 0 to 1, per question."""
Estimates = Callable[[Rows], dict[str, dict[str, Any]]]
"""From rows to each metric's `value` in percent and its `ci95`."""


def mean_rows(samples: Sequence[Rows]) -> Rows:
    """Each question's values, averaged over the samples."""
    if len(samples) == 1:
        return samples[0]
    return [
        {key: statistics.fmean(row[key] for row in rows if key in row) for key in dict.fromkeys(k for row in rows for k in row)}
        for rows in zip(*samples, strict=True)
    ]


def mean_entry(entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A benchmark's metrics, averaged over its samples: counts that differ are rounded, what isn't a number is the first's."""
    return {key: _mean([entry[key] for entry in entries if key in entry]) for key in entries[0]}


def _mean(values: Sequence[Any]) -> Any:
    first = values[0]
    if isinstance(first, Mapping):
        return {key: _mean([value[key] for value in values if key in value]) for key in first}
    if isinstance(first, float):
        return statistics.fmean(values)
    if isinstance(first, int) and not isinstance(first, bool):
        return round(statistics.fmean(values))
    return first


@dataclass(frozen=True, slots=True)
class SeveralSamples:
    """All outputs to a benchmark's questions."""

    module: ModuleType
    samples: Sequence[Sequence[Item]]
    """K lists."""
    majorities: Sequence[Majority]
    """One per question."""

    @staticmethod
    def of(module: ModuleType, samples: Sequence[Sequence[Item]]) -> SeveralSamples:
        """With the majority of each question."""
        found = [majority(items[0].sample, [item.answer for item in items]) for items in zip(*samples, strict=True)]
        return SeveralSamples(module, samples, found)

    @property
    def k(self) -> int:
        """Outputs per question."""
        return len(self.samples)

    def majority_rows(self) -> Rows:
        """The values of the outputs that stand for most."""
        chosen = [self.samples[one.place][place] for place, one in enumerate(self.majorities)]
        return item_values(self.module, chosen)

    def best_rows(self, k: int) -> Rows:
        """The expected best of k outputs to each question; metrics that only groups of questions have are left out."""
        each = [[self.module.values(item) for item in items] for items in zip(*self.samples, strict=True)]
        return [{key: best_of([row[key] for row in rows], k) for key in rows[0]} for rows in each]

    def entry(self, mean: Mapping[str, Any], estimates: Estimates) -> dict[str, Any]:
        """The part `samples` of an entry in `results.json`.

        Args:
            mean: The mean's metrics.
            estimates: Gives values with intervals.
        """
        best = {f"pass@{k}": estimates(self.best_rows(k)) for k in range(1, self.k + 1)}
        unread = sum(not is_answered(item) for items in self.samples for item in items)
        return {
            "k": self.k,
            "unread_outputs": unread,
            "mean": dict(mean),
            **best,
            "majority": estimates(self.majority_rows()),
            "agreement": self._by_agreement(),
        }

    def _by_agreement(self) -> dict[str, Any]:
        """Mean agreement, and the majority's metrics by bins of it: a model that knows what it knows rises with them."""
        rows = self.majority_rows()
        shares = [one.agreement for one in self.majorities]
        bins = []
        for low, high in zip(BINS, (*BINS[1:], float("inf")), strict=True):
            mine = [place for place, share in enumerate(shares) if low <= share < high]
            metrics = {}
            for key in dict.fromkeys(key for place in mine for key in rows[place]):
                metrics[key] = 100 * statistics.fmean(rows[place][key] for place in mine if key in rows[place])
            agreement = statistics.fmean(shares[place] for place in mine) if mine else None
            bins.append({"from": low, "n": len(mine), "agreement": agreement, "majority": metrics})
        return {"mean": statistics.fmean(shares), "bins": bins}

    def columns(self, place: int) -> dict[str, Any]:
        """What a question's row in the file of items has besides.

        Args:
            place: Of the question.
        """
        rows = [self.module.values(items[place]) for items in self.samples]
        one = self.majorities[place]
        stds = {f"std.{key}": statistics.stdev(row[key] for row in rows) for key in rows[0]}
        best = {f"best.{key}": max(row[key] for row in rows) for key in rows[0]}
        return {"agreement": one.agreement, "majority": one.place, **stds, **best}
