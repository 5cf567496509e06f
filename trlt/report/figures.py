"""Benchmark figures with their intervals, beside the paper's; and the gain of one run over another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

PAPER: dict[str, dict[str, tuple[float, float]]] = {
    "charades": {"mIoU": (28.0, 57.0)},
    "activitynet": {"mIoU": (24.0, 39.0)},
    "activitynet_rtl": {"mIoU": (6.0, 27.6)},
    "mvbench": {"acc": (65.3, 68.1)},
    "tempcompass": {"acc": (70.9, 73.3)},
    "videomme": {"acc": (56.1, 57.6)},
    "mmvu": {"acc": (61.3, 65.0)},
    "nextgqa": {"mIoU": (20.2, 37.3), "acc": (77.2, 78.7)},
}
"""Table 1 of the paper, 7B: the base model's figure and the tuned one's."""


def results_table(results: Mapping[str, Any], *, paper: bool = False) -> Group:
    """A line a figure: the paper's metric with its 95% interval; then the benchmark's own protocol where it differs.

    Args:
        results: What stands in `results.json`.
        paper: Show Table 1 beside; it says something about the real benchmarks only.
    """
    table = Table(title="Results (percent)", title_justify="left")
    for name in ("benchmark", "figure"):
        table.add_column(name)
    for name in ("value", "95% interval", "official", "n", "unanswered"):
        table.add_column(name, justify="right")
    if paper:
        table.add_column("paper: base, tuned", justify="right")
    notes: list[Text] = []
    for bench, entry in results["benchmarks"].items():
        official = entry["official"]
        for place, (key, value) in enumerate(entry["paper"].items()):
            low, high = entry["ci95"].get(key, (value, value))
            counts = (f"{entry['n']:,}", f"{entry['unanswered']:,}") if place == 0 else ("", "")
            cells = [f"{value:.1f}", f"{low:.1f} to {high:.1f}", f"{official[key]:.1f}" if key in official else "", *counts]
            if paper:
                known = PAPER.get(bench, {}).get(key)
                cells.append(f"{known[0]:.1f}, {known[1]:.1f}" if known else "")
            table.add_row(Text(bench if place == 0 else ""), Text(key), *cells)
        for key, value in official.items():
            if key not in entry["paper"]:
                table.add_row("", Text(key, style="dim"), "", "", f"{value:.1f}", "", "", *([""] if paper else []))
        table.add_section()
        notes += [Text(f"  {bench}: {line}", style="yellow") for line in _notes(entry)]
    return Group(table, *notes)


def gain_table(base: Mapping[str, Any], tuned: Mapping[str, Any], *, names: tuple[str, str] = ("base", "tuned")) -> Table:
    """A line a figure that both results hold: each with its 95% interval, and the difference.

    Args:
        base: What stands in the first `results.json`.
        tuned: The same of the other.
        names: Of the two.
    """
    table = Table(title="Gain (percent)", title_justify="left")
    for name in ("benchmark", "figure"):
        table.add_column(name)
    for name in (*names, "difference", "n"):
        table.add_column(name, justify="right")
    for bench, after in tuned["benchmarks"].items():
        before = base["benchmarks"].get(bench)
        for key in after["paper"] if before else ():
            if key in before["paper"]:
                change = after["paper"][key] - before["paper"][key]
                style = "green" if change > 0 else "red" if change < 0 else ""
                cells = (_with_interval(before, key), _with_interval(after, key), Text(f"{change:+.1f}", style=style))
                table.add_row(Text(bench), Text(key), *cells, f"{after['n']:,}")
    return table


def _with_interval(entry: Mapping[str, Any], key: str) -> str:
    low, high = entry["ci95"][key]
    return f"{entry['paper'][key]:.1f} ({low:.1f} to {high:.1f})"


def _notes(entry: Mapping[str, Any]) -> list[str]:
    """What a reader of the figures must know."""
    lines: list[str] = []
    if entry["missing_videos"]:
        lines.append(f"{entry['missing_videos']:,} videos are missing; their questions are left out of n")
    for key, what in (
        ("broken_videos", "videos couldn't be read; their questions count as wrong"),
        ("missing_predictions", "questions have no prediction; they count as wrong"),
        ("extra_predictions", "predictions belong to no question; they are left out"),
    ):
        if entry.get(key):
            lines.append(f"{entry[key]:,} {what}")
    if entry.get("missing_tasks"):
        lines.append(f"tasks that are missing: {', '.join(entry['missing_tasks'])}")
    return lines
