"""`trlt compare`: two runs of `trlt eval` on the same questions, and which differences are significant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from trlt.commands._output import Output
from trlt.errors import DataError, UsageError
from trlt.evaluate.benchmark import items_path
from trlt.evaluate.compare import compare as pair
from trlt.evaluate.compare import other_annotations, protocol_differences
from trlt.evaluate.question_scores import Columns, read_items, scored
from trlt.files import write_json
from trlt.files.bounded_json import read_object
from trlt.files.forms import Form, ResultsForm, hold
from trlt.report import comparison_table, verdict
from trlt.rollout import RunFiles

AGAIN = "run the same `trlt eval` again"


class _Benchmarks(Form):
    benchmarks: dict[str, dict[str, Any]]


def compare(
    a: Annotated[Path, typer.Argument(help="Folder of a run of `trlt eval`.")],
    b: Annotated[Path, typer.Argument(help="Folder of another one.")],
    *,
    benches: Annotated[Sequence[str], typer.Option("--bench", "-b", help="Benchmark; default: all of both.")] = (),
    lenient: Annotated[
        bool,
        typer.Option("--lenient", help="By the lenient protocol: what outputs state in any spelling; default: the paper's."),
    ] = False,
    out: Annotated[Path | None, typer.Option(help="JSON file for the metrics.")] = None,
    output: Output,
) -> dict[str, Any]:
    """Pairs two runs question by question; see `trlt compare --help`.

    Raises:
        UsageError: a benchmark was asked for that one of the runs doesn't hold, or the lenient protocol of an older trlt's run.
        DataError: a folder that holds no results, no benchmark in both, or questions from other annotation files.
    """
    results = {"A": _read_results(a), "B": _read_results(b)}
    in_a, in_b = (list(results[run]) for run in ("A", "B"))
    for name in benches:
        for run, there, folder in (("A", in_a, a), ("B", in_b, b)):
            if name not in there:
                raise UsageError(f"--bench {name}: isn't in {run}, {folder}; it holds: {', '.join(there)}")
    shared = list(dict.fromkeys(benches)) or [name for name in in_a if name in in_b]
    if not shared:
        raise DataError(f"{a} and {b}: no benchmark is in both; A holds {', '.join(in_a)}, B holds {', '.join(in_b)}")
    protocol = "lenient" if lenient else "paper"
    pairs = {name: (results["A"][name], results["B"][name]) for name in shared}
    result: dict[str, Any] = {
        "schema": 1,
        "protocol": protocol,
        "a": {"run": str(a), "model": _model(a)},
        "b": {"run": str(b), "model": _model(b)},
        "benchmarks": {name: _compare_bench(name, a, b, *entries, protocol) for name, entries in pairs.items()},
        "only_a": [name for name in in_a if name not in in_b],
        "only_b": [name for name in in_b if name not in in_a],
    }
    found = verdict(result)
    result["verdict"] = found.to_json()
    if out is not None:
        write_json(out, result)
    output.show(comparison_table(result), "", found.text, *([f"\nComparison: {out}"] if out else []))
    return result


def _compare_bench(
    name: str, a: Path, b: Path, entry_a: Mapping[str, Any], entry_b: Mapping[str, Any], protocol: str
) -> dict[str, Any]:
    """One benchmark's part of the result.

    Raises:
        DataError: other annotation, no shared question, or a file that can't be used.
    """
    before, after = entry_a["protocol"], entry_b["protocol"]
    other = other_annotations(before, after)
    if other:
        raise DataError(
            f"{name}: {a} and {b} were asked from different annotation files ({', '.join(other)}), so one id may stand for two "
            f"questions; evaluate both on the same files, or choose other benchmarks with --bench"
        )
    resamples = max(entry["bootstrap"]["resamples"] for entry in (before, after))
    columns = [_items(run, name, entry) for run, entry in ((a, entry_a), (b, entry_b))]
    micro = entry_a.get("micro", ())
    of_a, of_b = (scored(one, protocol, micro) for one in columns)
    lenient_a, lenient_b = (scored(one, "lenient", micro) for one in columns)
    for run, one in ((a, of_a), (b, of_b)):
        if not one.values:
            raise UsageError(
                f"--lenient: {run}: {name}: was evaluated by a trlt without this protocol; {AGAIN}, or leave it out"
            )
    paired = pair(of_a, of_b, resamples, before["bootstrap"]["seed"])
    lenient = paired if protocol == "lenient" else pair(lenient_a, lenient_b, resamples, before["bootstrap"]["seed"])
    if not paired.n:
        raise DataError(f"{name}: no question is in both {a} and {b}; evaluate both on the same split and videos")
    return {
        "n": paired.n,
        "videos": paired.videos,
        "only_a": paired.only_a,
        "only_b": paired.only_b,
        "metrics": {change.metric: change.to_json() for change in paired.changes},
        "lenient_metrics": {change.metric: change.to_json() for change in lenient.changes},
        "unanswered": {"a": _unread(entry_a, protocol), "b": _unread(entry_b, protocol)},
        "warnings": [str(difference) for difference in protocol_differences(before, after)],
    }


def _unread(entry: Mapping[str, Any], protocol: str) -> dict[str, Any]:
    """A run's outputs without a readable answer on a benchmark, and the metrics of the other protocols over all outputs."""
    count = entry["lenient_unanswered" if protocol == "lenient" else "unanswered"]
    missing = entry.get("missing_predictions", 0)
    return {
        "count": count,
        "missing": missing,
        "n": entry["n"],
        "official": dict(entry["official"]),
        "lenient": dict(entry.get("lenient", {})),
    }


def _items(run: Path, name: str, entry: Mapping[str, Any]) -> Columns:
    path = items_path(run, name)
    columns = read_items(path)
    if len(columns["id"]) != entry["n"]:
        raise DataError(
            f"{path}: holds {len(columns['id']):,} questions, {run / 'results.json'} says {entry['n']:,}; "
            "run the same `trlt eval` again (rows that are there are kept)"
        )
    return columns


def _read_results(run: Path) -> Mapping[str, Any]:
    """The benchmarks of a run's `results.json`."""
    path = run / "results.json"
    if not path.is_file():
        raise DataError(f"{path}: can't be read (it isn't there); give two folders of `trlt eval`")
    results = read_object(path, remedy=f"damaged, or no results; {AGAIN}")
    benches: Mapping[str, Any] = hold(results, _Benchmarks, str(path), AGAIN)["benchmarks"]
    old = [name for name, entry in benches.items() if entry.get("protocol") is None]
    if old:
        raise DataError(f"{path}: {old[0]}: has no protocol, it's from an older trlt; {AGAIN}")
    hold(results, ResultsForm, str(path), AGAIN)
    return benches


def _model(run: Path) -> Any:
    return (RunFiles(run).read_manifest() or {}).get("model")
