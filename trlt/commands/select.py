"""`trlt select`: which probed samples are worth training on.

Rows and samples aren't kept in memory: of a pool of half a million, only a row's selection data is, and the samples are read
once more to copy the chosen ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from trlt.commands._output import Output
from trlt.commands._probed import noted_data, run_of
from trlt.commands._setup import RUNS, beside_others, next_command, resolve
from trlt.commands._shared_options import Overrides, RecipeFile
from trlt.errors import DataError, UsageError, counted
from trlt.files import file_digest, iter_jsonl, open_atomic, sample_files, to_line, write_json, write_text_atomic
from trlt.recipe import Recipe, load_recipe, save_recipe, tells_apart
from trlt.report import histogram_table, selection_table
from trlt.report.progress import ProgressView
from trlt.report.rules_table import rules_table
from trlt.report.selection_page import PAGE, write_selection_page
from trlt.report.selection_table import selection_markdown
from trlt.rollout import RunFiles, environment, read_rows, videos_root
from trlt.rollout.changed_parts import changed_parts
from trlt.select import nothing_taken
from trlt.select import select as choose
from trlt.task.sample import Sample, iter_sample_lines


def select(
    probe: Annotated[Path, typer.Option(help="Rows of `trlt probe`, or its folder.")],
    *,
    data: Annotated[Path | None, typer.Option(help="Samples that were probed; default: the file that the probe noted.")] = None,
    by: Annotated[
        str | None,
        typer.Option(
            help="rules (default: difficulty and Δ_IoU), variance (std of rewards), random (whatever the difficulty), or all "
            "(what `select.within` and `select.target` of the recipe leave)."
        ),
    ] = None,
    budget: Annotated[
        int | None, typer.Option(help="Total number of samples, split among tasks in proportion to `select.sizes`.", min=1)
    ] = None,
    recipe_path: RecipeFile = None,
    sets: Overrides = (),
    out: Annotated[Path, typer.Option(help="File of samples to write; its report goes beside it.")] = Path("train.jsonl"),
    output: Output,
) -> dict[str, Any]:
    """Writes the samples that a selection keeps; see `trlt select --help`.

    Raises:
        TrltError: a recipe or file that can't be used, or rows and samples that don't belong together.
    """
    recipe = resolve(recipe_path, sets, {"select.by": by, "select.budget": budget})
    run = run_of(probe)
    rows = run.rows("probe")
    if data is None:
        data = noted_data(run)
    files = sample_files(data)
    if out.resolve() in [path.resolve() for path in (data, rows, *files)]:
        raise UsageError(f"--out {out}: would overwrite its own input; give another file")
    for file in files:  # so that a file that isn't there, or is of another kind, is found before the rows are read
        next(iter_jsonl(file), None)
    manifest = run.read_manifest() or {}
    noted = manifest.get("inputs", {}).get("data", {})
    _check_reward(
        recipe,
        given=recipe_path is not None or any(one.startswith("reward.") for one in sets),
        run=run,
        noted=manifest,
        output=output,
    )
    samples = _values(data) if recipe.select.needs_samples() else None
    with output.progress("select", "samples") as progress:
        selection = choose(_counted(read_rows(rows), noted.get("samples"), progress), recipe.select, samples)
    before = RunFiles(out).read_manifest() or {}
    if selection.ids:
        _copy(data, selection.ids, out, rows)
    report = selection.report.to_json()
    report_path = out.with_suffix(".report.json")
    write_json(report_path, report)
    write_text_atomic(out.with_suffix(".report.md"), selection_markdown(selection.report))
    page = write_selection_page(out.with_suffix(PAGE), out.name, selection)
    output.show(histogram_table(report["histograms"]), "", selection_table(selection.report))
    if selection.report.rules is not None:
        output.show("", rules_table(selection.report.rules))
    if not selection.ids:
        why = "\n  ".join(nothing_taken(selection.report)) or "no row is without an error"
        raise DataError(
            f"{rows}: nothing was selected ({report_path} has the counts); probe other samples, or set other thresholds with "
            f"--set. What there is:\n  {why}"
        )
    root = noted.get("videos")
    RunFiles(out).write_manifest(
        {
            "schema": 1,
            "kind": "select",
            **environment(),
            "videos": root or str(videos_root(recipe.video.root, data).resolve()),
            "samples": len(selection.ids),
            "sha256": (digest := file_digest(out)),
            "inputs": {
                "probe": {
                    "path": str(rows.resolve()),
                    "sha256": file_digest(rows),
                    "prompt": manifest.get("prompt"),
                    "model": manifest.get("model"),
                },
                "data": {"path": str(data.resolve()), "sha256": file_digest(data)},
            },
        }
    )
    if before.get("kind") == "select" and before.get("sha256") != digest:
        had = counted(int(before.get("samples", 0)), "sample")
        output.note(f"select: {out} held another selection ({had}), which is replaced; --out keeps both")
    output.show(f"\nSamples: {out}\nReport: {report_path}\nPage: {page}")
    output.show(_next(recipe_path, recipe, run, sets, out))
    return {"samples": str(out), "report": str(report_path), "taken": len(selection.ids), "selection": report}


def _check_reward(recipe: Recipe, *, given: bool, run: RunFiles, noted: Mapping[str, Any], output: Output) -> None:
    """Compares the recipe's reward, and the files of its own parts, with the rows'; without a recipe, the probe's counts.

    Raises:
        DataError: the selection goes by rewards, and they differ.
        RecipeError: a part's file or function can't be used.
    """
    if not given:
        return
    rows = run.rows("probe")
    found = changed_parts(noted.get("reward", []), recipe.reward.identity())
    if run.recipe.is_file():
        keys = tells_apart("probe", load_recipe(run.recipe), recipe)
        found += [line for line in keys if line.startswith("reward.")]
    if not found:
        return
    listed = "\n  ".join(found)
    if recipe.select.goes_by_rewards():
        rule = (
            "--by variance"
            if recipe.select.by == "variance"
            else "mean_reward (or deviation) in select.within or select.target"
        )
        raise DataError(
            f"{rows}: {rule} goes by rewards, and these rows were rewarded otherwise than by this recipe; probe "
            f"again with this recipe, or give the probe's:\n  {listed}"
        )
    output.note(
        f"select: the rows were rewarded otherwise than by this recipe; --by {recipe.select.by} doesn't go by rewards, so "
        f"it takes the same samples either way:\n  {listed}"
    )


def _next(given: Path | None, recipe: Recipe, run: RunFiles, sets: Sequence[str], out: Path) -> str:
    """The training command: with the given recipe, else the probe's, else one written beside the samples."""
    used = given or run.recipe
    if given is None and not used.is_file():
        used = RunFiles(out).recipe
        save_recipe(used, recipe)
    settings, silent = resolve(used, sets, {}), Recipe()
    if (settings.model, settings.train) == (silent.model, silent.train) and run.recipe.is_file():
        used = run.recipe  # the given one says how to select alone
        settings = resolve(used, sets, {})
    usual = RUNS / settings.name / f"train-{settings.train.last.method}"
    place = beside_others(usual, file_digest(out), (run.read_manifest() or {}).get("model"))
    return next_command("train", used, *(word for one in sets for word in ("--set", one)), "--data", out, *place)


