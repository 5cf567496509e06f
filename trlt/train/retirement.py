"""Difficulty during training: drops samples that no longer teach anything.

A visit is a sample's group of one step. A sample is dropped after a number of consecutive zero-variance visits: all right or
all wrong, there is nothing to learn. Every visit is logged, so that a resumed run has the same state as an uninterrupted one,
and users can see what was dropped and why. Knows samples' numbers and rewards.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from trlt.files import append_jsonl, read_log, write_jsonl
from trlt.files.forms import VisitForm

VISITS = "difficulty.jsonl"
"""Its name in a run's folder: one line per visit, with `left` on the one after which a sample was dropped, and `back` on that
of a re-probe after which it came back."""


class Visit(NamedTuple):
    """The rewards of a sample's completions in one step."""

    sample: int
    """Its place in the training set."""
    mean: float
    reward_range: float
    """Max - min of the rewards."""


class Retirement:
    """The visits of a run; all processes hold the same, the main one writes.

    Args:
        folder: The run's folder.
        ids: Of the samples.
        patience: Drop a sample after this many consecutive zero-variance groups; None keeps all.
        writes: Whether this process is the one that writes.
    """

    def __init__(self, folder: Path, ids: Sequence[str], patience: int | None, *, writes: bool) -> None:
        self._path, self._ids, self._patience, self._writes = folder / VISITS, ids, patience, writes
        self._same: dict[int, int] = {}
        self.left: set[int] = set()
        """Dropped samples."""

    def resume(self, step: int) -> None:
        """Restores the visits of the first steps, without later ones; after `cut_visits`."""
        places = {id: index for index, id in enumerate(self._ids)}
        # From the file alone: it was cut back to the checkpoint, and the visits after that are made again.
        self._same, self.left = {}, set()
        for row in _read(self._path):
            if row["step"] < step and row["id"] in places:
                place = places[row["id"]]
                if "back" in row:
                    self._return(place)
                else:
                    self._count(Visit(place, row["mean"], row["reward_range"]))

    def see(self, step: int, visits: Sequence[Visit]) -> list[str]:
        """Takes the visits of a step, over all processes.

        Returns:
            Ids of newly dropped samples.
        """
        rows, gone = [], []
        # Processes hand in their visits in an order that depends on their number. The file doesn't.
        # What is counted is what the file says, so that a resumed run counts the same.
        for visit in sorted(one._replace(reward_range=round(one.reward_range, 6)) for one in visits):
            row = {
                "step": step,
                "id": self._ids[visit.sample],
                "mean": round(visit.mean, 6),
                "reward_range": visit.reward_range,
            }
            if self._count(visit):
                row["left"] = f"all {self._patience} last groups earned the same, {visit.mean:.2f} in the last"
                gone.append(self._ids[visit.sample])
            rows.append(row)
        # All processes count, so that none has to ask which samples have left.
        if self._writes:
            append_jsonl(self._path, *rows)
        return gone

    def come_back(self, step: int, visits: Sequence[Visit]) -> list[str]:
        """Takes visits that nothing was learned from: samples that had left and now earn different rewards come back.

        Returns:
            Ids of those that came back.
        """
        rows = []
        for visit in visits:
            if visit.sample in self.left and visit.reward_range > 0:
                self._return(visit.sample)
                row = {"step": step, "id": self._ids[visit.sample], "mean": visit.mean, "reward_range": visit.reward_range}
                rows.append(row | {"back": f"asked again, its completions earned {visit.reward_range:.2f} apart"})
        if self._writes:
            append_jsonl(self._path, *rows)
        return [str(row["id"]) for row in rows]

    def _return(self, sample: int) -> None:
        self._same[sample] = 0
        self.left.discard(sample)

    def _count(self, visit: Visit) -> bool:
        same = self._same[visit.sample] = self._same.get(visit.sample, 0) + 1 if visit.reward_range == 0 else 0
        leaves = self._patience is not None and same >= self._patience and visit.sample not in self.left
        if leaves:
            self.left.add(visit.sample)
        return leaves


def cut_visits(folder: Path, step: int) -> None:
    """Removes visits from a step on: a resumed run makes them again."""
    path = folder / VISITS
    if path.is_file():
        kept = [row for row in _read(path) if row["step"] < step]
        write_jsonl(path, kept)


def _read(path: Path) -> list[dict[str, Any]]:
    return read_log(path, VisitForm) if path.is_file() else []
