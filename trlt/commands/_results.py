"""What `trlt eval` ends with: rows become figures, and figures become files. Nothing here holds a time or a date.

So the files of a run that was killed and resumed are those of one that ran through.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trlt.commands._bench import Bench
from trlt.datasets import Item, summary
from trlt.errors import DataError
from trlt.files import write_json, write_jsonl, write_text_atomic
from trlt.forms import Results, read_form
from trlt.grade import read_answer
from trlt.recipe import Recipe
from trlt.report import latex, lmms_eval_results, lmms_eval_samples, markdown
from trlt.rollout import Run, read_rows
from trlt.rollout.items import item_columns, read_items, write_items
from trlt.rollout.predictions import Predictions

READING = ("think", "answer_format", "open_threshold", "as_gqa")
"""Settings by which an output is read, whoever made it."""
DRAWING = ("temperature", "top_p", "max_new_tokens", "seed")
"""Settings by which our own outputs are drawn."""

REMADE = "delete it, the rows beside are enough to make it again"


def items_path(run: Path, bench: str) -> Path:
    """Where a benchmark's questions with their values lie."""
    return run / "items" / f"{bench}.parquet"


def score_bench(
    bench: Bench, recipe: Recipe, settings: Mapping[str, Any], folder: Run, given: Predictions | None = None, extra: int = 0
) -> dict[str, Any]:
    """A benchmark's entry in `results.json`, and its file of items; questions without an answer count as wrong.

    Questions of videos that couldn't be read are left out: they say nothing about the model.

    Args:
        bench: The benchmark.
        recipe: As resolved.
        settings: The protocol of the call.
        folder: Of the run; its rows are there.
        given: The predictions, where no model was asked.
        extra: How many of them belong to no question (`count_extra`).
    """
    by_id = {sample.id: sample for sample in bench.samples}
    items: list[Item] = []
    errors: dict[str, str] = {}
    for row in read_rows(folder.rows(bench.name)):
        sample = by_id[row["id"]]
        text = row["texts"][0] if row["texts"] else ""
        if row["error"] is not None:
            errors[sample.id] = row["error"]
            if given is None:
                continue
        items.append(Item(sample, text, read_answer(sample, text, recipe.eval, as_gqa=recipe.eval.as_gqa)))
    entry = summary(bench.name, items, bench.missing_videos, recipe.eval.bootstrap, recipe.eval.seed)
    write_items(items_path(folder.out, bench.name), item_columns(bench.name, items, entry, errors))
    if given is not None:
        entry["missing_predictions"] = sum(sample.id not in given.texts for sample in bench.samples)
        entry["extra_predictions"] = extra
        return entry | {"protocol": _protocol(bench, settings, None)}
    broken = {by_id[id].video for id in errors}
    entry["broken_videos"] = len(broken)
    read = len({sample.video for sample in bench.samples} - broken)
    return entry | {"protocol": _protocol(bench, settings, read, len(errors))}


def broken_videos(bench: Bench, rows: Path, run: Path) -> str | None:
    """Lists the videos that questions couldn't be asked about, with the reasons, in `<bench>.broken_videos.txt`.

    Returns:
        What a user has to be told about them; None where all could be read.
    """
    by_id = {sample.id: sample for sample in bench.samples}
    reasons: dict[str, str] = {}
    questions = 0
    for row in read_rows(rows):
        if row["error"] is not None:
            reasons.setdefault(by_id[row["id"]].video, row["error"])
            questions += 1
    listing = run / f"{bench.name}.broken_videos.txt"
    if not reasons:
        listing.unlink(missing_ok=True)
        return None
    write_text_atomic(listing, "".join(f"{video}\t{reason}\n" for video, reason in reasons.items()))
    first = next(iter(reasons.values()))
    return (
        f"{bench.name}: {questions:,} questions about {len(reasons):,} videos couldn't be asked (all in {listing}): repair "
        f"them and repeat with --retry-errors, or leave their questions out with --allow-missing; the first: {first}"
    )


def _protocol(bench: Bench, settings: Mapping[str, Any], videos_read: int | None, broken: int = 0) -> dict[str, Any]:
    """What a benchmark's figures depend on besides the model; `videos_read` is None where no model was asked."""
    asked = videos_read is not None
    return {
        "outputs": "model" if asked else "predictions",
        "prompt": settings["prompt"],
        "decoding": {key: settings[key] for key in (*READING, *(DRAWING if asked else ()))},
        "budget": dict(settings["video"]) if asked else None,
        "bootstrap": {"resamples": settings["bootstrap"], "seed": settings["seed"]},
        "split": bench.identity["split"],
        "annotations": dict(bench.identity["files"]),
        "videos_read": videos_read or 0,
        "questions_left_out": bench.questions_left_out + broken,
    }


def count_extra(ready: Sequence[Bench], given: Predictions) -> int:
    """Predictions that belong to no question of any of the benchmarks.

    Raises:
        DataError: that's all of them.
    """
    known = {sample.id for bench in ready for sample in bench.samples}
    extra = [id for id in given.texts if id not in known]
    if len(extra) == len(given.texts):
        names, example = ", ".join(bench.name for bench in ready), ready[0].samples[0].id
        raise DataError(f"{given.path}: no id is a question's of {names} (the first: {extra[0]!r}; they look like {example!r})")
    return len(extra)


def write_results(
    folder: Run, entries: Mapping[str, Any], settings: Mapping[str, Any], *, paper: bool, lmms_eval: bool
) -> dict[str, Any]:
    """`results.json` and its tables; what the same run said of other benchmarks stays in them."""
    path = folder.out / "results.json"
    before = read_form(path, Results, REMADE)["benchmarks"] if path.is_file() else {}
    results = {"schema": 1, "benchmarks": {**before, **entries}, "protocol": dict(settings)}
    write_json(path, results)
    write_text_atomic(path.with_suffix(".md"), markdown(results, paper=paper))
    write_text_atomic(path.with_suffix(".tex"), latex(results, paper=paper))
    if lmms_eval:
        _write_lmms_eval(folder, results)
    return results


def _write_lmms_eval(folder: Run, results: Mapping[str, Any]) -> None:
    """The same in lmms-eval's layout, for tools that read that."""
    place = folder.out / "lmms_eval"
    model = (folder.read_manifest() or {}).get("model", {})
    write_json(place / "results.json", lmms_eval_results(results, model))
    for bench in results["benchmarks"]:
        lines = lmms_eval_samples(read_items(items_path(folder.out, bench)))
        write_jsonl(place / f"samples_{bench}.jsonl", lines)
