"""`trlt report`: runs as one HTML page that opens from disk."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer

from trlt.commands._output import Output
from trlt.commands._probed import thresholds, words_of
from trlt.commands._report_lead import lead
from trlt.commands._report_runs import REPORT, FoundRun, find_runs, questions, read_json
from trlt.commands.compare import compare as compare_evals
from trlt.commands.probe_compare import compare as compare_probes
from trlt.engine.model import MINIATURE, SHIPPED
from trlt.errors import DataError, UsageError
from trlt.files import forms
from trlt.report.page import Page, RowIndex, RunRows, ShownSample, Training, write_page
from trlt.report.page.difficulty import Probed, Selected, Shift
from trlt.report.page.protocol import Made
from trlt.report.page.results import EvalRun, RunComparison
from trlt.rollout import read_rows
from trlt.select import SelectionReport
from trlt.select.probe_shift import histograms

NAME = "report.html"


def report(
    places: Annotated[
        Sequence[Path],
        typer.Argument(
            metavar="RUN...", help="Folders of runs (probe, train, eval), samples of `trlt select`, or a folder of such."
        ),
    ],
    *,
    out: Annotated[
        Path | None, typer.Option(help="HTML file; default: report.html in the run, or where all of several lie.")
    ] = None,
    frames_mb: Annotated[float, typer.Option(help="Megabytes of frames in the page; 0: none.", min=0)] = 20.0,
    videos: Annotated[Path | None, typer.Option(help="Folder of the videos; default: where the runs found them.")] = None,
    output: Output,
) -> dict[str, Any]:
    """Writes the page; see `trlt report --help`.

    Runs of one kind are set side by side: the first is what the others are compared with.

    Raises:
        UsageError: a name that doesn't end in .html.
        DataError: no run, or one whose files can't be used.
        RecipeError: a saved recipe has faults.
    """
    path = out or _default(places)
    if path.suffix != ".html":
        raise UsageError(f"--out {path}: a name that ends in .html is needed")
    runs = find_runs(places)
    by_kind = {kind: [run for run in runs if run.kind == kind] for kind in ("probe", "select", "train", "eval")}
    notes: list[str] = []
    results, comparisons = _results(by_kind["eval"], notes)
    probes, shifts = _probes(by_kind["probe"], notes)
    first = lead(places, runs, results, comparisons)
    with ExitStack() as stack:
        browsed: list[RunRows] = []
        known: dict[str, ShownSample] = {}
        for run in (*by_kind["probe"], *by_kind["eval"]):
            files = [file for _, file in run.row_files()]
            if not files:
                continue
            settings = thresholds(run.run).settings if run.kind == "probe" else None
            rows = stack.enter_context(RowIndex(files))
            browsed.append(RunRows(run.name, run.kind, rows, settings, words_of(run.run)))
            found, missing = questions(run, videos, with_paths=frames_mb > 0)
            known |= {id: question for id, question in found.items() if id not in known}
            notes += missing
        page = Page(
            title=_title(places),
            made=[_made(run) for run in runs],
            results=results,
            comparisons=comparisons,
            paper=not any(_is_miniature(run) for run in by_kind["eval"]),
            trainings=[_training(run) for run in by_kind["train"]],
            probes=probes,
            shifts=shifts,
            selections=_selections(by_kind["select"], notes),
            runs=browsed,
            questions=known,
            notes=notes,
            lead=first.said,
            commands=first.commands,
        )
        with output.progress("frames", "clips") as progress:
            written = write_page(page, path, frame_bytes=int(frames_mb * 1e6), progress=progress)
    frames = written.frames
    output.show(*(" ".join(sentences) for sentences in first.said), *(f"  {command}" for command in first.commands), "")
    output.show(*(f"  {note}" for note in notes))
    output.show(f"Samples: {written.samples:,} of {written.of:,}, with frames of {frames.clips:,} of {frames.wanted:,} clips")
    output.show(f"Page: {path} ({written.bytes / 1e6:.1f} MB)")
    return {
        "page": str(path),
        "bytes": written.bytes,
        "verdict": " ".join(sentence for sentences in first.said for sentence in sentences),
        "comparisons": [
            {"a": pair.a, "b": pair.b, **found.to_json()} for pair, found in zip(comparisons, first.verdicts, strict=False)
        ],
        "next": list(first.commands),
        "runs": {run.name: run.kind for run in runs},
        "samples": written.samples,
        "of": written.of,
        "clips": {"embedded": frames.clips, "found": frames.wanted, "broken": frames.errors},
        "notes": notes,
    }


def _default(places: Sequence[Path]) -> Path:
    """In the run, or of several in the folder that holds all of them: a run's own page stays."""
    first, *others = places
    if others:
        shared = Path(os.path.commonpath([place.absolute().parent for place in places]))
        here = Path.cwd()
        return (shared.relative_to(here) if shared.is_relative_to(here) else shared) / NAME
    return first / NAME if first.is_dir() else first.with_suffix(f".{NAME}")


