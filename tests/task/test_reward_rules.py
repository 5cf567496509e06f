"""Rewards of completions by other rules than the paper's, from text to number, by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from trlt.errors import DataError, VideoError
from trlt.rollout.row import Generated, to_row
from trlt.select.reward_trial import try_parts
from trlt.task.grade import Grader
from trlt.task.numbers import plain_relative_accuracy
from trlt.task.parts import RewardPart
from trlt.task.prompt_form import PromptForm
from trlt.task.reward import SHIPPED, Weights, in_band
from trlt.task.reward_rules import Rules, TaskWeight
from trlt.task.sample import Sample, Span

FORM = PromptForm(think=False, answer_format="letter")
ONE = Sample("g", "s", "train", "grounding", "a.mp4", "a dog barks", duration=50.0, spans=(Span(10, 20), Span(30, 40)))
ALL = replace(ONE, several=True)
GQA = Sample("q", "s", "train", "grounded_qa", "a.mp4", "who?", duration=50.0, answer="the red car", spans=(Span(10, 20),))
WORDS = Sample("w", "s", "train", "multi_choice", "a.mp4", "what?", answer="a small red car")
NUMBER = Sample("n", "s", "train", "multi_choice", "a.mp4", "how many?", answer="10", numeric=True)


def earned(sample: Sample, text: str, *, weights: Weights = Weights(), **rules: object) -> float:  # noqa: B008  (frozen)
    """The reward of a completion with this answer."""
    rule = Rules(**rules)  # type: ignore[arg-type]
    [[grade]] = Grader(FORM, weights, rules=rule).grade([(sample, [text])])
    return grade.reward


def answer(text: str) -> str:
    return f"<answer> {text} </answer>"


@pytest.mark.parametrize(
    ("rule", "value"),
    [
        ({}, 1 / 3),
        ({"span": "timestamp_iou"}, 1 / 3 * 0.9 * 0.9),
        ({"span": "giou"}, 2 / 3),
        ({"span": "diou"}, 11 / 18),
        ({"span": "steps"}, 1 / 3),
        ({"span": "steps", "steps": (0.2, 0.33, 0.4, 0.5)}, 0.5),
    ],
    ids=str,
)
def test_a_span_is_paid_by_the_rule(rule: dict[str, object], value: float) -> None:
    """With 15.0 to 25.0 for 10 to 20; of the other gold span, 30 to 40, it earns less."""
    assert earned(ONE, answer("15.0 to 25.0"), **rule) == pytest.approx(1 + value)
    assert earned(ONE, answer("no idea"), **rule) == 0
    said = "<observe> 15.0 to 25.0 </observe> <answer> the red car </answer>"
    assert earned(GQA, said, **rule) == pytest.approx(1 + (1 + value) / 2)
    assert earned(WORDS, answer("a small red car"), **rule) == 2, "no span"


def test_of_several_gold_spans_the_one_that_earns_most_counts() -> None:
    # Of 10 to 20 it is 2 s away in a hull of 14, of 30 to 40 6 s in a hull of 18.
    assert earned(ONE, answer("22.0 to 24.0"), span="giou") == pytest.approx(1 + (1 - 2 / 14) / 2)
    # The larger IoU isn't the larger timestamp-aware one: 20/30 and 10/20 s, T = 50.
    two = replace(ONE, spans=(Span(0, 30), Span(10, 20)))
    one = [(20 / 30) * (1 - 10 / 50) * 1, (10 / 20) * 1 * (1 - 10 / 50)]
    assert earned(two, answer("10.0 to 30.0"), span="timestamp_iou") == pytest.approx(1 + max(one))


SAID = pytest.mark.parametrize(
    ("said", "first", "union", "matching"),
    [
        ("10.0 to 20.0; 30.0 to 40.0", 1, 1, 1),
        ("30.0 to 40.0; 10.0 to 20.0", 1, 1, 1),
        ("10.0 to 20.0", 1, 0.5, 0.5),
        ("10.0 to 15.0; 30.0 to 35.0", 0.5, 0.5, 0.5),
        # 10 of 20 + 25 - 10, and 0.4 (10 to 35 with either) alone of two.
        ("10.0 to 20.0; 22.0 to 27.0; 30.0 to 40.0", 1, 20 / 25, 2 / 3),
        ("10.0 to 40.0", 1 / 3, 20 / 30, 1 / 6),
        ("nothing", 0, 0, 0),
    ],
)


@SAID
def test_selection_goes_by_all_spans_where_all_are_paid(said: str, first: float, union: float, matching: float) -> None:
    for rule, wanted in (("first", first), ("union", union), ("matched", union), ("union_and_matched", union)):
        [[grade]] = Grader(FORM, rules=Rules(several=rule)).grade([(ALL, [f"<answer> {said} </answer>"])])
        assert (grade.iou, grade.scores.tiou) == (pytest.approx(wanted), pytest.approx(first)), rule


@SAID
def test_several_spans_are_paid_by_the_rule(said: str, first: float, union: float, matching: float) -> None:
    found = [earned(ALL, answer(said), weights=Weights(format=0), several=rule) for rule in ("first", "union", "matched")]
    assert found == pytest.approx([first, union, matching])
    both = earned(ALL, answer(said), weights=Weights(format=0), several="union_and_matched")
    assert both == pytest.approx((union + matching) / 2)


def test_the_rule_of_spans_holds_within_pairs_and_thresholds_within_both() -> None:
    said, bare = answer("15.0 to 25.0; 30.0 to 40.0"), Weights(format=0)
    assert earned(ALL, said, weights=bare, several="matched", span="giou") == pytest.approx((2 / 3 + 1) / 2)
    assert earned(ALL, said, weights=bare, several="matched", span="timestamp_iou") == pytest.approx((0.27 + 1) / 2)
    assert earned(ALL, said, weights=Weights(format=0, tiou_from=0.5), several="matched") == 0.5
    # The union is 15 of 25 s.
    assert earned(ALL, said, weights=Weights(format=0, tiou_from=0.5), several="union") == 1
    assert earned(ALL, said, weights=bare, several="union", span="steps") == pytest.approx(2 / 3)
    assert earned(ONE, answer("10.0 to 15.0"), weights=bare, several="union") == 0.5, "one span was asked for"


def test_numbers_and_words_are_paid_by_the_rule() -> None:
    for rule, near in {"mean_relative": 0.6, "relative": 0.8, "exact": 0.0}.items():
        assert [earned(NUMBER, answer(text), numeric=rule) for text in ("8", "10.0", "30")] == pytest.approx([1 + near, 2, 1])
        assert earned(NUMBER, answer("eight"), numeric=rule) == 0
    assert (plain_relative_accuracy(0, 0), plain_relative_accuracy(1, 0), plain_relative_accuracy(None, 3)) == (1, 0, 0)
    assert plain_relative_accuracy(-12, -10) == pytest.approx(0.8)
    # `red car` has 2 of the 3 words besides the article: F1 2 * 2 / 5. A number is no words.
    assert [earned(WORDS, answer(text), words="f1") for text in ("red car", "the small red car", "bus")] == [1.8, 2, 1]
    assert [earned(WORDS, answer(text)) for text in ("red car", "bus")] == [2, 1]
    assert earned(NUMBER, answer("8"), words="f1") == 1.6
    chosen = replace(WORDS, options=("a small red car", "a red bus"), answer_index=0)
    assert earned(chosen, answer("B"), words="f1") == 1, "options were shown"


def test_the_format_multiplies() -> None:
    outside = f"Well, {answer('10.0 to 15.0')}"  # readable, and not as the template says
    assert [earned(ONE, text) for text in (answer("10.0 to 15.0"), outside, answer("?"))] == [1.5, 0.5, 0]
    assert [earned(ONE, text, multiply=True) for text in (answer("10.0 to 15.0"), outside, answer("?"))] == [0.5, 0, 0]
    said = "<observe> 10.0 to 15.0 </observe> <answer> the red car </answer>"
    assert earned(GQA, said, multiply=True, weights=Weights(grounded_accuracy=2, grounded_tiou=4)) == 2 * 1 + 4 * 0.5


def test_a_task_has_weights_of_its_own() -> None:
    tasks = {"grounding": TaskWeight(2.0, 0.5), "grounded_qa": TaskWeight(format=0.0)}
    assert earned(ONE, answer("10.0 to 15.0"), tasks=tasks) == 2 * (0.5 + 0.5)
    assert earned(GQA, "<observe> 10.0 to 15.0 </observe> <answer> the red car </answer>", tasks=tasks) == 0.75
    assert earned(WORDS, answer("a small red car"), tasks=tasks) == 2
    part = RewardPart("half", 3.0, lambda *_: 0.5)
    [[grade]] = Grader(FORM, parts=(part,), rules=Rules(tasks=tasks)).grade([(ONE, [answer("10.0 to 15.0")])])
    assert grade.reward == 2 * (0.5 + 0.5 + 3 * 0.5) and grade.parts == {"half": 0.5}


def test_without_a_duration_the_clips_own_counts_or_the_sample_is_at_fault() -> None:
    grader = Grader(FORM, rules=Rules(span="timestamp_iou"))
    unknown, said = replace(ONE, duration=None), [Generated(answer("15.0 to 25.0"), 9, True)]
    assert grader.timed(ONE, 40.0) is ONE and Grader(FORM).timed(unknown, 40.0) is unknown
    row = to_row(unknown, said, grader=grader, video_tokens=4, length_s=50.0)
    assert row["rewards"] == pytest.approx([1.27]) and row["length_s"] == 50 and row["parts"]["span"] == pytest.approx([0.27])
    assert row["ious"] == pytest.approx([1 / 3]), "scores and what selection goes by stay the tIoU"
    trial = try_parts([row], {"g": unknown}, grader, [RewardPart("giou", 1.0, SHIPPED["giou"])])
    assert trial.parts[0].beside == pytest.approx([1.27]) and trial.parts[0].values == pytest.approx([2 / 3])
    assert "length_s" not in to_row(ONE, said, grader=grader, video_tokens=4, length_s=49.0)
    bounded = replace(unknown, clip=Span(100, 140))
    [[grade]] = grader.grade([(bounded, [said[0].text])])
    assert grade.parts["span"] == pytest.approx(1 / 3 * (1 - 5 / 40) ** 2)
    with pytest.raises(VideoError, match=r"sample 'g': duration: is unknown, and timestamp_iou divides by it; add it"):
        grader.grade([(unknown, [said[0].text])])
    with pytest.raises(DataError, match="duration: is unknown"):
        SHIPPED["timestamp_iou"](unknown, "", grade.answer, grade.scores)


def test_measures_are_parts_of_their_own() -> None:
    parts = tuple(RewardPart(name, 1.0, SHIPPED[name]) for name in ("timestamp_iou", "giou", "diou", "union", "matched"))
    [[one], [several], [words]] = Grader(FORM, parts=parts).grade(
        [
            (ONE, [answer("15.0 to 25.0")]),
            (ALL, [answer("15.0 to 25.0; 30.0 to 40.0")]),
            (WORDS, [answer("bus")]),
        ]
    )
    assert list(one.parts.values()) == pytest.approx([0.27, 2 / 3, 11 / 18, None, None])
    assert list(several.parts.values()) == pytest.approx([0.27, 2 / 3, 11 / 18, 15 / 25, (1 / 3 + 1) / 2])
    assert set(words.parts.values()) == {None}


def test_what_is_noted_is_what_was_paid_in_place_of_a_score() -> None:
    rules = Rules(several="union", words="f1")
    assert (Rules().noted, rules.noted, Rules(multiply=True).noted) == ((), ("span", "answer"), ())
    graded = Grader(FORM, rules=rules).grade([(ALL, [answer("10.0 to 20.0")]), (WORDS, [answer("red car")])])
    assert [grade.parts for [grade] in graded] == [{"span": 0.5, "answer": None}, {"span": None, "answer": 0.8}]
    assert [grade.scores.tiou for [grade] in graded] == [1, None]


def test_a_band_of_lengths_by_hand() -> None:
    assert [in_band(n, 320, 512, 64) for n in (256, 288, 320, 512, 544, 576, 700)] == [0, 0.5, 1, 1, 0.5, 0, 0]
    assert [in_band(n, 320, 512, 1) for n in (319, 320, 512, 513)] == [0, 1, 1, 0], "Video-R1's hard edges"
