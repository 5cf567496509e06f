"""Rules of selection beyond the paper's: values computed by hand."""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trlt.errors import DataError, RecipeError
from trlt.recipe import Select, Sizes, Target, load_recipe
from trlt.select import select
from trlt.select.diversity import distance, farthest_first, overlap
from trlt.select.draw import draw
from trlt.select.measures import SampleFacts, facts_of, normalized, row_measure
from trlt.select.shares import nested_fill
from trlt.select.target import bins_of, fill, quotas, weights

Row = dict[str, Any]


def grounding(id: str, iou: float = 0.5, source: str = "a", **more: Any) -> Row:
    head = {"id": id, "task": "grounding", "source": source, "n": 2, "correct": None, "error": None}
    return {**head, "ious": [iou, iou], "delta_iou": 0.0, "rewards": [1 + iou] * 2, "mean": 1 + iou, "format_rate": 1.0, **more}


def choice(id: str, correct: int, source: str = "a") -> Row:
    return {"id": id, "task": "multi_choice", "source": source, "n": 8, "correct": correct, "error": None, "mean": 1.5}


def sample(id: str, **more: Any) -> dict[str, Any]:
    return {"id": id, "video": f"{id}.mp4", "video_key": "", "clip": None, "question": f"what is {id}", "meta": {}, **more}


def of(multi_choice: int = 0, grounding: int = 0, **more: Any) -> Select:
    return Select(sizes=Sizes(multi_choice=multi_choice, grounding=grounding, grounded_qa=0), by="all", **more)


def steps(report: Any) -> dict[str, int]:
    return {step.rule: sum(sum(out.values()) for out in step.left_out.values()) for step in report.rules.steps}


def test_weights_of_a_gaussian_by_hand() -> None:
    target = Target(mean=0.5, deviation=0.25, bins=4)
    # Centers 0.125, 0.375, …: 1.5 and 0.5 deviations from the mean; e^-1.125 = 0.3247, e^-0.125 = 0.8825.
    found = weights(target, bins_of(target, 8))
    assert found == pytest.approx([0.13448, 0.36552, 0.36552, 0.13448], abs=1e-5)
    assert quotas(dict(enumerate(found)), 100) == {0: 13, 1: 37, 2: 37, 3: 13}, "13.45 and 36.55: the larger remainders"
    assert weights(Target(shape="uniform", bins=4), bins_of(Target(bins=4), 8)) == [0.25] * 4
    far = weights(Target(mean=1.0, deviation=1e-3, bins=2), bins_of(Target(bins=2), 8))
    assert far[1] == 1 and not any(map(math.isnan, far)), "a mean far away isn't 0 / 0"


def test_bins_of_a_pass_rate_are_the_numbers_of_right_answers() -> None:
    bins = bins_of(Target(of="pass_rate"), 8)
    assert [bins.place(c / 8) for c in range(9)] == list(range(9)) and bins.center(2) == 0.25 and bins.label(3) == "3 of 8"
    stretches = bins_of(Target(bins=10), 8)
    assert [stretches.place(v) for v in (0, 0.0999, 0.1, 0.3, 1.0, 1.1)] == [0, 0, 1, 3, 9, None]


def test_fill_by_hand() -> None:
    # 10 over 1 : 1 : 2 is 2.5, 2.5, 5; the last has 1, so 9 are left for the others: 4.5 each, the first rounds up.
    assert fill({"a": 9, "b": 9, "c": 1}, {"a": 1, "b": 1, "c": 2}, 10) == {"a": 5, "b": 4, "c": 1}
    assert fill({"a": 2, "b": 1}, {"a": 0.9, "b": 0.1}, 5) == {"a": 2, "b": 1}, "all there is"
    assert fill({"a": 2, "b": 3}, {"a": 1.0, "b": 0.0}, 5) == {"a": 2, "b": 0}, "no share, no sample"


def test_nested_fill_by_hand() -> None:
    available = {("x", "a"): 1, ("x", "b"): 9, ("y", "a"): 4}
    assert nested_fill(available, 10) == {("x", "a"): 1, ("x", "b"): 5, ("y", "a"): 4}, "y has 4 of 5, x gives 6"
    assert nested_fill({(): 3}, 2) == {(): 2}


