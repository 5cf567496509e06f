"""`trlt probe compare`: two probes of the same samples, such as of the base and of the tuned model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from trlt.commands._output import Output
from trlt.commands._probed import noted_data, probe_rows, run_of, thresholds, videos_of
from trlt.commands._shared_options import ProbedSamples
from trlt.errors import DataError, UsageError
from trlt.evaluate.compare import protocol_differences
from trlt.recipe import Select
from trlt.report.plots import shift_png
from trlt.report.shift_table import shift_notes, shift_view
from trlt.rollout import RunFiles, read_rows
from trlt.select.probe_shift import Paired, TaskShift, histograms, pair, shift
from trlt.task.sample import Task

_CLASSES = ("hard", "easy", "delta_iou", "grounded_delta_iou")
"""Keys of a recipe's `select` section that make classes."""


def compare(
    a: Annotated[Path, typer.Argument(help="Rows of `trlt probe`, or its folder; the base model's, say.")],
    b: Annotated[Path, typer.Argument(help="The same of another model, say the tuned one's.")],
    *,
    data: ProbedSamples = None,
    png: Annotated[Path | None, typer.Option(help="File for the histograms as a picture.")] = None,
    output: Output,
) -> dict[str, Any]:
    """Pairs two probes sample by sample; see `trlt probe compare --help`.

    Raises:
        UsageError: a picture was asked for under another name than .png.
        DataError: a file that can't be used, or no sample is in both.
        RecipeError: a recipe beside the rows has faults.
    """
    if png is not None and png.suffix.lower() != ".png":
        raise UsageError(f"--png {png}: a name that ends in .png is needed")
    runs = run_of(a), run_of(b)
    rows = probe_rows(runs[0]), probe_rows(runs[1])
    limits = thresholds(runs[0])
    paired = pair(read_rows(rows[0]), read_rows(rows[1]), limits.settings)
    if not paired.ids:
        failed = f" ({paired.errors:,} are in both, but hold an error)" if paired.errors else ""
        raise DataError(f"{rows[0]} and {rows[1]}: no sample is in both{failed}; compare probes of the same samples")
    warnings = _differences(*runs, limits.settings)
    videos, fault = _videos(paired, runs, data)
    if fault:
        warnings.append(f"no intervals, since the samples' videos aren't known: {fault}")
    found = shift(paired, videos)
    warnings += _chosen(paired, found)
    before, after = (histograms((one.row() for one in side), limits.settings) for side in (paired.a, paired.b))
    result = {
        "a": {"run": str(a), "model": (runs[0].read_manifest() or {}).get("model")},
        "b": {"run": str(b), "model": (runs[1].read_manifest() or {}).get("model")},
        "samples": len(paired.ids),
        "errors": paired.errors,
        "only_a": paired.only_a,
        "only_b": paired.only_b,
        "select": {**limits.settings.model_dump(include=set(_CLASSES)), "origin": limits.origin},
        "tasks": {task: asdict(one) for task, one in found.items()},
        "histograms": {"a": before, "b": after},
        "warnings": warnings,
        "png": str(png) if png is not None else None,
    }
    if png is not None:
        shift_png(before, after, png, names=(f"A: {_name(a)}", f"B: {_name(b)}"))
    output.show(f"A: {a}", f"B: {b}", shift_view(result), *shift_notes(result))
    if png is not None:
        output.show(f"\nPicture: {png}")
    return result


def _videos(paired: Paired, runs: tuple[RunFiles, RunFiles], data: Path | None) -> tuple[dict[str, str] | None, str | None]:
    """The samples' footage, from what was given or either probe noted; else None, and why."""
    if data is not None:
        return videos_of(data, paired.ids), None
    fault: DataError | UsageError | None = None
    for run in runs:
        try:
            return videos_of(noted_data(run), paired.ids), None
        except (DataError, UsageError) as error:
            fault = fault or error
    return None, str(fault)


def _differences(a: RunFiles, b: RunFiles, settings: Select) -> list[str]:
    """What a reader must know: how the probes differ, and that classes go by A's thresholds alone."""
    before, after = ((run.read_manifest() or {}).get("protocol", {}) for run in (a, b))
    found = [str(difference) for difference in protocol_differences(before, after)]
    other = thresholds(b)
    for key in _CLASSES if b.recipe.is_file() else ():
        old, new = getattr(settings, key), getattr(other.settings, key)
        if old != new:
            found.append(f"select.{key}: {old} in A, {new} in B; both are classed by A's")
    return found


def _chosen(paired: Paired, found: Mapping[Task, TaskShift]) -> list[str]:
    """Warns where the samples look chosen by A's answers: asked again, such come nearer to the usual by chance."""
    kept = {task: [klass for klass, row in one.transitions.items() if any(row.values())] for task, one in found.items()}
    alike = [f"{task} ({classes[0]})" for task, classes in kept.items() if len(classes) == 1]
    if not alike or not paired.only_a:
        return []
    return [
        f"of one class in A, as if chosen by A's answers: {', '.join(alike)}. Part of the shift is then chance (regression to "
        "the mean): to see how much, probe A's model on these samples again with another probe.seed and another --out, and "
        "compare that"
    ]


def _name(run: Path) -> str:
    """How the picture calls a run: its folder, and the one that is in."""
    place = run.resolve()
    folder = place.parent.parent if place.parent.name == "rows" else place.with_suffix("")
    return "/".join(folder.parts[-2:])
