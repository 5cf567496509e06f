"""The leaderboard's content: values with intervals, their standing in each column, and where protocols differ.

Knows evaluated runs; neither tables nor pages.
"""

from __future__ import annotations

import json
import string
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from statistics import fmean
from typing import Any, Literal

from trlt.errors import DataError, UsageError
from trlt.evaluate.compare import ANNOTATIONS, INCIDENTAL, other_annotations, protocol_differences
from trlt.evaluate.conclusive import FEW_VIDEOS, conclusion
from trlt.evaluate.pairs import compare_on
from trlt.evaluate.question_scores import metric_intervals, scored
from trlt.evaluate.runs import AGAIN, EvaluatedRun
from trlt.report.caveats import asked_of, notes_on
from trlt.report.results_table import headlines

Protocol = Literal["paper", "official", "lenient"]
INTERVALS = {"paper": "ci95", "lenient": "lenient_ci95"}
"""Protocol to the key of its intervals in `results.json`; those of official metrics are computed from the items."""
Standing = Literal["highest", "level", "below", "unmarked"]
"""Of a value in its column. `highest`: no run has a higher one; `level`: can't be told from it; `below`: significantly lower;
`unmarked`: not paired with it, because the column has one value, or the run was asked other questions."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One run's main metric on a benchmark."""

    value: float
    """Percent."""
    interval: tuple[float, float] | None
    """95%, over videos; None where there is none."""
    n: int
    """Questions that count in it."""
    standing: Standing = "unmarked"
    change: Mapping[str, Any] | None = None
    """The paired difference from the highest value, as `trlt compare --json` gives it (A: the highest)."""
    notes: tuple[str, ...] = ()
    """Letters of footnotes on its protocol."""


@dataclass(frozen=True, slots=True)
class Column:
    """One benchmark by one of its main metrics."""

    bench: str
    metric: str
    cells: tuple[Cell | None, ...]
    """One per run; None where a run doesn't have the benchmark."""
    mixed: bool = False
    """Whether some runs were asked from other annotation files than others."""

    @property
    def n(self) -> int | None:
        """Number of questions, if it is that of all runs."""
        counts = {cell.n for cell in self.cells if cell}
        return counts.pop() if len(counts) == 1 else None


@dataclass(frozen=True, slots=True)
class Leaderboard:
    """Runs and benchmarks."""

    protocol: Protocol
    names: tuple[str, ...]
    runs: tuple[EvaluatedRun, ...]
    columns: tuple[Column, ...]
    averaged: tuple[str, ...]
    """Benchmarks of the average: those that all runs have."""
    averages: tuple[float, ...] | None
    """One per run: the mean of the benchmarks in `averaged`, one with several columns by their mean; None below two."""
    footnotes: Mapping[str, str]
    """By letter: how a protocol differs from the column's usual one."""
    notes: tuple[str, ...]
    """What bears on comparisons, one line each."""
    caveats: tuple[str, ...] = ()
    """What bears on single values: outputs that couldn't be read, missing videos and tasks."""

    def to_json(self) -> dict[str, Any]:
        """As `leaderboard.json` holds it."""
        columns = []
        for column in self.columns:
            cells = {
                name: None if cell is None else _cell_json(cell) for name, cell in zip(self.names, column.cells, strict=True)
            }
            columns.append({"benchmark": column.bench, "metric": column.metric, "cells": cells})
        averages = None if self.averages is None else dict(zip(self.names, self.averages, strict=True))
        return {
            "schema": 1,
            "protocol": self.protocol,
            "runs": {name: {"run": str(run.path), "model": run.model} for name, run in zip(self.names, self.runs, strict=True)},
            "columns": columns,
            "average": {"benchmarks": list(self.averaged), "values": averages},
            "footnotes": dict(self.footnotes),
            "notes": list(self.notes),
            "caveats": list(self.caveats),
        }


def _cell_json(cell: Cell) -> dict[str, Any]:
    return {
        "value": cell.value,
        "ci95": None if cell.interval is None else list(cell.interval),
        "n": cell.n,
        "standing": cell.standing,
        "difference": cell.change,
        "footnotes": list(cell.notes),
    }


