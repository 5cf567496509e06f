import hashlib
import json
import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trlt.errors import DataError
from trlt.recipe import Select, Sizes
from trlt.select import (
    Class,
    apportion,
    classify,
    deviation,
    difficulty,
    histogram,
    redistributed,
    select,
    water_fill,
)

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


def test_apportion_by_hand() -> None:
    # 10 x 2/7, 2/7, 3/7 = 2.86, 2.86, 4.29
    assert apportion(10, {"a": 2, "b": 2, "c": 3}) == {"a": 3, "b": 3, "c": 4}
    assert apportion(10, {"a": 1, "b": 1, "c": 1}) == {"a": 4, "b": 3, "c": 3}, "of equal remainders the first"
    assert apportion(7, {"a": 1, "b": 0, "c": 1}) == {"a": 4, "b": 0, "c": 3}
    assert apportion(5, {"a": 0}) == {"a": 0} and apportion(5, {}) == {} and apportion(0, {"a": 1}) == {"a": 0}


@given(st.integers(0, 500), st.dictionaries(st.text(max_size=3), st.integers(0, 50), max_size=6))
def test_apportion(total: int, weights: dict[str, int]) -> None:
    parts, whole = apportion(total, weights), sum(weights.values())
    assert sum(parts.values()) == (total if whole else 0)
    assert all(abs(parts[name] - total * weights[name] / whole) < 1 for name in parts if whole)


def test_redistributed_by_hand() -> None:
    assert redistributed({"a": 5, "b": 5}, {"a": 5, "b": 5}) == {"a": 0, "b": 0}
    assert redistributed({"a": 4_000, "b": 4_000}, {"a": 4_642, "b": 3_358}) == {"a": 642, "b": -642}
    # 3 were given for 2 + 4 that are missing: 1 and 2 of them count towards each.
    assert redistributed({"a": 5, "b": 5, "c": 5}, {"a": 3, "b": 1, "c": 8}) == {"a": -1, "b": -2, "c": 3}


@given(st.dictionaries(st.text(max_size=3), st.integers(0, 50), min_size=1, max_size=8), st.integers(0, 200))
def test_redistributed(available: dict[str, int], total: int) -> None:
    shares, taken = apportion(total, dict.fromkeys(sorted(available), 1)), water_fill(available, total)
    moved = redistributed(shares, taken)
    assert sum(moved.values()) == 0
    assert all(moved[name] == taken[name] - shares[name] for name in shares if taken[name] >= shares[name])
    assert all(taken[name] - shares[name] <= moved[name] <= 0 for name in shares if taken[name] < shares[name])
    assert all(taken[name] == available[name] for name in shares if taken[name] < shares[name]), "only a dry source"


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
    # 23 over four sources: 6, 6, 6 and 5.
    assert selection.report.shortfalls == (
        "grounding (varied): a has 3 of an even share of 6; the other sources fill in 3",
        "grounding (varied): d has 0 of an even share of 5; the other sources fill in 5",
    )
    varied = [cell for cell in selection.report.cells if cell.klass == "varied"]
    cells = {cell.source: (cell.available, cell.share, cell.redistributed) for cell in varied}
    assert cells == {"a": (3, 6, -3), "b": (50, 6, 4), "c": (50, 6, 4), "d": (0, 5, -5)}


def test_sources_that_cannot_fill_in_for_all() -> None:
    rows = [tvg(f"{source}{i}", 0.5, source) for source, n in (("a", 1), ("b", 2), ("c", 9)) for i in range(n)]
    selection = select(rows, sizes(grounding=15))
    assert selection.report.shortfalls == (
        "grounding (varied): a has 1 of an even share of 5; the other sources fill in 2 of the missing 4",
        "grounding (varied): b has 2 of an even share of 5; the other sources fill in 2 of the missing 3",
        "grounding (varied): 12 of 15: the pool holds no more; probe more samples or widen the thresholds",
    )


def test_thresholds_of_the_ablation_are_nested() -> None:
    rows = [tvg(str(i), i / 1000) for i in range(700)]
    kept = [set(select(rows, sizes(grounding=1000, delta_iou=t)).ids) for t in (0.0, 0.1, 0.2, 0.3)]
    assert [len(ids) for ids in kept] == [700, 600, 500, 400]
    assert kept[0] > kept[1] > kept[2] > kept[3]


