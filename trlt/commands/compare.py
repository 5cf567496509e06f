"""`trlt compare`: two runs of `trlt eval` on the same questions, and which differences are significant."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from trlt.commands._output import Output
from trlt.errors import DataError, UsageError
from trlt.evaluate.pairs import compare_on
from trlt.evaluate.runs import read_run
from trlt.files import write_json
from trlt.report import comparison_table, verdict


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
    first, other = read_run(a), read_run(b)
    in_a, in_b = list(first.benchmarks), list(other.benchmarks)
    for name in benches:
        for run, there, folder in (("A", in_a, a), ("B", in_b, b)):
            if name not in there:
                raise UsageError(f"--bench {name}: isn't in {run}, {folder}; it holds: {', '.join(there)}")
    shared = list(dict.fromkeys(benches)) or [name for name in in_a if name in in_b]
    if not shared:
        raise DataError(f"{a} and {b}: no benchmark is in both; A holds {', '.join(in_a)}, B holds {', '.join(in_b)}")
    protocol = "lenient" if lenient else "paper"
    result: dict[str, Any] = {
        "schema": 1,
        "protocol": protocol,
        "a": {"run": str(a), "model": first.model},
        "b": {"run": str(b), "model": other.model},
        "benchmarks": {name: compare_on(name, first, other, protocol) for name in shared},
        "only_a": [name for name in in_a if name not in in_b],
        "only_b": [name for name in in_b if name not in in_a],
    }
    found = verdict(result)
    result["verdict"] = found.to_json()
    if out is not None:
        write_json(out, result)
    output.show(comparison_table(result), "", found.text, *([f"\nComparison: {out}"] if out else []))
    return result
