"""The result of `trlt compare` as a table for the terminal. Knows rich; neither runs nor files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from trlt.evaluate.conclusive import FEW_VIDEOS, conclusion

_STYLES = {"A": "red", "B": "green", None: "dim"}


def comparison_table(result: Mapping[str, Any]) -> Group:
    """One line per metric: both runs over the shared questions, the difference with its interval, and a conclusion.

    Args:
        result: As `trlt compare --json` gives it.
    """
    by = "read leniently" if result.get("protocol") == "lenient" else "by the paper's protocol"
    table = Table("benchmark", "metric", title=f"B - A (percent, over the questions of both, {by})", title_justify="left")
    for name in ("A", "B", "B - A", "95% interval"):
        table.add_column(name, justify="right")
    table.add_column("")
    table.add_column("n", justify="right")
    notes: list[Text] = []
    for bench, entry in result["benchmarks"].items():
        for place, (metric, change) in enumerate(entry["metrics"].items()):
            bounds = change["ci95"]
            interval = f"{bounds[0]:+.1f} to {bounds[1]:+.1f}" if bounds and bounds[0] < bounds[1] else "-"
            numbers = (f"{change['a']:.1f}", f"{change['b']:.1f}", f"{change['difference']:+.1f}", interval)
            found = conclusion(entry, metric, result.get("protocol", "paper"))
            few = " (few videos)" if found.doubt == "few videos" else ""
            said = Text(change["statement"] + few, style=_STYLES[found.better])
            table.add_row(Text("" if place else bench), Text(metric), *numbers, said, f"{change['n']:,}")
        table.add_section()
        notes += [Text(f"  warning: {bench}: {line}", style="yellow") for line in entry["warnings"]]
        notes += [Text(f"  {bench}: {line}") for line in _left_out(entry)]
    for run in ("A", "B"):
        if result[f"only_{run.lower()}"]:
            notes.append(Text(f"  only in {run}: {', '.join(result[f'only_{run.lower()}'])}"))
    names = [Text(f"{run}: {result[run.lower()]['run']}") for run in ("A", "B")]
    return Group(*names, Text(""), table, *notes)


def _left_out(entry: Mapping[str, Any]) -> list[str]:
    counts = [f"{entry[f'only_{run.lower()}']:,} only in {run}" for run in ("A", "B") if entry[f"only_{run.lower()}"]]
    lines = [f"questions in one of the runs are left out: {', '.join(counts)}"] if counts else []
    if entry["videos"] == 1:
        lines.append("all questions are about one video, which gives no interval")
    elif entry["videos"] < FEW_VIDEOS:
        lines.append(f"{entry['videos']} videos are too few for intervals to rely on (from {FEW_VIDEOS} on they are)")
    zero = [metric for metric, change in entry["metrics"].items() if change["a"] == change["b"] == 0]
    if zero:
        read = [side for side in entry.get("unanswered", {}).values() if any(side.get("lenient", {}).get(key) for key in zero)]
        remedy = "; --lenient compares what the outputs state in any spelling" if read else ""
        lines.append(f"{', '.join(zero)} 0.0 in both: there is nothing to compare{remedy}")
    return lines
