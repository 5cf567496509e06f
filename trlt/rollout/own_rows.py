"""Rows that this process writes alone, of each set into its file; what other processes have left of them counts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

from trlt.rollout.question_sets import Question, Round, alike
from trlt.rollout.rows_file import RowFile
from trlt.rollout.shared.rank_files import absorb
from trlt.rollout.shared.work_files import RowKey, WorkFiles


class OwnRows:
    """Files of rows that this process alone writes: a context manager.

    Args:
        work: The files.
        groups: The questions by clip; those that are alike follow each other.
        retry_errors: Discard rows with an error, so that those samples are asked again.

    Raises:
        ResumeError: a file holds rows of other samples, or another process writes to it.
        DataError: a file is damaged before its last line.
    """

    def __init__(self, work: WorkFiles, groups: Sequence[Sequence[Question]], *, retry_errors: bool = False) -> None:
        self._groups = groups
        with ExitStack() as stack:  # lets go of the locks after a fault
            self._files: Mapping[str, RowFile] = {
                name: stack.enter_context(RowFile(path, work.ids[name], retry_errors=retry_errors))
                for name, path in work.files.items()
            }
            absorb(work, self._files, retry_errors=retry_errors)
            self._stack = stack.pop_all()

    @property
    def errors(self) -> int:
        """Number of rows with an error."""
        return sum(file.errors for file in self._files.values())

    def by_set(self) -> dict[str, int]:
        """Number of rows that are there."""
        return {name: len(file) for name, file in self._files.items()}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.close()

    def __contains__(self, key: RowKey) -> bool:
        """Whether a row is there already."""
        return key.id in self._files[key.set]

    def rounds(self) -> Iterator[Round]:
        """All questions without a row, by clip; a round for each way of sampling."""
        pending = [[one for one in group if one.key not in self] for group in self._groups]
        ways = list[list[list[Question]]]()
        for group in filter(None, pending):
            if not ways or not alike(ways[-1][0][0].of, group[0].of):
                ways.append([])
            ways[-1].append(group)
        for groups in ways:
            yield Round(groups[0][0].of, iter(groups))

    def append(self, key: RowKey, row: dict[str, Any]) -> None:
        """Writes a row at once: a later kill doesn't lose it."""
        self._files[key.set].append(row)

    def finish(self) -> None:
        """Puts the rows of each file in the order of its samples."""
        for file in self._files.values():
            file.finish()
