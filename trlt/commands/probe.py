"""`trlt probe`: how often and how consistently does a model answer each sample correctly?"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from trlt.commands._answerer import check_answerer, identity_of, named, own_servers, sampler_of, start_for
from trlt.commands._cluster import ask_cluster, check_cluster
from trlt.commands._data import data_flags, data_stem, open_data
from trlt.commands._output import Output
from trlt.commands._row_errors import none_graded, told
from trlt.commands._setup import (
    RUNS,
    connect,
    geometry_for,
    make_engine,
    next_command,
    protocol,
    refuse_plain,
    resolve,
    try_prompts,
)
from trlt.commands._shared_options import (
    ColumnMap,
    Fresh,
    ModelName,
    Overrides,
    OwnVllm,
    RecipeFile,
    RetryErrors,
    SampleData,
    Servers,
    SkipBad,
    SkipMissing,
)
from trlt.commands.launch.ranks import (
    Ears,
    Ended,
    Rank,
    audible,
    count_processes,
    failures,
    find_rank,
    follow_launcher,
    launch,
    python_command,
    rank_device,
    teller,
)
from trlt.engine.agreement import join
from trlt.errors import ParityError, TrltError, UsageError, counted, shown
from trlt.errors.faults import tell
from trlt.files import sample_files
from trlt.recipe import Recipe, recipe_file
from trlt.report import histogram_table
from trlt.report.plots import difficulty_png
from trlt.rollout import RunFiles, Sharing, Summary, open_run, read_rows, run
from trlt.rollout.loop import CompletionGenerator
from trlt.rollout.shared.rank_files import RowCounter, base_lines, prepare, settle, work_folder
from trlt.select import nothing_taken, select
from trlt.select.probe_shift import histograms
from trlt.task.sample import Sample
from trlt.video.geometry import Geometry
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
    processes: Annotated[int, typer.Option(help="Processes that share the work; 0: one per local GPU, else one.", min=0)] = 0,
    servers: Servers = (),
    vllm: OwnVllm = None,
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS", help="Ask on a Ray cluster: its address, `auto` for this machine's, `local` to start one."
        ),
    ] = None,
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
    rank = find_rank(os.environ)
    follow_launcher(rank)
    output = audible(output, rank)
    if fresh and rank:
        raise UsageError(
            "--fresh: each of several processes would forget what the others have written; remove the run's folder first, "
            "or give another --out"
        )
    check_answerer(servers, vllm, processes, rank)
    if ray is not None:
        check_cluster(processes, servers, rank, vllm)
    flags = {"probe.n": n, "model.path": model, "video.root": videos} | data_flags(columns, skip_bad, skip_missing)
    recipe = resolve(recipe_path, sets, flags)
    recipe.reward.load()  # its faults are told before a model is loaded
    run_files = RunFiles(out or RUNS / recipe.name / f"probe-{data_stem(data)}")
    opened = open_data(data, recipe, run_files.out, output)
    samples, root = opened.samples, opened.root
    index = VideoIndex(root, recipe.video.downloads, recipe.video.links)
    try_prompts(recipe, "probe", samples)
    remote = connect(servers, model, recipe, output)
    if remote is None:
        refuse_plain(recipe, "probe", fetch=ray is None)
    own = own_servers(vllm, recipe, recipe.video, "probe", samples, output, log=run_files.server_log)
    folder = open_run(
        run_files.out,
        "probe",
        recipe,
        model=identity_of(remote, recipe),
        inputs={"data": opened.identity},
        protocol=protocol(recipe, recipe.probe, recipe.video),
        sampler=sampler_of(own),
        fresh=fresh,
    )
    if rank is None or rank.place == 0:
        opened.write()
    rows = folder.rows("probe")
    asked = f"{counted(len(samples), 'sample')}, {recipe.probe.n} answers each, by {named(remote, servers, own, recipe)}"
    output.note(f"probe: {asked}; rows in {rows}")
    geometry = geometry_for(recipe.model, output, remote)
    count = 1 if own or remote or ray is not None else count_processes(processes, rank, recipe.model.device)
    if count > 1:
        file = recipe_path and recipe_file(recipe_path)  # a name would be told again by each process
        options = {"-n": n, "--recipe": file, "--model": model, "--videos": videos, "--out": folder.out}
        given = [text for flag, value in options.items() if value is not None for text in (flag, str(value))]
        command = python_command(
            "probe", "--data", str(opened.path), *given, *(text for one in sets for text in ("--set", one)), "--json"
        )
        summary = _launch(command, count, rank, samples, recipe.probe.n, rows, retry_errors, output)
    elif ray is not None:
        summary = ask_cluster(ray, recipe, geometry, samples, root, rows, retry_errors, output)
    else:
        with own or nullcontext():
            start_for(own, samples, rows, retry_errors=retry_errors)
            summary = _ask(recipe, geometry, rank, samples, index, rows, retry_errors, output, own or remote)
    if rank and (rank.launcher is not None or rank.place):
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


def _ask(
    recipe: Recipe,
    geometry: Geometry,
    rank: Rank | None,
    samples: Sequence[Sample],
    index: VideoIndex,
    rows: Path,
    retry_errors: bool,
    output: Output,
    generator: CompletionGenerator | None = None,
) -> Summary:
    """Asks in this process, alone or as one of several; `generator` replaces a model of its own, as `servers` may."""
    sharing = Sharing(ranks=rank.world) if rank else None
    if sharing:
        # Before the model is loaded, which may take longer than others need for all the work: what they asked again isn't
        # to be asked once more.
        prepare(rows, [sample.id for sample in samples], retry_errors=retry_errors)
    model = recipe.model.model_copy(update={"device": rank_device(rank, recipe.model.device)})
    engine = generator or make_engine(model, output.note)
    from trlt.video.workers import ClipLoader

    with ClipLoader(recipe.video, geometry) as loader, output.progress("probe", "answers") as progress:
        return run(
            samples,
            engine=engine,
            loader=loader,
            videos=index,
            settings=recipe.probe,
            n=recipe.probe.n,
            grader=recipe.grader("probe"),
            out=rows,
            retry_errors=retry_errors and sharing is None,
            progress=progress,
            sharing=sharing,
            told=teller(os.environ),
        )


def _launch(
    command: Sequence[str],
    count: int,
    rank: Rank | None,
    samples: Sequence[Sample],
    n: int,
    rows: Path,
    retry_errors: bool,
    output: Output,
) -> Summary:
    """Asks in several processes, and summarizes the result.

    Raises:
        ParityError: one differs from the library's own forward; the others were ended.
        TrltError: they ended and rows are missing; with the exit code of one that failed.
    """
    began = time.perf_counter()
    ids = [sample.id for sample in samples]
    if retry_errors and rank is None:
        settle(rows, ids)
    there = prepare(rows, ids, retry_errors=retry_errors)
    tally = RowCounter(rows, there, len(ids))
    resumed, ended = tally.count(), []
    if there < len(ids):
        output.note(f"probe: starting {count} processes")
        with output.progress("probe", "answers") as progress, Ears() as ears:

            def tick() -> None:
                done = max(n * tally.count(), n * resumed + ears.count())
                progress(min(done, n * len(ids)), n * len(ids))

            tick()
            ended = launch(command, count, rank, tick, ParityError.exit_code, ears)
            tick()
    if refused := failures([one if one.code == ParityError.exit_code else Ended(0, "", "") for one in ended]):
        raise ParityError("\n".join(refused))
    failed = {line.id: line.failed for line in base_lines(rows, frozenset(ids))}
    faults = failures(ended)
    if len(failed) < len(ids) or work_folder(rows).is_dir():
        state = f"{tally.count():,} of {len(ids):,} rows are there; the same command goes on from them"
        error = TrltError("\n".join([*faults, f"{rows}: not finished; {state}"]))
        error.exit_code = next((one.code for one in ended if one.code > 0), error.exit_code)
        raise error
    for fault in faults:
        output.note(f"{fault}\nThe other processes have done its work.")
    did = [json.loads(one.out)["summary"] for one in ended if not one.code]
    traces = tuple(dict.fromkeys(trace for one in did for trace in one["unforeseen"]))
    for trace in traces:
        tell(trace)
    tokens, waited_s = sum(one["tokens"] for one in did), sum(one["waited_s"] for one in did)
    parity = join([one["parity"] for one in did if one["parity"]])
    return Summary(len(ids), resumed, sum(failed.values()), tokens, time.perf_counter() - began, waited_s, parity, traces)