def _counted(rows: Iterable[dict[str, Any]], total: int | None, progress: ProgressView) -> Iterator[dict[str, Any]]:
    """The rows, with progress if their number is known."""
    if total is None:
        yield from rows
        return
    progress(0, total)
    for done, row in enumerate(rows, 1):
        yield row
        progress(done, total)


def _values(data: Path) -> Iterator[Mapping[str, Any]]:
    """JSON values of all samples, one by one."""
    lines: Iterator[tuple[str, str, Any]] = iter_sample_lines(data)
    for _, _, values in lines:
        yield values


def _copy(data: Path, ids: Sequence[str], out: Path, rows: Path) -> None:
    """Writes the samples of these ids in their order, in one pass over all samples.

    A sample waits until those before it are written; few do, since a probe's rows are in the order of its samples.

    Raises:
        DataError: an id that no sample has, or samples that can't be used; then what `out` held before stays.
    """
    places = {id: place for place, id in enumerate(ids)}
    waiting: dict[int, str] = {}
    turn = 0

    def chosen(values: Any, where: str) -> Sample | None:
        """Of another sample, which the probe has read, nothing is made here."""
        return Sample.from_json(values, where) if values["id"] in places else None

    with open_atomic(out) as file:
        for _, id, sample in iter_sample_lines(data, chosen):
            if sample is None:
                continue
            waiting[places.pop(id)] = to_line(sample.to_json())
            while turn in waiting:
                file.write(waiting.pop(turn))
                turn += 1
        if places:
            raise DataError(
                f"{rows}: {len(places):,} probed samples aren't in {data} (the first: {next(iter(places))!r}); "
                "give the samples that were probed with --data"
            )
