"""`trlt probe --estimate`: tokens, hours and disk of a probe, from a small part of it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from trlt.commands._answerer import check_answerer, identity_of, own_servers, sampler_of
from trlt.commands._data import data_flags, data_stem, open_data
from trlt.commands._output import Output
from trlt.commands._setup import RUNS, connect, geometry_for, make_engine, protocol, refuse_plain, resolve, try_prompts
from trlt.commands.launch.ranks import count_processes, find_rank
from trlt.errors import ResumeError, UsageError
from trlt.recipe import Recipe, Video
from trlt.rollout import QuestionSet, RunFiles, environment, open_run
from trlt.task.sample import Sample
from trlt.video.resolve import VideoIndex

if TYPE_CHECKING:
    from trlt.engine.forest import PromptRequest
    from trlt.engine.inputs import InputBuilder
    from trlt.rollout.estimate.probe_cost import CostEstimate, SamplePool
    from trlt.rollout.estimate.stratified import EstimatedMetric

LABELS = {
    "tokens": "tokens",
    "video_tokens": "  of videos, once per clip",
    "prompt_tokens": "  of prompts, once per sample",
    "sampled_tokens": "  sampled",
    "hours": "time",
    "model_hours": "  of the model",
    "waiting_hours": "  waiting for videos",
    "decode_hours": "time of decoding processes",
    "store_bytes": "frame store, to be added",
    "row_bytes": "rows",
    "broken_share": "clips that can't be read",
}
"""What the result holds, in the order of the table."""
COVERS = (
    "The intervals (95%) cover which clips were drawn, and how the times of this short run vary. They don't cover other "
    "hardware, other load on it, files that the system holds in memory already, or what not one drawn clip shows. Time is "
    "without loading the model."
)


def estimate(
    data: str,
    *,
    n: int | None = None,
    recipe_path: Path | None = None,
    model: str | None = None,
    videos: Path | None = None,
    columns: str | None = None,
    skip_bad: bool = False,
    skip_missing: bool = False,
    sets: Sequence[str] = (),
    out: Path | None = None,
    fresh: bool = False,
    retry_errors: bool = False,
    processes: int = 1,
    servers: Sequence[str] = (),
    vllm: int | None = None,
    ray: str | None = None,
    clips: int | None = None,
    output: Output,
) -> dict[str, Any]:
    """Measures a drawn part of what `trlt probe` with the same arguments would do; see `trlt probe --help`.

    The run's folder isn't changed, nor made; with `fresh`, what is in it counts as forgotten. Clips that are decoded stay in
    the frame store. One process measures; of several it is assumed that they share the work evenly, and don't slow each other.

    The arguments are those of `probe`, but for `clips`: how many are measured, where None takes what the interval of the time
    needs. `ray` is refused, and with `servers` or `vllm`, tokens of prompts aren't known.

    Raises:
        TrltError: a recipe, file, model or run folder that can't be used.
    """
    if find_rank(os.environ):
        raise UsageError("--estimate: one process measures; start it without a launcher, and name the run's --processes")
    if ray is not None:
        raise UsageError("--estimate: a cluster isn't measured; leave out --ray, and give its GPUs as --processes")
    check_answerer(servers, vllm, processes)
    flags = {"probe.n": n, "model.path": model, "video.root": videos} | data_flags(columns, skip_bad, skip_missing)
    recipe = resolve(recipe_path, sets, flags)
    recipe.reward.ready()  # its faults are told before a model is loaded
    run = RunFiles(out or RUNS / recipe.name / f"probe-{data_stem(data)}")
    opened = open_data(data, recipe, run.out, output)
    samples = opened.samples
    index = VideoIndex(opened.root, recipe.video.downloads, recipe.video.links)
    try_prompts(recipe, "probe", samples)
    remote = connect(servers, model, recipe, output)
    if remote is None:
        refuse_plain(recipe, "probe")
    drawn, grader = recipe.probe, recipe.grader("probe", replies=run.replies)
    asked = QuestionSet("", samples, index, recipe.video, settings=drawn, n=drawn.n, grader=grader)
    own = own_servers(vllm, recipe, [asked], output)
    generator = own or remote
    if not fresh:
        _compare(run, recipe, identity_of(remote, recipe), opened.identity, sampler_of(own))
    from trlt.rollout.estimate.probe_cost import clips_for, look, measure, pending

    left = samples if fresh else pending(samples, run.rows("probe"), retry_errors=retry_errors)
    geometry = geometry_for(recipe.model, output, remote)
    pool = look(left, index, recipe.video, geometry)
    if not pool.groups:
        output.show(f"Nothing to estimate: {len(samples) - len(left):,} samples have rows, {pool.missing:,} have no video")
        return _counts(samples, left, pool) | {"measured": None, "metrics": {}}
    if clips is None:
        clips = clips_for(pool, recipe.probe, recipe.probe.n)
    output.note(
        f"estimate: {min(clips, len(pool.groups)):,} of {len(pool.groups):,} clips, {recipe.probe.n} answers per sample"
    )
    text_tokens = None
    if generator is None:
        engine = make_engine(recipe.model, output.note)
        text_tokens = partial(_text_tokens, engine.builder, geometry.temporal)
    there = _store_bytes(recipe.video)
    with ExitStack() as ends:
        if own:
            ends.enter_context(own).start()
        folder = ends.enter_context(tempfile.TemporaryDirectory(prefix="trlt-estimate-"))
        progress = ends.enter_context(output.progress("estimate", "answers"))
        found = measure(
            pool,
            clips=clips,
            engine=generator or engine,
            video=recipe.video,
            videos=index,
            settings=recipe.probe,
            n=recipe.probe.n,
            grader=grader,
            folder=Path(folder),
            geometry=geometry,
            text_tokens=text_tokens,
            progress=progress,
        )
    count = 1 if generator else count_processes(processes, None, recipe.model.device)
    metrics = _metrics(found, count)
    store = {"folder": recipe.video.store, "bytes_there": there, "bound_bytes": int(recipe.video.store_gb * 1e9)}
    measured = {
        name: getattr(found, name) for name in ("clips", "samples", "stretches", "seconds", "broken", "error", "fixed_s")
    }
    result = _counts(samples, left, pool) | {
        "processes": count,
        "hardware": environment()["hardware"],
        "measured": measured,
        "metrics": {name: asdict(metrics[name]) for name in LABELS if name in metrics},
        "store": store,
    }
    _show(result, metrics, output)
    return result


def _compare(
    run: RunFiles, recipe: Recipe, identity: Mapping[str, Any], source: Mapping[str, Any], sampler: Mapping[str, Any] | None
) -> None:
    """Raises what `probe` would raise of a folder that belongs to another run; looks at copies, and leaves it as it is."""
    with tempfile.TemporaryDirectory(prefix="trlt-estimate-") as folder:
        copy = RunFiles(Path(folder) / run.out.name)
        for there, new in ((run.recipe, copy.recipe), (run.manifest, copy.manifest)):
            if there.is_file():
                new.parent.mkdir(exist_ok=True)
                shutil.copyfile(there, new)
        try:
            inputs = {"data": source}
            made = protocol(recipe, recipe.probe, recipe.video)
            open_run(copy.out, "probe", recipe, model=identity, inputs=inputs, protocol=made, sampler=sampler)
        except ResumeError as error:
            raise ResumeError(str(error).replace(str(copy.out), str(run.out))) from None


def _text_tokens(builder: InputBuilder, temporal: int, request: PromptRequest, stamps: Sequence[float]) -> int:
    """Tokens of a prompt besides those of its video: the questions, marks, and times where prompts state them.

    Args:
        builder: Of the model.
        temporal: Frames that become one temporal patch.
        request: The prompt.
        stamps: Seconds of each frame.
    """
    import torch

    from trlt.engine.inputs import ClipInputs

    # Of as many patches as the clip, with one token each.
    patches = len(stamps) // temporal
    nothing = ClipInputs(None, torch.tensor([[patches, 2, 2]]), 1.0, patches, stamps=tuple(stamps))
    prompt = builder.prompt(request.system, request.user, nothing, think=request.think)
    return len(prompt.prefix) + len(prompt.suffix) - nothing.tokens


def _store_bytes(settings: Video) -> int | None:
    """What the frame store holds; None where there is none."""
    if settings.store is None:
        return None
    from trlt.video.clip_cache import ClipCache

    return ClipCache(settings.store, int(settings.store_gb * 1e9)).info().bytes


def _counts(samples: Sequence[Sample], left: Sequence[Sample], pool: SamplePool) -> dict[str, Any]:
    return {
        "samples": pool.samples,
        "clips": len(pool.groups),
        "resumed": len(samples) - len(left),
        "missing": pool.missing,
    }


def _metrics(found: CostEstimate, processes: int) -> dict[str, EstimatedMetric]:
    """Seconds of one process become hours of all of them."""
    from trlt.rollout.estimate.stratified import EstimatedMetric

    def hours(name: str, divisor: int, fixed_s: float = 0.0) -> EstimatedMetric:
        one = found.metrics[name]
        values = (None if s is None else (s / divisor + fixed_s) / 3600 for s in (one.total, one.low, one.high))
        total, low, high = values
        assert total is not None
        return EstimatedMetric(total, low, high)

    return found.metrics | {
        "hours": hours("wall_s", processes, found.fixed_s),
        "model_hours": hours("model_s", processes),
        "waiting_hours": hours("waiting_s", processes),
        "decode_hours": hours("decode_s", 1),
    }


def _show(result: Mapping[str, Any], metrics: Mapping[str, EstimatedMetric], output: Output) -> None:
    measured, store = result["measured"], result["store"]
    there = "".join(
        f", {result[key]:,} {words}" for key, words in (("resumed", "have rows"), ("missing", "have no video")) if result[key]
    )
    output.show(
        f"{result['samples']:,} samples on {result['clips']:,} clips are to be asked{there}. "
        f"Measured: {measured['samples']:,} on {measured['clips']:,}, in {_time(measured['seconds'] / 3600)}"
    )
    table = Table()
    for title in ("", "estimate", "95% interval"):
        table.add_column(title, justify="left" if not title else "right")
    for name, label in LABELS.items():
        if name in metrics:
            one = metrics[name]
            interval = "" if one.low is None or one.high is None else f"{_text(name, one.low)} to {_text(name, one.high)}"
            table.add_row(label, _text(name, one.total), interval)
    output.show(table)
    if measured["stretches"] < 2:
        output.show("Too few clips for an interval of the time, which holds start and end of the short run: measure more")
    if result["processes"] > 1:
        output.show(f"Time is that of {result['processes']} processes which don't slow each other; one was measured.")
    if measured["error"] is not None:
        output.show(f"{measured['broken']:,} of the measured clips can't be read; the first: {measured['error']}")
    added = metrics["store_bytes"]
    if store["folder"] is None:
        output.show("The recipe names no frame store (video.store): clips are decoded each time")
    elif store["bytes_there"] + (added.high or added.total) > store["bound_bytes"]:
        output.show(
            f"{store['folder']} is bounded at {_bytes(store['bound_bytes'])} and holds {_bytes(store['bytes_there'])}: it may "
            "not hold all clips, and what goes is decoded again; raise video.store_gb"
        )
    else:
        output.show(f"The measured clips stay in {store['folder']}")
    output.show(COVERS)


def _text(name: str, value: float) -> str:
    if name.endswith("hours"):
        return _time(value)
    if name.endswith("bytes"):
        return _bytes(value)
    return f"{value:.1%}" if name.endswith("share") else f"{value:,.0f}"


def _time(hours: float) -> str:
    if hours >= 1:
        return f"{hours:,.1f} h"
    return f"{60 * hours:.1f} min" if hours >= 1 / 60 else f"{3600 * hours:.1f} s"


def _bytes(size: float) -> str:
    return f"{size / 1e9:,.2f} GB" if size >= 1e8 else f"{size / 1e6:,.2f} MB"
