"""Evaluations as a section of the page: metrics with intervals beside the paper's, and which differences are significant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from trlt.evaluate.conclusive import FEW_VIDEOS, conclusion
from trlt.report.caveats import asked_of, interval, notes_on, official_notes
from trlt.report.page.agreement import agreement_part
from trlt.report.page.charts import IntervalMark, interval_chart, legend
from trlt.report.page.markup import Markup, element, join, table
from trlt.report.results_table import PAPER, asked, headlines
from trlt.report.sample_lines import sample_lines

_RUNS = 6
"""Number of runs with a color of their own."""
_PROTOCOLS = {"paper": "ci95", "lenient": "lenient_ci95", "official": None}
"""Protocol to the key of its intervals; official metrics have none."""


class EvalRun(NamedTuple):
    """One evaluation."""

    name: str
    values: Mapping[str, Any]
    """Content of `results.json`."""


class RunComparison(NamedTuple):
    """Two evaluations, question by question."""

    a: str
    b: str
    values: Mapping[str, Any]
    """As `trlt compare --json` gives it."""


def run_style(place: int) -> str:
    """The class of a run's color, by its index among the runs."""
    return f"run-{place % _RUNS}"


def results_section(runs: Sequence[EvalRun], comparisons: Sequence[RunComparison], *, paper: bool) -> Markup:
    """One line per headline metric, all metrics below, and notes.

    Args:
        runs: The evaluations.
        comparisons: Of pairs of them.
        paper: Show Table 1 of the paper alongside.
    """
    benches = list(dict.fromkeys(bench for run in runs for bench in run.values["benchmarks"]))
    head = ["benchmark", *(run.name for run in runs), *(_pair(one) for one in comparisons), "scale of 0 to 100, lines every 25"]
    head += ["paper: base", "paper: SFT", "paper: tuned"] * paper + ["n", "unanswered"]
    rows = []
    for bench in benches:
        for metric in headlines(bench, _metrics(runs, bench, "paper")):
            rows.append(_row(runs, comparisons, bench, metric, paper))
    colours = [(run.name, run_style(place)) for place, run in enumerate(runs)]
    if paper:
        colours += [(f"paper, {name}", f"paper-{name.lower()}") for name in ("base", "SFT", "tuned")]
    explained = (
        "Percent, better when higher, with 95% intervals over videos. mIoU: mean overlap of the predicted with the right time "
        "span (intersection over union); acc: right answers. n: questions; unanswered: those without a readable answer, which "
        "count as wrong; lenient: what outputs state in any spelling, where that gives another value."
    )
    if comparisons:
        explained += " Differences are in points, paired by question; bold where their interval excludes 0 and names a winner."
    if paper:
        explained += " The paper's results are Table 1 of the 7B model on the full benchmarks."
    parts = [element("p", explained, class_="note"), legend(colours)]
    parts.append(table(head, rows, caption="Main metrics"))
    parts += [_notes(runs, comparisons), _all_metrics(runs, benches), agreement_part(runs)]
    return join(parts)


def _pair(one: RunComparison) -> str:
    return f"{one.b} - {one.a}"


def _metrics(runs: Sequence[EvalRun], bench: str, kind: str) -> list[str]:
    entries = [run.values["benchmarks"][bench] for run in runs if bench in run.values["benchmarks"]]
    return list(dict.fromkeys(metric for entry in entries for metric in entry.get(kind, {})))


def _row(runs: Sequence[EvalRun], comparisons: Sequence[RunComparison], bench: str, metric: str, paper: bool) -> list[str]:
    marks: list[IntervalMark] = []
    cells: list[str] = [join([bench, element("small", metric)])]
    counts: dict[str, None] = {}
    unanswered = []
    for place, run in enumerate(runs):
        entry = run.values["benchmarks"].get(bench)
        if entry is None or metric not in entry["paper"]:
            cells.append("")
            continue
        value = entry["paper"][metric]
        low, high = interval(entry, metric) or (value, value)
        marks.append(IntervalMark(run.name, run_style(place), value, low, high))
        read = entry.get("lenient", {}).get(metric)
        # Where the two agree there is nothing to say; results of an older trlt have one of them.
        lenient = [element("small", f"lenient {read:.1f}")] if read is not None and f"{read:.1f}" != f"{value:.1f}" else []
        bounds = f"{low:.1f} to {high:.1f}" if high > low else "no interval"
        cells.append(join([_with_interval(f"{value:.1f}", bounds), *lenient]))
        counts[asked(entry)] = None
        unanswered.append(f"{entry['unanswered']:,}")
    for one in comparisons:
        compared = one.values["benchmarks"].get(bench, {})
        known = metric in compared.get("metrics", {})
        cells.append(_change(compared, metric, one.values.get("protocol", "paper")) if known else "")
    published = PAPER.get(bench, {}).get(metric) if paper else None
    for name, known in published._asdict().items() if published else ():
        marks.append(IntervalMark(f"paper, {name}", f"paper-{name}", known))
    cells.append(interval_chart(marks, 0, 100) if marks else "")
    if paper:
        cells += [f"{known:.1f}" for known in published] if published else [""] * 3
    return [*cells, " / ".join(counts), " / ".join(unanswered)]


