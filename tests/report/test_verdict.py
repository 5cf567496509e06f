"""What is said first: which model is better, from intervals made by hand; and on the command line."""

from __future__ import annotations

import pytest

from trlt.evaluate.conclusive import conclusion
from trlt.report import brief, verdict


def metric(a, b, low=None, high=None, n=100):
    """As `trlt compare` gives it: the side is better whose interval excludes 0."""
    better = "B" if low is not None and low > 0 else "A" if high is not None and high < 0 else None
    return {"n": n, "a": a, "b": b, "difference": b - a, "ci95": None if low is None else [low, high], "better": better}


def compared(warnings=(), videos=50, **benches):
    return {"benchmarks": {name: {"metrics": found, "videos": videos, "warnings": warnings} for name, found in benches.items()}}


UP, DOWN = metric(30.0, 36.5, 2.0, 11.0), metric(40.0, 35.0, -9.0, -1.0)
OPEN = metric(50.0, 51.0, -3.0, 5.0)


def test_one_metric_that_rose():
    found = verdict(compared(charades={"mIoU": UP, "R1@0.5": DOWN}), ("old", "new"))
    assert found.outcome == "better", "by the main metric alone"
    assert found.text == (
        "new is better than old on charades: mIoU rose by 6.5 points (30.0 to 36.5; 95% interval of the change +2.0 to +11.0; "
        "100 questions)."
    )


def test_one_metric_that_fell():
    found = verdict(compared(mvbench={"acc": DOWN}))
    assert found.outcome == "worse"
    assert found.text.startswith("B is worse than A on mvbench: accuracy fell by 5.0 points (40.0 to 35.0; ")


def test_outputs_that_could_not_be_read_are_said_first():
    """A model without the tags was worse by all of its metric, without a word."""
    result = compared(charades={"mIoU": metric(32.1, 0.0, -36.0, -28.0, n=308)}, mvbench={"acc": UP})
    read = {"count": 3, "n": 308, "official": {"mIoU": 32.1}}
    result["benchmarks"]["charades"]["unanswered"] = {"a": read, "b": read | {"count": 308, "official": {"mIoU": 32.6}}}
    result["benchmarks"]["mvbench"]["unanswered"] = {"a": read | {"count": 153}, "b": read | {"count": 153}}
    assert verdict(result, ("old", "new")).sentences[0] == (
        "On charades, all 308 outputs of new couldn't be read (they hold no answer in the tags that were asked for) and count "
        "as wrong; by the official rule: mIoU 32.1 to 32.6."
    )
    assert verdict(result).sentences[1].startswith("Mixed: "), "153 of 308 are fewer than half"
    both = {side: {"count": count, "n": 308, "official": {"acc": 9.0}} for side, count in (("a", 154), ("b", 308))}
    result["benchmarks"]["charades"]["unanswered"] = both
    assert verdict(result).sentences[0] == (
        "On charades, 154 of 308 outputs of A and all 308 outputs of B couldn't be read (they hold no answer in the tags that "
        "were asked for) and count as wrong."
    )


def test_an_interval_that_holds_0_says_nothing():
    found = verdict(compared(mvbench={"acc": OPEN}), ("the base model", "the tuned model"))
    assert found.outcome == "unknown"
    assert found.text == (
        "Whether the tuned model is better than the base model can't be said: the change's interval contains 0. The change: "
        "mvbench accuracy +1.0 points (50.0 to 51.0; 95% interval of the change -3.0 to +5.0; 100 questions)."
    )


@pytest.mark.parametrize("videos", [1, 2, 19])
def test_few_videos_say_nothing_whatever_their_interval(videos):
    found = verdict(compared(charades={"mIoU": metric(25.0, 100.0, 50.0, 100.0, n=1)}, videos=videos))
    assert found.outcome == "unknown"
    assert found.text == (
        "Whether B is better than A can't be said: fewer than 20 videos are too few. The change: charades mIoU +75.0 points "
        "(25.0 to 100.0; 1 question)."
    )
    assert verdict(compared(charades={"mIoU": UP}, videos=20)).outcome == "better"


