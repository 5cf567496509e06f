"""Samples that can't be used: each is listed once, and too many of them end a run. Knows samples and files only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from pydantic.dataclasses import dataclass

from trlt.errors import DataError, OwnCodeError, TrltError, UnforeseenError, VideoError
from trlt.errors.faults import tell
from trlt.files import append_jsonl, read_log, write_jsonl
from trlt.files.forms import STRICT
from trlt.task.sample import Sample

BROKEN = "broken.jsonl"
"""Its name in a run's folder."""
SHOWN = 5


@dataclass(frozen=True, slots=True, config=STRICT)
class BrokenSample:
    """Why a sample was left out."""

    id: str
    error: str
    step: int
    """Optimizer steps that were done by then."""


def read_broken(folder: Path) -> dict[str, str]:
    """Reason by sample id, of a run's folder; a torn line is left out."""
    return {fault.id: fault.error for fault in _read(folder / BROKEN)}


def cut_broken(folder: Path, step: int) -> None:
    """Forgets what was found after a step: a resumed run finds it again, or finds it mended."""
    kept: dict[str, BrokenSample] = {}
    for fault in _read(folder / BROKEN):
        if fault.step <= step:
            kept.setdefault(fault.id, fault)
    if (folder / BROKEN).is_file():
        write_jsonl(folder / BROKEN, map(asdict, kept.values()))


class BrokenSamples:
    """The list of a run; the processes of a run share its file.

    Args:
        folder: The run's folder.
        samples: How many there are in all.
        most: Share of them that may be broken.
    """

    def __init__(self, folder: Path, samples: int, most: float) -> None:
        self._path, self._samples, self._most = folder / BROKEN, samples, most
        self._told: set[str] = set()

    def add(self, sample: Sample, error: VideoError, step: int) -> None:
        """Lists a sample; shows the traceback of an unforeseen error, the first of each kind.

        Raises:
            DataError: with this one they are too many; names some, and where all of them stand.
        """
        if isinstance(error, UnforeseenError) and error.kind not in self._told:
            self._told.add(error.kind)
            tell(f"an unforeseen error, which is one sample's for now: {error}\n{error.trace}")
        self.add_all({sample.id: str(error)}, step)

    def add_all(self, errors: Mapping[str, str], step: int, *, writes: bool = True) -> None:
        """Lists samples by id, each with its reason; raises as `add`.

        Args:
            errors: The reasons.
            step: Optimizer steps that are done.
            writes: Whether this process is the one that does; all of them count.
        """
        known = {other.id: other for other in _read(self._path)}
        new = {id: BrokenSample(id, error, step) for id, error in errors.items() if id not in known}
        if writes and new:
            append_jsonl(self._path, *map(asdict, new.values()))
        known |= new
        if len(known) > self._most * self._samples:
            own = sum(fault.error.startswith(OwnCodeError.BEGINS) for fault in known.values())
            shown = "\n  ".join(fault.error for fault in list(known.values())[-SHOWN:])
            above = f"which is above train.max_broken ({self._most:g}); the last of them:\n  {shown}\n{self._path} lists all"
            if own == len(known):
                raise TrltError(
                    f"{len(known)} of {self._samples} samples can't be used: one of your reward functions raised, {above}; "
                    f"{OwnCodeError.remedy}, as it does with a higher train.max_broken"
                )
            also = f", and for {own} one of your reward functions raised" if own else ""
            raise DataError(
                f"{len(known)} of {self._samples} samples can't be used, their video mostly{also}, {above}; mend the files, "
                "give the videos' folder as video.root, or raise train.max_broken, and run the same command again; data "
                "without these samples makes another run (--fresh)"
            )


def _read(path: Path) -> list[BrokenSample]:
    return [BrokenSample(**row) for row in read_log(path, BrokenSample)] if path.is_file() else []
