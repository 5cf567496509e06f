"""`runs.jsonl`: one line per run that is over, with all that a report needs of it. Lines are added, never changed or removed.

So no result is chosen after the fact: of several runs of one arm, seed and plan, the first that didn't fail counts.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, field, replace
from pathlib import Path
from typing import Any

from pydantic import FiniteFloat
from pydantic.dataclasses import dataclass

from trlt.errors import DataError
from trlt.files import Faults, append_jsonl, mend_tail
from trlt.files.bounded_json import parse_json
from trlt.files.forms import STRICT, build
from trlt.files.renamed import RUN, RUN_METRICS, renew
from trlt.lab.reproduce.stages import ArmRun

NAME = "runs.jsonl"


@dataclass(frozen=True, slots=True, config=STRICT)
class RunRecord:
    """One run that is over."""

    plan: str
    """Its name."""
    arm: str
    seed: int
    run: str
    """Digest of everything that the metrics depend on."""
    metrics: Mapping[str, FiniteFloat]
    """Metric to number; empty where it failed."""
    reward: Sequence[FiniteFloat]
    """Of each step of training; empty where there was none."""
    seconds: Mapping[str, float]
    """Of each part's command; what other runs share is in each."""
    places: Mapping[str, str]
    """Folder or file of each part, below the output folder."""
    versions: Mapping[str, str]
    """Of trlt, python and torch."""
    when: str
    """UTC."""
    error: str | None = None
    """Why it failed."""
    origin: str = field(default="", compare=False)
    """The file that it was read from; not part of the line."""

    def to_json(self) -> dict[str, Any]:
        """The line's values."""
        return {key: value for key, value in asdict(self).items() if key != "origin"}


def append(path: Path, record: RunRecord) -> None:
    """Adds a line; one that a kill tore is cut off before."""
    if path.is_file():
        mend_tail(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    append_jsonl(path, record.to_json(), sync=True)


def read_records(path: Path) -> list[RunRecord]:
    """All lines of a file, in their order; a last one that is being written, or that a kill tore, is left out.

    Raises:
        DataError: it can't be read, or lines are no records; names file and lines.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise DataError(f"{path}: can't be read ({error.strerror}); give a {NAME} that `trlt reproduce` wrote") from None
    found, faults, remedy = [], Faults(), f"this is no run; give a {NAME} as it was written"
    for number, line in enumerate(lines, 1):
        where = f"{path}:{number}"
        if not line.strip():
            continue
        try:
            values = renew(parse_json(line, where, expected=remedy), RUN, path)
            if isinstance(values, dict) and "metrics" in values:
                values["metrics"] = renew(values["metrics"], RUN_METRICS, path)
            found.append(replace(build(values, RunRecord, where, remedy), origin=str(path)))
        except DataError as error:
            if number < len(lines):
                faults.add(str(error))
    faults.end()
    return found


def counted(records: Iterable[RunRecord], runs: Iterable[ArmRun]) -> dict[tuple[str, int], RunRecord]:
    """Arm and seed to the record that counts: the first of the very same run that didn't fail."""
    wanted = {(run.arm, run.seed, run.id) for run in runs}
    found: dict[tuple[str, int], RunRecord] = {}
    for record in records:
        if record.error is None and (record.arm, record.seed, record.run) in wanted:
            found.setdefault((record.arm, record.seed), record)
    return found


def spent(records: Iterable[RunRecord]) -> float:
    """Seconds that the runs' own commands took, one after the other; a command that several runs share counts once.

    What all runs share (the videos, the pool, its probe) is in no record, and isn't in the sum.
    """
    by_place: dict[str, float] = {}
    for record in records:
        for name, seconds in record.seconds.items():
            by_place.setdefault(record.places.get(name, f"{record.run} {name}"), seconds)
    return math.fsum(by_place.values())
