import json
import random
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trlt.stats.intervals import mean_interval, paired_difference
from trlt.task.answer import Answer, parse
from trlt.task.sample import Sample, Span
from trlt.task.score import Scores, score

MC = Sample("1", "s", "train", "multi_choice", "a.mp4", "q?", options=("x", "y", "x"), answer="x", answer_index=2)
TVG = Sample("2", "s", "train", "grounding", "a.mp4", "q", spans=(Span(0, 10), Span(20, 30)))
GQA = Sample(
    "3", "s", "train", "grounded_qa", "a.mp4", "q?", options=("x", "y"), answer="y", answer_index=1, spans=(Span(5, 10),)
)
FREE = Sample("4", "s", "train", "grounded_qa", "a.mp4", "q?", answer="two dogs", spans=(Span(5, 10),))


def said(option: int | None = None, span: Span | None = None, well_formed: bool = True) -> Answer:
    return Answer("…", option, span, None, well_formed)


def test_multi_choice() -> None:
    assert score(said(2), MC) == Scores(1.0, 1.0, None)
    assert score(said(0), MC) == Scores(1.0, 1.0, None), "the same text as the gold option"
    assert score(said(1), MC) == Scores(1.0, 0.0, None)
    assert score(said(None, well_formed=False), MC) == Scores(0.0, 0.0, None)
    assert score(said(2, Span(1, 2)), MC).tiou is None, "asked as grounded QA, only the answer counts"


def test_grounding_takes_the_best_gold_span() -> None:
    # [5, 10] in [0, 10]: 5 / 10; [22, 27] in [20, 30]: 5 / 10; [25, 40]: 5 / 20.
    assert score(said(span=Span(5, 10)), TVG) == Scores(1.0, None, 0.5)
    assert score(said(span=Span(22, 27)), TVG).tiou == 0.5
    assert score(said(span=Span(25, 40)), TVG).tiou == 0.25
    assert score(said(span=Span(0, 30)), TVG).tiou == pytest.approx(1 / 3)
    assert score(said(span=Span(12, 18)), TVG).tiou == 0.0
    assert score(said(span=Span(5, 5)), TVG).tiou == 0.0
    assert score(said(span=None, well_formed=False), TVG) == Scores(0.0, None, 0.0)


def test_grounded_qa() -> None:
    assert score(said(1, Span(5, 10)), GQA) == Scores(1.0, 1.0, 1.0)
    assert score(said(0, Span(0, 10)), GQA) == Scores(1.0, 0.0, 0.5)


def test_a_question_without_options_is_graded_by_words() -> None:
    def accuracy(words: str, threshold: float = 0.5) -> float | None:
        text = f"<observe> 5 to 10 </observe> <answer> {words} </answer>"
        answer = parse(text, task="grounded_qa", think=False, options=None, answer_format="open")
        return score(answer, FREE, threshold).accuracy

    assert accuracy("2 dogs") == accuracy("Two dogs.") == accuracy("dogs") == 1.0
    assert accuracy("dogs", 0.7) == accuracy("cat") == 0.0


def test_interval_of_one_value_a_video() -> None:
    interval = mean_interval([0.0, 1.0] * 50, range(100), resamples=4000)
    assert interval.mean == 0.5
    # Normal approximation: 1.96 * 0.5 / sqrt(100).
    assert interval.low == pytest.approx(0.402, abs=0.015) and interval.high == pytest.approx(0.598, abs=0.015)


def test_interval_draws_whole_videos() -> None:
    values = [float(video % 2) for video in range(40) for _ in range(25)]
    videos = [video for video in range(40) for _ in range(25)]
    by_video = mean_interval(values, videos)
    by_question = mean_interval(values, range(len(values)))
    assert by_video.mean == by_question.mean == 0.5
    assert by_video.high - by_video.low > 3 * (by_question.high - by_question.low)


def test_interval_weighs_questions_not_videos() -> None:
    assert mean_interval([1.0, 0.0, 0.0, 0.0], ["a", "b", "b", "b"]).mean == 0.25


def test_interval_of_one_video() -> None:
    assert asdict(mean_interval([0.0, 1.0], ["a", "a"])) == {"mean": 0.5, "low": 0.5, "high": 0.5}


def test_intervals_are_json_and_depend_on_the_seed_alone() -> None:
    rng = random.Random(0)
    values, videos = [rng.random() for _ in range(50)], [str(i % 17) for i in range(50)]
    order = random.Random(1).sample(range(50), 50)
    one = mean_interval(values, videos, seed=3)
    assert json.loads(json.dumps(asdict(one))) == asdict(one)
    assert one == mean_interval([values[i] for i in order], [videos[i] for i in order], seed=3)
    assert one != mean_interval(values, videos, seed=4)


def test_interval_refuses_nothing_and_a_mismatch() -> None:
    with pytest.raises(ValueError, match="at least one"):
        mean_interval([], [])
    with pytest.raises(ValueError, match="2 values and 1 clusters"):
        mean_interval([1.0, 2.0], ["a"])


def test_weights_keep_an_interval_within_its_values() -> None:
    """Four questions of one task weigh as much as one of another: (1 + 0) / 2, and all right is all right in each resample."""
    weights, videos = [0.625] * 4 + [2.5], list("abcde")
    interval = mean_interval([1.0] * 4 + [0.0], videos, weights=weights)
    assert interval.mean == pytest.approx(0.5) and 0 <= interval.low < 0.5 < interval.high <= 1
    assert asdict(mean_interval([1.0] * 5, videos, weights=weights)) == {"mean": 1.0, "low": 1.0, "high": 1.0}
    values = [0.5, 0.25, 1.0, 0.0, 0.75]
    assert mean_interval(values, videos, weights=[1.0] * 5) == mean_interval(values, videos)
    with pytest.raises(ValueError, match="5 values and 1 weights"):
        mean_interval(values, videos, weights=[1.0])


def test_paired_difference() -> None:
    gain = paired_difference([0.5, 1.0, 0.75], [0.25, 0.75, 0.5], ["a", "b", "c"])
    assert (gain.mean, gain.low, gain.high) == (0.25, 0.25, 0.25), "each question gained the same: no doubt is left"
    with pytest.raises(ValueError, match="shorter"):
        paired_difference([1.0, 2.0], [1.0], ["a", "b"])


spans = st.tuples(st.floats(0, 1e4), st.floats(0, 1e4)).map(lambda pair: Span(*pair))


@given(spans, spans)
def test_tiou(a: Span, b: Span) -> None:
    value = a.tiou(b)
    assert 0 <= value <= 1 and value == b.tiou(a)
    assert a.tiou(a) == (1.0 if a.length > 0 else 0.0)


def test_tiou_by_hand() -> None:
    assert Span(0, 10).tiou(Span(5, 15)) == pytest.approx(1 / 3)
    assert Span(0, 10).tiou(Span(2, 4)) == pytest.approx(0.2)
    assert Span(0, 10).tiou(Span(10, 20)) == 0
    assert (
        Span(10, 0).tiou(Span(0, 10)) == Span(0, float("inf")).tiou(Span(0, 10)) == Span(float("nan"), 1).tiou(Span(0, 1)) == 0
    )
