"""Two runs on one benchmark, from their folders: paired changes of all metrics, and what else differs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from trlt.errors import DataError, UsageError
from trlt.evaluate.compare import ScoredRun, compare, other_annotations, protocol_differences
from trlt.evaluate.conclusive import conclusion
from trlt.evaluate.question_scores import scored
from trlt.evaluate.runs import AGAIN, EvaluatedRun


def compare_on(
    bench: str, a: EvaluatedRun, b: EvaluatedRun, protocol: str = "paper", metrics: Collection[str] | None = None
) -> dict[str, Any]:
    """One benchmark's part of what `trlt compare --json` gives.

    Args:
        bench: A benchmark that both runs have.
        a: The first run.
        b: The other.
        protocol: `paper`, `official` or `lenient`.
        metrics: Those to compare; None: all of both.

    Raises:
        DataError: other annotation, no shared question, or a file that can't be used.
        UsageError: a run of an older trlt has no values by the protocol.
    """
    entry_a, entry_b = a.benchmarks[bench], b.benchmarks[bench]
    before, after = entry_a["protocol"], entry_b["protocol"]
    other = other_annotations(before, after)
    if other:
        raise DataError(
            f"{bench}: {a.path} and {b.path} were asked from different annotation files ({', '.join(other)}), so one id may "
            f"stand for two questions; evaluate both on the same files, or choose other benchmarks with --bench"
        )
    resamples = max(entry["bootstrap"]["resamples"] for entry in (before, after))
    columns = [run.items(bench) for run in (a, b)]
    micro = entry_a.get("micro", ())
    of_a, of_b = (_only(scored(one, protocol, micro), metrics) for one in columns)
    for run, one in ((a, of_a), (b, of_b)):
        if not one.values:
            raise UsageError(
                f"--{protocol}: {run.path}: {bench}: was evaluated by a trlt without this protocol; {AGAIN}, or leave it out"
            )
    seed = before["bootstrap"]["seed"]
    paired = compare(of_a, of_b, resamples, seed)
    leniently = [_only(scored(one, "lenient", micro), metrics) for one in columns]
    lenient = paired if protocol == "lenient" else compare(leniently[0], leniently[1], resamples, seed)
    if not paired.n:
        raise DataError(f"{bench}: no question is in both {a.path} and {b.path}; evaluate both on the same split and videos")
    found: dict[str, Any] = {
        "n": paired.n,
        "videos": paired.videos,
        "only_a": paired.only_a,
        "only_b": paired.only_b,
        "metrics": {change.metric: change.to_json() for change in paired.changes},
        "lenient_metrics": {change.metric: change.to_json() for change in lenient.changes},
        "unanswered": {"a": _unread(entry_a, protocol), "b": _unread(entry_b, protocol)},
        "warnings": [str(difference) for difference in protocol_differences(before, after)],
    }
    for metric, change in found["metrics"].items():
        if conclusion(found, metric, protocol).doubt == "form only":
            change["statement"] += " in form only"
    return found


def _only(run: ScoredRun, metrics: Collection[str] | None) -> ScoredRun:
    """The run with some of its metrics; each takes a bootstrap."""
    if metrics is None:
        return run
    return replace(run, values={metric: values for metric, values in run.values.items() if metric in metrics})


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
