"""The history that online selection learns from: a line per asked group, the same in all processes and in a resumed run.

Processes hand in the lines of their groups (`exchange`), all take all of them in an order that doesn't depend on how many there
are, and the main one writes them down. State is made from lines alone, so that it is the same after reading them again. Knows
groups' scores and files; neither what the lines are used for nor models. Imports nothing heavy: see `step_notes`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from trlt.errors import ResumeError
from trlt.files import append_jsonl, read_log, write_jsonl
from trlt.files.forms import AskedForm
from trlt.task.score import Scores

FILE = "online.jsonl"
"""Its name in a run's folder."""
SUCCESS = 0.5
"""Score from which a completion counts as a success, and the mean score from which a group counts as easy."""


class AskedGroup(NamedTuple):
    """What a group of a step earned: the completions that the policy drew, without replayed ones."""

    sample: int
    """Its place in the training set."""
    kind: str
    """`kept` (learned from), `tried` (replaced by another prompt's) or `probe` (a re-probe)."""
    n: int
    """Completions that were drawn."""
    score: float
    """Their mean score, from 0 to 1."""
    mean: float
    """Mean of their rewards."""
    reward_range: float
    """Max - min of them."""
    replayed: int = 0
    """Kept completions that stood in the group besides."""
    rare: dict[str, Any] | None = None
    """A rare success to be kept; see `replay`."""

    @property
    def successes(self) -> float:
        """Sum of the scores."""
        return self.n * self.score


def score_of(scores: Scores, iou: float | None) -> float:
    """A completion's score, from 0 to 1: its accuracy, its IoU, or the mean of both, as its task has them.

    Unlike its reward, it doesn't depend on weights or on the form; a task with neither is scored by the form.

    Args:
        scores: Of the completion.
        iou: The IoU that selection goes by (`Rules.iou`): the tIoU, or that of all spans where all are paid.
    """
    found = [value for value in (scores.accuracy, iou) if value is not None]
    return sum(found) / len(found) if found else scores.format


class History:
    """The file of a run.

    Args:
        folder: The run's folder.
        ids: Of the samples.
        writes: Whether this process is the one that writes.
    """

    def __init__(self, folder: Path, ids: Sequence[str], *, writes: bool) -> None:
        self._path, self._ids, self._writes = folder / FILE, ids, writes

    def id(self, sample: int) -> str:
        """A sample's id."""
        return self._ids[sample]

    def write(self, step: int, groups: Sequence[AskedGroup], chosen: dict[str, Any]) -> None:
        """Appends a step's groups, and a line on how its prompts were chosen."""
        if self._writes:
            lines = [self._line(step, group) for group in groups]
            append_jsonl(self._path, *lines, {"step": step, "kind": "chosen", "groups": len(groups), **chosen})

    def read(self, before: int) -> Iterable[tuple[int, list[AskedGroup], dict[str, Any]]]:
        """(step, its groups, how its prompts were chosen) of the steps before one.

        Raises:
            ResumeError: lines are missing or damaged, without which the state would be another.
        """
        places = {id: place for place, id in enumerate(self._ids)}
        groups: list[AskedGroup] = []
        done = 0
        for row in read_log(self._path, AskedForm) if self._path.is_file() else ():
            if row["step"] >= before:
                break
            if row["kind"] != "chosen" and row["id"] in places:
                noted = {name: row[name] for name in AskedGroup._fields if name in row}
                groups.append(AskedGroup(sample=places[row["id"]], **noted))
            elif row["kind"] == "chosen" and row["step"] == done and row["groups"] == len(groups):
                yield row["step"], groups, row
                groups, done = [], done + 1
        if done < before:
            raise ResumeError(
                f"{self._path}: lines of step {done} are missing or damaged, and the run can't go on without them; put "
                "the file back, or start anew with --fresh"
            )

    def _line(self, step: int, group: AskedGroup) -> dict[str, Any]:
        row = {"step": step, "id": self._ids[group.sample], **group._asdict()}
        del row["sample"]
        return {key: value for key, value in row.items() if key not in ("replayed", "rare") or value}


def cut_history(folder: Path, step: int) -> None:
    """Removes lines from a step on: a resumed run makes them again."""
    path = folder / FILE
    if path.is_file():
        write_jsonl(path, [row for row in read_log(path, AskedForm) if row["step"] < step])
