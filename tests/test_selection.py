import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trlt.errors import DataError
from trlt.recipe import Select, Sizes
from trlt.selection import Class, classify, difficulty, histogram, select, water_fill

Row = dict[str, Any]


def mc(name: str, correct: int, source: str = "a", **more: Any) -> Row:
    return {"id": name, "task": "multi_choice", "source": source, "correct": correct, "n": 8, "error": None, **more}


def tvg(name: str, delta: float, source: str = "a") -> Row:
    return {"id": name, "task": "grounding", "source": source, "delta_iou": delta, "correct": None, "n": 8, "error": None}


def gqa(name: str, correct: int, delta: float, source: str = "a") -> Row:
    return mc(name, correct, source) | {"task": "grounded_qa", "delta_iou": delta}


def sizes(multi_choice: int = 0, grounding: int = 0, grounded_qa: int = 0, **more: Any) -> Select:
    return Select(sizes=Sizes(multi_choice=multi_choice, grounding=grounding, grounded_qa=grounded_qa), **more)


def test_difficulty_by_hand() -> None:
    levels = [difficulty(mc("x", c), Select()) for c in range(9)]
    assert levels == ["hard"] * 2 + ["medium"] * 5 + ["easy"] * 2
    assert difficulty(mc("x", 3), Select(hard=3, easy=5)) == "hard"


@pytest.mark.parametrize(
    ("row", "klass"),
    [
        (tvg("x", 0.3), "varied"),
        (tvg("x", 0.7 - (0.7 + 0.1) / 2), "varied"),  # 0.3 less a rounding error
        (tvg("x", 0.2999), "flat"),
        (gqa("x", 4, 0.1), "medium"),
        (gqa("x", 4, 0.0999), "flat"),
        (gqa("x", 7, 0.9), "easy"),
        (gqa("x", 1, 0.9), "hard"),
        (mc("x", 4), "medium"),
    ],
)
def test_classes(row: Row, klass: Class) -> None:
    assert classify(row, Select()) == klass


def test_water_fill_by_hand() -> None:
    assert water_fill({"a": 10, "b": 10}, 6) == {"a": 3, "b": 3}
    assert water_fill({"a": 1, "b": 10, "c": 10}, 9) == {"a": 1, "b": 4, "c": 4}
    assert water_fill({"b": 10, "a": 10}, 5) == {"a": 3, "b": 2}, "the odd one goes to the first by name"
    assert water_fill({"a": 2, "b": 3, "c": 100}, 12) == {"a": 2, "b": 3, "c": 7}
    assert water_fill({"a": 2, "b": 3}, 100) == {"a": 2, "b": 3}
    assert water_fill({"a": 0, "b": 3}, 2) == {"a": 0, "b": 2}
    assert water_fill({"a": 3}, 0) == {"a": 0} and water_fill({}, 5) == {}
    # Grounded QA of the paper: 8,000 over 29,797 and 3,358 rows.
    assert water_fill({"gvideollm": 29_797, "nextgqa": 3_358}, 8_000) == {"gvideollm": 4_642, "nextgqa": 3_358}


@given(st.dictionaries(st.text(max_size=3), st.integers(0, 50), max_size=8), st.integers(0, 200))
def test_water_fill(available: dict[str, int], total: int) -> None:
    taken = water_fill(available, total)
    assert taken.keys() == available.keys()
    assert sum(taken.values()) == min(total, sum(available.values()))
    assert all(0 <= taken[name] <= available[name] for name in taken)
    level = max(taken.values(), default=0)
    assert all(taken[name] >= min(available[name], level - 1) for name in taken), "only a dry source gives less"
    assert taken == water_fill(dict(reversed(available.items())), total)


def test_selection_by_hand() -> None:
    rows = [mc(f"m{c}", c) for c in range(9)]
    rows += [tvg("t1", 0.29), tvg("t2", 0.3), tvg("t3", 0.5)]
    rows += [gqa("g1", 4, 0.05), gqa("g2", 4, 0.2), gqa("g3", 0, 0.2), gqa("g4", 8, 0.2)]
    rows += [mc("broken", 4) | {"error": "no such file", "correct": None}]
    selection = select(rows, Select())
    assert selection.ids == ("m2", "m3", "m4", "m5", "m6", "t2", "t3", "g2")
    report = selection.report
    assert (report.rows, report.errors, report.taken) == (17, 1, 8)
    assert report.wanted["multi_choice"] == {"easy": 0, "medium": 16_000, "hard": 0}
    assert report.shortfalls == (
        "multi_choice (medium): 5 of 16,000: the pool holds no more; probe more samples or widen the thresholds",
        "grounding (varied): 2 of 8,000: the pool holds no more; probe more samples or widen the thresholds",
        "grounded_qa (medium): 1 of 8,000: the pool holds no more; probe more samples or widen the thresholds",
    )
    cells = {(cell.task, cell.klass): (cell.available, cell.taken) for cell in report.cells}
    assert cells["multi_choice", "easy"] == (2, 0) and cells["multi_choice", "medium"] == (5, 5)
    assert cells["grounding", "flat"] == (1, 0) and cells["grounded_qa", "flat"] == (1, 0)


def test_ratio() -> None:
    rows = [mc(f"{c}-{i}", c) for c in (0, 4, 8) for i in range(20)]
    for ratio, expected in {"1:8:1": (1, 8, 1), "0:1:0": (0, 10, 0), "1:1:1": (4, 3, 3), "3:0:1": (8, 0, 2)}.items():
        ids = select(rows, sizes(10, ratio=ratio)).ids
        assert tuple(sum(name.startswith(f"{c}-") for name in ids) for c in (8, 4, 0)) == expected, ratio


