"""Probes and selections as sections of the page: difficulty of samples before and after, and what was selected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from trlt.errors import counted
from trlt.report.page.charts import Bars, histogram, legend
from trlt.report.page.markup import Markup, element, join, table
from trlt.report.page.rules import rules_part
from trlt.report.plots import TASKS, merged
from trlt.report.selection_table import line_counts, selection_notes, shown_cells
from trlt.report.shift_table import MEASURES, ORDER
from trlt.select import RulesReport, SelectionReport

_KINDS = {"correct": "right answers", "delta_iou": "IoU, max - mean", "mean_iou": "IoU, mean"}
_SELECTED = (
    "Even share: what each source would give; moved: what it gives beyond that because another has too few, or what it lacks; "
    "available: probed samples of the class."
)
_EXPLAINED = (
    "Each sample was answered several times. hard, medium, easy: few, some or most answers are right; varied, flat: the "
    "answers differ much or little in IoU, their overlap with the right time span (0 none, 1 exact). IoU, max - mean: how far "
    "the best answer is above the average one."
)


class Probed(NamedTuple):
    """One probe."""

    name: str
    histograms: Mapping[str, Any]
    """As `trlt.select.probe_shift.histograms` gives them."""
    origin: str
    """Origin of its classes' thresholds."""


class Shift(NamedTuple):
    """Two probes of the same samples."""

    a: str
    b: str
    values: Mapping[str, Any]
    """As `trlt probe compare --json` gives it."""


class Selected(NamedTuple):
    """One selection."""

    name: str
    report: SelectionReport
    """Content of its `.report.json`."""
    rules: RulesReport | None = None
    """What each rule took and left, where the report doesn't hold it."""


def difficulty_section(probes: Sequence[Probed], shifts: Sequence[Shift]) -> Markup:
    """First the changes between probes of the same samples, then each probe by itself."""
    parts = [element("p", _EXPLAINED, class_="note"), *(part for one in shifts for part in _shift(one))]
    for one in probes:
        found = one.histograms
        errors = f" ({found['errors']:,} more: video unreadable)" if found["errors"] else ""
        parts.append(element("h3", f"{one.name}: {found['rows'] - found['errors']:,} samples{errors}"))
        there = {
            klass for task in found["tasks"].values() for by in task["by_class"].values() for klass, n in by.items() if any(n)
        }
        parts.append(legend([(klass, f"class-{klass}") for klass in ORDER if klass in there]))
        panels = []
        for task, values in found["tasks"].items():
            for kind, counts in values["by_class"].items():
                bars = [Bars(klass, f"class-{klass}", counts[klass]) for klass in ORDER if klass in counts]
                panels.append(_panel(task, kind, values["n"], bars, stacked=True))
        parts.append(element("div", *panels, class_="panels"))
    return join(parts)


def _panel(task: str, kind: str, n: int, bars: Sequence[Bars], *, stacked: bool) -> Markup:
    places = len(bars[0].counts)
    labels = [str(p) for p in range(places)] if kind == "correct" else [f"{p / places:.1f}" for p in range(places + 1)]
    x_name = f"{_KINDS[kind]} of {n}" if kind == "correct" else _KINDS[kind]
    return histogram(f"{TASKS[task]}: {_KINDS[kind]}", labels, bars, x_name=x_name, stacked=stacked, unit="samples")


