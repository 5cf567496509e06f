"""Completions sampled during training, as Parquet: one file per step and process, each written atomically.

For notebooks, and for a look at what earns a reward. Knows scored groups and Parquet; neither models nor videos.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from trlt.errors import DataError
from trlt.files import open_atomic
from trlt.task.reward import advantages
from trlt.task.sample import Sample
from trlt.task.score import Scores

if TYPE_CHECKING:
    import pyarrow as pa

    from trlt.train.dynamic_sampling import ScoredGroup

FOLDER = "completions"
"""Its name in a run's folder."""
COLUMNS = {
    "step": "int32",
    "rank": "int32",
    "id": "string",
    "source": "string",
    "task": "string",
    "index": "int32",
    "text": "string",
    "tokens": "int32",
    "finished": "bool",
    "reward": "float64",
    "overlong": "float64",
    "advantage": "float64",
    **{score.name: "float64" for score in fields(Scores)},
}
"""Name to Arrow type. `step` as in `log.jsonl`; `id`, `source` and `task` of the sample; `index` of the completion in its
group, from 0; `tokens` counts the sampled ones; `overlong` is the part of the reward that is for length, null without a length
penalty; `advantage` within the group; a score that the task lacks is null. A part of the reward that the recipe adds has a
column `reward/<part>` besides, null where it doesn't apply. Where answers are given to groups, `given` says where a completion
is from, null for what the policy drew."""
_NAME = re.compile(r"step-(\d+)-rank(\d+)\.parquet")


class _CompletionFile(NamedTuple):
    step: int
    rank: int
    path: Path


class Completions:
    """Writes the completions of one process.

    Args:
        folder: The run's folder.
        samples: Of the training set; groups name theirs by index.
        rank: Of the process, from 0.
        every: Steps between those that are kept, which bounds the size: the multiples of it.
        scale: Of the advantages, as training has it; see `reward.advantages`.
        parts: Names of the reward's own parts.
        given: Whether groups may hold given answers; then a column says which completions are.
    """

    def __init__(
        self,
        folder: Path,
        samples: Sequence[Sample],
        *,
        rank: int = 0,
        every: int = 1,
        scale: bool = True,
        parts: Sequence[str] = (),
        given: bool = False,
    ) -> None:
        self._folder, self._samples = folder / FOLDER, samples
        self._given = given
        self._parts = parts
        self._rank, self._every, self._scale = rank, every, scale

    def add(self, step: int, scored: Sequence[ScoredGroup]) -> Path | None:
        """Saves a step's groups, replacing an earlier version.

        Args:
            step: Its number as in `log.jsonl`, from 1.
            scored: All groups of this process.

        Returns:
            The file, or None if the step isn't one to keep.
        """
        if step % self._every:
            return None
        import pyarrow as pa
        import pyarrow.parquet as pq

        rows = [row for group in scored for row in self._rows(step, group)]
        kinds = COLUMNS | {f"reward/{part}": "float64" for part in self._parts} | ({"given": "string"} if self._given else {})
        schema = pa.schema([(name, pa.type_for_alias(kind)) for name, kind in kinds.items()])
        path = self._folder / f"step-{step:06}-rank{self._rank}.parquet"
        with open_atomic(path, "wb") as out:
            pq.write_table(pa.Table.from_pylist(rows, schema), out, compression="zstd")
        return path

    def _rows(self, step: int, group: ScoredGroup) -> Iterator[dict[str, Any]]:
        sample = self._samples[group.index]
        gains = group.advantages or advantages(group.rewards, scale=self._scale)
        penalties = group.penalties or [None] * len(group.rewards)
        own: Sequence[Mapping[str, float | None]] = group.parts or [{}] * len(group.rewards)
        columns = zip(group.completions, group.scores, group.rewards, penalties, gains, own, strict=True)
        for index, (completion, scores, reward, overlong, advantage, paid) in enumerate(columns):
            yield {
                "step": step,
                "rank": self._rank,
                "id": _encodable(sample.id),
                "source": _encodable(sample.source),
                "task": sample.task,
                "index": index,
                "text": _encodable(completion.text),
                "tokens": len(completion.tokens),
                "finished": completion.finished,
                "reward": reward,
                "overlong": overlong,
                "advantage": advantage,
                **asdict(scores),
                **{f"reward/{part}": paid.get(part) for part in self._parts},
                **({"given": getattr(completion, "source", None)} if self._given else {}),
            }


def read_completions(folder: Path) -> pa.Table:
    """All completions of a run by step, process and group; `.to_pandas()` makes a data frame of them.

    Args:
        folder: The run's folder, or the one of the files in it.

    Raises:
        DataError: there are none, or a file is damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    found = sorted([*_files(folder), *_files(folder / FOLDER)])
    if not found:
        raise DataError(f"{folder}: holds no completions; give the folder of a `trlt train` run that kept them")
    tables = []
    for _, _, path in found:
        try:
            # Not `read_table`, which makes columns of folders that are named `key=value`.
            with pq.ParquetFile(path) as file:
                tables.append(file.read())
        except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
            raise DataError(f"{path}: can't be read ({error}); remove the file to read the others") from None
    # A file of another version may have other scores: they are null elsewhere.
    return pa.concat_tables(tables, promote_options="default")


def cut_completions(folder: Path, step: int) -> None:
    """Removes files written after a step, and incomplete ones left by a kill; no process may be writing meanwhile.

    Args:
        folder: The run's folder.
        step: The last one that is kept, as in `log.jsonl`.
    """
    for file in _files(folder / FOLDER):
        if file.step > step:
            file.path.unlink()
    for torn in (folder / FOLDER).glob(".step-*.parquet.*"):
        torn.unlink()


def _files(folder: Path) -> list[_CompletionFile]:
    found = ((path, _NAME.fullmatch(path.name)) for path in folder.glob("step-*.parquet"))
    return [_CompletionFile(int(name[1]), int(name[2]), path) for path, name in found if name]


def _encodable(text: str) -> str:
    """A text without lone surrogates, which JSON can hold and Parquet's UTF-8 can't."""
    return text.encode("utf-8", "replace").decode("utf-8")
