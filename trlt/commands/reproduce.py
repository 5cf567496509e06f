"""`trlt reproduce`: runs a plan's arms and seeds with trlt's own commands, and gives a verdict on each of its claims."""

from __future__ import annotations

import os
import shlex
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.rule import Rule
from rich.table import Table as Grid
from rich.text import Text

from trlt.commands._output import Output
from trlt.errors import DataError, TrltError, UsageError
from trlt.files.bounded_json import read_object
from trlt.lab.reproduce import markdown
from trlt.lab.reproduce.claims_page import Report
from trlt.lab.reproduce.claims_plan import SHIPPED, asked_arms, asked_claims, asked_tables, load_plan, with_model
from trlt.lab.reproduce.claims_report import VERDICTS, write_report
from trlt.lab.reproduce.launch import Launcher, locked, words
from trlt.lab.reproduce.plan_sections import Plan
from trlt.lab.reproduce.recipes import OUT
from trlt.lab.reproduce.records import NAME, RunRecord, append, counted, read_records
from trlt.lab.reproduce.run_metrics import metrics_of, rewards_of
from trlt.lab.reproduce.schedule import work
from trlt.lab.reproduce.stages import ArmRun, Stage, runs
from trlt.lab.reproduce.verdicts import ClaimVerdict, FilledTable, fill, judge
from trlt.rollout import environment
from trlt.rollout.run_folder import now


