"""Advantages by hand, by TRL and by OneThinker's rule; the running moments, resumed and over processes."""

from __future__ import annotations

import json
import math

import pytest
import torch

from trlt.recipe import Train
from trlt.task.reward import advantages
from trlt.train.advantage_scale import SCALES, AdvantageScale, GroupRewards, centred, cut_scales

QA, SPAN = "multi_choice", "grounding"
STEPS = [
    [GroupRewards(QA, (2.0, 1.0, 1.0, 0.0)), GroupRewards(SPAN, (1.0, 1.3, 1.1, 1.2)), GroupRewards(QA, (1.0, 1.0, 1.0, 1.0))],
    [
        GroupRewards(SPAN, (1.0, 1.1, 1.0, 1.1)),
        GroupRewards(SPAN, (0.0, 1.0, 1.5, 0.5)),
        GroupRewards(QA, (2.0, 2.0, 0.0, 2.0)),
    ],
]


def alone(rows):
    return rows


def scale(folder, kind, gather=alone, *, writes=True, **more):
    return AdvantageScale(folder, Train(scale_rewards=kind, **more), gather, writes=writes)


def test_the_groups_own_deviation_is_as_before(tmp_path):
    for kind in ("group", "none"):
        found = scale(tmp_path, kind)(1, STEPS[0])
        assert found == [advantages(one.rewards, scale=kind == "group") for one in STEPS[0]]
    assert not (tmp_path / SCALES).exists()


def test_leave_one_out_by_hand(tmp_path):
    found = scale(tmp_path, "none", baseline="leave_one_out")(1, STEPS[0])
    assert found[0] == pytest.approx([2 - 2 / 3, 1 - 1, 1 - 1, 0 - 4 / 3]) and found[2] == [0.0] * 4
    # As TRL's RLOO trainer has it: (sum of the group - own) / (k - 1).
    rewards = torch.tensor(STEPS[0][1].rewards, dtype=torch.float64)
    assert found[1] == pytest.approx((rewards - (rewards.sum() - rewards) / 3).tolist())
    assert centred((1.0, 0.0), leave_one_out=True) == [1.0, -1.0]


def test_the_steps_deviation_is_trls(tmp_path):
    rewards = torch.tensor([one.rewards for one in STEPS[0]], dtype=torch.float64)
    wanted = (rewards - rewards.mean(1, keepdim=True)) / (rewards.flatten().std() + 1e-4)
    assert torch.allclose(torch.tensor(scale(tmp_path, "batch")(1, STEPS[0]), dtype=torch.float64), wanted)
    same = [GroupRewards(QA, (1.0, 1.0))]
    assert scale(tmp_path, "batch")(1, same) == [[0.0, 0.0]]


def test_a_running_deviation_of_each_task_by_hand(tmp_path):
    made = scale(tmp_path, "task", task_decay=0.9)
    first = made(1, STEPS[0])
    # Of the 8 rewards of QA: mean 1, mean square (4 + 1 + 1 + 0 + 4) / 8 = 1.25, deviation 0.5.
    assert made.deviations[QA] == pytest.approx(0.5)
    assert first[0] == pytest.approx([1 / 0.500001, 0, 0, -1 / 0.500001]) and first[2] == [0, 0, 0, 0]
    spans = math.sqrt((1 + 1.69 + 1.21 + 1.44) / 4 - 1.15**2)
    assert made.deviations[SPAN] == pytest.approx(spans) and first[1][1] == pytest.approx(0.15 / (spans + 1e-6))
    second = made(2, STEPS[1])
    mean, square = 0.9 * 1 + 0.1 * 1.5, 0.9 * 1.25 + 0.1 * 3
    assert made.deviations[QA] == pytest.approx(math.sqrt(square - mean**2))
    assert second[2] == pytest.approx(
        [0.5 / (made.deviations[QA] + 1e-6)] * 2 + [-1.5 / (made.deviations[QA] + 1e-6)] + [0.5 / (made.deviations[QA] + 1e-6)]
    )
    # A group that is much wider than its task was so far has its own deviation, over G, in place of the running one.
    narrow = scale(tmp_path / "none", "task", writes=False)
    narrow(1, [GroupRewards(QA, (1.0, 1.0, 1.0, 1.0))] * 20)
    guarded = narrow(2, [GroupRewards(QA, (0.0, 2.0, 1.0, 1.0))])
    own = math.sqrt(0.5)
    assert narrow.deviations[QA] == pytest.approx(math.sqrt(0.01 * 1.5 + 0.99 - 1))
    assert guarded[0] == pytest.approx([-1 / (own + 1e-6), 1 / (own + 1e-6), 0, 0]), "1 / 0.0707 is beyond 5"


def test_it_goes_on_from_the_file_and_is_the_same_over_processes(tmp_path):
    whole, rest = scale(tmp_path / "a", "task"), scale(tmp_path / "b", "task")
    for folder in "ab":
        (tmp_path / folder).mkdir()
    found = [whole(step, groups) for step, groups in enumerate(STEPS, 1)]
    rest(1, STEPS[0])
    rest(2, [GroupRewards(QA, (9.0, 9.0, 0.0, 9.0))])  # of a step that wasn't saved
    cut_scales(tmp_path / "b", 1)
    again = scale(tmp_path / "b", "task")
    again.resume(1)
    assert again(2, STEPS[1]) == found[1]
    assert (tmp_path / "a" / SCALES).read_bytes() == (tmp_path / "b" / SCALES).read_bytes()
    rows = [json.loads(line) for line in (tmp_path / "a" / SCALES).read_text().splitlines()]
    assert [(row["step"], row["task"]) for row in rows] == [(1, QA), (1, SPAN), (2, QA), (2, SPAN)]
    # Two processes, each with some of the groups, told of the others' in another order.
    order = [2, 0, 1]
    parts = [scale(tmp_path, "task", lambda rows: [*other, *rows], writes=False) for _ in range(2)]
    for step, groups in enumerate(STEPS, 1):
        both = [[groups[i] for i in order[:2]], [groups[i] for i in order[2:]]]
        for place, part in enumerate(parts):
            other = [[float(("multi_choice", "grounding").index(g.task)), *g.rewards] for g in both[1 - place]]
            mine = part(step, both[place])
            assert mine == [found[step - 1][groups.index(g)] for g in both[place]]
