"""`results.json` and its tables as files.

They contain no time or date, so a resumed run writes the same files as an uninterrupted one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trlt.evaluate.benchmark import items_path
from trlt.evaluate.question_scores import read_items
from trlt.files import write_json, write_jsonl, write_text_atomic
from trlt.files.forms import ResultsForm, read_form
from trlt.report import latex, lmms_eval_results, lmms_eval_samples, markdown
from trlt.rollout import RunFiles

REMADE = "delete it, the rows beside are enough to make it again"


def write_results(
    folder: RunFiles, entries: Mapping[str, Any], settings: Mapping[str, Any], *, paper: bool, lmms_eval: bool
) -> dict[str, Any]:
    """Writes `results.json` and its tables; the same run's results on other benchmarks stay in them."""
    path = folder.out / "results.json"
    before = read_form(path, ResultsForm, REMADE)["benchmarks"] if path.is_file() else {}
    results = {"schema": 1, "benchmarks": {**before, **entries}, "protocol": dict(settings)}
    write_json(path, results)
    write_text_atomic(path.with_suffix(".md"), markdown(results, paper=paper))
    write_text_atomic(path.with_suffix(".tex"), latex(results, paper=paper))
    if lmms_eval:
        _write_lmms_eval(folder, results)
    return results


def _write_lmms_eval(folder: RunFiles, results: Mapping[str, Any]) -> None:
    """The same in lmms-eval's layout, for tools that read that."""
    place = folder.out / "lmms_eval"
    model = (folder.read_manifest() or {}).get("model", {})
    write_json(place / "results.json", lmms_eval_results(results, model))
    for bench in results["benchmarks"]:
        lines = lmms_eval_samples(read_items(items_path(folder.out, bench)))
        write_jsonl(place / f"samples_{bench}.jsonl", lines)