def test_leaves_make_up_for_one_another() -> None:
    # Half and half: a has the second bin alone, so that b gives the first; b comes first by name only.
    found = draw({("b",): [10, 10], ("a",): [0, 20]}, [0.5, 0.5], 20, filled=True)
    assert found.taken == {("a",): [0, 10], ("b",): [10, 0]} and found.wanted == [10, 10]
    # Each of four leaves gives 1 of 3 : 1: rounding goes on from leaf to leaf, not to the larger bin each time.
    many = draw({(name,): [5, 5] for name in "abcd"}, [0.75, 0.25], 4, filled=True)
    assert [sum(column) for column in zip(*many.taken.values(), strict=True)] == [3, 1]
    # Without filling, 20 of 10 : 10 with 4 in the first are 4 + 10.
    short = draw({("a",): [4, 50]}, [0.5, 0.5], 20, filled=False)
    assert short.taken == {("a",): [4, 10]} and short.wanted == [10, 10]
    assert draw({("a",): [4, 50]}, [0.5, 0.5], 20, filled=True).taken == {("a",): [4, 16]}


def test_a_gaussian_of_the_iou_balanced_by_duration() -> None:
    """As TimeLens: durations evenly, within each the Gaussian."""
    rows = [
        grounding(f"{length}-{step}-{i}", 0.125 + 0.25 * step) for length in (20, 50) for step in range(4) for i in range(30)
    ]
    samples = [sample(row["id"], duration=float(row["id"].partition("-")[0])) for row in rows]
    target = {"grounding": Target(mean=0.125, deviation=0.25, bins=4)}
    chosen = select(rows, of(grounding=80, target=target, balance=("duration", "source")), samples)
    # e^0 : e^-0.5 : e^-2 : e^-4.5 = 1 : 0.6065 : 0.1353 : 0.0111 of 1.753; 40 each: 22.8, 13.8, 3.1, 0.3.
    counts = Counter(tuple(id.split("-")[:2]) for id in chosen.ids)
    assert [counts["20", str(step)] + counts["50", str(step)] for step in range(4)] == [46, 28, 6, 0]
    assert sum(counts["20", str(step)] for step in range(4)) == 40
    [cell] = chosen.report.rules.targets
    assert [(one.wanted, one.taken) for one in cell.bins] == [(46, 46), (28, 28), (6, 6), (0, 0)] and cell.apart() == 0
    [by_duration, _] = chosen.report.rules.balances
    assert [(one.name, one.available, one.wanted, one.taken) for one in by_duration.bins] == [
        ("0 to 30 s", 120, 40, 40),
        ("30 to 60 s", 120, 40, 40),
    ]
    assert chosen.report.shortfalls == ()


def test_a_target_that_runs_dry_is_told() -> None:
    rows = [grounding(f"l{i}", 0.1) for i in range(2)] + [grounding(f"h{i}", 0.9) for i in range(20)]
    target = Target(shape="uniform", bins=2)
    filled = select(rows, of(grounding=10, target={"grounding": target}))
    assert Counter(id[0] for id in filled.ids) == {"l": 2, "h": 8}
    # 2 and 8 of 10 in place of 5 and 5.
    told = "grounding (any): target mean_iou: 0 to 0.5 has 2 of 5: the rules leave no more there"
    assert filled.report.shortfalls == (f"{told}; 30.0% of what was taken stands in other bins than wanted",)
    strict = select(rows, of(grounding=10, target={"grounding": target.model_copy(update={"fill": False})}))
    assert Counter(id[0] for id in strict.ids) == {"l": 2, "h": 5}


def test_bounds_and_the_funnel() -> None:
    rows = [choice(f"m{c}", c) for c in range(9)] + [grounding(f"g{i}", i / 10) for i in range(10)]
    rows += [choice("bad", 3) | {"error": "no video", "correct": None}]
    within = {"multi_choice": {"pass_rate": (0.25, 0.75)}, "grounding": {"mean_reward": (1.3, 1.7)}}
    chosen = select(rows, of(3, 9, within=within))
    assert {id for id in chosen.ids if id[0] == "g"} == {"g3", "g4", "g5", "g6", "g7"}, "both bounds are included"
    assert all(2 <= int(id[1]) <= 6 for id in chosen.ids if id[0] == "m") and len(chosen.ids) == 8
    assert steps(chosen.report) == {"error": 1, "sizes": 0, "within.mean_reward": 5, "within.pass_rate": 4, "drawn": 2}
    assert chosen.report.rules.steps[-1].left == {"multi_choice": 3, "grounding": 5}
    assert chosen.report.shortfalls == (
        "grounding (any): 5 of 9: the pool holds no more; probe more samples or loosen the rules",
    )
    [right, ious, *_] = chosen.report.rules.measures
    assert right.before == (1,) * 9 and sum(right.after) == 3 and ious.after == (0, 0, 0, 1, 1, 1, 1, 1, 0, 0)


