"""`results.json` and its tables as files. Nothing here holds a time or a date.

So the files of a run that was killed and resumed are those of one that ran through.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from trlt.commands._bench import items_path
from trlt.errors import DataError
from trlt.forms import Results, hold
from trlt.reading import loads
from trlt.report import latex, lmms_eval_results, lmms_eval_samples, markdown
from trlt.rollout import Run
from trlt.rollout.items import read_items
from trlt.sample import write_text_atomic

REMADE = "delete it, the rows beside are enough to make it again"


def write_results(
    folder: Run, entries: Mapping[str, Any], settings: Mapping[str, Any], *, paper: bool, lmms_eval: bool
) -> dict[str, Any]:
    """`results.json` and its tables; what the same run said of other benchmarks stays in them."""
    path = folder.out / "results.json"
    before: Mapping[str, Any] = {}
    if path.is_file():
        try:
            known = loads(path.read_bytes())
        except ValueError:
            raise DataError(f"{path}: damaged; {REMADE}") from None
        before = hold(known, Results, str(path), REMADE)["benchmarks"]
    results = {"schema": 1, "benchmarks": {**before, **entries}, "protocol": dict(settings)}
    write_text_atomic(path, _json(results))
    write_text_atomic(path.with_suffix(".md"), markdown(results, paper=paper))
    write_text_atomic(path.with_suffix(".tex"), latex(results, paper=paper))
    if lmms_eval:
        _write_lmms_eval(folder, results)
    return results


def _write_lmms_eval(folder: Run, results: Mapping[str, Any]) -> None:
    """The same in lmms-eval's layout, for tools that read that."""
    place = folder.out / "lmms_eval"
    model = (folder.read_manifest() or {}).get("model", {})
    write_text_atomic(place / "results.json", _json(lmms_eval_results(results, model)))
    for bench in results["benchmarks"]:
        lines = lmms_eval_samples(read_items(items_path(folder.out, bench)))
        write_text_atomic(
            place / f"samples_{bench}.jsonl", "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        )


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2) + "\n"
