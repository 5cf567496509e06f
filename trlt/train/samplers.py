"""Orders of a training set's rows that don't depend on how many processes share them. Knows row numbers only."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence

from torch.utils.data import Sampler


class PrefetchSampler(Sampler[int]):
    """A sampler that lets the clips of coming rows be loaded while the model works on earlier ones.

    Args:
        order: The sampler whose order this one keeps.
        announce: Is told rows of this process, some time before they are wanted.
        rows: Rows that a process takes at a time; processes take turns.
        every: Of how many batches of all processes only the first needs its clips.
        process: (rank, how many there are).
        reseed: Called before each pass with `order`, to fix what it draws.
    """

    def __init__(
        self,
        order: Sampler[int],
        announce: Callable[[Sequence[int]], None],
        rows: int,
        *,
        every: int = 1,
        process: tuple[int, int] = (0, 1),
        reseed: Callable[[Sampler[int]], None] | None = None,
    ) -> None:
        self._order, self._announce, self._rows, self._every, self._process = order, announce, rows, every, process
        self._reseed = reseed

    def __len__(self) -> int:
        return len(self._order)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[int]:
        rank, processes = self._process
        batch = self._rows * processes
        # At the beginning of each pass, as the order of an epoch may depend on the seed and the
        # epoch alone: a resumed run has no generator that went through the epochs before.
        if self._reseed:
            self._reseed(self._order)
        waiting: deque[int] = deque()
        for position, row in enumerate(self._order):
            # TRL goes over the rows of a step once for each micro-batch and iteration. The clips are needed the first time.
            if position // batch % self._every == 0 and position // self._rows % processes == rank:
                self._announce([row])
            waiting.append(row)
            # The dataloader itself is one batch ahead of the model.
            if len(waiting) > batch * self._every:
                yield waiting.popleft()
        yield from waiting


class PaddedSampler(Sampler[int]):
    """Another order's rows, and `rows`, `rows + 1`, ... until the last batch is full.

    Without them the end of an epoch would be shared out differently among other numbers of processes.

    Args:
        order: Of the rows 0 to `rows - 1`.
        rows: How many there are.
        batch: Rows of an optimizer step, over all processes.
    """

    def __init__(self, order: Sampler[int], rows: int, batch: int) -> None:
        self._order, self._rows, self._batch = order, rows, batch

    def __len__(self) -> int:
        return -(-self._rows // self._batch) * self._batch

    def __iter__(self) -> Iterator[int]:
        yield from self._order
        yield from range(self._rows, len(self))

    # `ResumableTrainer` gives each epoch's order its generator, whatever sampler it holds.
    @property
    def generator(self) -> object:
        """What the other order draws from."""
        return getattr(self._order, "generator", None)

    @generator.setter
    def generator(self, value: object) -> None:
        self._order.generator = value  # type: ignore[attr-defined]
