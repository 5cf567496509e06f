"""Hand-computed metrics."""

from __future__ import annotations

import pytest
from dataset_helpers import item
from hypothesis import given
from hypothesis import strategies as st

from trlt.data.datasets._metrics import best_iop, find_span, gold_text, union_iou
from trlt.data.datasets.mvbench import TASKS
from trlt.data.datasets.mvbench import official as mvbench_official
from trlt.evaluate.summary import summary
from trlt.task.sample import Sample, Span


def grounding(number: int, *spans: Span, video: str = "a.mp4") -> Sample:
    return Sample(id=f"x:{number}", source="charades", split="test", task="grounding", video=video, question="q", spans=spans)


def choice(task: str, number: int) -> Sample:
    return Sample(
        id=f"{task}:{number}",
        source="mvbench",
        split="test",
        task="multi_choice",
        video=f"{task}{number}.mp4",
        question="q",
        options=("x", "y", "z"),
        answer="y",
        answer_index=1,
        meta={"task": task},
    )


def grounded(number: int, kind: str, *spans: Span) -> Sample:
    return Sample(
        id=f"v:{number}",
        source="nextgqa",
        split="test",
        task="grounded_qa",
        video=f"v{number}.mp4",
        question="q",
        options=("x", "y"),
        answer="y",
        answer_index=1,
        spans=spans,
        meta={"type": kind},
    )


def test_grounding_by_hand() -> None:
    items = [
        item(grounding(0, Span(0, 10)), "<answer> 0 to 5 </answer>"),  # 0.5, reaches R1@0.5
        item(grounding(1, Span(0, 10)), "<answer> 0 to 10 </answer>"),  # 1
        item(grounding(2, Span(0, 10)), "<answer> 10 to 0 </answer>"),  # inverted: no span
        item(grounding(3, Span(0, 10)), "It happens from 0 to 3 seconds."),  # 0.3 by the official rule only
    ]
    entry = summary("charades", items, missing_videos=2, bootstrap=200, seed=3)
    lenient = ["lenient", "lenient_ci95", "lenient_unanswered"]
    assert list(entry) == ["n", "unanswered", "missing_videos", "paper", "official", "by", "ci95", *lenient]
    assert (entry["n"], entry["unanswered"], entry["missing_videos"], entry["lenient_unanswered"]) == (4, 2, 2, 1)
    assert entry["lenient"] == {"mIoU": 45.0, "R1@0.3": 75.0, "R1@0.5": 50.0, "R1@0.7": 25.0}
    low, high = entry["lenient_ci95"]["mIoU"]
    assert low <= 45 <= high
    assert entry["paper"] == {"mIoU": 37.5, "R1@0.3": 50.0, "R1@0.5": 50.0, "R1@0.7": 25.0}
    assert entry["official"] == {"mIoU": 45.0, "R1@0.3": 75.0, "R1@0.5": 50.0, "R1@0.7": 25.0}
    assert entry["by"] == {} and entry["ci95"]["mIoU"] == [37.5, 37.5]  # one video has no spread


def test_intervals_hold_the_mean() -> None:
    items = [item(grounding(n, Span(0, 10), video=f"{n}.mp4"), f"<answer> 0 to {n % 10 + 1} </answer>") for n in range(40)]
    entry = summary("activitynet", items, bootstrap=300)
    low, high = entry["ci95"]["mIoU"]
    assert entry["paper"]["mIoU"] == pytest.approx(55.0) and low < 55 < high
    assert entry == summary("activitynet", items, bootstrap=300)


