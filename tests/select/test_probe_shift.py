"""Histograms of one probe and the shift between two, by hand."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trlt.errors import DataError
from trlt.recipe import Select
from trlt.select import histogram
from trlt.select.probe_shift import digest, histograms, mean_iou, pair, shift

Row = dict[str, Any]


def mc(id: str, correct: int, n: int = 8) -> Row:
    return dict(
        id=id,
        task="multi_choice",
        source="s",
        n=n,
        correct=correct,
        mean=1 + correct / n,
        ious=None,
        delta_iou=None,
        error=None,
    )


def tvg(id: str, *ious: float) -> Row:
    mean = sum(ious) / len(ious)
    numbers = dict(n=len(ious), correct=None, mean=1 + mean, ious=list(ious), delta_iou=max(ious) - mean)
    return dict(id=id, task="grounding", source="s", error=None) | numbers


def gqa(id: str, correct: int, *ious: float) -> Row:
    return tvg(id, *ious) | dict(task="grounded_qa", correct=correct)


def failed(row: Row) -> Row:
    blanks = dict.fromkeys(("correct", "ious", "delta_iou", "mean"))
    return row | blanks | dict(error="gone")


def test_mean_iou_by_hand() -> None:
    assert mean_iou(tvg("x", 0.0, 0.5, 1.0, 0.5)) == 0.5
    for ious in (None, [], "0.5", [None]):
        with pytest.raises(DataError, match="'x': ious"):
            mean_iou(dict(id="x", ious=ious))


def test_histograms_by_hand() -> None:
    rows = [mc("a", 0), mc("b", 2), mc("c", 2), mc("d", 8), failed(mc("e", 0))]
    rows += [tvg("f", 0.0, 0.0, 0.0, 0.8), tvg("g", 1.0, 1.0, 1.0, 1.0), tvg("h", 0.3, 0.3, 0.3, 0.3)]
    rows += [gqa("i", 1, 0.0, 0.4, 0.2, 0.2), gqa("j", 2, 0.5, 0.5, 0.5, 0.5)]
    found = histograms(rows, Select())
    assert (found["rows"], found["errors"]) == (10, 1)
    choice, grounding, both = (found["tasks"][task] for task in ("multi_choice", "grounding", "grounded_qa"))
    assert (choice["n"], choice["mean_iou"]) == (8, [])
    assert choice["by_class"] == {"correct": {"easy": [0] * 8 + [1], "medium": [0, 0, 2] + [0] * 6, "hard": [1] + [0] * 8}}
    # Means 0.2, 1.0 and 0.3; the last comes out as 0.3 less a rounding error, or more. Spreads 0.6, 0 and 0.
    assert grounding["n"] == 4 and grounding["mean_iou"] == [0, 0, 1, 1, 0, 0, 0, 0, 0, 1]
    assert grounding["by_class"]["delta_iou"] == {"varied": [0] * 6 + [1] + [0] * 3, "flat": [2] + [0] * 9}
    assert grounding["by_class"]["mean_iou"]["varied"] == [0, 0, 1] + [0] * 7
    assert "correct" not in grounding["by_class"]
    assert both["by_class"]["correct"] == {
        "medium": [0] * 5, "flat": [0, 0, 1, 0, 0], "easy": [0] * 5, "hard": [0, 1, 0, 0, 0]
    }  # fmt: skip
    assert both["mean_iou"] == [0, 0, 1, 0, 0, 1, 0, 0, 0, 0]


@given(st.lists(st.tuples(st.integers(0, 4), st.lists(st.floats(0, 1), min_size=4, max_size=4)), max_size=12))
def test_histograms_agree_with_selection(drawn: list[tuple[int, list[float]]]) -> None:
    rows = [gqa(f"g{i}", correct, *ious) for i, (correct, ious) in enumerate(drawn)]
    rows += [tvg(f"t{i}", *ious) for i, (_, ious) in enumerate(drawn)]
    settings = Select(easy=3)
    found, plain = histograms(rows, settings), histogram(rows, settings)
    for task, expected in plain["tasks"].items():
        entry = found["tasks"][task]
        assert {key: entry[key] for key in expected} == expected
        for classes in entry["by_class"].values():
            assert {klass: sum(counts) for klass, counts in classes.items()} == expected["classes"]
        by_bar = [sum(column) for column in zip(*entry["by_class"]["delta_iou"].values(), strict=True)]
        assert by_bar == expected["delta_iou"] and sum(entry["mean_iou"]) == expected["rows"]
    # A row and its few numbers are the same to a histogram.
    short = (one.row() for one in (digest(row, settings) for row in rows) if one is not None)
    assert histograms(short, settings) == found


def test_pairs_and_what_is_in_one_only() -> None:
    a = [mc("a", 2), mc("b", 4), mc("c", 6), mc("d", 8)]
    b = [mc("c", 8), mc("x", 1), failed(mc("b", 0)), mc("a", 2)]
    paired = pair(a, b, Select())
    assert paired.ids == ["c", "a"] and (paired.errors, paired.only_a, paired.only_b) == (1, 1, 1)
    assert [one.correct for one in paired.a] == [6, 2] and [one.correct for one in paired.b] == [8, 2]
    with pytest.raises(DataError, match="A: probe row 'a': occurs twice"):
        pair([mc("a", 1), mc("a", 1)], [], Select())
    with pytest.raises(DataError, match="B: probe row 'a': occurs twice"):
        pair([], [mc("a", 1), mc("a", 1)], Select())
    with pytest.raises(DataError, match="'a': is multi_choice in A and grounding in B"):
        pair([mc("a", 1)], [tvg("a", 0.1, 0.2)], Select())
    with pytest.raises(DataError, match="mean None"):
        pair([mc("a", 1) | {"mean": None}], [], Select())


def test_shift_by_hand() -> None:
    a = [mc("a", 2), mc("b", 4), mc("c", 6), tvg("t", 0.0, 0.4), tvg("u", 0.5, 0.5)]
    b = [mc("a", 8), mc("b", 0), mc("c", 7), tvg("t", 0.8, 0.4), tvg("u", 0.5, 0.5)]
    paired = pair(a, b, Select(delta_iou=0.2))
    found = shift(paired, {"a": "v1", "b": "v2", "c": "v2", "t": "v1", "u": "v1"})
    assert list(found) == ["multi_choice", "grounding"]
    choice = found["multi_choice"]
    assert (choice.n, choice.videos) == (3, 2)
    assert choice.transitions["medium"] == {"easy": 2, "medium": 0, "hard": 1}
    assert choice.transitions["easy"] == choice.transitions["hard"] == {"easy": 0, "medium": 0, "hard": 0}
    # Right: (2 + 4 + 6) / 24 and (8 + 0 + 7) / 24.
    right = choice.measures["right"]
    assert (right.a, right.b, right.difference) == pytest.approx((0.5, 0.625, 0.125))
    assert choice.measures["reward"].difference == pytest.approx(0.125)
    # Draws of v1 (+0.75 of one) and v2 (-0.375 of two, by sample) lie between both videos' own means.
    assert right.ci95 == pytest.approx((-0.1875, 0.75)) and list(choice.measures) == ["reward", "right"]
    grounding = found["grounding"]
    assert grounding.videos == 1 and grounding.measures["mean_iou"].ci95 is None
    # Means of the IoUs 0.2 and 0.5, then 0.6 and 0.5; max - mean 0.2 and 0, then 0.2 and 0.
    assert grounding.measures["mean_iou"].difference == pytest.approx(0.2)
    assert grounding.measures["delta_iou"].a == pytest.approx(0.1)
    assert grounding.transitions == {"varied": {"varied": 1, "flat": 0}, "flat": {"varied": 0, "flat": 1}}
    assert asdict(grounding) == grounding.to_json()


def test_without_videos_there_are_no_intervals() -> None:
    rows = [mc("a", 2), mc("b", 4)]
    found = shift(pair(rows, rows, Select()), None)["multi_choice"]
    assert found.videos is None and found.measures["reward"].ci95 is None and found.measures["reward"].difference == 0
