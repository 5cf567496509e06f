"""The loop on a Ray cluster: CPU workers decode, GPU workers run the model, and the driver writes each row as it arrives.

A pipeline of Ray Data that outlives the death of workers and machines; see docs/decisions/ray.md. The rows are those of
`loop.run`. Ray is an extra, imported only on demand.
"""

from __future__ import annotations

import logging
import math
import os
import socket
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from trlt.engine.agreement import join
from trlt.errors import DecoderDiedError, ResumeError, TrltError, UsageError, counted
from trlt.errors.faults import Surprises, fault_of
from trlt.errors.interruption import Interruption
from trlt.recipe import Decoding, Video
from trlt.rollout.loop import CompletionGenerator, Progress, Summary
from trlt.rollout.question_sets import samples_by_clip
from trlt.rollout.ray.cluster_workers import Answering, WorkerSettings, decode, read_error, read_said, sample_table
from trlt.rollout.row import Generated, error_row, to_row, ungraded_row
from trlt.rollout.rows_file import RowFile
from trlt.rollout.shared.leases import at_work
from trlt.rollout.shared.rank_files import absorb
from trlt.rollout.shared.work_files import WorkFiles
from trlt.task.grade import Grader
from trlt.task.sample import Sample
from trlt.video.geometry import Geometry

LOCAL = "local"
"""The address that starts a cluster of this machine alone."""
PIECES = 10_000
"""Maximum number of decoding tasks per round: Ray tracks each one."""
MOST_CLIPS = 32
"""Maximum number of clips per batch for a model (10 MB each at 2048 tokens)."""
WAVES = 4
"""Batch size for a model, in multiples of the completions decoded at once: at a batch's end the model runs empty."""
EVEN = 4
"""Minimum number of batches per model in a small run, so that all end together."""
TRIES = 2
"""Times that Ray retries a dead worker's task; missing samples are then asked again in another round."""
REACH_S = 10.0
"""Timeout for a connection to the cluster's head."""
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",
}
"""Defaults of Ray's environment: no usage statistics, and no output between a command's lines (its own files have all of
it)."""


def require_ray() -> None:
    """Imports Ray, with `ENVIRONMENT`.

    Raises:
        UsageError: it isn't installed.
    """
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    for name in ("ray", "ray.data"):
        try:
            import_module(name)
        except ModuleNotFoundError as error:
            raise UsageError(
                f"--ray: needs {error.name}, which isn't installed; it comes with: pip install 'trlt[ray]'"
            ) from None


@contextmanager
def session(address: str) -> Iterator[None]:
    """Joins a Ray cluster, and leaves it at the end, which ends everything that runs there for this process.

    Args:
        address: `local` starts one on this machine; `auto` finds the one that this machine belongs to; else `host:port`.

    Raises:
        UsageError: Ray isn't installed, there is no such cluster, or this process has joined one already.
    """
    require_ray()
    import ray

    try:
        _reach(address)
        dashboard = False if address == LOCAL else None
        ray.init(address=address, include_dashboard=dashboard, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, ValueError, RuntimeError) as error:
        raise UsageError(
            f"--ray {address}: no cluster can be joined ({error}); run the command on a machine of the cluster, with auto or "
            f"its host:port, or give {LOCAL}"
        ) from None
    try:
        with Interruption():  # in place of Ray's handlers, which end a process with traces of its own and another exit code
            yield
    finally:
        ray.shutdown()


def _reach(address: str) -> None:
    """Checks whether anything listens at `host:port`; Ray would try for minutes.

    Raises:
        OSError: nothing does.
        ValueError: it isn't an address of that form.
    """
    if address in (LOCAL, "auto"):
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or "/" in host:
        raise ValueError("not host:port")
    socket.create_connection((host.strip("[]"), int(port)), timeout=REACH_S).close()