def _shift(one: Shift) -> list[Markup]:
    values = one.values
    before, after = (values["histograms"][side]["tasks"] for side in ("a", "b"))
    parts = [element("h3", f"{one.a} → {one.b}: {values['samples']:,} samples, probed twice")]
    parts.append(legend([(one.a, "before"), (one.b, "after")]))
    panels = []
    for task in values["tasks"]:
        for kind in before[task]["by_class"]:
            counts = [merged(side[task], kind) for side in (before, after)]
            most = max(map(len, counts))
            bars = [
                Bars(name, style, [*found, *[0] * (most - len(found))])
                for name, style, found in zip((one.a, one.b), ("before", "after"), counts, strict=True)
            ]
            panels.append(_panel(task, kind, max(before[task]["n"], after[task]["n"]), bars, stacked=False))
    parts.append(element("div", *panels, class_="panels"))
    parts.append(table(["mean of", one.a, one.b, "change, 95% interval", "samples"], _measures(values)))
    moves = [element("div", element("h4", TASKS[task]), _moves(found)) for task, found in values["tasks"].items()]
    parts.append(element("details", element("summary", "Classes before and after"), element("div", *moves, class_="panels")))
    lines = [f"{counted(values[f'only_{side}'], 'sample')} only in {name}" for side, name in (("a", one.a), ("b", one.b))]
    lines = [line for line, side in zip(lines, "ab", strict=True) if values[f"only_{side}"]]
    lines += [
        f"{counted(values['errors'], 'sample')} {'holds' if values['errors'] == 1 else 'hold'} an error in one of the probes"
    ] * bool(values["errors"])
    lines = [f"{'; '.join(lines)}: left out"] * bool(lines) + [
        f"{line} (A: {one.a}, B: {one.b})" for line in values["warnings"]
    ]
    if lines:
        parts.append(element("ul", *(element("li", line) for line in lines), class_="warnings"))
    return parts


def _measures(values: Mapping[str, Any]) -> list[list[str]]:
    rows: list[list[str]] = []
    for task, found in values["tasks"].items():
        for name, measure in found["measures"].items():
            bounds = measure["ci95"]
            beyond = bounds is not None and (bounds[0] > 0 or bounds[1] < 0) and name != "delta_iou"
            change: str = f"{measure['difference']:+.3f}"
            if beyond:
                change = element("strong", change, class_="better" if bounds[0] > 0 else "worse")
            interval = f"{bounds[0]:+.3f} to {bounds[1]:+.3f}" if bounds else "no interval"
            title = join([TASKS[task], element("small", MEASURES[name])])
            changed = join([change, element("small", interval)])
            rows.append([title, f"{measure['a']:.3f}", f"{measure['b']:.3f}", changed, f"{found['n']:,}"])
    return rows


def _moves(found: Mapping[str, Any]) -> Markup:
    moves = found["transitions"]
    classes = [klass for klass in ORDER if klass in moves]
    rows = [[old, *(f"{moves[old][new]:,}" for new in classes)] for old in classes]
    return table(["before, down; after, across", *classes], rows)


def selection_section(selections: Sequence[Selected]) -> Markup:
    """What each selection took from each source, and every size that wasn't reached."""
    parts = []
    for one in selections:
        report = one.report
        parts.append(element("h3", f"{one.name}: {report.taken:,} of {report.rows:,} probed samples"))
        if lines := selection_notes(report):
            parts.append(element("ul", *(element("li", line) for line in lines), class_="warnings"))
        rows: list[list[str]] = []
        for total in report.tasks:
            rows.append([TASKS[total.task], *line_counts(total)])
            cells = shown_cells(report, total)
            rows += [[element("span", f"{cell.klass}, {cell.source}", class_="part"), *line_counts(cell)] for cell in cells]
        head = ["task; class, source", "even share", "moved", "available", "taken"]
        parts.append(element("p", _SELECTED, class_="note"))
        parts.append(table(head, rows, caption=f"Selection {one.name}"))
        if (rules := one.rules or report.rules) is not None:
            parts.append(rules_part(rules))
        settings = ", ".join(f"{key}: {_plain(value)}" for key, value in report.settings.items() if value is not None)
        parts.append(element("p", f"Settings (select in the recipe): {settings}", class_="note"))
    return join(parts)


def _plain(value: Any) -> str:
    return " + ".join(f"{key} {count}" for key, count in value.items()) if isinstance(value, Mapping) else str(value)
