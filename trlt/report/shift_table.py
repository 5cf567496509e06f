"""The change from one probe to another, for the terminal (Fig. 4 of the paper). Knows rich; neither rows nor files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from trlt.errors import counted
from trlt.report.bars import bar

_WIDTH = 18
_STYLES = {"A": "cyan", "B": "green"}
ORDER = ("hard", "flat", "medium", "varied", "easy")
MEASURES = {"reward": "reward", "right": "right answers", "mean_iou": "mean IoU", "delta_iou": "IoU, max - mean"}


def shift_view(result: Mapping[str, Any]) -> Group:
    """One block per task: means with the interval of their difference, classes before and after, and histograms side by side.

    Args:
        result: As `trlt probe compare --json` gives it.
    """
    parts: list[RenderableType] = []
    for task, found in result["tasks"].items():
        videos = f" about {counted(found['videos'], 'video')}" if found["videos"] is not None else ""
        parts.append(Text(f"\n{task}: {counted(found['n'], 'sample')} of both{videos}", style="bold"))
        parts += [_means(found["measures"]), Text(""), _transitions(found["transitions"])]
        sides = [result["histograms"][side]["tasks"][task] for side in ("a", "b")]
        parts += [part for table in _histograms(*sides) for part in (Text(""), table)]
    return Group(*parts)


def shift_notes(result: Mapping[str, Any]) -> list[str]:
    """Notes: thresholds, what was left out, and every warning; long lines with paths.

    Args:
        result: As `trlt probe compare --json` gives it.
    """
    lines = [f"\nClasses by `select` of {result['select']['origin']}"]
    for side in ("A", "B"):
        if result[f"only_{side.lower()}"]:
            lines.append(f"  only in {side}: {counted(result[f'only_{side.lower()}'], 'sample')}, left out")
    if result["errors"]:
        lines.append(f"  {counted(result['errors'], 'sample')} of both with an error in one of the probes, left out")
    return lines + [f"  warning: {line}" for line in result["warnings"]]


def _means(measures: Mapping[str, Any]) -> Table:
    table = Table(show_edge=False, box=None, pad_edge=False, header_style="dim")
    table.add_column("mean of", min_width=16)
    for name in ("A", "B", "B - A", "95% interval"):
        table.add_column(name, justify="right", min_width=7)
    for name, found in measures.items():
        low, high = found["ci95"] or (None, None)
        interval = f"{low:+.3f} to {high:+.3f}" if low is not None else "-"
        style = "green" if low is not None and low > 0 else "red" if high is not None and high < 0 else ""
        gain = Text(f"{found['difference']:+.3f}", style=style if name != "delta_iou" else "")
        table.add_row(MEASURES[name], f"{found['a']:.3f}", f"{found['b']:.3f}", gain, interval)
    return table


def _transitions(moves: Mapping[str, Mapping[str, int]]) -> Table:
    """Classes in A down, in B across; unchanged ones are bold."""
    table = Table(show_edge=False, box=None, pad_edge=False, header_style="dim")
    table.add_column("A down, B across", min_width=16)
    classes = [klass for klass in ORDER if klass in moves]
    for klass in classes:
        table.add_column(klass, justify="right", min_width=7)
    table.add_column("all of A", justify="right", style="dim")
    for old in classes:
        cells = [
            Text(f"{moves[old][new]:,}", style="bold" if new == old else "" if moves[old][new] else "dim") for new in classes
        ]
        table.add_row(old, *cells, f"{sum(moves[old].values()):,}")
    totals = [sum(moves[old][new] for old in classes) for new in classes]
    table.add_row("all of B", *(f"{count:,}" for count in totals), f"{sum(totals):,}", style="dim")
    return table


def _histograms(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[Table]:
    tables = []
    if a["correct"] or b["correct"]:
        most = max(a["n"], b["n"])
        counts = [[side["correct"].get(str(c), 0) for c in range(most + 1)] for side in (a, b)]
        # Above 16 answers, a line each would fill the screen.
        wide = -(-(most + 1) // 17)
        labels = [f"{c}" if wide == 1 else f"{c} to {min(c + wide - 1, most)}" for c in range(0, most + 1, wide)]
        grouped = [[sum(side[c : c + wide]) for c in range(0, most + 1, wide)] for side in counts]
        tables.append(_side_by_side("right answers", labels, *grouped))
    for key, name in (("delta_iou", "IoU, max - mean"), ("mean_iou", "mean IoU")):
        if a[key] or b[key]:
            steps = max(len(a[key]), len(b[key]))
            labels = [f"{i / steps:.1f} to {(i + 1) / steps:.1f}" for i in range(steps)]
            tables.append(_side_by_side(name, labels, a[key], b[key]))
    return tables


def _side_by_side(name: str, labels: Sequence[str], a: Sequence[int], b: Sequence[int]) -> Table:
    """Bars of A and B on one scale."""
    table = Table(show_edge=False, box=None, pad_edge=False, header_style="dim")
    table.add_column(name, style="dim", min_width=16)
    most, total = max(*a, *b, 1), (sum(a) or 1, sum(b) or 1)
    for side in ("A", "B"):
        table.add_column(side, min_width=_WIDTH, style=_STYLES[side])
        table.add_column("", justify="right", min_width=5)
        table.add_column("", justify="right", min_width=6)
    for label, *counts in zip(labels, a, b, strict=True):
        cells = []
        for count, whole in zip(counts, total, strict=True):
            cells += [bar(count / most, _WIDTH), f"{count:,}", f"{100 * count / whole:.1f}%"]
        table.add_row(label, *cells)
    return table
