"""A probe or an evaluation on a Ray cluster: the recipe's model on its workers, the rows written here."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from trlt.commands._setup import make_engine
from trlt.commands.launch.ranks import Rank
from trlt.commands.launch.shared_work import Work
from trlt.engine.agreement import join
from trlt.engine.model import SHIPPED
from trlt.errors import ResumeError, UsageError
from trlt.recipe import Model
from trlt.rollout import Summary
from trlt.rollout.own_rows import OwnRows
from trlt.rollout.ray.cluster import require_ray, run_on_cluster
from trlt.rollout.shared.leases import at_work


def check_cluster(processes: int, servers: Sequence[str], rank: Rank | None, vllm: int | None = None) -> None:
    """Refuses options that don't work with a cluster, before any work.

    Raises:
        UsageError: several processes, servers or a launcher; or Ray isn't installed.
    """
    if servers:
        raise UsageError("--ray: its workers hold the model themselves; leave out --server, or --ray")
    if vllm is not None:
        raise UsageError("--ray: its workers hold the model themselves; leave out --vllm, or --ray")
    if processes > 1:
        raise UsageError("--ray: the cluster itself starts one worker per core and one model per GPU; leave out --processes")
    if rank:
        raise UsageError("--ray: one process drives the cluster; start it without a launcher")
    require_ray()


def ask_cluster(address: str, work: Work) -> Summary:
    """Answers all questions on the cluster at `address` (see `trlt.rollout.ray.cluster.session`), one set after the other.

    Raises:
        ResumeError: other processes are at work on the rows.
        TrltError: as `run_on_cluster`.
    """
    if at_work(work.files.folder):
        raise ResumeError(f"{work.files.folder}: other processes are at work on it; wait for their end, or leave out --ray")
    with OwnRows(work.files, []):
        pass  # what several processes have left is in the files from here on
    recipe, done = work.recipe, list[Summary]()
    for one in work.sets:
        assert one.videos is not None
        with work.output.progress(f"{work.command} {one.name}".rstrip(), "answers") as progress:
            done.append(
                run_on_cluster(
                    one.samples,
                    address=address,
                    make_generator=partial(make_engine, _on_workers(recipe.model)),
                    gpus=recipe.model.device != "cpu",
                    video=one.video,
                    geometry=work.geometry,
                    root=one.videos.root,
                    settings=one.settings,
                    n=one.n,
                    grader=one.grader,
                    out=work.files.files[one.name],
                    retry_errors=work.retry_errors,
                    progress=progress,
                    on_event=work.output.note,
                )
            )
    return _together(done)


def _together(done: Sequence[Summary]) -> Summary:
    return Summary(
        rows=sum(one.rows for one in done),
        resumed=sum(one.resumed for one in done),
        errors=sum(one.errors for one in done),
        tokens=sum(one.tokens for one in done),
        seconds=sum(one.seconds for one in done),
        waited_s=sum(one.waited_s for one in done),
        parity=join([one.parity.to_json() for one in done if one.parity]),
        unforeseen=tuple(dict.fromkeys(trace for one in done for trace in one.unforeseen)),
    )


def _on_workers(model: Model) -> Model:
    """The model's section for a process with another working directory that sees only its own GPU."""
    folder = Path(model.path).expanduser()
    path = str(folder.resolve()) if model.path not in SHIPPED and folder.exists() else model.path
    device = "cuda" if model.device.startswith("cuda") else model.device
    return model.model_copy(update={"path": path, "device": device})