def test_seeds_choose_differently() -> None:
    rows = [tvg(str(i), 0.5) for i in range(100)]
    one, same, other = (select(rows, sizes(grounding=20, seed=seed)).ids for seed in (1, 1, 2))
    assert one == same and set(one) != set(other)


def paid(name: str, rewards: list[Any], source: str = "a", **more: Any) -> Row:
    return tvg(name, 0.5, source) | {"rewards": rewards} | more


def test_deviation_by_hand() -> None:
    assert deviation(paid("x", [1, 1, 2, 2])) == 0.5
    # Mean 5, squares 9 + 1 + 1 + 1 + 0 + 0 + 4 + 16 = 32, 32 / 8 = 4.
    assert deviation(paid("x", [2, 4, 4, 4, 5, 5, 7, 9])) == 2.0
    assert deviation(paid("x", [1.0, 2.0, 2.0])) == pytest.approx(2**0.5 / 3, abs=1e-9), "of the population, not of a sample"
    assert deviation(paid("x", [0.1] * 7)) == 0 and deviation(paid("x", [1.7])) == 0
    assert deviation(paid("x", [0.1, 1.1])) == deviation(paid("x", [1, 2])) == 0.5, "a tie in spite of rounding"


def test_by_variance_by_hand() -> None:
    rows = [paid(f"t{i}", [1.0, 1.0 + i / 10], "ab"[i % 2]) for i in range(8)]  # std i / 20: a has 0, 2, 4, 6
    rows += [mc(f"m{i}", 4, rewards=[1, 1, 1, 2] if i else [1, 1, 2, 2]) for i in range(4)]
    rows += [gqa("same", 4, 0.5) | {"rewards": [1.5] * 8}]
    report = select(rows, sizes(2, 5, 3, by="variance")).report
    ids = select(rows, sizes(2, 5, 3, by="variance")).ids
    assert ids[:5] == ("t2", "t4", "t5", "t6", "t7"), "a takes the odd one: its three largest, and two of b"
    assert "m0" in ids and len(ids) == 7, "the largest first; chance among m1, m2 and m3"
    cells = {(cell.task, cell.source, cell.klass): (cell.available, cell.taken) for cell in report.cells}
    assert cells["grounding", "a", "flat"] == (1, 0) and cells["grounded_qa", "a", "flat"] == (1, 0)
    assert cells["multi_choice", "a", "varied"] == (4, 2)
    assert report.shortfalls == ("grounded_qa (varied): 0 of 3: the pool holds no more; probe more samples",)
    assert report.wanted == {"multi_choice": {"varied": 2}, "grounding": {"varied": 5}, "grounded_qa": {"varied": 3}}


def test_equal_variances_are_drawn_by_the_seed() -> None:
    rows = [paid(str(i), [0.5 + i, 1.5 + i]) for i in range(50)]
    one, same, other = (set(select(rows, sizes(grounding=9, by="variance", seed=seed)).ids) for seed in (1, 1, 2))
    assert one == same != other and len(one) == 9


def test_at_random_by_hand() -> None:
    rows = [mc(f"m{i}", i % 9, "ab"[i % 3 == 0]) for i in range(90)]  # 60 of a, 30 of b; every difficulty
    rows += [tvg(f"t{i}", 0.0) for i in range(3)] + [mc("broken", 4) | {"error": "no video", "correct": None}]
    settings = sizes(30, 5, by="random", seed=4)
    selection = select(rows, settings)
    ranks = sorted((hashlib.blake2b(f"4\0m{i}".encode(), digest_size=8).digest(), f"m{i}") for i in range(90))
    assert set(selection.ids) == {name for _, name in ranks[:30]} | {"t0", "t1", "t2"}, "the seed alone decides"
    by_id = {row["id"]: row for row in rows}
    assert {by_id[name]["correct"] for name in selection.ids} > {0, 8}, "easy and hard ones too"
    taken = {cell.source: cell.taken for cell in selection.report.cells if cell.task == "multi_choice"}
    assert taken["a"] > taken["b"] > 0 and sum(taken.values()) == 30, "a source of more rows gives more"
    assert {(cell.klass, cell.share, cell.redistributed) for cell in selection.report.cells} == {("any", 0, 0)}
    assert selection.report.shortfalls == ("grounding (any): 3 of 5: the pool holds no more; probe more samples",)
    assert selection.report.wanted["multi_choice"] == {"any": 30} and selection.report.errors == 1
    other = select(rows, settings.model_copy(update={"seed": 5}))
    assert set(other.ids) != set(selection.ids) and len(other.ids) == 33


