"""Each kind of claim in each of its states, by hand."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from reproduce_plans import small

from trlt.lab.reproduce.verdicts import fill, judge, standing

MIOU, ACC = "eval.charades.mIoU", "eval.mvbench.acc"


def made(**arms):
    """Arm to the metrics of seeds 0, 1, 2: numbers are mIoU, pairs mIoU and accuracy."""
    metrics = {}
    for arm, values in arms.items():
        for seed, value in enumerate(values):
            if value is not None:
                pair = value if isinstance(value, tuple) else (value, 0.0)
                metrics[arm, seed] = value if isinstance(value, dict) else {MIOU: pair[0], ACC: pair[1]}
    return metrics


def verdict(plan, id, metrics):
    return judge(plan, next(claim for claim in plan.claims if claim.id == id), metrics)


def test_a_difference_is_paired_by_seed(tmp_path):
    plan = small(tmp_path)
    # The arms vary by tens, their differences are 1, 2, 3: mean 2, standard error 1 / sqrt(3), t(2) = 4.3027.
    found = verdict(plan, "better", made(tvg=[11, 32, 53], sft=[10, 30, 50]))
    assert found.by_seed == {0: 1, 1: 2, 2: 3} and found.mean == 2
    assert (found.low, found.high) == pytest.approx((2 - 2.48416, 2 + 2.48416), abs=1e-4)
    assert (found.state, found.seeds, found.of) == ("open", 3, 3)
    assert found.compared == "tvg - sft in eval.charades.mIoU > 0"


@pytest.mark.parametrize(
    ("tvg", "state"),
    [([15, 16, 15], "holds"), ([5, 4, 5], "refuted"), ([10, 10, 10], "open"), ([11, 11, 11], "holds"), ([9, 15, 12], "open")],
)
def test_a_difference(tmp_path, tvg, state):
    plan, metrics = small(tmp_path), made(tvg=tvg, sft=[10, 10, 10])
    assert verdict(plan, "better", metrics).state == state
    opposite = {"holds": "refuted", "refuted": "holds", "open": "open"}[state]
    assert verdict(small(tmp_path, claims__0__less=True), "better", metrics).state == opposite


def test_two_metrics_of_one_arm(tmp_path):
    after, again = "probe.after.grounding.varied", "probe.again.grounding.varied"
    metrics = made(tvg=[{after: 0.2, again: 0.5}, {after: 0.3, again: 0.6}, {after: 0.1, again: 0.5}])
    found = verdict(small(tmp_path), "shift", metrics)
    assert found.mean == pytest.approx(-1 / 3) and found.state == "holds"
    assert found.compared == f"{after} of tvg - {again} of tvg < 0"


def test_a_gap(tmp_path):
    # Accuracy gains 6, 7, 8; mIoU 1, 1, 1.
    metrics = made(tvg=[(11, 6), (11, 7), (11, 8)], sft=[(10, 0), (10, 0), (10, 0)])
    found = verdict(small(tmp_path), "gap", metrics)
    assert found.by_seed == {0: 5, 1: 6, 2: 7} and found.state == "holds"
    assert verdict(small(tmp_path, claims__2__less=True), "gap", metrics).state == "refuted"


def test_a_trend_of_a_mean_of_metrics(tmp_path):
    # The mean of both metrics over x = 0, 1, 2: 1, 2, 3 in each seed, and twice that in the last.
    metrics = made(base=[(2, 0), (1, 1), (4, 0)], sft=[(4, 0), (2, 2), (4, 4)], tvg=[(5, 1), (3, 3), (6, 6)])
    found = verdict(small(tmp_path), "rise", metrics)
    assert found.by_seed == {0: pytest.approx(1), 1: pytest.approx(1), 2: pytest.approx(2)} and found.state == "open"
    assert verdict(small(tmp_path), "rise", metrics | {k: v for k, v in metrics.items()}).compared.startswith(
        "slope of both over"
    )
    flat = metrics | {("base", 2): metrics["base", 1], ("sft", 2): metrics["sft", 1], ("tvg", 2): metrics["tvg", 1]}
    assert verdict(small(tmp_path), "rise", flat).state == "holds"


@pytest.mark.parametrize(
    ("tvg", "state"),
    [
        ([10.5, 10, 9.5], "holds"),
        ([11, 14, 8], "open"),
        ([13, 13.1, 12.9], "refuted"),
        ([7, 7, 7], "refuted"),
        ([12, 12, 12], "open"),
    ],
)
def test_equality_needs_the_whole_interval_within_the_margin(tmp_path, tvg, state):
    assert verdict(small(tmp_path), "same", made(tvg=tvg, sft=[10, 10, 10])).state == state


def test_until_all_seeds_are_there_nothing_is_judged(tmp_path):
    plan = small(tmp_path)
    found = verdict(plan, "better", made(tvg=[20, 21, None], sft=[10, 10, 10]))
    assert (found.state, found.seeds, found.of, found.mean) == ("incomplete", 2, 3, 10.5) and found.low is not None
    nothing = verdict(plan, "better", {})
    assert (nothing.state, nothing.seeds, nothing.mean, nothing.low, nothing.note) == ("incomplete", 0, None, None, "")
    assert json.loads(json.dumps(found.to_json()))["by_seed"] == {"0": 10, "1": 11}


def test_a_metric_that_runs_have_not_is_told(tmp_path):
    plan = small(tmp_path, claims__0__metric="eval.charades.mIuO")
    found = verdict(plan, "better", made(tvg=[1, 2, 3], sft=[1, 2, 3]))
    assert found.state == "incomplete"
    assert found.note == "tvg has no metric eval.charades.mIuO; did you mean eval.charades.mIoU?"


def test_tables_by_hand(tmp_path):
    plan = small(tmp_path)
    table = fill(plan, "5", made(base=[(8, 4)] * 3, tvg=[(10, 2), (12, 4), None]))
    rows = dict(table.rows)
    assert [cell.mean for cell in rows["base"]] == [8, 6] and all(cell.once and cell.low is None for cell in rows["base"])
    first, both = rows["tvg"]
    assert (first.mean, first.n, first.once) == (11, 2, False) and first.low == pytest.approx(11 - 12.7062, abs=1e-4)
    assert both.mean == 7 and [cell.mean for cell in rows["sft"]] == [None, None]
    assert json.loads(json.dumps(table.to_json()))["arms"]["tvg"][MIOU]["n"] == 2


def test_what_stands_among_many(tmp_path):
    plan = small(tmp_path)

    def of(id, middle):
        made_here = made(tvg=[middle - 1, middle, middle + 1], sft=[0, 0, 0])
        return replace(verdict(plan, "better", made_here), id=id)

    # With 2 degrees of freedom p is 1 - t / sqrt(t^2 + 2), and t is the middle times the root of 3: p of 2, 3.258, 10 and
    # -10 is 0.074, 0.030, 0.0033 and 0.0033.
    few, some, much, less = of("few", 2), of("some", 3.258), of("much", 10), of("less", -10)
    assert [one.state for one in (few, some, much, less)] == ["open", "holds", "holds", "refuted"]
    assert standing([some]) == {"some"}
    assert standing([some, replace(some, id="more")]) == frozenset(), "2 x 0.030 is above 0.05"
    assert standing([few, some, much]) == {"much"}, "3 x 0.0033, then 2 x 0.030"
    assert standing([less, much, some]) == {"less", "much", "some"}, "3 x 0.0033, 2 x 0.0033, 0.030"
    assert standing([replace(much, kind="equal"), replace(less, state="incomplete"), some]) == {"some"}, (
        "what isn't such a test"
    )
    same = replace(much, by_seed=dict.fromkeys(range(3), 10.0))
    nothing = replace(much, id="none", mean=0.0, by_seed=dict.fromkeys(range(3), 0.0))
    assert standing([same, nothing]) == {"much"}