def test_in_one_sentence():
    both = ("the base model", "the tuned model")
    mixed = compared(charades={"mIoU": UP}, nextgqa={"mIoU": OPEN, "acc": DOWN}, mvbench={"acc": OPEN})
    assert brief(mixed, both) == (
        "mixed: the tuned model is better than the base model on 1 of 4 main metrics (charades mIoU +6.5 points) and worse on "
        "1 (nextgqa accuracy -5.0 points); the other 2 can't be told from chance"
    )
    worse = compared(charades={"mIoU": DOWN}, nextgqa={"mIoU": OPEN, "acc": DOWN})
    assert brief(worse) == (
        "B is worse than A on 2 of 3 main metrics (charades mIoU -5.0 points and nextgqa accuracy -5.0 points); the other 1 "
        "can't be told from chance"
    )
    better = compared(charades={"mIoU": UP}, mvbench={"acc": UP})
    assert (
        brief(better)
        == "B is better than A on 2 of 2 main metrics (charades mIoU +6.5 points and mvbench accuracy +6.5 points)"
    )


@pytest.mark.parametrize(
    "result",
    [
        compared(charades={"mIoU": UP}),
        compared(charades={"mIoU": OPEN}, mvbench={"acc": OPEN}),
        compared(charades={"mIoU": UP}, mvbench={"acc": DOWN}, videos=19),
        compared(charades={"mIoU": UP}, mvbench={"acc": DOWN}, warnings=["prompts differ"]),
    ],
    ids=["one metric", "nothing conclusive", "few videos", "two protocols"],
)
def test_what_has_caveats_isnt_shortened(result):
    assert brief(result) == verdict(result).text


def test_mixed_results_are_said_to_be_mixed():
    found = verdict(compared(charades={"mIoU": UP}, nextgqa={"mIoU": OPEN, "acc": DOWN}), ("old", "the new one"))
    assert found.outcome == "mixed"
    assert found.sentences == (
        "Mixed: the new one is better than old on 1 of 3 main metrics and worse on 1.",
        "Better: charades mIoU +6.5 points (30.0 to 36.5; 95% interval of the change +2.0 to +11.0; 100 questions).",
        "Worse: nextgqa accuracy -5.0 points (40.0 to 35.0; 95% interval of the change -9.0 to -1.0; 100 questions).",
        "The interval of the other 1 contains 0, so this change can't be told from chance.",
    )


def test_of_many_metrics_the_first_are_listed_and_chance_is_named():
    benches = {name: {"acc": UP} for name in ("mmvu", "mvbench", "tempcompass", "videomme")}
    found = verdict(compared(**benches))
    assert (
        found.text.startswith("B is better than A on 4 of 4 main metrics. Better: mmvu accuracy ")
        and "and 1 more." in found.text
    )
    assert "videomme" not in found.text and "chance" not in found.text
    found = verdict(compared(**benches, charades={"mIoU": OPEN}, warnings=["x"]))
    assert "Each metric has a 5% risk of such a difference by chance alone, and there are 5." in found.text
    assert "The runs didn't follow one protocol on mmvu, mvbench, tempcompass and 2 more" in found.text


def test_nothing_beyond_chance_names_the_largest_change():
    found = verdict(compared(charades={"mIoU": metric(30.0, 28.0, -5.0, 1.0)}, mvbench={"acc": OPEN}))
    assert found.outcome == "unknown"
    assert "can't be said from 2 main metrics. The largest change: charades mIoU -2.0 points" in found.text
    assert found.text.endswith("The interval of each metric contains 0, so these changes can't be told from chance.")


@pytest.mark.parametrize(
    ("unread", "lenient", "outcome"),
    [
        ((90, 0), metric(91.7, 64.5, -30.0, -24.0), "unknown"),
        ((90, 0), metric(60.0, 64.5, -1.0, 9.0), "unknown"),
        ((90, 0), metric(50.0, 64.5, 9.0, 19.0), "better"),
        ((10, 0), OPEN, "unknown"),
        ((30, 25), OPEN, "unknown"),
        ((29, 25), OPEN, "better"),
        ((9, 0), OPEN, "better"),
    ],
)
def test_a_gain_that_is_only_in_the_form_of_outputs_names_no_winner(unread, lenient, outcome):
    result = compared(charades={"mIoU": metric(16.7, 64.5, 45.0, 50.0)}) | {"a": {"run": "runs/a b"}, "b": {"run": "runs/b"}}
    sides = {side: {"count": count, "n": 100, "official": {}} for side, count in zip("ab", unread, strict=True)}
    result["benchmarks"]["charades"] |= {"unanswered": sides, "lenient_metrics": {"mIoU": lenient}}
    found = verdict(result)
    assert found.outcome == outcome and ("B is better than A on" in found.text) == (outcome == "better")
    told = "Compare what they state: `trlt compare 'runs/a b' runs/b --lenient`" in found.text
    assert told == (outcome == "unknown") and brief(result) == found.text
    named = conclusion(result["benchmarks"]["charades"], "mIoU")
    assert named == (("B", None) if outcome == "better" else (None, "form only")), "rows say what the verdict says"