def test_at_random_every_row_is_as_likely() -> None:
    rows = [mc(f"m{i}", 4, "a" if i else "b") for i in range(10)]
    counts = Counter(name for seed in range(2000) for name in select(rows, sizes(3, by="random", seed=seed)).ids)
    # 600 each, within five standard deviations (20.5).
    assert len(counts) == 10 and all(abs(count - 600) < 103 for count in counts.values()), counts


def some(m: int, g: int, q: int) -> list[Row]:
    """Eligible rows of each task."""
    rows = [mc(f"m{i}", 4) for i in range(m)] + [tvg(f"t{i}", 0.5) for i in range(g)]
    return rows + [gqa(f"q{i}", 4, 0.5) for i in range(q)]


def test_budget_by_hand() -> None:
    settings = sizes(16_000, 8_000, 8_000, budget=100)
    report = select(some(200, 200, 200), settings).report
    assert [(total.task, total.share, total.taken) for total in report.tasks] == [
        ("multi_choice", 50, 50),
        ("grounding", 25, 25),
        ("grounded_qa", 25, 25),
    ]
    assert report.shortfalls == ()
    # Grounding lacks 15, shared 2 : 1 by the others; of its 30, grounded QA has 27.
    report = select(some(200, 10, 27), settings).report
    assert [(total.share, total.taken, total.redistributed) for total in report.tasks] == [
        (50, 63, 13),
        (25, 10, -15),
        (25, 27, 2),
    ]
    assert report.taken == 100 and report.wanted["multi_choice"]["medium"] == 63
    assert report.shortfalls[-1] == "budget: grounding has 10 of its share of 25; the other tasks fill in 15"


def test_budget_above_the_pool() -> None:
    report = select(some(20, 10, 0), sizes(2, 1, 1, budget=100)).report
    assert report.taken == 30
    assert report.shortfalls[-3:] == (
        "budget: grounding has 10 of its share of 25; the other tasks hold no more",
        "budget: grounded_qa has 0 of its share of 25; the other tasks hold no more",
        "budget: 30 of 100: no task can give more; the lines above say what each lacks",
    )


def test_a_budget_keeps_the_ratio() -> None:
    rows = [mc(f"e{i}", 8) for i in range(5)] + some(100, 100, 0)
    report = select(rows, sizes(1, 1, 0, budget=40, ratio="1:1:0")).report
    cells = {(cell.task, cell.klass): cell.taken for cell in report.cells}
    assert cells["multi_choice", "easy"] == 5 and cells["multi_choice", "medium"] == 10, "not made up by medium ..."
    assert cells["grounding", "varied"] == 25, "... but by the other task"


def test_a_task_without_a_size_gets_nothing_of_a_budget() -> None:
    report = select(some(5, 50, 50), sizes(1, 1, 0, budget=40)).report
    assert [(total.task, total.taken) for total in report.tasks] == [
        ("multi_choice", 5),
        ("grounding", 35),
        ("grounded_qa", 0),
    ]


@given(st.tuples(*[st.integers(0, 12)] * 3), st.tuples(*[st.integers(0, 4)] * 3), st.integers(1, 40))
def test_budget_is_reached_where_the_pool_allows(pool: tuple[int, ...], weights: tuple[int, ...], budget: int) -> None:
    if not any(weights):
        with pytest.raises(ValueError, match="one must be above 0"):
            sizes(*weights, budget=budget)
        return
    report = select(some(*pool), sizes(*weights, budget=budget)).report
    assert report.taken == min(budget, sum(rows for rows, weight in zip(pool, weights, strict=True) if weight))
    assert sum(total.share for total in report.tasks) == budget and sum(total.redistributed for total in report.tasks) == 0
    assert any(line.startswith("budget: ") for line in report.shortfalls) == any(t.taken < t.share for t in report.tasks)