def test_nextgqa_by_hand() -> None:
    items = [
        # IoU 2/10 with the first span, 2/4 with the second; IoP 1 with the first: the maxima are independent.
        item(grounded(0, "CW", Span(0, 10), Span(1, 3)), "<observe> 0 to 2 </observe> <answer> B </answer>"),
        # IoP 0.4 is too little for Acc@GQA; IoU 4/10.
        item(grounded(1, "CW", Span(0, 4)), "<observe> 0 to 10 </observe> <answer> B </answer>"),
        # No length, inside the gold span: IoU 0, IoP 1; the answer is wrong.
        item(grounded(2, "TN", Span(0, 4)), "<observe> 2 to 2 </observe> <answer> A </answer>"),
        # Nothing said: wrong, and in the denominator.
        item(grounded(3, "TN", Span(0, 4)), ""),
        # No tags: the official rule alone reads it.
        item(grounded(4, "TP", Span(0, 4)), "B"),
    ]
    entry = summary("nextgqa", items, bootstrap=100)
    assert entry["unanswered"] == 2
    assert entry["paper"] == pytest.approx({"mIoU": 100 * (1 / 3 + 0.4) / 5, "acc": 40.0})
    assert entry["official"] == pytest.approx(
        {
            "acc_gqa": 20.0,
            "mIoP": 100 * (1 + 0.4 + 1) / 5,
            "IoP@0.3": 60.0,
            "IoP@0.5": 40.0,
            "mIoU": 100 * (1 / 3 + 0.4) / 5,
            "IoU@0.3": 40.0,
            "IoU@0.5": 0.0,
            "acc": 60.0,
        }
    )
    assert entry["by"]["type"]["CW"] == pytest.approx({"n": 2, "mIoU": 100 * (1 / 3 + 0.4) / 2, "acc": 100.0})
    assert entry["by"]["type"]["TN"] == {"n": 2, "mIoU": 0.0, "acc": 0.0}
    assert entry["secondary"]["mIoU_union"] == pytest.approx(100 * (0.2 + 0.4) / 5)


def test_nextgqa_reads_the_last_complete_observe() -> None:
    sample = grounded(0, "CW", Span(0, 4))
    text = "<think> 8 to 9 </think> <observe> 8 to 9 </observe> <observe> about 0 to 4 s </observe> <answer> B </answer>"
    entry = summary("nextgqa", [item(sample, text)], bootstrap=100)
    assert entry["paper"]["mIoU"] == 0.0 and entry["official"]["mIoU"] == 100.0


def test_mvbench_is_the_mean_of_its_tasks() -> None:
    items = [item(choice("action_count", n), "<answer> B </answer>") for n in range(3)]
    items.append(item(choice("state_change", 0), "<answer> A </answer>"))
    entry = summary("mvbench", items, bootstrap=500)
    assert entry["paper"] == {"acc": 50.0} and entry["official"] == {"acc": 50.0}  # micro would be 75
    assert entry["by"]["task"]["action_count"] == {"n": 3, "acc": 100.0, "official_acc": 100.0}
    assert len(entry["missing_tasks"]) == len(TASKS) - 2 == 18 and "Fine-grained Pose" in entry["missing_tasks"]
    assert entry["ci95"]["acc"][0] < 50 < entry["ci95"]["acc"][1]


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("<answer> B </answer>", True),
        ("<answer> (B) y </answer>", True),
        ("<answer> b. </answer>", True),
        ("(b)", True),
        ("B. y", True),
        ("A", False),
        ("y", False),
        ("", False),
        (" . ", False),
        ("<answer></answer> B", False),
        ("The answer is B", False),
        ("<answer> A </answer> (B)", False),
    ],
)
def test_mvbench_official_check(text: str, right: bool) -> None:
    assert mvbench_official(item(choice("action_count", 0), text)) == {"acc": float(right)}


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("12.5 to 20", Span(12.5, 20)),
        ("The clip from 0:12 to 0:20.5 shows it", Span(12, 20.5)),
        ("first 9 to 3, then 3s - 9s", Span(3, 9)),
        ("in 3 seconds", None),
        ("", None),
    ],
)
def test_find_span(text: str, span: Span | None) -> None:
    assert find_span(text) == span


def test_iop_and_union_by_hand() -> None:
    gold = (Span(0, 4), Span(2, 6), Span(8, 10))  # 8 s in all
    assert union_iou(Span(4, 9), gold) == pytest.approx(3 / (8 + 5 - 3))
    assert union_iou(Span(0, 10), gold) == pytest.approx(0.8)
    assert union_iou(Span(3, 3), gold) == union_iou(None, gold) == 0.0
    assert best_iop(Span(7, 9), gold) == 0.5 and best_iop(Span(7, 7), gold) == 0.0 and best_iop(Span(6, 6), gold) == 1.0
    assert best_iop(None, gold) == 0.0


@given(st.lists(st.tuples(st.floats(0, 50), st.floats(0.1, 50)), min_size=1, max_size=4), st.floats(0, 50), st.floats(0.1, 50))
def test_metrics_stay_between_0_and_1(gold: list[tuple[float, float]], start: float, length: float) -> None:
    spans = tuple(Span(a, a + b) for a, b in gold)
    said = Span(start, start + length)
    assert 0 <= union_iou(said, spans) <= 1 + 1e-9 and 0 <= best_iop(said, spans) <= 1 + 1e-9
    one = grounding(0, *spans)
    assert item(one, gold_text(one)).answer.span == spans[0]