def run_on_cluster(
    samples: Sequence[Sample],
    *,
    address: str,
    make_generator: Callable[[], CompletionGenerator],
    gpus: bool,
    video: Video,
    root: Path,
    settings: Decoding,
    n: int,
    grader: Grader,
    out: Path,
    geometry: Geometry = Geometry(),
    retry_errors: bool = False,
    progress: Progress | None = None,
    on_event: Callable[[str], None] | None = None,
) -> Summary:
    """Asks every sample n times, as `loop.run`, on a Ray cluster.

    Args:
        samples: With unique ids.
        address: Of the cluster, see `session`.
        make_generator: Loads the model, on a worker; is pickled.
        gpus: Each model takes a GPU if the cluster has any; else one per machine runs on the CPU.
        video: How clips are decoded; `workers: 0` does so without limits of time and memory.
        root: Folder that the samples' paths are relative to, under this path on every machine.
        settings: How completions are sampled.
        n: Completions per sample.
        grader: How samples are asked, and what completions earn; this process alone grades.
        out: The JSONL file of rows, which this process alone writes.
        geometry: Of the model.
        retry_errors: Ask samples again whose row holds an error.
        progress: Called with each row, in completions: those of unfinished samples are on the workers.
        on_event: Called when work was lost with a worker.

    Returns:
        With `waited_s` 0: the models' waiting time is unknown here.

    Raises:
        UsageError: the cluster can't be joined.
        ResumeError: `out` holds rows of other samples, or others are writing to it.
        DataError: `out` is damaged, or a sample can't be asked.
        TrltError: a worker's fault; or workers died and no more rows arrived.
        ParityError: a worker's engine and the library's own forward differ.
    """
    require_ray()
    from ray.data.exceptions import ExecutionTimeoutError
    from ray.exceptions import RayError

    began, tokens, parities = time.perf_counter(), 0, list[dict[str, Any]]()
    surprises = Surprises()
    deaths = set[str]()  # samples whose decoding process died in a round before
    ids = [sample.id for sample in samples]
    work = WorkFiles.single(out, ids)
    if at_work(work.folder):
        raise ResumeError(f"{out}: other processes are at work on it; wait for their end, or take part without --ray")
    by_id = {sample.id: sample for sample in samples}
    job = WorkerSettings(_absolute(video), root.resolve(), settings, grader.form, n, geometry)
    # The driver alone writes, so that no worker's death can tear a row.
    with RowFile(out, ids, retry_errors=retry_errors) as rows:
        absorb(work, {"": rows}, retry_errors=retry_errors)
        resumed = len(rows)

        def report() -> None:
            if progress:
                progress(n * len(rows), n * len(samples))

        report()
        while pending := [sample for sample in samples if sample.id not in rows]:
            there, reason, dying = len(rows), "its workers died", set[str]()
            try:
                for one in ask_workers(address, pending, job, make_generator, gpus):
                    if "parity" in one:
                        parities.append(one["parity"])
                        continue
                    if one["id"] in rows:  # a task that was begun again after it had said so
                        continue
                    sample = by_id[one["id"]]
                    said: list[Generated] = []
                    try:
                        if "error" in one:
                            told = read_error(one)
                            if isinstance(told, DecoderDiedError) and one["id"] not in deaths:
                                # Another round, from which a dead machine is gone, tells whether the file is damaged.
                                dying.add(one["id"])
                                continue
                            raise told
                        said = [Generated(*each) for each in one["said"]]
                        row = to_row(
                            sample,
                            said,
                            grader=grader,
                            video_tokens=one["video_tokens"],
                            length_s=one["length_s"],
                        )
                    except Exception as fault:  # of this sample alone
                        error = fault_of(fault)
                        if said:
                            shown = {"video_tokens": one["video_tokens"], "length_s": one["length_s"]}
                            rows.append(ungraded_row(sample, said, str(error), **shown))
                        else:
                            rows.append(error_row(sample, n, str(error)))
                        surprises.add("ask", error)
                    else:
                        tokens += sum(each.tokens for each in said)
                        rows.append(row)
                        surprises.passed("ask")
                    report()
            # No reason to end: rows that came are written, and the next round asks
            # for the rest. Only a round without any new row ends the run.
            except (RayError, ExecutionTimeoutError) as lost_by:
                reason = str(lost_by)
            # Each of them has a row after the next round that hears of it, so that these rounds end.
            deaths |= (dying := {id for id in dying if id not in rows})
            lost = len(samples) - len(rows)
            if lost and len(rows) == there and not dying:
                raise TrltError(
                    f"{out}: no row came of {lost:,} samples, the first about {pending[0].video}: {reason}; Ray's logs, in "
                    "/tmp/ray on the machines, say why; the same command goes on from the rows that are there"
                )
            if dying and on_event:
                on_event(
                    f"{counted(len(dying), 'sample')} asked once more: decoding processes died, by a file or with a machine"
                )
            if lost > len(dying) and on_event:
                on_event(f"{lost - len(dying):,} samples were lost with workers that died; they are asked again")
        rows.finish()
        report()
        traces = tuple(surprises.traces.values())
        return Summary(len(samples), resumed, rows.errors, tokens, time.perf_counter() - began, 0.0, join(parities), traces)


