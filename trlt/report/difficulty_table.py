"""Difficulty of probed samples as bars: right answers of n, and Δ_IoU (Fig. 4 of the paper)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from trlt.errors import counted
from trlt.report.bars import bar

_WIDTH = 40


def histogram_table(histograms: Mapping[str, Any]) -> Group:
    """One block per task: its classes, then the counts behind them.

    Args:
        histograms: As `trlt.select.histogram` gives them.
    """
    parts: list[RenderableType] = [Text(f"Difficulty: {counted(histograms['rows'], 'sample')}", style="bold")]
    for task, found in histograms["tasks"].items():
        mean = f", mean reward {found['mean_reward']:.3f}" if found["mean_reward"] is not None else ""
        parts.append(Text(f"\n{task}: {found['rows']:,}{mean}", style="cyan"))
        parts.append(_bars("class", list(found["classes"].items())))
        if found["correct"]:
            parts.append(_bars("right answers", _without_gaps(list(found["correct"].items()))))
        if found["delta_iou"]:
            parts.append(_bars("IoU, max - mean", _without_gaps(_tenths(found["delta_iou"]))))
        if found.get("mean_iou"):
            parts.append(_bars("IoU, mean", _without_gaps(_tenths(found["mean_iou"]))))
    return Group(*parts)


def _tenths(counts: Sequence[int]) -> list[tuple[str, int]]:
    """Classes of a tenth each, with their counts."""
    return [(f"{0.1 * i:.1f} to {0.1 * (i + 1):.1f}", count) for i, count in enumerate(counts)]


def _without_gaps(counts: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
    """Without runs of two or more empty bars: with few samples, most bars are empty."""
    empty = [False, *(count == 0 for _, count in counts), False]
    return [one for place, one in enumerate(counts, 1) if not (empty[place] and (empty[place - 1] or empty[place + 1]))]


def _bars(name: str, counts: Sequence[tuple[str, int]]) -> Table:
    total = sum(count for _, count in counts) or 1
    most = max((count for _, count in counts), default=0) or 1
    table = Table(show_edge=False, box=None, pad_edge=False)
    table.add_column(name, style="dim", min_width=16)
    table.add_column("", min_width=_WIDTH)
    for _ in range(2):
        table.add_column("", justify="right")
    for label, count in counts:
        table.add_row(Text(label), Text(bar(count / most, _WIDTH)), f"{count:,}", f"{100 * count / total:.1f}%")
    return table
