"""`trlt eval`: a model, or its predictions, against benchmarks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from trlt.commands._answerer import check_answerer, identity_of, named, own_servers, sampler_of
from trlt.commands._cluster import ask_cluster, check_cluster
from trlt.commands._data import data_flags, data_stem, open_data
from trlt.commands._listed_questions import list_questions, named_again
from trlt.commands._output import Output
from trlt.commands._page import NoPage, with_page
from trlt.commands._row_errors import unpaid, unrewarded
from trlt.commands._setup import (
    RUNS,
    connect,
    geometry_for,
    protocol,
    refuse_own_words,
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
    Processes,
    RayCluster,
    RecipeFile,
    RetryErrors,
    Servers,
    SkipBad,
    Think,
)
from trlt.commands.launch.command_line import repeated
from trlt.commands.launch.shared_work import Work, answer, join_ranks, process_count, writes_results
from trlt.data.datasets import dataset_name, load, names, open_dataset
from trlt.data.protocols import PAPER, describe, find_protocol, protocols_of
from trlt.engine.model import find
from trlt.errors import TrltError, UsageError, VideoError, counted
from trlt.evaluate.benchmark import (
    broken_videos,
    count_extra,
    eval_video,
    keep_questions,
    open_bench,
    question_set,
    score_bench,
)
from trlt.evaluate.places import Questions, find_places, own_names, own_questions, read_questions
from trlt.evaluate.predictions import matching_lines, predictions_for, predictions_identity, write_prediction_rows
from trlt.evaluate.subtitled import with_subtitles
from trlt.evaluate.unread import unread_outputs
from trlt.recipe import Benchmark, Recipe
from trlt.report import results_table
from trlt.report.benchmarks_table import benchmark_lines
from trlt.report.model_card import add_results
from trlt.report.results_files import write_results
from trlt.rollout import RunFiles, WorkFiles, open_run


def evaluate(
    benches: Annotated[
        Sequence[str], typer.Option("--bench", "-b", help="Benchmark; repeatable. `all`: those of the recipe.")
    ] = (),
    *,
    data: Annotated[
        Sequence[str],
        typer.Option(
            "--data", metavar="[NAME=]FILE", help="Own questions, as one more benchmark named by the file; repeatable."
        ),
    ] = (),
    dataset: Annotated[
        Path | None,
        typer.Option(metavar="FILE.py", help="A data set's file of your own (its code is run); see `trlt dataset check`."),
    ] = None,
    model: ModelName = None,
    recipe_path: RecipeFile = None,
    annotations: Annotated[Path | None, typer.Option(help="Folder of the official files; default: data/<bench>.")] = None,
    videos: Annotated[
        Path | None, typer.Option(help="Folder of the videos; default: data/<bench>/videos, or beside own questions.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="A split other than the test split.")] = None,
    predictions: Annotated[
        Path | None,
        typer.Option(
            help='Score these instead of a model: {"id", "text"} per line, or what lmms-eval or VLMEvalKit wrote (a file, or '
            "the folder of results); needs no videos."
        ),
    ] = None,
    servers: Servers = (),
    vllm: OwnVllm = None,
    columns: ColumnMap = None,
    skip_bad: SkipBad = False,
    list_samples: Annotated[bool, typer.Option("--samples", help="Only write the questions' ids and prompts.")] = False,
    list_benches: Annotated[
        bool, typer.Option("--list", help="Only tell what is known of each benchmark, or of those of --bench.")
    ] = False,
    allow_missing: Annotated[bool, typer.Option("--allow-missing", help="Leave out questions whose video is missing.")] = False,
    think: Think = None,
    as_gqa: Annotated[
        bool | None, typer.Option("--as-gqa/--no-as-gqa", help="Ask multi-choice with the grounded QA template.")
    ] = None,
    subtitles: Annotated[
        bool | None, typer.Option("--subtitles/--no-subtitles", help="Show the benchmark's subtitles in the prompts.")
    ] = None,
    protocol_name: Annotated[
        str | None,
        typer.Option("--protocol", metavar="NAME", help="Whose protocol: paper, official, lmms-eval or vlmevalkit."),
    ] = None,
    samples_per_question: Annotated[
        int | None, typer.Option(help="Completions per question, for their mean, pass@k and majority.", min=1)
    ] = None,
    max_tokens_video: Annotated[int | None, typer.Option(help="Override the recipe's video budget, e.g. 4096.", min=1)] = None,
    paper: Annotated[bool, typer.Option("--paper", help="Show the paper's results alongside.")] = False,
    lmms_eval: Annotated[bool, typer.Option("--lmms-eval", help="Also write the results in lmms-eval's layout.")] = False,
    sets: Overrides = (),
    out: Annotated[Path | None, typer.Option(help="Folder of the run; default: one in runs/.")] = None,
    fresh: Fresh = False,
    retry_errors: RetryErrors = False,
    processes: Processes = 0,
    ray: RayCluster = None,
    no_page: NoPage = False,
    output: Output,
) -> dict[str, Any]:
    """Asks, scores and writes `results.json` and the other files in `docs/results.md`; see `trlt eval --help`.

    Started by `accelerate launch`, `torchrun` or `srun`, the processes share the work; `processes` starts as many here, 0 one a
    local GPU. Benchmarks about the same videos share their clips. With `ray`, a cluster's workers answer, one benchmark after
    the other.

    Raises:
        TrltError: a benchmark, file, model or run folder that can't be used, or missing videos; before any work.
        VideoError: videos that can't be read; the other benchmarks are still scored.
    """
    arguments = dict(locals())
    if list_benches:
        modules = [*map(load, benches), *([open_dataset(str(dataset))] if dataset else [])]
        told = {dataset_name(one): one for one in modules or map(load, names("bench"))}
        described = {name: describe(one, [PAPER, *protocols_of(name)]) for name, one in told.items()}
        output.show(benchmark_lines(described))
        return {"benchmarks": described}
    rank, output = join_ranks(output, fresh=fresh)
    if rank and rank.place and (list_samples or predictions is not None):
        return {}  # the first of a launcher's ranks does it
    flags = {"model.path": model, "eval.think": think, "eval.as_gqa": as_gqa, "eval.max_tokens_video": max_tokens_video}
    flags |= {"eval.subtitles": subtitles, "eval.samples_per_question": samples_per_question}
    flags["eval.protocol"] = protocol_name
    recipe = resolve(recipe_path, sets, flags | data_flags(columns, skip_bad))
    recipe.reward.ready()  # its faults are told before a model is loaded
    mine = own_names(data, data_stem)
    places = find_places(benches, mine, str(dataset) if dataset else None, recipe, annotations, videos, split)
    harness = find_protocol(recipe.eval.protocol, list(places), asked=predictions is None)
    if harness:
        refuse_own_words(recipe, sets, {"--think": think, "--as-gqa": as_gqa, "--max-tokens-video": max_tokens_video})
    asks = {name: harness[name].recipe(recipe) if name in harness else recipe for name in places}
    if list_samples:
        given_again = {"--annotations": annotations, "--split": split, "--recipe": recipe_path, "--map": columns}
        words = [word for flag, value in given_again.items() if value is not None for word in (flag, value)]
        words += [word for one in sets for word in ("--set", one)] + ["--skip-bad"] * skip_bad
        words += ["--subtitles"] * bool(subtitles) + (["--protocol", protocol_name] if protocol_name else [])
        target = out or RUNS / recipe.name / "samples"
        asked_for = {name: named_again(name, mine, dataset) for name in places}
        listed = [_questions(name, place, recipe, target, output, asked=True) for name, place in places.items()]
        return list_questions(listed, asked_for, asks, target, words, output)
    # Before a model is loaded or even looked for: what is wrong with files is told within a second.
    digest = predictions_identity(predictions) if predictions else ""
    if (servers or vllm is not None) and predictions is not None:
        flag = "--server" if servers else "--vllm"
        raise UsageError(f"{flag} and --predictions: one of them answers the questions; leave the other out")
    if ray is not None and predictions is not None:
        raise UsageError("--ray and --predictions: one of them answers the questions; leave the other out")
    check_answerer(servers, vllm, processes, rank)
    if ray is not None:
        check_cluster(processes, servers, rank, vllm)
    default = f"eval-{predictions.stem}" if predictions else f"eval-{Path(recipe.model.path).name}"
    target = out or RUNS / recipe.name / default
    questions = [_questions(name, place, recipe, target, output, asked=not predictions) for name, place in places.items()]
    ready = [open_bench(one, recipe, predictions is None, allow_missing, target) for one in questions]
    given = predictions_for(predictions, [one for bench in ready for one in bench.samples]) if predictions else None
    extra = count_extra(ready, given) if given is not None else 0
    remote = connect(servers, model, recipe, output)
    if given is None and remote is None:
        for one in asks.values():
            refuse_plain(one, "eval", fetch=ray is None)
    identity = {"predictions": digest} if predictions else identity_of(remote, recipe)
    settings = protocol(recipe, recipe.eval, eval_video(recipe))
    of_bench = {name: settings for name in places}
    if harness:
        of_bench = {name: protocol(one, one.eval, eval_video(one)) for name, one in asks.items()}
        of_bench = {name: told | {"harness": harness[name].to_json()} for name, told in of_bench.items()}
        settings |= {"benchmarks": of_bench}
    if recipe.reward.parts or recipe.reward.judge:  # of the rows' rewards; no metric depends on them
        settings["reward_parts"] = recipe.reward.identity()
    asked = [question_set(bench, asks[bench.name], RunFiles(target).replies) for bench in ready]
    for bench in ready if given is None else ():
        try_prompts(asks[bench.name], "eval", bench.samples)
    own = own_servers(vllm, recipe, asked, output, log=RunFiles(target).server_log)
    folder = open_run(
        target,
        "eval",
        recipe,
        model=identity,
        inputs={bench.name: bench.identity for bench in ready},
        protocol=settings,
        sampler=sampler_of(own),
        fresh=fresh,
    )
    if writes_results(rank):
        for bench in ready:
            keep_questions(bench, target)
    if given is None:
        many = f"{counted(len(ready), 'benchmark')}, {counted(sum(len(one.samples) for one in asked), 'question')}"
        output.note(f"eval: {many}, by {named(remote, servers, own, recipe)}; rows in {folder.rows(ready[0].name).parent}")
        files = WorkFiles.several(target / "rows", {one.name: [sample.id for sample in one.samples] for one in asked})
        geometry = geometry_for(recipe.model, output, remote)
        work = Work("eval", recipe, asked, files, geometry, retry_errors, output)
        again = repeated("eval", evaluate, arguments, folder)
        count = 1 if ray is not None else process_count(processes, rank, recipe, own or remote)
        if ray is not None:
            summary = ask_cluster(ray, work)
        else:
            summary = answer(work, rank=rank, count=count, command=again, own=own, remote=remote)
        if not writes_results(rank):
            return {"summary": asdict(summary)}
        if summary.parity:
            folder.note(parity=summary.parity.to_json())
            if count > 1 or ray is not None:  # an engine of this process has said so itself
                output.note(summary.parity.words)
    entries: dict[str, Any] = {}
    unread: list[str] = []
    failed: list[str] = []
    for bench in ready:
        rows = folder.rows(bench.name)
        if given is not None:
            write_prediction_rows(bench.samples, given, rows, asks[bench.name].grader("eval", replies=folder.replies))
        if given is None and (reasons := unpaid(rows)):
            failed.append(f"{bench.name}: {unrewarded(reasons, rows)}")
            continue
        fault = broken_videos(bench, rows, target) if given is None else None
        if fault and not allow_missing:
            unread.append(fault)
            continue
        told = of_bench[bench.name]
        entries[bench.name] = score_bench(bench, asks[bench.name], told, folder, given, extra, harness.get(bench.name))
    results: dict[str, Any] = {}
    if entries:
        results = write_results(folder, entries, settings, paper=paper, lmms_eval=lmms_eval)
        if given is None and not servers and add_results(Path(find(recipe.model.path)), results):
            output.note(f"eval: the model card in {find(recipe.model.path)} has these results now")
        output.show(results_table({"benchmarks": entries}, paper=paper))
        if given is not None and given.matched is not None:
            output.show(*matching_lines(given.matched, {bench.name: bench.samples for bench in ready}, target))
        output.show(*unread_outputs(folder, entries, asked=given is None), f"\nResults: {target / 'results.json'}")
        results = with_page(results, target, output, wanted=not no_page)
    if failed:
        raise TrltError("\n".join([*failed, *unread]))
    if unread:
        raise VideoError("\n".join(unread))
    # Not in results.json: a run that was resumed compares another clip, and its results are those of one that ran through.
    parity = (folder.read_manifest() or {}).get("parity")
    return results | ({"parity": parity} if parity else {})


def _questions(name: str, place: Benchmark, recipe: Recipe, target: Path, output: Output, *, asked: bool) -> Questions:
    """A benchmark's questions; own ones in any form that `--data` takes, whether or not their videos are there."""
    if place.data is None:
        official = read_questions(name, place)
        for note in official.notes:
            output.note(note)
        return with_subtitles(official, recipe, target, output.note, asked=asked)
    video = recipe.video.model_copy(update={"root": place.videos or recipe.video.root})
    # Videos are looked for with those of the other benchmarks, and not at all for predictions.
    opened = open_data(place.data, recipe.model_copy(update={"video": video}), target, output, look=False, subject=f"{name}.")
    path = place.data if "://" in place.data else str(Path(place.data).resolve())
    own = own_questions(name, opened.samples, path, str(opened.root))
    return with_subtitles(own, recipe, target, output.note, asked=asked)
