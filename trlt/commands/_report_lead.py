"""The first lines of a report: which model is better, or what is missing and which commands would provide it."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from trlt.commands._report_runs import FoundRun
from trlt.commands._setup import HELD_OUT
from trlt.report import ComparisonVerdict, verdict
from trlt.report.page.results import EvalRun, RunComparison

_KINDS = {"probe": "probe", "select": "selection", "train": "training run", "eval": "evaluation"}


class Lead(NamedTuple):
    """The first lines of a report."""

    verdicts: Sequence[ComparisonVerdict]
    """One per comparison."""
    said: Sequence[Sequence[str]]
    """The same in words, a list of sentences each; without a comparison, what there is and what is missing."""
    commands: Sequence[str] = ()
    """What to type for a comparison, where there is none."""


def lead(
    places: Sequence[Path], runs: Sequence[FoundRun], results: Sequence[EvalRun], comparisons: Sequence[RunComparison]
) -> Lead:
    """The verdict on each pair that is compared, or the way to one.

    Args:
        places: The report's arguments.
        runs: Of all kinds.
        results: Of the evaluations that are complete.
        comparisons: Of pairs of them.
    """
    if comparisons:
        found = [verdict(one.values, (one.a, one.b)) for one in comparisons]
        return Lead(found, [one.sentences for one in found])
    counts = Counter(run.kind for run in runs)
    there = [f"{count} {_KINDS[kind]}{'s' * (count > 1)}" for kind, count in counts.items()]
    held = there[0] if len(there) == 1 else f"{', '.join(there[:-1])} and {there[-1]}"
    said = f"This page holds {held}."
    if len(results) > 1:
        why = "The evaluations can't be compared (the notes say why), so which model is better isn't known."
        return Lead([], [[said, why]])
    missing = "one of another model on the same benchmarks" if results else "evaluations of the base and of the tuned model"
    wanted = f"It can't say whether tuning made a model better: that takes {missing}."
    commands = _commands(places, runs, {one.name for one in results})
    return Lead([], [[said, wanted, "To make what is missing (words in capitals stand for yours):"]], commands)


def _named(bench: str, given: Mapping[str, Any], in_recipe: bool) -> list[str]:
    """The options by which `trlt eval` takes a benchmark of a run once more."""
    if in_recipe or not _is_own(given):
        return ["--bench", bench]
    if "dataset" in given:
        return ["--dataset", given["dataset"], "--annotations", given["path"]]
    return ["--data", f"{bench}={given['path']}"]


def _is_own(given: Mapping[str, Any]) -> bool:
    """Whether an input is own questions, or those of a data set outside of the package."""
    return "sha256" in given or "dataset" in given


def _training(runs: Sequence[FoundRun]) -> tuple[FoundRun | None, FoundRun | None]:
    """The run that has the tuned model, and the one that began with the base: another one where a training has stages."""
    trained = [run for run in runs if run.kind == "train"]
    whole = next((run for run in trained if all(run.path.parent != other.path for other in trained)), None)
    if whole is None:
        return None, None
    inside = (run for run in trained if run.path.parent == whole.path and run.path.name.startswith("stage-1-"))
    return whole, next(inside, whole)


def _commands(places: Sequence[Path], runs: Sequence[FoundRun], complete: set[str]) -> list[str]:
    """The evaluations that are missing, then the report once more."""
    trained, first = _training(runs)
    done = next((run for run in runs if run.kind == "eval" and run.name in complete), None)
    behind = done or trained
    recipe = behind.recipe() if behind else None
    inputs = done.manifest.get("inputs", {}) if done else {}
    known = set(recipe.eval.benchmarks) if recipe else set()
    if known and (not done or set(inputs) == known):
        common = ["--bench", "all"]
    elif not done:
        common = ["--data", HELD_OUT]
    else:
        common = [word for bench, given in inputs.items() for word in _named(bench, given, bench in known)]
        videos = [given.get("videos") for bench, given in inputs.items() if bench not in known and _is_own(given)]
        common += ["--videos", videos[0]] if len(inputs) == 1 and videos and videos[0] else []
    if behind and recipe:
        common += ["--recipe", str(behind.run.recipe)]
    base, tuned = "BASE", "TUNED"
    if trained and first and (made := first.recipe()):
        base, tuned = made.model.path, str(trained.path / "model")
    parent = behind.path.parent if behind else places[0].parent
    wanted = {base: parent / "eval-base", tuned: parent / "eval-tuned"}
    if done and first:
        wanted.pop(base if done.manifest.get("model") == first.manifest.get("model") else tuned)
    elif done:
        wanted = {"OTHER_MODEL": parent / "eval-other"}
    asked = "--model"
    if done and "predictions" in done.manifest.get("model", {}):
        asked, wanted = "--predictions", {"OTHER_OUTPUTS.jsonl": parent / "eval-other"}
    lines = [f"trlt eval {shlex.join([*common, asked, model, '--out', str(out)])}" for model, out in wanted.items()]
    new = [out for out in wanted.values() if not any(out.parent == place for place in places)]
    # The base first: the others are compared with it.
    ordered = sorted([*places, *new], key=lambda place: place != wanted.get(base))
    return [*lines, f"trlt report {shlex.join(map(str, ordered))}"]