def _with_interval(value: str, interval: str) -> Markup:
    return join([value, element("small", interval)])


def _change(entry: Mapping[str, Any], metric: str, protocol: str) -> Markup:
    """The difference, and its interval below; bold if it names a winner."""
    change = entry["metrics"][metric]
    bounds = change["ci95"]
    interval = f"{bounds[0]:+.1f} to {bounds[1]:+.1f}" if bounds and bounds[0] < bounds[1] else "no interval"
    value = f"{change['difference']:+.1f}"
    found = conclusion(entry, metric, protocol)
    if found.better is None:
        return join([_with_interval(value, interval), *([element("small", found.doubt)] if found.doubt else [])])
    style = "better" if found.better == "B" else "worse"
    return join([element("strong", value, class_=style, title=change["statement"]), element("small", interval)])


def _notes(runs: Sequence[EvalRun], comparisons: Sequence[RunComparison]) -> Markup:
    said: dict[tuple[str, str], list[str]] = {}
    for run in runs:
        for bench, entry in run.values["benchmarks"].items():
            for line in notes_on(bench, entry):
                said.setdefault((bench, line), []).append(run.name)
    lines = [f"{bench} ({', '.join(names)}): {line}" for (bench, line), names in said.items()]
    for one in comparisons:
        for bench, entry in one.values["benchmarks"].items():
            lines += [f"A: {one.a}, B: {one.b}, {bench}: other protocol: {line}" for line in entry["warnings"]]
            if entry["videos"] < FEW_VIDEOS:
                lines.append(f"{_pair(one)}, {bench}: {entry['videos']:,} videos are too few for an interval to rely on")
            for side, name in (("a", one.a), ("b", one.b)):
                if entry[f"only_{side}"]:
                    lines.append(f"{_pair(one)}, {bench}: {entry[f'only_{side}']:,} questions are in {name} only, left out")
    return _listed(lines)


def _all_metrics(runs: Sequence[EvalRun], benches: Sequence[str]) -> Markup:
    """Every metric by the three protocols, folded away."""
    rows = []
    for bench in benches:
        for kind, intervals in _PROTOCOLS.items():
            for metric in _metrics(runs, bench, kind):
                cells: list[str] = []
                counts: dict[str, None] = {}
                for run in runs:
                    entry = run.values["benchmarks"].get(bench, {})
                    value = entry.get(kind, {}).get(metric)
                    bounds = interval(entry, metric, intervals) if intervals and entry else None
                    shown = "" if value is None else f"{value:.1f}"
                    cells.append(_with_interval(shown, f"{bounds[0]:.1f} to {bounds[1]:.1f}") if bounds else shown)
                    if value is not None:
                        counts[f"{asked_of(entry, metric):,}"] = None
                name = "paper's protocol" if kind == "paper" else f"{kind} protocol"
                rows.append([join([f"{bench} {metric}", element("small", name)]), *cells, " / ".join(counts)])
                rows += _sample_rows(runs, bench, metric) if kind == "paper" else []
    head = ["metric", *(run.name for run in runs), "n"]
    official = [
        f"{bench} ({run.name}): {line}"
        for run in runs
        for bench, entry in run.values["benchmarks"].items()
        for line in official_notes(bench, entry)
    ]
    inner = [table(head, rows, caption="All metrics"), _listed(official)]
    return element("details", element("summary", "All metrics, by all three protocols"), *inner)


def _sample_rows(runs: Sequence[EvalRun], bench: str, metric: str) -> list[list[str]]:
    """The best of several outputs per question, and their majority, where a run has several."""
    found: dict[str, dict[str, str]] = {}
    for run in runs:
        for line in sample_lines(run.values["benchmarks"].get(bench, {}), metric):
            bounds = line.interval
            cell = _with_interval(f"{line.value:.1f}", f"{bounds[0]:.1f} to {bounds[1]:.1f}") if bounds else f"{line.value:.1f}"
            found.setdefault(line.metric, {})[run.name] = cell
    return [
        [join([f"{bench} {name}", element("small", "paper's protocol")]), *(cells.get(run.name, "") for run in runs), ""]
        for name, cells in found.items()
    ]


def _listed(lines: Sequence[str]) -> Markup:
    return element("ul", *(element("li", line) for line in lines), class_="warnings") if lines else Markup()