def ask_workers(
    address: str, pending: Sequence[Sample], job: WorkerSettings, make_generator: Callable[[], CompletionGenerator], gpus: bool
) -> Iterator[dict[str, Any]]:
    """The workers' results for samples, as they arrive; samples lost with dead workers are missing.

    Each round joins the cluster anew: after a death, objects released by Ray Data may hold GPUs until the process has left.

    Raises:
        TrltError: a worker's fault.
        RayError: Ray lost something that it needs.
        ExecutionTimeoutError: nothing has come for half an hour.
    """
    import ray
    from ray.data import ActorPoolStrategy, DataContext

    groups = samples_by_clip(pending)
    step = math.ceil(len(groups) / PIECES)
    waves = math.ceil(WAVES * job.settings.max_sequences / (job.n * len(pending) / len(groups)))
    # A copy: what else uses Ray Data in this process keeps its settings.
    context = DataContext.get_current().copy()
    context.enable_progress_bars = context.print_on_execution_start = False
    context.target_max_block_size = 1  # every table goes on at once: a clip, or answers
    # What is given up is dropped and counts as missing, instead of ending what the other workers do.
    context.max_errored_blocks = -1
    context.max_consecutive_actor_init_deaths = TRIES
    with session(address), DataContext.current(context), _quiet():
        # Counted in each round, as machines may have gone or come.
        models, device = _models(gpus)
        clips = max(1, min(MOST_CLIPS, waves, math.ceil(len(groups) / (EVEN * models))))
        said = (
            ray.data.from_blocks([sample_table(groups[first : first + step]) for first in range(0, len(groups), step)])
            .map_batches(
                decode,
                fn_kwargs={"job": job},
                batch_size=None,
                batch_format="pyarrow",
                num_cpus=1,
                max_retries=TRIES,
            )
            .map_batches(
                Answering,
                fn_constructor_args=(job, make_generator),
                batch_size=clips,
                batch_format="pyarrow",
                compute=ActorPoolStrategy(size=min(models, math.ceil(len(groups) / clips))),
                # No CPU: models that hold them all would leave none for decoding.
                num_cpus=0,
                num_gpus=device,
                # By default Ray Data tries forever: a model that is killed each
                # time that it loads would be loaded forever, without a word.
                max_restarts=TRIES,
                max_task_retries=TRIES,
            )
        )
        for table in said.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
            yield from read_said(table)


def _models(gpus: bool) -> tuple[int, int]:
    """Number of models in the cluster, and GPUs per model."""
    import ray

    count = int(ray.cluster_resources().get("GPU", 0)) if gpus else 0
    return (count, 1) if count else (max(1, sum("CPU" in node["Resources"] for node in ray.nodes() if node["Alive"])), 0)


def _absolute(video: Video) -> Video:
    folders = {key: str(Path(value).resolve()) for key in ("store", "downloads", "links") if (value := getattr(video, key))}
    return video.model_copy(update=folders)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps Ray Data from showing each lost task with its traceback between a command's lines; Ray's own files have them."""
    shown = [(handler, handler.level) for handler in logging.getLogger("ray.data").handlers if _is_shown(handler)]
    for handler, _ in shown:
        handler.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            # Ray 2.64 takes the retries' numbers away; the extra asks for an older one.
            warnings.filterwarnings("ignore", "`ray_remote_args` is deprecated")
            yield
    finally:
        for handler, level in shown:
            handler.setLevel(level)


def _is_shown(handler: logging.Handler) -> bool:
    return isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler)
