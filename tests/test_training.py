"""The order in which clips are announced, against the order in which they are wanted."""

from __future__ import annotations

import pytest
from torch.utils.data import SequentialSampler

from trlt.training import Announcing


@pytest.mark.parametrize(("rank", "processes", "every"), [(0, 1, 1), (0, 2, 1), (1, 2, 1), (0, 1, 3), (1, 2, 2)])
def test_each_process_announces_its_own_rows_before_they_are_wanted(rank: int, processes: int, every: int) -> None:
    announced: list[int] = []
    rows, count = 4, 48
    order = Announcing(SequentialSampler(range(count)), announced.extend, rows, every=every, process=(rank, processes))
    assert len(order) == count
    batch = rows * processes
    own = [row for row in range(count) if row // rows % processes == rank and row // batch % every == 0]
    for wanted, row in enumerate(order):
        assert row == wanted, "the order stays"
        if row in own:
            assert row in announced
            ahead = sum(a > row for a in announced)
            assert ahead <= rows, "no more than one turn ahead"
            assert ahead or row + batch * every > own[-1], "something is on its way while the model works"
    assert announced == own


def test_a_second_pass_announces_again() -> None:
    announced: list[int] = []
    order = Announcing(SequentialSampler(range(6)), announced.extend, 2)
    assert list(order) == list(order) == list(range(6))
    assert announced == [*range(6)] * 2
