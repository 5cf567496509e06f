"""Measures of spans: by hand, by other libraries, and as public code computes them (noted at each value)."""

from __future__ import annotations

import random

import pytest

from trlt.task.sample import Span
from trlt.task.span_rewards import best_assignment, diou, giou, matched, stepped, timestamp_iou, union_iou

GOLD = Span(10, 20)


@pytest.mark.parametrize(
    ("said", "duration", "value"),
    [
        # IoU 5/15, starts and ends 5 of 50 s apart: 1/3 * 0.9 * 0.9.
        (Span(15, 25), 50, 0.27),
        (Span(10, 20), 50, 1.0),
        (Span(30, 40), 50, 0.0),
        # IoU 10/40; |ds| = 10 of 40 s, |de| = 20 of 40 s: 0.25 * 0.75 * 0.5.
        (Span(0, 40), 40, 0.09375),
        # The end is 70 of 30 s away. Time-R1's code has 10/80 * 1 * (1 - 70/30) = -1/6 here.
        (Span(10, 90), 30, 0.0),
        # Both factors would be negative, and their product positive: not paid either.
        (Span(5, 95), 4, 0.0),
        (Span(12, 12), 50, 0.0),
    ],
)
def test_timestamp_iou_by_hand(said: Span, duration: float, value: float) -> None:
    assert timestamp_iou(said, GOLD, duration) == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize(
    ("said", "of_giou", "of_diou"),
    [
        (GOLD, 1.0, 1.0),
        # IoU 1/3, hull 15: GIoU 1/3; centres 5 apart: DIoU 1/3 - 1/9.
        (Span(15, 25), 2 / 3, 11 / 18),
        # They touch: GIoU 0; centres 10 of 20 apart: DIoU -1/4.
        (Span(20, 30), 0.5, 0.375),
        # A gap of 10 in a hull of 30: GIoU -1/3; centres 20 of 30 apart: DIoU -4/9.
        (Span(30, 40), 1 / 3, 5 / 18),
        # Inside, IoU 2/10: GIoU 0.2 wherever it is; DIoU 0.2 in the middle, 0.2 - (4/10)^2 at the edge.
        (Span(14, 16), 0.6, 0.6),
        (Span(10, 12), 0.6, 0.52),
        (Span(15, 15), 0.0, 0.0),
    ],
)
def test_giou_and_diou_by_hand(said: Span, of_giou: float, of_diou: float) -> None:
    assert giou(said, GOLD) == giou(GOLD, said) == pytest.approx(of_giou, abs=1e-12)
    assert diou(said, GOLD) == diou(GOLD, said) == pytest.approx(of_diou, abs=1e-12)


def test_a_nearer_disjoint_span_earns_more_and_any_overlap_more_than_none() -> None:
    far, near, touching, barely = Span(90, 95), Span(25, 30), Span(20, 25), Span(19.9, 25)
    for measure in (giou, diou):
        values = [measure(one, GOLD) for one in (far, near, touching, barely)]
        assert values == sorted(values) and len(set(values)) == 4 and values[0] > 0


def test_torchvisions_boxes_of_one_height_agree() -> None:
    ops = pytest.importorskip("torchvision.ops")
    import torch

    rng = random.Random(0)
    for _ in range(50):
        a, b = (Span(start := rng.uniform(0, 50), start + rng.uniform(0.1, 30)) for _ in range(2))
        boxes = [torch.tensor([[one.start, 0, one.end, 1]], dtype=torch.float64) for one in (a, b)]
        assert giou(a, b) == pytest.approx((1 + ops.generalized_box_iou(*boxes).item()) / 2, abs=1e-12)


def test_steps() -> None:
    assert [stepped(value) for value in (0.29, 0.3, 0.69, 0.7)] == [0, 1 / 3, 2 / 3, 1]
    assert stepped(0.5, (0.5,)) == 1 and stepped(0.0, (0.5, 0.9)) == 0


def test_union_by_hand() -> None:
    gold = [Span(0, 10), Span(20, 30)]
    assert union_iou(gold[::-1], gold) == 1
    # 5 + 5 of 20 + 15 - 10: VideoChat-R1's `iou_glue_reward` has 0.4 for these, too.
    assert union_iou([Span(5, 10), Span(25, 35)], gold) == pytest.approx(10 / 25)
    # Overlapping ones count once: 0 to 30 covers 20 of 30.
    assert union_iou([Span(0, 25), Span(20, 30), Span(0, 1)], gold) == pytest.approx(20 / 30)
    assert union_iou([], gold) == union_iou([Span(10, 20)], gold) == union_iou([Span(5, 5)], gold) == 0


def test_matching_by_hand() -> None:
    gold = [Span(0, 10), Span(20, 30)]
    assert matched(gold[::-1], gold, Span.tiou) == 1, "in any order; MUSEG's code pairs by place, and has 0 for tIoU"
    # Greedy would pair (0, 20) with (0, 10) at 0.5, and leave 0 for the other; so does the best here: 0.5 + 0 over 2.
    assert matched([Span(0, 20), Span(12, 14)], gold, Span.tiou) == 0.25
    # The best sum isn't the greedy one: 0.6 + 0 by the largest first, 0.5 + 0.4 at best.
    values = {(0, 0): 0.6, (0, 1): 0.5, (1, 0): 0.4, (1, 1): 0.0}
    said = [Span(0, 1), Span(1, 2)]
    assert matched(said, said, lambda a, b: values[int(a.start), int(b.start)]) == pytest.approx(0.45)
    assert matched(gold[:1], gold, Span.tiou) == 0.5, "one is missing"
    assert matched(gold, [*gold, gold[0]], Span.tiou) == 1, "two annotators gave the first"
    assert matched([*gold, Span(50, 60)], gold, Span.tiou) == pytest.approx(2 / 3), "one too many"
    assert matched([gold[0]] * 2, gold, Span.tiou) == 0.5, "stated twice"
    assert matched([], gold, Span.tiou) == 0


def test_musegs_local_matching_where_the_order_is_right() -> None:
    """Its code pads the shorter list by a span at 1e9 s, so it has 2.1e-8 less: (0.75 + 0.6) / 3 = 0.45 here."""
    said = [Span(0, 5), Span(22, 24), Span(40, 41)]
    assert matched(said, [Span(0, 10), Span(20, 30)], giou) == pytest.approx(0.45)


def test_scipys_assignment_has_the_same_sum() -> None:
    optimize = pytest.importorskip("scipy.optimize")
    rng = random.Random(1)
    for _ in range(100):
        rows, columns = rng.randint(1, 7), rng.randint(1, 7)
        values = [[rng.choice((rng.random(), 0.0, 0.5, 1.0)) for _ in range(columns)] for _ in range(rows)]
        ours = best_assignment(values)
        assert len(ours) == len({a for a, _ in ours}) == len({b for _, b in ours}) == min(rows, columns)
        theirs = zip(*optimize.linear_sum_assignment(values, maximize=True), strict=True)
        assert sum(values[a][b] for a, b in ours) == pytest.approx(sum(values[a][b] for a, b in theirs))
