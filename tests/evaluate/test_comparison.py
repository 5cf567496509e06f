"""Paired comparison of two runs, by hand."""

from __future__ import annotations

import pytest

from trlt.evaluate.compare import ScoredRun, compare, other_annotations, protocol_differences
from trlt.stats.groups import group_weights


def scored(values, ids=None, videos=None, groups=None, metric="acc"):
    n = len(values)
    return ScoredRun(
        ids or [str(i) for i in range(n)], videos or [f"v{i}" for i in range(n)], groups or [None] * n, {metric: values}
    )


def test_differences_are_paired_by_question_whatever_the_order():
    a = scored([1.0, 0.0, 0.5], ids=["x", "y", "z"], videos=["u", "u", "w"])
    b = scored([1.0, 1.0, 0.0], ids=["z", "y", "new"], videos=["w", "u", "t"])
    found = compare(a, b)
    assert (found.n, found.videos, found.only_a, found.only_b) == (2, 2, 1, 1)
    change = found.changes[0]
    assert (change.a, change.b, change.difference) == (25.0, 100.0, 75.0), "y: 0 -> 1, z: 0.5 -> 1"
    assert (change.low, change.high) == (50.0, 100.0), "of two videos, each may be drawn twice"
    assert change.better == "B" and change.statement == "B better"


def test_only_an_interval_that_excludes_zero_is_a_difference():
    better = compare(scored([0.4] * 20), scored([0.6] * 20)).changes[0]
    assert better.difference == pytest.approx(20) and better.better == "B"
    assert compare(scored([0.6] * 20), scored([0.4] * 20)).changes[0].statement == "A better"
    same = compare(scored([0.3] * 20), scored([0.3] * 20)).changes[0]
    assert (same.low, same.high, same.statement) == (0, 0, "no significant difference")
    mixed = compare(scored([1.0, 0.0] * 10), scored([0.0, 1.0] * 10)).changes[0]
    assert mixed.better is None and mixed.low < 0 < mixed.high


def test_questions_of_one_video_count_as_one():
    values_a, values_b = [0.0] * 12, [1.0] * 9 + [0.0] * 3
    assert compare(scored(values_a), scored(values_b)).changes[0].better == "B", "twelve videos"
    videos = ["v"] * 9 + ["w"] * 3
    change = compare(scored(values_a, videos=videos), scored(values_b, videos=videos)).changes[0]
    assert change.difference == 75 and change.better is None and change.low == 0, "w alone may be drawn"


def test_one_video_gives_no_interval():
    change = compare(scored([0.0, 0.0], videos=["v", "v"]), scored([1.0, 1.0], videos=["v", "v"])).changes[0]
    assert change.difference == 100 and change.low is change.high is None
    assert change.statement == "no significant difference" and change.to_json()["ci95"] is None


def test_weights_are_made_anew_over_the_shared_questions():
    assert group_weights([None, None]) == [1.0, 1.0] and group_weights([]) == []
    assert group_weights(["s", "s", "s", "t"]) == pytest.approx([4 / 6, 4 / 6, 4 / 6, 2.0])
    nested = ["turn/left", "turn/left", "turn/right", "count"]  # turn: a half of all, and each of its sides half of that
    assert group_weights(nested) == pytest.approx([4 / 8, 4 / 8, 4 / 4, 4 / 2])
    groups = ["s", "s", "t", "t"]
    a = scored([1.0, 0.0, 1.0, 1.0], groups=groups)
    b = ScoredRun(["0", "1", "2"], ["v0", "v1", "v2"], groups[:3], {"acc": [1.0, 1.0, 0.0]})
    change = compare(a, b).changes[0]
    # s: (1 + 0) / 2 and (1 + 1) / 2; t: 1 and 0. The means of the tasks, not of the three questions.
    assert (change.a, change.b, change.difference) == pytest.approx((75.0, 50.0, -25.0))


def test_what_is_not_shared_is_left_out():
    found = compare(scored([1.0]), scored([1.0], ids=["other"]))
    assert (found.n, found.only_a, found.only_b, found.changes) == (0, 1, 1, ())
    assert compare(scored([1.0], metric="acc"), scored([1.0], metric="mIoU")).changes == ()


def test_a_metric_is_over_the_questions_that_count_in_it():
    a = ScoredRun(["0", "1", "2"], ["u", "v", "w"], [None] * 3, {"acc": [0.0, 1.0, 1.0], "acc_yes_no": [None, 1.0, 0.0]})
    b = ScoredRun(["0", "1", "2"], ["u", "v", "w"], [None] * 3, {"acc": [1.0, 1.0, 1.0], "acc_yes_no": [None, 1.0, 1.0]})
    assert [(c.metric, c.n, c.a, c.b) for c in compare(a, b).changes] == [
        ("acc", 3, pytest.approx(200 / 3), 100.0),
        ("acc_yes_no", 2, 50.0, 100.0),
    ]
    nothing = ScoredRun(["0"], ["u"], [None], {"acc": [0.0], "acc_yes_no": [None]})
    assert [change.metric for change in compare(nothing, b).changes] == ["acc"]


def protocol(**changes):
    base = {"prompt": "2", "decoding": {"think": True}, "budget": {"max_tokens": 2048}, "annotations": {"a.json": "1f"}}
    return base | {"split": "test", "videos_read": 7, "questions_left_out": 0, "bootstrap": {"seed": 0}} | changes


def test_protocol_differences_are_named():
    other = protocol(decoding={"think": False}, budget={"max_tokens": 4096}, prompt="3", videos_read=5, bootstrap={"seed": 1})
    assert [str(d) for d in protocol_differences(protocol(), other)] == [
        'prompt: "2" in A, "3" in B',
        "decoding.think: true in A, false in B",
        "budget.max_tokens: 2048 in A, 4096 in B",
    ]
    [named] = protocol_differences(protocol(), protocol(name="lmms-eval"))
    assert str(named) == 'protocol: "paper" in A, "lmms-eval" in B'
    assert protocol_differences(protocol(), protocol(budget=None, questions_left_out=4)) == [], "unknown isn't different"
    more = protocol(annotations={"a.json": "1f", "b.json": "2e"})
    assert [str(d) for d in protocol_differences(protocol(), more)] == ["annotations.b.json: was read in B only"]


def test_annotation_of_other_content_cannot_be_paired():
    more = protocol(annotations={"a.json": "1f", "b.json": "2e"})
    assert other_annotations(protocol(), protocol()) == other_annotations(protocol(), more) == []
    assert other_annotations(more, protocol(annotations={"a.json": "1f", "b.json": "00"})) == ["b.json"]
    assert other_annotations(protocol(), protocol(annotations={"c.json": "1f"})) == ["a.json", "c.json"], "none in both"
