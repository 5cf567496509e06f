"""How well the agreement of several outputs tells what is right, as a table of the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trlt.report.page.markup import Markup, element, table
from trlt.report.results_table import headlines


def agreement_part(runs: Sequence[tuple[str, Mapping[str, Any]]]) -> Markup:
    """A folded table: the majority's main metrics by bins of agreement; nothing without several outputs per question.

    Args:
        runs: Name and content of `results.json` of each.
    """
    rows = []
    for name, values in runs:
        for bench, entry in values["benchmarks"].items():
            if found := entry.get("samples"):
                for metric in headlines(bench, list(entry["paper"])):
                    rows.append(_row(f"{bench} {metric}", name, metric, found["agreement"]))
    if not rows:
        return Markup()
    said = (
        "The majority's metric, and the number of questions, by the share of outputs that agree (of spans, by their IoU). "
        "Where it rises from left to right, agreement tells how sure the model can be."
    )
    head = ["metric", "run", "mean agreement", "below 25%", "25 to 50%", "50 to 75%", "75 to 100%", "100%"]
    grid = table(head, rows, text_columns=2, caption="Agreement of several outputs per question")
    summary = element("summary", "Agreement of several outputs per question")
    return element("details", summary, element("p", said, class_="note"), grid)


def _row(what: str, name: str, metric: str, agreement: Mapping[str, Any]) -> list[str]:
    cells = []
    for one in agreement["bins"]:
        value = one["majority"].get(metric)
        cells.append("" if value is None else f"{value:.1f} (n = {one['n']:,})")
    return [what, name, f"{100 * agreement['mean']:.0f}%", *cells]
