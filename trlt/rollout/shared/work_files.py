"""Where the files of a work are: files of rows, and parts of each by rank in a folder beside them.

`.<rows>.work/parts/<rank>.jsonl` beside one file of rows, `.all.work/parts/<rank>.<set>.jsonl` beside several. Knows names of
files; opens none.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

from trlt.rollout.shared.leases import gone_if_missing

RETRY = "retry"
"""Mark of a work that asks samples with an error again."""
OF = "of."
"""Begins the marks that name the sets of a work, where it has several files of rows."""
ALL = ".all.work"
"""Folder of a work with several files of rows, beside them."""


class RowKey(NamedTuple):
    """Names a row: ids are unique within a set, and may occur in several."""

    set: str
    """Name of the set of questions; empty where there is only one, and one file of rows."""
    id: str
    """Of the sample."""


@dataclass(frozen=True)
class WorkFiles:
    """The files of one work: rows of each set of questions, and the folder in which processes share it."""

    folder: Path
    files: Mapping[str, Path]
    """Set -> its file of rows."""
    ids: Mapping[str, Sequence[str]]
    """Set -> its samples' ids, in the order of the finished file."""

    @classmethod
    def single(cls, out: Path, ids: Sequence[str]) -> Self:
        """One file of rows."""
        return cls(work_folder(out), {"": out}, {"": ids})

    @classmethod
    def several(cls, folder: Path, ids: Mapping[str, Sequence[str]]) -> Self:
        """A file `<set>.jsonl` per set, in one folder; other sets may have theirs there, too."""
        return cls(folder / ALL, {name: folder / f"{name}.jsonl" for name in ids}, ids)

    def __len__(self) -> int:
        """Number of samples."""
        return sum(map(len, self.ids.values()))

    @property
    def keys(self) -> list[RowKey]:
        """Of all rows, in their order."""
        return [RowKey(name, id) for name, ids in self.ids.items() for id in ids]

    @property
    def marks(self) -> set[str]:
        """Names of empty files that tell in the folder which sets are worked on."""
        return {f"{OF}{name}" for name in self.files if name}

    def parts(self) -> list[tuple[str, Path]]:
        """The set and path of each part in the folder, also of sets of an earlier work.

        Raises:
            Gone: there is no folder.
        """
        return [(set_of(path), path) for path in _parts(self.folder)]


def work_folder(out: Path) -> Path:
    """Folder of the ranks' rows and leases until the work is done.

    Args:
        out: The file of rows, where there is one.
    """
    return out.with_name(f".{out.name}.work")


def part_file(folder: Path, token: str, name: str = "") -> Path:
    """The rows of one rank, of one set of several."""
    return folder / "parts" / (f"{token}.{name}.jsonl" if name else f"{token}.jsonl")


def set_of(part: Path) -> str:
    """The set of a part; empty where there is one file of rows. Tokens of ranks have no dots."""
    return part.name.removesuffix(".jsonl").partition(".")[2]


def _parts(folder: Path) -> list[Path]:
    with gone_if_missing():
        return sorted(folder / "parts" / name for name in os.listdir(folder / "parts"))
