"""`results.json` and a benchmark's items in the layout of lmms-eval, for tools that read that. Pure; writes nothing.

lmms-eval writes `<model>/<date>_results.json` and a `<date>_samples_<task>.jsonl` per task. Ours have no dates: the files of a
resumed run equal those of an uninterrupted one. Fields that we don't know are left out (`git_hash`, `date`), and standard
errors are `N/A`, as it writes if none were computed: `results.json` holds intervals over videos instead.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from trlt.task.answer import LETTERS

FILTER = "none"
"""lmms-eval's name of the output filter, which ends each metric's name."""


def lmms_eval_results(results: Mapping[str, Any], model: Mapping[str, Any]) -> dict[str, Any]:
    """The aggregated file; metrics in percent, the official and lenient ones as `official_<metric>`, `lenient_<metric>`.

    Args:
        results: Content of `results.json`.
        model: Its name in the manifest.
    """
    benches = results["benchmarks"]
    metrics = {bench: _metrics(entry) for bench, entry in benches.items()}
    name = str(model.get("hub") or model.get("name") or "predictions")
    return {
        "results": {
            bench: {
                "alias": bench,
                **{f"{key},{FILTER}": value for key, value in values.items()},
                **{f"{key}_stderr,{FILTER}": "N/A" for key in values},
            }
            for bench, values in metrics.items()
        },
        "group_subtasks": {bench: [] for bench in benches},
        "configs": {
            bench: {"task": bench, "test_split": entry["protocol"]["split"], "num_fewshot": 0, "metadata": entry["protocol"]}
            for bench, entry in benches.items()
        },
        "versions": {bench: entry["protocol"]["prompt"] for bench, entry in benches.items()},
        "n-shot": dict.fromkeys(benches, 0),
        "higher_is_better": {bench: dict.fromkeys(values, True) for bench, values in metrics.items()},
        "n-samples": {
            bench: {"original": entry["n"] + entry["protocol"]["questions_left_out"], "effective": entry["n"]}
            for bench, entry in benches.items()
        },
        "config": {"model": "trlt", "model_args": f"pretrained={name}"},
        "model_source": "trlt",
        "model_name": name,
        "model_name_sanitized": name.replace("/", "__"),
    }


def lmms_eval_samples(columns: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    """One line per question: `resps` is the raw output, `filtered_resps` the parsed answer; values from 0 to 1.

    Args:
        columns: As `trlt.evaluate.question_scores` reads them.
    """
    prefixes = {"paper.": "", "official.": "official_", "lenient.": "lenient_"}
    named = {
        key: prefix + key.removeprefix(kind) for kind, prefix in prefixes.items() for key in columns if key.startswith(kind)
    }
    for place, id in enumerate(columns["id"]):
        row = {key: values[place] for key, values in columns.items()}
        spans = json.loads(row["gold_spans"]) if row["gold_spans"] is not None else []
        said = [[row["start"], row["end"]]] if row["start"] is not None else []
        said = json.loads(row["spans"]) if row.get("spans") else said
        target = _stated(row["gold_option"], spans)
        doc = json.dumps([id, row["question"], row["gold_answer"], spans], ensure_ascii=False)
        yield {
            "doc_id": place,
            "id": id,
            "target": target,
            "input": row["question"],
            "resps": [[row["text"]]],
            "filtered_resps": [_stated(row["option"], said)],
            "doc_hash": hashlib.sha256(doc.encode("utf-8", "surrogatepass")).hexdigest(),
            "target_hash": hashlib.sha256(target.encode("utf-8", "surrogatepass")).hexdigest(),
            **{name: row[key] for key, name in named.items() if row[key] is not None},
        }


def _metrics(entry: Mapping[str, Any]) -> dict[str, float]:
    others = {kind: entry.get(kind, {}) for kind in ("official", "lenient")}  # an older trlt's has no lenient ones
    return {**entry["paper"], **{f"{kind}_{key}": value for kind, of in others.items() for key, value in of.items()}}


def _stated(option: int | None, spans: Sequence[Sequence[float]]) -> str:
    """A letter, spans in seconds, or both (`B; 3.5 to 9.0`); empty if nothing is stated."""
    letter = [LETTERS[option]] if option is not None else []
    return "; ".join([*letter, *(f"{start} to {end}" for start, end in spans)])