def reproduce(
    *,
    tables: Annotated[
        Sequence[str], typer.Option("--table", help="Table of the plan to produce, or `all` (default); repeatable.")
    ] = (),
    plan_path: Annotated[
        Path | None,
        typer.Option(
            "--plan",
            help="Plan: a file, or a name of `trlt recipe list`; default: the paper's claims.",
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Base model in the place of the plan's: a folder, a hub id, or `miniature`.")
    ] = None,
    seeds: Annotated[int | None, typer.Option(help="Number of the plan's seeds to run, from the first.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for everything; default: one in runs/.")] = None,
    jobs: Annotated[int | None, typer.Option(help="Commands at a time; default: one per core.")] = None,
    records: Annotated[
        Sequence[Path],
        typer.Option(help="A runs.jsonl from another machine or an earlier time, whose runs count as done; repeatable."),
    ] = (),
    report_only: Annotated[bool, typer.Option("--report-only", help="No new runs: verdicts from existing ones.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List runs and commands, and exit.")] = False,
    output: Output,
) -> dict[str, Any]:
    """Runs the missing parts of an experiment, and writes its report; see `trlt reproduce --help`.

    Raises:
        TrltError: a plan, file or folder that can't be used, or runs that failed; the report is written all the same.
    """
    path = plan_path or SHIPPED
    plan = load_plan(path) if model is None else with_model(load_plan(path), model)
    if seeds is not None and not 1 <= seeds <= len(plan.seeds):
        raise UsageError(f"--seeds {seeds}: the plan has {len(plan.seeds)}; give a number from 1 to that")
    if jobs is not None and jobs < 1:
        raise UsageError(f"--jobs {jobs}: at least one command has to run")
    folder = out or Path("runs") / plan.name
    if any(character.isspace() for character in str(folder)):
        raise UsageError(f"--out {folder}: a folder without spaces is needed, since recipes name it")
    asked = asked_tables(plan, tables)
    arms = asked_arms(plan, asked)
    wanted = runs(plan, str(path), arms, plan.seeds[:seeds])
    if dry_run:
        return _dry_run(wanted, folder, output)
    merged = [record for file in records for record in read_records(file)]
    failures: list[str] = []
    if not report_only:
        failures = _work(plan, wanted, merged, folder, jobs or os.cpu_count() or 1, output)
    made = [*_own(folder), *merged]
    there = counted(made, runs(plan, str(path), list(plan.arms), plan.seeds))
    found = _report(plan, asked, there, made, folder, output)
    if failures:
        output.result(found)
        raise TrltError("\n".join([*failures, "The same command tries them again."]))
    return found


def _own(folder: Path) -> list[RunRecord]:
    return read_records(folder / NAME) if (folder / NAME).is_file() else []


def _dry_run(wanted: Sequence[ArmRun], folder: Path, output: Output) -> dict[str, Any]:
    """Every command once, in the order of execution."""
    stages = {stage.place: stage for run in wanted for stage in run.stages}
    launcher = [(stage, words(stage, folder)) for stage in stages.values()]
    output.show(f"{len(wanted)} runs, {len(stages)} stages, in {folder}:")
    for stage, line in launcher:
        output.show(f"  {stage.label}" + (f": trlt {shlex.join(line)}" if line else ""))
    return {
        "out": str(folder),
        "runs": [{"arm": run.arm, "seed": run.seed, "run": run.id} for run in wanted],
        "stages": [{"kind": stage.kind, "label": stage.label, "command": line} for stage, line in launcher],
    }


class _RunRecorder:
    """Reports finished stages, and records each run."""

    def __init__(self, plan: Plan, folder: Path, launcher: Launcher, output: Output) -> None:
        self._plan, self._folder, self._launcher, self._output = plan, folder, launcher, output
        self.failures: list[str] = []
        self._told: set[str] = set()

    def stage(self, stage: Stage, done: int, of: int) -> None:
        """A stage is complete."""
        seconds = self._launcher.seconds(stage) or 0.0
        self._output.note(f"{now()[11:19]} {done} of {of}: {stage.label}: {seconds:,.0f} s")

    def finished(self, run: ArmRun) -> None:
        """A run is complete: its metrics become a line."""
        try:
            metrics, reward = metrics_of(run, self._folder), rewards_of(run, self._folder)
        except (DataError, KeyError, TypeError) as error:
            self._failed(run, f"metrics: {error!r}" if not isinstance(error, DataError) else str(error))
            return
        self._append(run, metrics, reward, None)

    def failed(self, run: ArmRun, stage: Stage, error: str) -> None:
        """A run has failed."""
        self._failed(run, f"{stage.label}: {error}")

    def _failed(self, run: ArmRun, error: str) -> None:
        self._append(run, {}, [], error)
        if error not in self._told:  # a stage that several runs share fails them all
            self._told.add(error)
            self._output.note(error)
            self.failures.append(f"{run.arm}, seed {run.seed}: {error}")

    def _append(self, run: ArmRun, metrics: dict[str, float], reward: list[float], error: str | None) -> None:
        seconds = {name: spent for name, stage in run.parts.items() if (spent := self._launcher.seconds(stage)) is not None}
        places = {name: stage.place.removeprefix(f"{OUT}/") for name, stage in run.parts.items()}
        found = environment()
        versions = {"trlt": found["trlt"], "python": found["python"], "torch": found["versions"].get("torch", "")}
        record = RunRecord(
            *(self._plan.name, run.arm, run.seed, run.id, metrics, reward, seconds, places, versions, now()), error=error
        )
        append(self._folder / NAME, record)


def _work(
    plan: Plan, wanted: Sequence[ArmRun], merged: Sequence[RunRecord], folder: Path, jobs: int, output: Output
) -> list[str]:
    """Makes the missing runs; returns the failures."""
    there = counted([*_own(folder), *merged], wanted)
    missing = [run for run in wanted if (run.arm, run.seed) not in there]
    if not missing:
        output.note(f"reproduce: all {len(wanted)} runs are there")
        return []
    output.note(f"reproduce: {len(missing)} of {len(wanted)} runs are to be made, {jobs} commands at a time, in {folder}")
    with locked(folder) as lock, _terminable():
        launcher = Launcher(folder, plan.world, lock, lambda: output.progress("render", "videos"))
        listener = _RunRecorder(plan, folder, launcher, output)
        work(missing, launcher, listener, jobs=jobs)
    return listener.failures


@contextmanager
def _terminable() -> Iterator[None]:
    """Handles SIGTERM like Ctrl-C, so that the process's commands end with it."""

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():  # which alone may listen
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _report(
    plan: Plan,
    asked: Sequence[str],
    there: Mapping[tuple[str, int], RunRecord],
    records: Sequence[RunRecord],
    folder: Path,
    output: Output,
) -> dict[str, Any]:
    """Shows the requested verdicts and tables; writes them and earlier ones."""
    metrics = {key: record.metrics for key, record in there.items()}
    written = [name for name in plan.tables if name in asked or _needs(plan, [name]) <= there.keys()]
    needs = _needs(plan, written)
    claims = asked_claims(plan, written)
    verdicts = [judge(plan, claim, metrics) for claim in claims]
    tables = [fill(plan, name, metrics) for name in written]
    counting = {key: record for key, record in there.items() if key in needs}
    files = write_report(Report(plan, claims, verdicts, tables, counting, records, len(needs)), folder)
    for table in tables:
        if table.name in asked and table.rows and table.columns:
            output.show("", _grid(table))
    ids, needs = {claim.id for claim in asked_claims(plan, asked)}, _needs(plan, asked)
    shown = [verdict for verdict in verdicts if verdict.id in ids]
    output.show("", _claims(shown), f"{markdown.counts(shown)} {len(needs & there.keys())} of {len(needs)} runs are there.")
    output.show("", Rule("files", align="left"), *(f"{name}: {path}" for name, path in files.items()))
    return read_object(folder / VERDICTS, remedy="run the same command again")


def _needs(plan: Plan, tables: Sequence[str]) -> set[tuple[str, int]]:
    """Arm and seed of each run that these tables and their claims need."""
    return {(arm, seed) for arm in asked_arms(plan, tables) for seed in plan.seeds}


def _grid(table: FilledTable) -> Grid:
    grid = Grid(title=Text(f"Table {table.name}: {table.title}"), title_justify="left")
    grid.add_column("arm")
    for name in table.columns:
        grid.add_column(Text(name), justify="right")
    for arm, cells in table.rows:
        shown = [markdown.cell(one) for one in cells]
        grid.add_row(Text(arm), *(Text(f"{mean}\n{more}" if more else mean) for mean, more in shown))
    return grid


_STYLES = {"holds": "green", "refuted": "red", "open": "yellow", "incomplete": "dim"}


def _claims(verdicts: Sequence[ClaimVerdict]) -> Grid:
    grid = Grid(title="Claims", title_justify="left", show_lines=True)
    for name in ("claim", "the paper"):
        grid.add_column(name)
    for name in ("ours", "95% interval"):
        grid.add_column(name, justify="right")
    for name in ("verdict", "seeds"):
        grid.add_column(name)
    for one in verdicts:
        lines = [f"{one.id}: {one.text}" if one.text else one.id, one.compared, one.note]
        ours = (markdown.number(one.mean, signed=True), markdown.interval(one.low, one.high, signed=True))
        verdict = Text(markdown.state(one), style=_STYLES[one.state])
        said = Text("\n".join(line for line in lines if line))
        grid.add_row(said, Text(one.paper), *map(Text, ours), verdict, markdown.seeds(one))
    return grid
