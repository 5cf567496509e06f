"""`trlt leaderboard`: any number of runs of `trlt eval` as one table, with what can't be told apart."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, cast, get_args

import typer

from trlt.commands._output import Output
from trlt.commands._report_runs import FoundRun, find_runs
from trlt.errors import DataError, UsageError, shown
from trlt.evaluate.runs import EvaluatedRun, read_run
from trlt.files import write_json, write_text_atomic
from trlt.report.leaderboard import build, leaderboard_latex, leaderboard_markdown, leaderboard_page, leaderboard_table
from trlt.report.leaderboard.board import Protocol
from trlt.report.page.protocol import Made

NAME = "leaderboard.html"
PLAIN = ("model",)
"""Names of a model's folder that say nothing: trainings write theirs there."""


def leaderboard(
    places: Annotated[
        Sequence[str],
        typer.Argument(
            metavar="[NAME=]RUN...", help="Folders of runs of `trlt eval`, or folders of such; NAME: how to call it."
        ),
    ],
    *,
    protocol: Annotated[str, typer.Option(help="How outputs are read: paper, official or lenient.")] = "paper",
    benches: Annotated[Sequence[str], typer.Option("--bench", "-b", help="Benchmark; default: all of any run.")] = (),
    out: Annotated[
        Path | None,
        typer.Option(help="HTML file, with .md, .tex and .json beside it; default: leaderboard.html where all runs lie."),
    ] = None,
    output: Output,
) -> dict[str, Any]:
    """Writes the page and its tables; see `trlt leaderboard --help`.

    Raises:
        UsageError: an unknown protocol or benchmark, a run or a name that is given twice, or a name that doesn't end in .html.
        DataError: a folder without a finished evaluation, or files that can't be used.
    """
    if protocol not in get_args(Protocol):
        raise UsageError(f"--protocol {protocol}: choose one of: {', '.join(get_args(Protocol))}")
    named = _places(places)
    path = out or _default(list(named))
    if path.suffix != ".html":
        raise UsageError(f"--out {path}: a name that ends in .html is needed")
    found, notes = _evaluations(named)
    names = _names(found, {place.resolve(): name for place, name in named.items() if name})
    runs = {name: run for name, (_, run) in zip(names, found, strict=True)}
    with output.progress("leaderboard", "columns") as progress:
        board = build(runs, cast(Protocol, protocol), benches, progress)
    made = {run.path: _made(name, one) for name, (one, run) in zip(names, found, strict=True)}
    write_text_atomic(path, leaderboard_page(board, [made[run.path] for run in board.runs]))
    write_text_atomic(path.with_suffix(".md"), leaderboard_markdown(board))
    write_text_atomic(path.with_suffix(".tex"), leaderboard_latex(board))
    result = board.to_json() | {"left_out": notes}
    write_json(path.with_suffix(".json"), result)
    output.show(leaderboard_table(board), *(f"  {note}" for note in notes))
    output.show(f"\nPage: {path} (and {', '.join(path.with_suffix(end).name for end in ('.md', '.tex', '.json'))})")
    return result | {"page": str(path)}


def _places(given: Sequence[str]) -> dict[Path, str | None]:
    """Paths with the names given to them.

    Raises:
        UsageError: a path or a name is given twice, or a name is empty.
    """
    found: dict[Path, str | None] = {}
    for one in given:
        name, equals, rest = one.partition("=")
        is_path = not equals or Path(one).exists() or "/" in name
        place = Path(one if is_path else rest)
        if not is_path and (not name or not rest):
            raise UsageError(f"{shown(one)}: expected NAME=RUN, with a name and a folder")
        if place.resolve() in {known.resolve() for known in found}:
            raise UsageError(f"{place}: is given twice; give each run once")
        if not is_path and name in found.values():
            raise UsageError(f"{shown(name)}: names two runs, {_of(found, name)} and {place}; give them different names")
        found[place] = None if is_path else name
    return found


def _of(found: Mapping[Path, str | None], name: str) -> Path:
    return next(place for place, known in found.items() if known == name)


def _evaluations(named: Mapping[Path, str | None]) -> tuple[list[tuple[FoundRun, EvaluatedRun]], list[str]]:
    """All finished evaluations, and notes on the others.

    Raises:
        DataError: a place has none, or its results can't be used.
        UsageError: a name stands for several.
    """
    found: dict[Path, tuple[FoundRun, EvaluatedRun]] = {}
    notes: list[str] = []
    for place, name in named.items():
        evals = [run for run in find_runs([place]) if run.kind == "eval"]
        if not evals:
            raise DataError(f"{place}: holds no evaluation; give folders that `trlt eval` wrote, or a folder of such")
        if name and len(evals) > 1:
            raise UsageError(f"{name}={place}: holds {len(evals)} evaluations; a name stands for one")
        for run in evals:
            if run.path.resolve() != place.resolve() and not (run.path / "results.json").is_file():
                notes.append(f"{run.path}: left out, it has no results yet; the same `trlt eval` again finishes it")
                continue
            found.setdefault(run.path.resolve(), (run, read_run(run.path)))
    if not found:
        raise DataError("\n".join(notes))
    return list(found.values()), notes


def _names(found: Sequence[tuple[FoundRun, EvaluatedRun]], given: Mapping[Path, str]) -> list[str]:
    """Unique names: those given, else the model's, with the folder's where several runs have one model.

    Raises:
        UsageError: a given name is another run's.
    """
    models = [_model_name(run) for _, run in found]
    names = []
    for (one, _), model in zip(found, models, strict=True):
        folder = _shortest(one.path, [other.path for other, _ in found])
        said = folder if not model else model if models.count(model) == 1 else f"{model} ({folder})"
        names.append(given.get(one.path.resolve()) or said)
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"{shown(name)}: names two runs; give them different names with NAME=RUN")
    return names


def _model_name(run: EvaluatedRun) -> str | None:
    """The model's name in the manifest; None where it says nothing (predictions, a training's own folder)."""
    model = run.model or {}
    name = model.get("hub") or model.get("name")
    return name if isinstance(name, str) and name not in PLAIN else None


def _shortest(path: Path, others: Sequence[Path]) -> str:
    """The end of a path by which it differs from the others."""
    parts = path.resolve().parts
    rest = [other.resolve().parts for other in others if other.resolve() != path.resolve()]
    for size in range(1, len(parts)):
        if all(other[-size:] != parts[-size:] for other in rest):
            return "/".join(parts[-size:])
    return str(path)


def _made(name: str, run: FoundRun) -> Made:
    recipe = run.run.recipe
    text = recipe.read_text(encoding="utf-8", errors="replace") if recipe.is_file() else None
    return Made(name, run.kind, run.manifest, text)


def _default(places: Sequence[Path]) -> Path:
    """In a folder of runs; of several places in the folder that holds all of them."""
    if len(places) == 1:
        return places[0] / NAME
    shared = Path(os.path.commonpath([place.absolute().parent for place in places]))
    here = Path.cwd()
    return (shared.relative_to(here) if shared.is_relative_to(here) else shared) / NAME