classes = st.integers(0, 8)
rows_of_any_kind = st.lists(
    st.builds(mc, st.text(max_size=4), classes, st.sampled_from("abc"))
    | st.builds(tvg, st.text(max_size=4), st.floats(0, 1), st.sampled_from("abc"))
    | st.builds(gqa, st.text(max_size=4), classes, st.floats(0, 1), st.sampled_from("abc")),
    max_size=40,
    unique_by=lambda row: row["id"],
)


@given(
    rows_of_any_kind,
    st.randoms(use_true_random=False),
    *[st.integers(0, 20)] * 3,
    st.none() | st.integers(1, 50),
    st.sampled_from(["rules", "variance", "random"]),
)
def test_selection(rows: list[Row], rng: random.Random, m: int, g: int, q: int, budget: int | None, by: Any) -> None:
    rows = [row | {"rewards": [rng.choice((1, 1.5, 2)) for _ in range(3)]} for row in rows]
    settings = sizes(m, g, q, ratio="1:2:1", budget=budget if m + g + q else None, by=by)
    selection = select(rows, settings)
    by_id = {row["id"]: row for row in rows}
    assert list(selection.ids) == [row["id"] for row in rows if row["id"] in set(selection.ids)], "in the rows' order"
    for task, size in settings.sizes.model_dump().items():
        taken = sum(by_id[name]["task"] == task for name in selection.ids)
        assert taken <= size or (settings.budget and size)
    assert settings.budget is None or len(selection.ids) <= settings.budget
    assert by != "variance" or all(deviation(by_id[name]) > 0 for name in selection.ids)
    shuffled = rng.sample(rows, len(rows))
    again = select(iter(shuffled), settings)
    assert set(again.ids) == set(selection.ids)
    assert again.report == selection.report
    assert json.loads(json.dumps(selection.report.to_json())) == selection.report.to_json()
    assert sum(cell.taken for cell in selection.report.cells) == len(selection.ids)
    assert sum(cell.available for cell in selection.report.cells) == len(rows)
    for source, task in {(row["source"], row["task"]) for row in rows} if by == "variance" else ():
        here = [row for row in rows if (row["source"], row["task"]) == (source, task)]
        taken_here = sorted((deviation(row) for row in here if row["id"] in selection.ids), reverse=True)
        assert taken_here == sorted(map(deviation, here), reverse=True)[: len(taken_here)], "the largest"


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


@pytest.mark.parametrize("rewards", [[], [1, float("nan")], [1, None], [True, 2], None, "12"])
def test_unusable_rewards(rewards: Any) -> None:
    with pytest.raises(DataError, match="probe row '1': rewards: expected "):
        select([paid("1", rewards)], Select(by="variance"))
    assert select([paid("1", rewards)], Select()).ids == ("1",), "by rules, nobody needs them"


def test_an_id_twice() -> None:
    with pytest.raises(DataError, match="'1': occurs twice"):
        select([mc("1", 4), mc("1", 5)], Select())


def test_fewer_answers_than_easy_asks_for() -> None:
    told = "easy begins at 7 right answers, but rows have only n = {}, all of which must be right; thresholds for so few: {}"
    found = select([mc("1", 3, n=4)], sizes(1))
    assert found.ids == ("1",)
    assert found.report.shortfalls[-1] == told.format(4, "--set select.easy=4")
    two = select([mc("1", 1, n=2)], sizes(1)).report.shortfalls[-1]
    assert two == told.format(2, "--set select.easy=2 --set select.hard=0")
    assert select([mc("1", 1, n=2)], sizes(1, easy=2, hard=0)).ids == ("1",), "as the line says"


def test_all_right_is_easy_and_all_wrong_hard_whatever_n_is() -> None:
    """Four of four were medium, and taken, although their rewards are all the same."""
    assert [difficulty(mc("x", c, n=4), Select()) for c in range(5)] == ["hard", "hard", "medium", "medium", "easy"]
    for n in range(1, 17):
        assert difficulty(mc("x", n, n=n), Select()) == "easy" and difficulty(mc("x", 0, n=n), Select()) == "hard"
    rows = [mc("all", 4, n=4), mc("none", 0, n=4), mc("some", 3, n=4)]
    assert select(rows, sizes(3)).ids == ("some",)
    assert histogram(rows, Select())["tasks"]["multi_choice"]["classes"] == {"easy": 1, "medium": 1, "hard": 1}
    assert select([gqa("all", 4, 0.9) | {"n": 4}], sizes(grounded_qa=1)).ids == ()