def build(
    runs: Mapping[str, EvaluatedRun],
    protocol: Protocol = "paper",
    benches: Sequence[str] = (),
    progress: Callable[[int, int], None] | None = None,
) -> Leaderboard:
    """The leaderboard of runs, by name; the highest average comes first.

    In each column, every run is paired with the one of the highest value, question by question, as `trlt compare` does.

    Args:
        runs: At least one.
        protocol: By which outputs are read.
        benches: Benchmarks to show; default: all of any run.
        progress: Called with the number of finished columns and their total.

    Raises:
        UsageError: a benchmark that no run has, or a run of an older trlt without values by the protocol.
        DataError: a file of questions that is damaged.
    """
    there = list(dict.fromkeys(bench for run in runs.values() for bench in run.benchmarks))
    for bench in benches:
        if bench not in there:
            raise UsageError(f"--bench {bench}: isn't in any of the runs; they hold: {', '.join(there)}")
    wanted = [(bench, metric) for bench in dict.fromkeys(benches or there) for metric in _main_metrics(runs, bench, protocol)]
    remarks = _Remarks()
    columns = []
    for place, (bench, metric) in enumerate(wanted):
        if progress:
            progress(place, len(wanted))
        columns.append(_column(runs, bench, metric, protocol, remarks))
    if progress:
        progress(len(wanted), len(wanted))
    averaged = _averaged(columns)
    averages = _averages(columns, averaged, len(runs)) if len(averaged) > 1 else None
    by = averages or ([cell.value for cell in columns[0].cells if cell] if len(columns) == 1 else None)
    order = sorted(range(len(runs)), key=lambda place: -by[place]) if by and len(by) == len(runs) else range(len(runs))
    names = list(runs)
    return Leaderboard(
        protocol=protocol,
        names=tuple(names[place] for place in order),
        runs=tuple(runs[names[place]] for place in order),
        columns=tuple(replace(column, cells=tuple(column.cells[place] for place in order)) for column in columns),
        averaged=tuple(averaged),
        averages=tuple(averages[place] for place in order) if averages else None,
        footnotes=dict(remarks.footnotes),
        notes=tuple(remarks.notes),
        caveats=tuple(_caveats(runs, dict.fromkeys(column.bench for column in columns))),
    )


class _Remarks:
    """Footnotes by letter and caveats, in order of first use."""

    def __init__(self) -> None:
        self.footnotes: dict[str, str] = {}
        self.notes: dict[str, None] = {}
        self._letters: dict[str, str] = {}
        self._free = ("".join(word) for size in (1, 2, 3) for word in product(string.ascii_lowercase, repeat=size))

    def say(self, note: str) -> None:
        self.notes[note] = None

    def letter(self, text: str) -> str:
        if text not in self._letters:
            self._letters[text] = next(self._free)
            self.footnotes[self._letters[text]] = text
        return self._letters[text]


def _main_metrics(runs: Mapping[str, EvaluatedRun], bench: str, protocol: Protocol) -> list[str]:
    found: dict[str, None] = {}
    for run in runs.values():
        entry = run.benchmarks.get(bench)
        if entry is not None:
            if not entry.get(protocol):
                raise UsageError(
                    f"--protocol {protocol}: {run.path}: {bench}: was evaluated by a trlt without this protocol; {AGAIN}"
                )
            found |= dict.fromkeys(entry[protocol])
    return headlines(bench, list(found))


def _column(
    runs: Mapping[str, EvaluatedRun],
    bench: str,
    metric: str,
    protocol: Protocol,
    remarks: _Remarks,
) -> Column:
    there = {name: run.benchmarks[bench] for name, run in runs.items() if bench in run.benchmarks}
    entries = {name: entry for name, entry in there.items() if metric in entry[protocol]}
    usual = _usual([entry["protocol"] for entry in entries.values()])
    cells: dict[str, Cell] = {}
    apart: list[str] = []
    for name, entry in entries.items():
        differences = [
            f"{one.key} {_shown(one.b)} instead of {_shown(one.a)}"
            for one in protocol_differences(usual, entry["protocol"])
            if not one.key.startswith(f"{ANNOTATIONS}.")
        ]
        if other := other_annotations(usual, entry["protocol"]):
            differences.append(f"other annotation files ({', '.join(other)})")
            apart.append(name)
        letters = (remarks.letter("; ".join(differences)),) if differences else ()
        value, bounds = entry[protocol][metric], _interval(runs[name], bench, metric, protocol)
        cells[name] = Cell(value, bounds, asked_of(entry, metric), notes=letters)
    if apart:
        remarks.say(f"{bench}: {', '.join(apart)}: asked from other annotation files than the others; not compared with them")
    _stand(runs, cells, [name for name in cells if name not in apart], bench, metric, protocol, remarks)
    counts = sorted({cell.n for cell in cells.values()})
    if len(counts) > 1:
        remarks.say(
            f"{bench}: questions differ, {counts[0]:,} to {counts[-1]:,} of them: values are over a run's own questions, and "
            "runs are compared on those that both have"
        )
    return Column(bench, metric, tuple(cells.get(name) for name in runs), mixed=bool(apart))


