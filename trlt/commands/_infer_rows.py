"""`trlt infer` over a file of samples: rows that can be resumed, a table, and the page of the report."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from trlt.commands._answerer import identity_of, own_servers, sampler_of
from trlt.commands._cluster import ask_cluster
from trlt.commands._data import data_stem, open_data
from trlt.commands._output import Output
from trlt.commands._probed import words_of
from trlt.commands._row_errors import none_graded, told
from trlt.commands._setup import RUNS, geometry_for, protocol, refuse_plain, try_prompts
from trlt.commands.launch.ranks import Rank
from trlt.commands.launch.shared_work import Work, answer, process_count, writes_results
from trlt.data.find_videos import find_videos
from trlt.errors import counted
from trlt.recipe import Recipe
from trlt.report.page import Page, RowIndex, RunRows, ShownSample, write_page
from trlt.report.page.protocol import Made
from trlt.rollout import QuestionSet, RunFiles, WorkFiles, open_run, read_rows
from trlt.task.prompt import letter, render_span
from trlt.task.sample import Sample
from trlt.task.user_question import stated_spans
from trlt.video.resolve import VideoIndex

if TYPE_CHECKING:
    from trlt.engine.servers.client import Servers

SHOWN = 30
"""Rows of the table."""
FRAME_BYTES = 20_000_000
"""Total size of the frames in the page."""


def infer_rows(
    data: str,
    recipe: Recipe,
    *,
    out: Path | None,
    html: Path | None,
    fresh: bool,
    retry_errors: bool,
    output: Output,
    rank: Rank | None,
    processes: int,
    again: Callable[[RunFiles, Path], Sequence[str]],
    servers: Servers | None = None,
    vllm: int | None = None,
    ray: str | None = None,
) -> dict[str, Any]:
    """Asks every sample once, as `trlt eval` does; an interrupted run resumes.

    `servers` replace a model of this process, and so does vLLM, of which `vllm` servers are started (0: one a local GPU).
    Otherwise as many `processes` share the work (0: one a local GPU), or the ranks of a launcher, of which this is `rank`;
    `again` is the command line of each, from the run's folder and its file of samples. With `ray`, a cluster's workers answer.

    Raises:
        TrltError: samples, videos, a model or a run folder that can't be used.
    """
    run_files = RunFiles(out or RUNS / recipe.name / f"infer-{data_stem(data)}")
    opened = open_data(data, recipe, run_files.out, output)
    samples = opened.samples
    index = VideoIndex(opened.root, recipe.video.downloads, recipe.video.links)
    recipe.reward.ready()  # its faults are told before a model is loaded
    settings = recipe.eval
    try_prompts(recipe, "eval", samples)
    if servers is None:
        refuse_plain(recipe, "eval", fetch=ray is None)
    grader = recipe.grader("eval", replies=run_files.replies)
    asked = QuestionSet("", samples, index, recipe.video, settings=settings, n=1, grader=grader)
    own = own_servers(vllm, recipe, [asked], output, log=run_files.server_log)
    folder = open_run(
        run_files.out,
        "infer",
        recipe,
        model=identity_of(servers, recipe),
        inputs={"data": opened.identity},
        protocol=protocol(recipe, settings, recipe.video),
        sampler=sampler_of(own),
        fresh=fresh,
    )
    if rank is None or rank.place == 0:
        opened.write()
    rows = folder.rows("infer")
    by = servers.model if servers else recipe.model.path
    output.note(f"infer: {counted(len(samples), 'sample')}, by {by}; rows in {rows}")
    files = WorkFiles.single(rows, [sample.id for sample in samples])
    work = Work("infer", recipe, [asked], files, geometry_for(recipe.model, output, servers), retry_errors, output)
    count = 1 if ray is not None else process_count(processes, rank, recipe, own or servers)
    if ray is not None:
        summary = ask_cluster(ray, work)
    else:
        summary = answer(work, rank=rank, count=count, command=again(folder, opened.path), own=own, remote=servers)
    if not writes_results(rank):
        return {"rows": str(rows), "summary": asdict(summary)}
    if summary.parity:
        folder.note(parity=summary.parity.to_json())
        if count > 1 or ray is not None:  # an engine of this process has said so itself
            output.note(summary.parity.words)
    if summary.errors == summary.rows:
        raise none_graded(rows)
    found = list(read_rows(rows))
    means = _means(found)
    output.show(_table(samples, found))
    if len(found) > SHOWN:
        output.show(f"{len(found) - SHOWN:,} more rows")
    output.show("", "  ".join(f"{name}: {value:.3f}" for name, value in means.items() if value is not None))
    if errors := told(found, samples):
        output.show(errors)
    output.show(f"Rows: {rows}")
    result = {"rows": str(rows), "manifest": str(folder.manifest), "summary": asdict(summary), "means": means}
    if html is not None:
        _write_page(html, opened.path, samples, index, folder, rows, output)
        result["page"] = str(html)
    return result


def _means(rows: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """Mean scores over rows without an error; None where a score applies to none of them."""
    scores = [row["scores"][0] for row in rows if row["error"] is None]
    kept = {name: [score[name] for score in scores if score[name] is not None] for name in ("accuracy", "tiou", "format")}
    return {name: math.fsum(values) / len(values) if values else None for name, values in kept.items()}


def _table(samples: Sequence[Sample], rows: Sequence[Mapping[str, Any]]) -> Table:
    """One row per sample: the question, the model's answer, and the right one."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("id", "question", "answer", "gold", "IoU"):
        table.add_column(name, overflow="fold", justify="right" if name == "IoU" else "left")
    by_id = {sample.id: sample for sample in samples}
    for row in rows[:SHOWN]:
        sample = by_id[row["id"]]
        if row["error"] is not None:
            table.add_row(Text(sample.id), Text(sample.question), Text(row["error"], style="red"), Text(_gold(sample)), "")
            continue
        answer, score = row["answers"][0], row["scores"][0]
        right = score["accuracy"] == 1 if score["accuracy"] is not None else score["tiou"] >= 0.5
        iou = "" if score["tiou"] is None else f"{score['tiou']:.2f}"
        said = Text(_said(sample, answer), style="green" if right else "")
        table.add_row(Text(sample.id), Text(sample.question), said, Text(_gold(sample)), iou)
    return table