def test_a_short_class_is_not_made_up_from_another() -> None:
    rows = [mc(f"e{i}", 8) for i in range(2)] + [mc(f"m{i}", 4) for i in range(50)]
    selection = select(rows, sizes(20, ratio="1:1:0"))
    assert selection.report.taken == 12
    assert "multi_choice (easy): 2 of 10: the pool holds no more" in selection.report.shortfalls[0]


def test_sources_share_evenly() -> None:
    rows = [tvg(f"{source}{i}", 0.5, source) for source, n in (("a", 3), ("b", 50), ("c", 50)) for i in range(n)]
    rows += [tvg("d0", 0.1, "d")]
    selection = select(rows, sizes(grounding=23))
    taken = {cell.source: cell.taken for cell in selection.report.cells if cell.klass == "varied"}
    assert taken == {"a": 3, "b": 10, "c": 10, "d": 0}
    assert [line.partition(" of ")[0] for line in selection.report.shortfalls] == [
        "grounding (varied): a has 3",
        "grounding (varied): d has 0",
    ]


def test_thresholds_of_the_ablation_are_nested() -> None:
    rows = [tvg(str(i), i / 1000) for i in range(700)]
    kept = [set(select(rows, sizes(grounding=1000, delta_iou=t)).ids) for t in (0.0, 0.1, 0.2, 0.3)]
    assert [len(ids) for ids in kept] == [700, 600, 500, 400]
    assert kept[0] > kept[1] > kept[2] > kept[3]


def test_seeds_choose_differently() -> None:
    rows = [tvg(str(i), 0.5) for i in range(100)]
    one, same, other = (select(rows, sizes(grounding=20, seed=seed)).ids for seed in (1, 1, 2))
    assert one == same and set(one) != set(other)


classes = st.integers(0, 8)
rows_of_any_kind = st.lists(
    st.builds(mc, st.text(max_size=4), classes, st.sampled_from("abc"))
    | st.builds(tvg, st.text(max_size=4), st.floats(0, 1), st.sampled_from("abc"))
    | st.builds(gqa, st.text(max_size=4), classes, st.floats(0, 1), st.sampled_from("abc")),
    max_size=40,
    unique_by=lambda row: row["id"],
)


@given(rows_of_any_kind, st.randoms(use_true_random=False), st.integers(0, 20), st.integers(0, 20), st.integers(0, 20))
def test_selection(rows: list[Row], rng: random.Random, m: int, g: int, q: int) -> None:
    settings = sizes(m, g, q, ratio="1:2:1")
    selection = select(rows, settings)
    by_id = {row["id"]: row for row in rows}
    assert list(selection.ids) == [row["id"] for row in rows if row["id"] in set(selection.ids)], "in the rows' order"
    for task, size in settings.sizes.model_dump().items():
        assert sum(by_id[name]["task"] == task for name in selection.ids) <= size
    shuffled = rng.sample(rows, len(rows))
    again = select(iter(shuffled), settings)
    assert set(again.ids) == set(selection.ids)
    assert again.report == selection.report
    assert json.loads(json.dumps(selection.report.to_json())) == selection.report.to_json()
    assert sum(cell.taken for cell in selection.report.cells) == len(selection.ids)
    assert sum(cell.available for cell in selection.report.cells) == len(rows)


def test_histogram_by_hand() -> None:
    rows = [mc("1", 0, mean=0.5), mc("2", 3, mean=1.0), mc("3", 3), tvg("4", 0.0), tvg("5", 0.3), tvg("6", 1.0)]
    rows += [gqa("7", 4, 0.05), mc("8", 0) | {"error": "no video", "correct": None}]
    assert histogram(rows, Select()) == {
        "rows": 8,
        "errors": 1,
        "tasks": {
            "multi_choice": {
                "rows": 3,
                "mean_reward": 0.75,
                "classes": {"easy": 0, "medium": 2, "hard": 1},
                "correct": {"0": 1, "1": 0, "2": 0, "3": 2},
                "delta_iou": [],
            },
            "grounding": {
                "rows": 3,
                "mean_reward": None,
                "classes": {"varied": 2, "flat": 1},
                "correct": {},
                "delta_iou": [1, 0, 0, 1, 0, 0, 0, 0, 0, 1],
            },
            "grounded_qa": {
                "rows": 1,
                "mean_reward": None,
                "classes": {"medium": 0, "flat": 1, "easy": 0, "hard": 0},
                "correct": {"0": 0, "1": 0, "2": 0, "3": 0, "4": 1},
                "delta_iou": [1, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            },
        },
    }
    assert select(rows, Select()).report.histograms == histogram(rows, Select())


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (mc("1", 4) | {"correct": None}, "probe row '1': correct: expected int, got None"),
        (mc("1", 4) | {"correct": True}, "correct: expected int, got True"),
        (tvg("1", float("nan")), "delta_iou: expected float, got nan"),
        (tvg("1", 0.5) | {"task": "groundin"}, "task: 'groundin' is unknown; did you mean grounding"),
        ({"task": "grounding"}, "probe row None: id: expected str"),
    ],
)
def test_unusable_rows(row: Row, message: str) -> None:
    with pytest.raises(DataError, match=message):
        select([row], Select())


def test_an_id_twice() -> None:
    with pytest.raises(DataError, match="'1': stands twice"):
        select([mc("1", 4), mc("1", 5)], Select())


def test_fewer_answers_than_easy_asks_for() -> None:
    assert "rows have only n = 4" in select([mc("1", 4, n=4)], sizes(1)).report.shortfalls[-1]
