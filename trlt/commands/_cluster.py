"""A probe on a Ray cluster: the recipe's model on its workers, the rows written here."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from trlt.commands._output import Output
from trlt.commands._setup import make_engine
from trlt.commands.launch.ranks import Rank
from trlt.engine.model import SHIPPED
from trlt.errors import UsageError
from trlt.recipe import Model, Recipe
from trlt.rollout import Summary
from trlt.rollout.ray.cluster import require_ray, run_on_cluster
from trlt.task.sample import Sample
from trlt.video.geometry import Geometry


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


def ask_cluster(
    address: str,
    recipe: Recipe,
    geometry: Geometry,
    samples: Sequence[Sample],
    root: Path,
    rows: Path,
    retry_errors: bool,
    output: Output,
) -> Summary:
    """Answers the samples on the cluster at `address` (see `trlt.rollout.ray.cluster.session`)."""
    with output.progress("probe", "answers") as progress:
        return run_on_cluster(
            samples,
            address=address,
            make_generator=partial(make_engine, _on_workers(recipe.model)),
            gpus=recipe.model.device != "cpu",
            video=recipe.video,
            geometry=geometry,
            root=root,
            settings=recipe.probe,
            n=recipe.probe.n,
            grader=recipe.grader("probe"),
            out=rows,
            retry_errors=retry_errors,
            progress=progress,
            on_event=output.note,
        )


def _on_workers(model: Model) -> Model:
    """The model's section for a process with another working directory that sees only its own GPU."""
    folder = Path(model.path).expanduser()
    path = str(folder.resolve()) if model.path not in SHIPPED and folder.exists() else model.path
    device = "cuda" if model.device.startswith("cuda") else model.device
    return model.model_copy(update={"path": path, "device": device})
