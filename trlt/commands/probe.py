"""`trlt probe`: how often and how consistently does a model answer each sample correctly?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from trlt.commands._answerer import check_answerer, identity_of, named, own_servers, sampler_of
from trlt.commands._cluster import ask_cluster, check_cluster
from trlt.commands._data import data_flags, data_stem, open_data
from trlt.commands._output import Output
from trlt.commands._row_errors import none_graded, told
from trlt.commands._setup import RUNS, connect, geometry_for, next_command, protocol, refuse_plain, resolve, try_prompts
from trlt.commands._shared_options import (
    ColumnMap,
    Fresh,
    ModelName,
    Overrides,
    OwnVllm,
    Processes,
    RayCluster,
    RecipeFile,
    RetryErrors,
    SampleData,
    Servers,
    SkipBad,
    SkipMissing,
)
from trlt.commands.launch.command_line import repeated
from trlt.commands.launch.shared_work import Work, answer, join_ranks, process_count, writes_results
from trlt.errors import UsageError, counted, shown
from trlt.files import sample_files
from trlt.recipe import Recipe
from trlt.report import histogram_table
from trlt.report.plots import difficulty_png
from trlt.rollout import QuestionSet, RunFiles, WorkFiles, open_run, read_rows
from trlt.select import nothing_taken, select
from trlt.select.probe_shift import histograms
from trlt.video.resolve import VideoIndex

OTHERS = "Probe other samples or another model, or give `trlt select` other thresholds: --set, as named here."


def probe(
    data: SampleData = None,
    *,
    n: Annotated[int | None, typer.Option("-n", help="Completions per sample; default: the recipe's, else 8.", min=2)] = None,
    recipe_path: RecipeFile = None,
    model: ModelName = None,
    videos: Annotated[
        Path | None, typer.Option(help="Folder that the videos' paths are relative to; default: where prepare found them.")
    ] = None,
    columns: ColumnMap = None,
    skip_bad: SkipBad = False,
    skip_missing: SkipMissing = False,
    sets: Overrides = (),
    out: Annotated[
        Path | None, typer.Option(help="Folder of the run, or a .jsonl file of rows; default: a folder in runs/.")
    ] = None,
    fresh: Fresh = False,
    retry_errors: RetryErrors = False,
    processes: Processes = 0,
    servers: Servers = (),
    vllm: OwnVllm = None,
    ray: RayCluster = None,
    estimate: Annotated[
        bool, typer.Option("--estimate", help="Probe a small part only, and estimate the cost of all: tokens, time and disk.")
    ] = False,
    estimate_clips: Annotated[
        int | None,
        typer.Option(help="Clips that --estimate measures; default: enough for an interval of the time, at least 32.", min=3),
    ] = None,
    output: Output,
) -> dict[str, Any]:
    """Asks a model n times about each sample of `data`; see `trlt probe --help`.

    Started by `accelerate launch`, `torchrun` or `srun`, the processes share the work; `processes` starts as many here, 0 one a
    local GPU. Instead of a model of this process, `servers` are asked, or as many of vLLM as `vllm` says, or `ray`'s workers.

    Raises:
        TrltError: a recipe, file, model or run folder that can't be used; before any work, where it can be known.
    """
    given = dict(locals())
    if data is None:
        raise UsageError(
            "--data: which samples? give the file or folder that `trlt prepare` wrote, or your own table of questions"
        )
    if estimate_clips is not None and not estimate:
        raise UsageError("--estimate-clips: says how much --estimate measures; give both")
    if estimate:
        from trlt.commands.probe_estimate import estimate as measure

        return measure(
            data,
            n=n,
            recipe_path=recipe_path,
            model=model,
            videos=videos,
            columns=columns,
            skip_bad=skip_bad,
            skip_missing=skip_missing,
            sets=sets,
            out=out,
            fresh=fresh,
            retry_errors=retry_errors,
            processes=processes,
            servers=servers,
            vllm=vllm,
            ray=ray,
            clips=estimate_clips,
            output=output,
        )
    rank, output = join_ranks(output, fresh=fresh)
    check_answerer(servers, vllm, processes, rank)
    if ray is not None:
        check_cluster(processes, servers, rank, vllm)
    flags = {"probe.n": n, "model.path": model, "video.root": videos} | data_flags(columns, skip_bad, skip_missing)
    recipe = resolve(recipe_path, sets, flags)
    recipe.reward.ready()  # its faults are told before a model is loaded
    run_files = RunFiles(out or RUNS / recipe.name / f"probe-{data_stem(data)}")
    opened = open_data(data, recipe, run_files.out, output)
    samples, root = opened.samples, opened.root
    index = VideoIndex(root, recipe.video.downloads, recipe.video.links)
    try_prompts(recipe, "probe", samples)
    remote = connect(servers, model, recipe, output)
    if remote is None:
        refuse_plain(recipe, "probe", fetch=ray is None)
    video = recipe.video
    grader = recipe.grader("probe", replies=run_files.replies)
    asked = QuestionSet("", samples, index, video, grader=grader, settings=recipe.probe, n=recipe.probe.n)
    own = own_servers(vllm, recipe, [asked], output, log=run_files.server_log)
    folder = open_run(
        run_files.out,
        "probe",
        recipe,
        model=identity_of(remote, recipe),
        inputs={"data": opened.identity},
        protocol=protocol(recipe, recipe.probe, video),
        sampler=sampler_of(own),
        fresh=fresh,
    )
    if rank is None or rank.place == 0:
        opened.write()
    rows = folder.rows("probe")
    words = f"{counted(len(samples), 'sample')}, {recipe.probe.n} answers each, by {named(remote, servers, own, recipe)}"
    output.note(f"probe: {words}; rows in {rows}")
    geometry = geometry_for(recipe.model, output, remote)
    count = 1 if ray is not None else process_count(processes, rank, recipe, own or remote)
    files = WorkFiles.single(rows, [sample.id for sample in samples])
    work = Work("probe", recipe, [asked], files, geometry, retry_errors, output)
    if ray is not None:
        summary = ask_cluster(ray, work)
    else:
        again = repeated("probe", probe, given, folder, data=opened.path)
        summary = answer(work, rank=rank, count=count, command=again, own=own, remote=remote)
    if not writes_results(rank):
        return {"rows": str(rows), "summary": asdict(summary)}
    if summary.parity:
        folder.note(parity=summary.parity.to_json())
        if count > 1 or ray is not None:  # an engine of this process has said so itself
            output.note(summary.parity.words)
    if summary.errors == summary.rows:
        raise none_graded(rows)
    warned, failed = list[str](), list[dict[str, Any]]()

    def looked() -> Iterator[dict[str, Any]]:
        for row in read_rows(rows):
            if row["error"] is not None:
                failed.append(row)
            if "warning" in row:
                warned.append(f"{shown(row['id'])}: {row['warning']}")
            yield row

    found = histograms(looked(), recipe.select)
    difficulty_png(found, folder.picture)
    output.show(histogram_table(found))
    if errors := told(failed, samples):
        output.show("", errors)
    if warned:
        output.note(f"probe: {counted(len(warned), 'row')} with a `warning`, see {rows}; the first: {warned[0]}")
    output.show(f"\nRows: {rows}\nPicture: {folder.picture}")
    out_of = select(read_rows(rows), recipe.select)
    if out_of.ids:
        place = _selected(opened.path, folder.manifest, recipe)
        output.show(next_command("select", "--probe", rows, "--recipe", folder.recipe, "--out", place))
    else:
        output.show("", "`trlt select` would take none of these samples:")
        output.show(*(f"  {line}" for line in nothing_taken(out_of.report)), OTHERS)
    return {"rows": str(rows), "manifest": str(folder.manifest), "summary": asdict(summary), "histogram": found}


def _selected(data: Path, manifest: Path, recipe: Recipe) -> Path:
    """Target of a selection: the recipe's `train.data`, unless the probed samples are there, as after a training on them."""
    usual = Path(recipe.train.data or "train.jsonl")
    taken = usual.resolve() in [path.resolve() for path in sample_files(data)]
    return manifest.with_name(usual.name) if taken else usual
