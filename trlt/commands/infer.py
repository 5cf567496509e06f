"""`trlt infer`: one question about one video, or a file of samples."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from trlt.commands._answerer import check_answerer, named, own_servers
from trlt.commands._cluster import check_cluster
from trlt.commands._data import data_flags
from trlt.commands._infer_rows import infer_rows
from trlt.commands._output import Output
from trlt.commands._setup import connect, geometry_for, make_engine, refuse_plain, resolve, try_prompts
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
    SkipMissing,
    Think,
)
from trlt.commands.launch.command_line import repeated
from trlt.commands.launch.ranks import find_rank
from trlt.commands.launch.shared_work import join_ranks
from trlt.data.own import is_hub, is_table
from trlt.engine.model import locate
from trlt.errors import DataError, UsageError
from trlt.report import timeline
from trlt.rollout import QuestionSet, RunFiles, request
from trlt.task.answer import Answer, parse_span
from trlt.task.grade import Grader
from trlt.task.prompt import letter, render_span
from trlt.task.sample import Sample, Span
from trlt.task.user_question import answer_values, question_sample
from trlt.video.remote import fetch, is_remote
from trlt.video.resolve import on_disk


def infer(
    video: Annotated[
        str | None,
        typer.Argument(
            help="Video file, folder of numbered frames, address (`video.downloads`), or a file of samples or questions "
            "(.jsonl, .json, .csv, .tsv, .parquet)."
        ),
    ] = None,
    question: Annotated[
        str | None, typer.Argument(help="The question; for grounding, the event. Samples have their own.")
    ] = None,
    *,
    data: Annotated[
        str | None, typer.Option(metavar="FILE", help="File of samples or questions, as other commands take it.")
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(help="multi_choice, grounding or grounded_qa; default: multi_choice with options, else grounding."),
    ] = None,
    options: Annotated[Sequence[str], typer.Option("--option", "-o", help="An answer to choose from; repeatable.")] = (),
    several: Annotated[
        bool, typer.Option("--several", help="Ask for all times at which the event happens, the most certain first.")
    ] = False,
    model: ModelName = None,
    servers: Servers = (),
    vllm: OwnVllm = None,
    recipe_path: RecipeFile = None,
    sets: Overrides = (),
    think: Think = None,
    html: Annotated[Path | None, typer.Option(help="HTML page of the answer, or of all samples; it opens from disk.")] = None,
    clip_out: Annotated[
        Path | None,
        typer.Option("--clip", metavar="OUT.mp4", help="Cut the predicted span out of the video, exact to the frame."),
    ] = None,
    which: Annotated[
        int | None, typer.Option("--span", metavar="N", help="Which of several spans in the answer to cut.", min=1)
    ] = None,
    videos: Annotated[
        Path | None, typer.Option(help="Folder that the samples' paths are relative to; default: where prepare found them.")
    ] = None,
    columns: ColumnMap = None,
    skip_bad: SkipBad = False,
    skip_missing: SkipMissing = False,
    out: Annotated[
        Path | None, typer.Option(help="For samples: folder of the run, or a .jsonl file of rows; default: a folder in runs/.")
    ] = None,
    fresh: Fresh = False,
    retry_errors: RetryErrors = False,
    processes: Processes = 0,
    ray: RayCluster = None,
    output: Output,
) -> dict[str, Any]:
    """Asks, and shows reasoning, answer and spans; see `trlt infer --help`.

    A file of samples is shared by several processes, or asked on a Ray cluster, as in `trlt probe`.

    Raises:
        TrltError: a flag, video or model that can't be used.
    """
    arguments = dict(locals())
    if html is not None and html.suffix != ".html":
        raise UsageError(f"--html {html}: a name that ends in .html is needed")
    if which is not None and clip_out is None:
        raise UsageError("--span: says which span --clip cuts; give both")
    rank = find_rank(os.environ)
    check_answerer(servers, vllm, processes, rank)
    if ray is not None:
        check_cluster(processes, servers, rank, vllm)
    flags = {"model.path": model, "eval.think": think, "video.root": videos} | data_flags(columns, skip_bad, skip_missing)
    if (video is None) == (data is None):
        given_both = "one of them names what is asked; leave the other out" if video is not None else "give one of them"
        raise UsageError(f"a video (or a file of questions) and --data: {given_both}")
    video = str(video if data is None else data)  # or a Path, from Python
    if data is not None or is_hub(video) or (is_table(video) and not is_remote(video)):
        given = {"a question": question, "--task": task, "--option": options, "--several": several, "--clip": clip_out}
        if names := [name for name, value in given.items() if value]:
            raise UsageError(f"{', '.join(names)}: goes with one video; {video} holds samples with questions of their own")
        rank, output = join_ranks(output, fresh=fresh)
        recipe = resolve(recipe_path, sets, flags)

        def again(folder: RunFiles, samples: Path) -> list[str]:
            return repeated("infer", infer, arguments, folder, video=None, data=samples, html=None)

        return infer_rows(
            video,
            recipe,
            out=out,
            html=html,
            fresh=fresh,
            retry_errors=retry_errors,
            output=output,
            rank=rank,
            processes=processes,
            again=again,
            servers=connect(servers, model, recipe, output),
            vllm=vllm,
            ray=ray,
        )
    given_rows: dict[str, object] = {"--videos": videos, "--out": out, "--fresh": fresh, "--retry-errors": retry_errors}
    given_rows |= {
        "--ray": ray,
        "--processes": processes,
        "--map": columns,
        "--skip-bad": skip_bad,
        "--skip-missing": skip_missing,
    }
    if names := [name for name, value in given_rows.items() if value]:
        raise UsageError(f"{', '.join(names)}: goes with samples (a .jsonl file, or a table), not with one video")
    if question is None:
        raise UsageError("what is asked? give the question after the video; for grounding, the event")
    recipe = resolve(recipe_path, sets, flags)
    path = Path(video)
    if is_remote(video):
        downloads = recipe.video.downloads
        path = fetch(video, Path(downloads) if downloads else None)
    path = on_disk(path)
    sample = question_sample(Path(os.path.realpath(path)).name, question, task, options, flag="--", several=several)
    if clip_out is not None:
        from trlt.video.cut import check_target

        if sample.task == "multi_choice":
            raise UsageError("--clip: multi_choice asks for no span; try --task grounding or grounded_qa")
        check_target(clip_out, path)
    try_prompts(recipe, "eval", [sample])
    remote = connect(servers, model, recipe, output)
    asked = QuestionSet("", [sample], None, recipe.video, settings=recipe.eval, n=1, grader=Grader(recipe.form("eval")))
    own = own_servers(vllm, recipe, [asked], output)
    if remote is None:
        locate(recipe.model.path)
        refuse_plain(recipe, "eval")
    from trlt.engine.forest import Tree
    from trlt.engine.sampling import Sampling
    from trlt.video.workers import ClipLoader

    with ClipLoader(recipe.video, geometry_for(recipe.model, output, remote)) as loader:
        clip = loader.load(path)
    settings, form = recipe.eval, recipe.form("eval")
    by = named(remote, servers, own, recipe)
    output.note(f"{clip.duration:.1f} s, {len(clip.frames)} frames, {clip.tokens} tokens; asking {by}")
    engine = own or remote or make_engine(recipe.model, output.note)
    sampling = Sampling(settings.temperature, settings.top_p, settings.max_new_tokens, settings.seed)
    with own or nullcontext():
        [[[completion]]] = engine.generate([Tree(clip, (request(sample, form, 1),))], sampling)
    answer = form.read(sample, completion.text)
    _show(answer, completion.text, sample, clip.duration, completion.finished, output)
    values = answer_values(answer, completion.text, finished=completion.finished)
    result: dict[str, Any] = {"video": str(path), "duration": clip.duration, "task": sample.task, **values}
    result["parity"] = engine.parity.to_json() if engine.parity else None
    if html is not None:
        from trlt.commands._answer_page import write_answer_page

        name = remote.model if remote else None
        write_answer_page(html, sample, values, clip, name or Path(recipe.model.path).name)
        output.show(f"\nPage: {html}")
        result["page"] = str(html)
    if clip_out is not None:
        result["clip"] = _cut(path, _chosen(answer, completion.text, which), clip_out, output)
    return result


_STATED = re.compile(r"[\d:.]*\d\s*s?\s*(?:to|-|–)\s*[\d:.]*\d")


def _chosen(answer: Answer, text: str, which: int | None) -> Span:
    """The span to cut.

    Raises:
        DataError: the answer states none, or several of which none was chosen.
        UsageError: there is no such one.
    """
    if answer.span is not None:
        spans = list(answer.spans)
    else:
        found = (parse_span(stated) for stated in _STATED.findall(answer.payload or ""))
        spans = [span for span in found if span is not None]
    if not spans:
        said = answer.payload if answer.payload is not None else text
        raise DataError(f"--clip: the answer states no span to cut: {said.strip()[:200]!r}; ask again in other words")
    listed = ", ".join(f"{place}: {render_span(span)}" for place, span in enumerate(spans, 1))
    if which is not None and which > len(spans):
        raise UsageError(f"--span {which}: the answer states {len(spans)} ({listed})")
    if which is None and len(spans) > 1:
        raise DataError(f"--clip: the answer states several spans ({listed}); choose one with --span")
    return spans[(which or 1) - 1]


def _cut(video: Path, span: Span, out: Path, output: Output) -> dict[str, Any]:
    from trlt.video.cut import cut

    made = cut(video, span, out)
    for warning in made.warnings:
        output.note(f"warning: {video}: {warning}")
    sound = "with sound" if made.sound else "without sound"
    output.show(f"\nClip: {out} ({made.frames} frames, {made.start:.2f} to {made.end:.2f} s, {sound})")
    values = {"path": str(out), "start": made.start, "end": made.end, "frames": made.frames, "sound": made.sound}
    return values | {"warnings": list(made.warnings)}


def _show(answer: Answer, text: str, sample: Sample, duration: float, finished: bool, output: Output) -> None:
    if answer.reasoning:
        output.show(Text(answer.reasoning, style="dim italic"), "")
    if answer.option is not None and sample.options:
        output.show(Text(f"{letter(answer.option)}. {sample.options[answer.option]}", style="bold"))
    elif answer.payload is not None:
        output.show(Text(answer.payload, style="bold"))
    else:
        output.show(Text("No answer in the form that was asked for. The model wrote:", style="yellow"), Text(text))
    if answer.span:
        output.show("", timeline(duration, [("video", answer.spans)]))
    if not finished:
        output.note("cut off at the token limit; raise it with --set eval.max_new_tokens=…")