def test_measures_of_a_row() -> None:
    row = grounding("x", 0.2) | {"ious": [0.2, 0.6], "correct": 1, "rewards": [1.0, 2.0], "delta_iou": 0.2}
    names = ("pass_rate", "mean_iou", "best_iou", "delta_iou", "mean_reward", "deviation", "format_rate")
    assert [row_measure(row, name) for name in names] == pytest.approx([0.5, 0.4, 0.6, 0.2, 1.2, 0.5, 1.0])
    with pytest.raises(DataError, match="probe row 'x': ious: expected numbers, got \\[None\\]"):
        row_measure(row | {"ious": [None]}, "mean_iou")


def test_near_duplicates_and_caps_by_hand() -> None:
    assert normalized("What's the man, IN a red hat, doing?") == "what s man in red hat doing"
    assert overlap("what man does", "what dog does") == 0.5 and overlap("", "") == 1
    assert overlap("什么时候是红", "什么时候是蓝") == 5 / 7, "a character is a word where no blanks part them"
    rows = [grounding(f"g{i}") for i in range(6)]
    questions = ["A man runs.", "the man runs", "a dog runs", "a cat sits", "a man runs", "a man runs"]
    videos = ["v", "v", "v", "v", "w", "x"]
    samples = [
        sample(f"g{i}", video_key=videos[i], question=questions[i], spans=[[10 * i, 10 * i + 2]], duration=100.0)
        for i in range(6)
    ]
    same = select(rows, of(grounding=9, question_overlap=1.0), samples)
    assert len(set(same.ids) & {"g0", "g1"}) == 1 and len(same.ids) == 5, "the same question of the same video"
    asked = select(rows, of(grounding=9, per_question=1), samples)
    assert len(set(asked.ids) & {"g0", "g1", "g4", "g5"}) == 1 and len(asked.ids) == 3, "in all videos"
    capped = select(rows, of(grounding=9, per_video=2), samples)
    assert len(set(capped.ids) & {"g0", "g1", "g2", "g3"}) == 2 and {"g4", "g5"} <= set(capped.ids)
    assert steps(capped.report)["per_video"] == 2


def test_farthest_first_by_hand() -> None:
    def facts(question: str, middle: float | None) -> SampleFacts:
        return SampleFacts("v", None, 100.0, question, middle, "span", ())

    assert distance(facts("man runs", 10), facts("man sits", 60)) == pytest.approx((2 / 3 + 0.5) / 2)
    assert distance(facts("man runs", None), facts("man sits", 60)) == pytest.approx(2 / 3)
    from trlt.select.diversity import Entry

    entries = [
        Entry(0.0, bytes([i]), str(i), "grounding", facts("run", middle)) for i, middle in enumerate((50, 55, 99, 0, 52))
    ]
    # From 50: 0 is 50 away (half of it: words are the same), then 99 is 49 away.
    assert [entry.id for entry in farthest_first(entries, 3)] == ["0", "3", "2", "1", "4"]


def test_tasks_take_turns_in_a_video() -> None:
    rows = [choice(f"m{i}", 4) for i in range(5)] + [grounding(f"g{i}") for i in range(5)]
    samples = [sample(row["id"], video_key="v", spans=None) for row in rows]
    chosen = select(rows, of(9, 9, per_video=4), samples)
    assert Counter(id[0] for id in chosen.ids) == {"m": 2, "g": 2}


def test_question_types_and_meta() -> None:
    rows = [choice(f"m{i}", 4) for i in range(40)]
    asked = lambda i: "Why so?" if i < 4 else "What is it?"  # noqa: E731
    samples = [sample(f"m{i}", question=asked(i), answer="3" if i % 2 else "a dog", meta={"level": i}) for i in range(40)]
    words = select(rows, of(10, balance=("first_word",)), samples)
    assert sum(int(id[1:]) < 4 for id in words.ids) == 4, "all there is of why, the others fill in"
    assert words.report.shortfalls[0].startswith("multi_choice (any): balance first_word: why has 4 of 5")
    kinds = select(rows, of(10, balance=("answer_type",)), samples)
    assert sum(int(id[1:]) % 2 for id in kinds.ids) == 5
    levels = select(rows, of(99, within={"multi_choice": {"meta.level": (0, 9)}}), samples)
    assert {int(id[1:]) for id in levels.ids} == set(range(10))
    with pytest.raises(DataError, match=r"meta\.levl: no sample has it; did you mean level\?"):
        select(rows, of(9, within={"multi_choice": {"meta.levl": (0, 9)}}), samples)
    worded = [one | {"meta": {"level": "high"}} for one in samples]
    with pytest.raises(DataError, match=r"meta\.level: expected a number, got 'high'"):
        select(rows, of(9, within={"multi_choice": {"meta.level": (0, 9)}}), worded)


