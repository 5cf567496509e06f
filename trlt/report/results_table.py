"""Benchmark metrics with their intervals, beside the paper's; and the gain of one run over another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from rich.console import Group
from rich.table import Table
from rich.text import Text

from trlt.data.datasets import load, names
from trlt.report.caveats import asked_of, interval, left_out, notes_on, official_notes
from trlt.report.sample_lines import sample_lines


class PaperResult(NamedTuple):
    """One metric of Table 1 of the paper, 7B, in percent."""

    base: float
    sft: float
    tuned: float


PAPER: dict[str, dict[str, PaperResult]] = {
    "charades": {"mIoU": PaperResult(28.0, 43.0, 57.0)},
    "activitynet": {"mIoU": PaperResult(24.0, 24.3, 39.0)},
    "activitynet_rtl": {"mIoU": PaperResult(6.0, 18.1, 27.6)},
    "mvbench": {"acc": PaperResult(65.3, 62.0, 68.1)},
    "tempcompass": {"acc": PaperResult(70.9, 68.7, 73.3)},
    "videomme": {"acc": PaperResult(56.1, 49.6, 57.6)},
    "mmvu": {"acc": PaperResult(61.3, 52.5, 65.0)},
    "nextgqa": {"mIoU": PaperResult(20.2, 28.3, 37.3), "acc": PaperResult(77.2, 70.6, 78.7)},
}
"""Benchmark to metric to the paper's results: of the base model, the SFT baseline and the tuned model."""

_HEADLINES = ("mIoU", "acc", "mAP")

EXPLAINED = (
    "value: what was read inside the tags; lenient: what outputs state in any spelling, if it is one thing; official: by the "
    "benchmark's own rule; unanswered: without a readable answer inside the tags, which counts as wrong"
)


def headlines(bench: str, there: Sequence[str]) -> list[str]:
    """The main metrics of a benchmark among the given ones: the paper's, its module's own, the usual ones, or the first."""
    own = getattr(load(bench), "HEADLINES", ()) if bench in names("bench") else ()
    known = [metric for metric in PAPER.get(bench, own) if metric in there]
    return known or [metric for metric in _HEADLINES if metric in there] or list(there[:1])


def results_table(results: Mapping[str, Any], *, paper: bool = False) -> Group:
    """One line per metric: the paper's metric with its 95% interval, and by the other protocols; then the benchmark's own.

    Args:
        results: Content of `results.json`.
        paper: Show Table 1 alongside; it is meaningful only for the real benchmarks.
    """
    table = Table("benchmark", "metric", title="Results (percent)", title_justify="left")
    for name in ("value", "95% interval", "lenient", "official", "n", "unanswered"):
        table.add_column(name, justify="right")
    if paper:
        table.add_column("paper: base, SFT, tuned", justify="right")
    notes: list[Text] = []
    for bench, entry in results["benchmarks"].items():
        official = entry["official"]
        for place, (key, value) in enumerate(entry["paper"].items()):
            bounds = interval(entry, key)
            unread = f"{entry['unanswered']:,}" if place == 0 else ""
            counts = (_part(entry, key) or (asked(entry) if place == 0 else ""), unread)
            shown = f"{bounds[0]:.1f} to {bounds[1]:.1f}" if bounds else "-"
            others = [f"{one[key]:.1f}" if key in one else "" for one in (entry.get("lenient", {}), official)]
            cells = [f"{value:.1f}", shown, *others, *counts]
            if paper:
                known = PAPER.get(bench, {}).get(key)
                cells.append(", ".join(f"{value:.1f}" for value in known) if known else "")
            table.add_row(Text(bench if place == 0 else ""), Text(key), *cells)
            for more in sample_lines(entry, key):
                shown = f"{more.interval[0]:.1f} to {more.interval[1]:.1f}" if more.interval else "-"
                table.add_row("", Text(more.metric), f"{more.value:.1f}", shown, "", "", "", "", *([""] if paper else []))
        harness = entry.get("harness", {})
        for key, value in harness.get("metrics", {}).items():
            bounds = harness["ci95"].get(key)
            shown = f"{bounds[0]:.1f} to {bounds[1]:.1f}" if bounds else "-"
            mark = " (its figure)" if key == harness["figure"] else ""
            cells = [f"{value:.1f}", shown, "", "", "", f"{harness['unanswered']:,}" if mark else ""]
            table.add_row("", Text(f"{harness['name']} {key}{mark}"), *cells, *([""] if paper else []))
        for key, value in official.items():
            if key not in entry["paper"]:
                table.add_row("", Text(key, style="dim"), "", "", "", f"{value:.1f}", "", "", *([""] if paper else []))
        table.add_section()
        notes += [
            Text(f"  {bench}: {line}", style="yellow") for line in (*notes_on(bench, entry), *official_notes(bench, entry))
        ]
    return Group(table, Text(EXPLAINED, style="dim"), *notes)


def gain_table(base: Mapping[str, Any], tuned: Mapping[str, Any], *, names: tuple[str, str] = ("base", "tuned")) -> Table:
    """One line per common metric: each result with its 95% interval, and the difference.

    Args:
        base: Content of the first `results.json`.
        tuned: The same of the other.
        names: Of the two.
    """
    table = Table("benchmark", "metric", title="Change (percent, and points)", title_justify="left")
    for name in (*names, "difference", "n"):
        table.add_column(name, justify="right")
    for bench, after in tuned["benchmarks"].items():
        before = base["benchmarks"].get(bench)
        for key in after["paper"] if before else ():
            if key in before["paper"]:
                change = after["paper"][key] - before["paper"][key]
                # In no colour: whether it is more than chance, only the pairs of questions tell (`trlt compare`).
                cells = (_with_interval(before, key), _with_interval(after, key), f"{change:+.1f}")
                table.add_row(Text(bench), Text(key), *cells, f"{asked_of(after, key):,}")
    return table


def _with_interval(entry: Mapping[str, Any], key: str) -> str:
    bounds = interval(entry, key)
    return f"{entry['paper'][key]:.1f}" + (f" ({bounds[0]:.1f} to {bounds[1]:.1f})" if bounds else "")


def _part(entry: Mapping[str, Any], key: str) -> str:
    """The denominator of a metric over fewer questions."""
    return f"{asked_of(entry, key):,}" if asked_of(entry, key) < entry["n"] else ""


def asked(entry: Mapping[str, Any]) -> str:
    """The denominator; if questions of missing videos were left out, with the full one (`3,512 of 3,720`)."""
    return f"{entry['n']:,} of {entry['n'] + left_out(entry):,}" if left_out(entry) else f"{entry['n']:,}"