def _usual(protocols: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The protocol that most runs have, among those with the most common annotation; the first of several."""
    files = Counter(json.dumps(one["annotations"], sort_keys=True) for one in protocols)
    wholes = Counter(_outcome(one) for one in protocols)
    return max(protocols, key=lambda one: (files[json.dumps(one["annotations"], sort_keys=True)], wholes[_outcome(one)]))


def _outcome(protocol: Mapping[str, Any]) -> str:
    """What of a protocol bears on answers."""
    return json.dumps({key: value for key, value in protocol.items() if key not in INCIDENTAL}, sort_keys=True)


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _interval(run: EvaluatedRun, bench: str, metric: str, protocol: Protocol) -> tuple[float, float] | None:
    """The 95% interval of a metric; None if all resamples agree."""
    entry = run.benchmarks[bench]
    if protocol in INTERVALS:
        low, high = entry[INTERVALS[protocol]].get(metric, (0.0, 0.0))
    else:
        bootstrap = entry["protocol"]["bootstrap"]
        whole = scored(run.items(bench), protocol, entry.get("micro", ()))
        only = replace(whole, values={metric: whole.values.get(metric, [])})
        found = metric_intervals(only, bootstrap["resamples"], bootstrap["seed"])
        low, high = found.get(metric, (0.0, 0.0))
    return (low, high) if high > low else None


def _stand(
    runs: Mapping[str, EvaluatedRun],
    cells: dict[str, Cell],
    names: Sequence[str],
    bench: str,
    metric: str,
    protocol: Protocol,
    remarks: _Remarks,
) -> None:
    """Fills in the standing of a column's comparable values."""
    if len(names) < 2:
        return
    highest = max(names, key=lambda name: cells[name].value)
    standings: dict[str, tuple[Standing, Mapping[str, Any] | None]] = {highest: ("highest", None)}
    above: list[str] = []
    for name in names:
        if name == highest:
            continue
        try:
            found = compare_on(bench, runs[highest], runs[name], protocol, metrics=[metric])
        except DataError as error:
            remarks.say(f"{bench}: {name} isn't compared with {highest}: {error}")
            standings[name] = ("unmarked", None)
            continue
        said = conclusion(found, metric, protocol)
        change = {**found["metrics"][metric], "videos": found["videos"], "doubt": said.doubt}
        standings[name] = ("below" if said.better == "A" else "level", change)
        if said.better == "B":
            above.append(name)
        if said.doubt == "few videos":
            remarks.say(f"{bench}: fewer than {FEW_VIDEOS} videos are too few to tell runs apart")
        elif said.doubt == "form only":
            remarks.say(
                f"{bench} {metric}: {name} and {highest} differ in the form of outputs alone; compare what they state with "
                "--protocol lenient"
            )
    for name in above:
        remarks.say(f"{bench} {metric}: {name} is better than {highest} on the questions of both; the highest isn't marked")
    for name, (standing, known) in standings.items():
        cells[name] = replace(cells[name], standing="unmarked" if above else standing, change=known)


def _caveats(runs: Mapping[str, EvaluatedRun], benches: Iterable[str]) -> list[str]:
    """One line per caveat, with all runs that it is about."""
    said: dict[tuple[str, str], list[str]] = {}
    for bench in benches:
        for name, run in runs.items():
            for line in notes_on(bench, run.benchmarks[bench]) if bench in run.benchmarks else ():
                said.setdefault((bench, line), []).append(name)
    return [f"{bench} ({', '.join(names)}): {line}" for (bench, line), names in said.items()]


def _averaged(columns: Sequence[Column]) -> list[str]:
    """Benchmarks of which every run has all main metrics, on the same annotation."""
    benches = dict.fromkeys(column.bench for column in columns)
    lacking = {column.bench for column in columns if column.mixed or None in column.cells}
    return [bench for bench in benches if bench not in lacking]


def _averages(columns: Sequence[Column], benches: Sequence[str], runs: int) -> list[float]:
    found = []
    for place in range(runs):
        of = [
            [cell.value for column in columns if column.bench == bench and (cell := column.cells[place])] for bench in benches
        ]
        found.append(fmean(fmean(values) for values in of))
    return found