def _title(places: Sequence[Path]) -> str:
    return ", ".join(place.resolve().name for place in places)


def _results(runs: Sequence[FoundRun], notes: list[str]) -> tuple[list[EvalRun], list[RunComparison]]:
    """Evaluations that are complete, and the first against each other one that shares a benchmark with it."""
    there = [(run, values) for run in runs if (values := read_json(run.path / "results.json", forms.ResultsForm)) is not None]
    comparisons = []
    for run, _ in there[1:]:
        first = there[0][0]
        try:
            found = compare_evals(first.path, run.path, output=Output(json_mode=True))
            comparisons.append(RunComparison(first.name, run.name, found))
        except DataError as error:
            notes.append(f"{first.name} and {run.name} aren't compared: {error}")
    return [EvalRun(run.name, values) for run, values in there], comparisons


def _probes(runs: Sequence[FoundRun], notes: list[str]) -> tuple[list[Probed], list[Shift]]:
    """Each probe's histograms, and the first against each other one that holds samples of it."""
    probes, shifts = [], []
    for place, run in enumerate(runs):
        limits = thresholds(run.run)
        if place:
            first = runs[0]
            try:
                found = compare_probes(first.path, run.path, output=Output(json_mode=True))
                shifts.append(Shift(first.name, run.name, found))
                continue  # the shift shows its histograms
            except DataError as error:
                notes.append(f"{first.name} and {run.name} aren't compared: {error}")
        probes.append(Probed(run.name, histograms(read_rows(run.run.rows("probe")), limits.settings), limits.origin))
    return probes, shifts


def _selections(runs: Sequence[FoundRun], notes: list[str]) -> list[Selected]:
    """Each selection's report; of one that has lost it, a note."""
    found = []
    for run in runs:
        path = run.path.with_suffix(REPORT)
        values = read_json(path, SelectionReport)
        if values is None:
            notes.append(f"{run.name}: {path} isn't there, so what was selected isn't known; run the same `trlt select` again")
        else:
            found.append(Selected(run.name, SelectionReport(**values)))
    return found


def _training(run: FoundRun) -> Training:
    from trlt.files import read_log

    log = run.path / "log.jsonl"
    return Training(
        run.name, read_log(log) if log.is_file() else [], read_json(run.path / "result.json", forms.TrainResultForm)
    )


def _made(run: FoundRun) -> Made:
    recipe = run.run.recipe
    return Made(
        run.name, run.kind, run.manifest, recipe.read_text(encoding="utf-8", errors="replace") if recipe.is_file() else None
    )


def _is_miniature(run: FoundRun) -> bool:
    """Whether its benchmarks are the synthetic ones, beside which the paper's results say nothing."""
    recipe = run.recipe()
    return recipe is not None and (recipe.model.path in SHIPPED or recipe.name == MINIATURE)
