"""The work of probe, eval and infer: asked in this process, in several that it starts, or as one of a launcher's ranks."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from trlt.commands._answerer import start_for
from trlt.commands._output import Output
from trlt.commands._setup import make_engine
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
    rank_device,
    teller,
)
from trlt.engine.agreement import join
from trlt.errors import ParityError, TrltError, UsageError
from trlt.errors.faults import tell
from trlt.recipe import Recipe
from trlt.rollout import QuestionSet, Sharing, Summary, WorkFiles, run_sets
from trlt.rollout.shared.rank_files import RowCounter, failed_rows, prepare, settle
from trlt.video.geometry import Geometry

if TYPE_CHECKING:
    from trlt.engine.servers.client import Servers
    from trlt.engine.vllm.servers import OwnServers


@dataclass(frozen=True)
class Work:
    """What is to be asked, and where the rows go."""

    command: str
    """Name of the command, for progress and notes."""
    recipe: Recipe
    """As resolved; its model is asked."""
    sets: Sequence[QuestionSet]
    files: WorkFiles
    geometry: Geometry
    """Of the model."""
    retry_errors: bool
    output: Output

    @property
    def answers(self) -> int:
        """Completions of the whole."""
        return sum(one.n * len(one.samples) for one in self.sets)


class Joined(NamedTuple):
    """This process among others."""

    rank: Rank | None
    """None where it runs alone."""
    output: Output
    """Silent in ranks that show nothing."""


def join_ranks(output: Output, *, fresh: bool) -> Joined:
    """Finds out whether this process is one of several that a launcher, or trlt, has started.

    Raises:
        UsageError: it is one, and would forget what the others have written.
    """
    rank = find_rank(os.environ)
    follow_launcher(rank)
    if fresh and rank:
        raise UsageError(
            "--fresh: each of several processes would forget what the others have written; remove the run's folder first, "
            "or give another --out"
        )
    return Joined(rank, audible(output, rank))


def writes_results(rank: Rank | None) -> bool:
    """Whether this process shows and writes what comes of the rows: the only one, the launcher, or the first of its ranks."""
    return rank is None or (rank.launcher is None and not rank.place)


def process_count(processes: int, rank: Rank | None, recipe: Recipe, answerer: OwnServers | Servers | None) -> int:
    """How many processes to start; 1 where this one asks."""
    return 1 if answerer is not None else count_processes(processes, rank, recipe.model.device)


def answer(
    work: Work,
    *,
    rank: Rank | None,
    count: int,
    command: Sequence[str],
    own: OwnServers | None = None,
    remote: Servers | None = None,
) -> Summary:
    """Asks everything that has no row yet, and summarizes the result.

    Args:
        work: What is asked.
        rank: Of this process.
        count: Processes to start (`process_count`).
        command: The command line of each; it prints one JSON object with the `summary` of what it did.
        own: Servers to start, which answer in place of a model of this process.
        remote: Servers that are there.

    Raises:
        TrltError: as `run_sets`; or processes ended and rows are missing, with the exit code of one that failed.
    """
    if count > 1:
        return _launch(work, command, count, rank)
    with own or nullcontext():
        start_for(own, work.files, retry_errors=work.retry_errors)
        return _ask(work, rank, own or remote)


def _ask(work: Work, rank: Rank | None, answerer: OwnServers | Servers | None) -> Summary:
    """Asks in this process, alone or as one of several."""
    sharing = Sharing(ranks=rank.world) if rank else None
    if sharing:
        # Before the model is loaded, which may take longer than others need for all the work: what they asked again isn't
        # to be asked once more.
        prepare(work.files, retry_errors=work.retry_errors)
    output, settings = work.output, work.recipe.model
    model = settings.model_copy(update={"device": rank_device(rank, settings.device)})
    engine = answerer or make_engine(model, output.note)
    from trlt.video.loaders import ClipLoaders

    with ClipLoaders(work.geometry) as loaders, output.progress(work.command, "answers") as progress:
        return run_sets(
            work.sets,
            engine=engine,
            loaders=loaders,
            work=work.files,
            retry_errors=work.retry_errors and sharing is None,
            progress=progress,
            sharing=sharing,
            told=teller(os.environ),
        )


def _launch(work: Work, command: Sequence[str], count: int, rank: Rank | None) -> Summary:
    """Asks in several processes, and summarizes the result.

    Raises:
        ParityError: one differs from the library's own forward; the others were ended.
        TrltError: they ended and rows are missing; with the exit code of one that failed.
    """
    began = time.perf_counter()
    files, output, whole = work.files, work.output, len(work.files)
    n_of = {one.name: one.n for one in work.sets}
    if work.retry_errors and rank is None:
        settle(files)
    there = prepare(files, retry_errors=work.retry_errors)
    tally = RowCounter(files, there)
    resumed, ended = tally.count(), []

    def completed() -> int:
        return sum(n_of[name] * rows for name, rows in tally.by_set().items())

    if sum(there.values()) < whole:
        output.note(f"{work.command}: starting {count} processes")
        with output.progress(work.command, "answers") as progress, Ears() as ears:
            before = completed()

            def tick() -> None:
                progress(min(max(completed(), before + ears.count()), work.answers), work.answers)

            tick()
            ended = launch(command, count, rank, tick, ParityError.exit_code, ears)
            tick()
    if refused := failures([one if one.code == ParityError.exit_code else Ended(0, "", "") for one in ended]):
        raise ParityError("\n".join(refused))
    failed, faults = failed_rows(files), failures(ended)
    if len(failed) < whole or files.folder.is_dir():
        state = f"{tally.count():,} of {whole:,} rows are there; the same command goes on from them"
        place = next(iter(files.files.values())) if len(files.files) == 1 else next(iter(files.files.values())).parent
        error = TrltError("\n".join([*faults, f"{place}: not finished; {state}"]))
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
    return Summary(whole, resumed, sum(failed.values()), tokens, time.perf_counter() - began, waited_s, parity, traces)