def test_what_rules_need_and_do_not_have() -> None:
    rows = [grounding("g1"), grounding("g2")]
    with pytest.raises(DataError, match=r"rules \(per_video\) need the samples' videos.*--data"):
        select(rows, Select(by="all", per_video=1))
    with pytest.raises(DataError, match=r"1 probed sample of the rows not found \(the first: 'g2'\)"):
        select(rows, of(grounding=2, per_video=1), [sample("g1")])
    timed = of(grounding=2, within={"grounding": {"duration": (5, 500)}})
    with pytest.raises(DataError, match=r"select\.within\.grounding\.duration: no sample has duration; set `duration`"):
        select(rows, timed, [sample("g1"), sample("g2")])
    some = select(rows, timed, [sample("g1", duration=9.0), sample("g2")])
    assert some.ids == ("g1",) and "1 sample without duration left out" in some.report.shortfalls[-1]
    with pytest.raises(DataError, match=r"select\.balance: duration: no sample has duration"):
        select(rows, of(grounding=2, balance=("duration",)), [sample("g1"), sample("g2")])
    noted = select(rows, of(grounding=2, balance=("duration",)), [sample("g1", duration=9.0), sample("g2")]).report
    assert noted.shortfalls == ("select.balance: 1 sample of grounding without duration, as one bin",)
    assert facts_of(sample("x", clip=[10, 30], spans=[[2, 4]]), ()).middle == 13, "in seconds of the file"
    assert facts_of(sample("x", clip=[10, 30]), ()).duration == 20


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        ("select.within.groundin.mean_iou=[0,1]", "'groundin' is no task; did you mean grounding?"),
        ("select.within.grounding.pass_rate=[0,1]", "samples of this task have none; they have mean_iou"),
        ("select.within.grounding.mean_iou=[1,0]", "must be the lowest and the highest value"),
        ("select.target.multi_choice.of=pas_rate", "'pas_rate' is no measure .*did you mean pass_rate"),
        ("select.target.grounding.of=duration", r"range, mean and deviation: say them, since duration isn't from 0 to 1"),
        ("select.target.grounding={of: meta.level, shape: uniform}", "range: say it, since meta.level isn't from 0 to 1"),
        ("select.target.grounding.mean=5", r"mean \(5\) lies outside of range \(\[0\.0, 1\.0\]\)"),
        ("select.balance=[sources]", "'sources' is unknown .*did you mean source"),
        ("select.duration_bins=[60,30]", "must be rising seconds"),
    ],
)
def test_faults_of_a_recipe(sets: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        load_recipe(None, sets=[sets])
    with pytest.raises(RecipeError, match=r"select\.by random leaves all to chance"):
        load_recipe(None, sets=["select.by=random", "select.balance=[duration]"])


def test_meta_of_the_command_line() -> None:
    found = load_recipe(None, sets=["select.within.grounding.meta.level=[1,2]"]).select
    assert found.within == {"grounding": {"meta.level": (1.0, 2.0)}} and found.meta_names() == ("level",)


rules = st.fixed_dictionaries(
    {},
    optional={
        "target": st.sampled_from(
            [
                {"grounding": Target(bins=5)},
                {"multi_choice": Target(of="pass_rate", shape="uniform"), "grounding": Target(fill=False, mean=0.6, bins=3)},
                {"grounding": Target(of="duration", mean=30, deviation=20, range=(0, 100), bins=4)},
            ]
        ),
        "within": st.sampled_from([{"multi_choice": {"pass_rate": (0.2, 0.8)}}, {"grounding": {"duration": (10, 60)}}]),
        "balance": st.sampled_from([("duration", "source"), ("source", "first_word"), (), ("meta.kind",)]),
        "per_video": st.integers(1, 3),
        "per_clip": st.integers(1, 2),
        "per_question": st.integers(1, 2),
        "question_overlap": st.sampled_from([0.5, 1.0]),
        "by": st.sampled_from(["rules", "variance", "all"]),
        "budget": st.integers(1, 30),
    },
)


@settings(max_examples=60, deadline=None)
@given(rules, st.integers(0, 10**6), st.integers(0, 15), st.integers(1, 15))
def test_another_order_of_rows_selects_the_same(chosen: dict[str, Any], seed: int, m: int, g: int) -> None:
    rng = random.Random(seed)
    rows, samples = [], []
    for i in range(40):
        ious = [rng.choice((0.0, 0.3, 0.8)) for _ in range(2)]
        made = (
            choice(str(i), rng.randrange(9), rng.choice("ab")) if rng.random() < 0.5 else grounding(str(i), 0, rng.choice("ab"))
        )
        made |= {
            "ious": ious,
            "delta_iou": max(ious) - sum(ious) / 2,
            "rewards": [1 + x for x in ious],
            "mean": 1 + sum(ious) / 2,
        }
        rows.append(made)
        words = " ".join(rng.sample(["who", "what", "dog", "runs"], 2))
        place = {
            "video_key": rng.choice("uvw"),
            "clip": rng.choice([None, [0, 9], [9, 30]]),
            "duration": rng.choice((7.0, 40.0, 90.0)),
        }
        samples.append(
            sample(str(i), question=words, spans=[[1, rng.randrange(2, 9)]], meta={"kind": rng.choice("xyz")}, **place)
        )
    given_rules = Select(**{"by": "all", "sizes": Sizes(multi_choice=m, grounding=g, grounded_qa=0), **chosen})
    first = select(rows, given_rules, samples)
    turned = select(rng.sample(rows, len(rows)), given_rules, rng.sample(samples, len(samples)))
    assert set(turned.ids) == set(first.ids) and turned.report == first.report and turned.rules == first.rules
    assert json.loads(json.dumps(first.report.to_json())) == first.report.to_json()
    by_id = {row["id"]: (row, facts) for row, facts in zip(rows, samples, strict=True)}
    assert (
        given_rules.per_video is None
        or max(Counter(by_id[id][1]["video_key"] for id in first.ids).values(), default=0) <= given_rules.per_video
    )
    # Nothing is lost: what the rules left out and what was taken are all rows.
    assert sum(sum(sum(out.values()) for out in step.left_out.values()) for step in first.rules.steps) == len(rows) - len(
        first.ids
    )
    assert sum(first.rules.steps[-1].left.values()) == len(first.ids)


def test_a_target_within_bounds() -> None:
    """Bins that bounds of the same measure leave out are wanted by nobody, and the upper bound is in the last bin."""
    bins = bins_of(Target(of="pass_rate", shape="uniform"), 8, (0.2, 0.8))
    assert [round(share, 3) for share in weights(Target(of="pass_rate", shape="uniform"), bins)] == [0, 0, *[0.2] * 5, 0, 0]
    halves = bins_of(Target(bins=4), 8, (0.0, 0.5))
    assert weights(Target(bins=4, shape="uniform"), halves) == [0.5, 0.5, 0, 0] and halves.place(0.5) == 1
    rows = [choice(f"m{c}-{i}", c) for c in range(9) for i in range(5)]
    both = of(
        15, within={"multi_choice": {"pass_rate": (0.2, 0.8)}}, target={"multi_choice": Target(of="pass_rate", shape="uniform")}
    )
    chosen = select(rows, both)
    assert Counter(id[1] for id in chosen.ids) == dict.fromkeys("23456", 3) and chosen.report.shortfalls == ()


def test_an_even_share_that_keeps_a_target_away_is_told() -> None:
    rows = [grounding(f"a{i}", 0.9, "a") for i in range(5)] + [grounding(f"b{i}", (0.1, 0.9)[i % 2], "b") for i in range(40)]
    chosen = select(rows, of(grounding=10, target={"grounding": Target(mean=0.0, deviation=0.1, bins=2)}))
    # Nearly all is wanted in the first bin, but the five of a are in the second.
    assert Counter(id[0] for id in chosen.ids) == {"a": 5, "b": 5}
    why = "grounding (any): target mean_iou: what is shared evenly first (select.balance) has no more"
    assert chosen.report.shortfalls == (f"{why}; 50.0% of what was taken stands in other bins than wanted",)