def _said(sample: Sample, answer: Mapping[str, Any]) -> str:
    parts = []
    if answer["option"] is not None and sample.options:
        parts.append(f"{letter(answer['option'])}. {sample.options[answer['option']]}")
    elif sample.task != "grounding" and answer["payload"] is not None:
        parts.append(answer["payload"])
    parts += map(render_span, stated_spans(answer))
    return ", ".join(parts) or "not readable"


def _gold(sample: Sample) -> str:
    spans = [render_span(span) for span in sample.spans or ()]
    return ", ".join([*([sample.answer] if sample.answer is not None else []), *spans])


def _write_page(
    html: Path, data: Path, samples: Sequence[Sample], index: VideoIndex, folder: RunFiles, rows: Path, output: Output
) -> None:
    """The report's page over these rows alone: its browser of samples, and the protocol."""
    placed = {one.id: one for one in find_videos(samples, index).samples}
    known = {}
    for sample in samples:
        one = placed.get(sample.id)
        known[sample.id] = ShownSample.of(one, index.find(one.video)) if one is not None else ShownSample.of(sample)
    recipe = folder.recipe.read_text(encoding="utf-8")
    with RowIndex([rows]) as found, output.progress("frames", "clips") as progress:
        made = Made(folder.out.name, "infer", folder.read_manifest() or {}, recipe)
        runs = [RunRows(folder.out.name, "eval", found, None, words_of(folder))]
        page = Page(data.name, made=[made], runs=runs, questions=known)
        written = write_page(page, html, frame_bytes=FRAME_BYTES, progress=progress)
    output.show(f"Page: {html} ({written.bytes / 1e6:.1f} MB)")
