"""VSI-Bench: both readings, and the mean of eight tasks, by hand."""

from __future__ import annotations

import pytest
from dataset_helpers import item

from trlt.data.datasets import vsibench
from trlt.data.datasets.vsibench import EXAMPLE, TASKS, official, read, values
from trlt.evaluate.summary import summary
from trlt.task.sample import Sample


def number(id, gold, task="object_counting"):
    said = {"video": f"{id}.mp4", "question": "q", "answer": gold, "numeric": True, "meta": {"task": task}}
    return Sample(id=str(id), source="vsibench", split="test", task="multi_choice", **said)


def letter(id, task="route_planning", level=None):
    return Sample(
        id=str(id), source="vsibench", split="test", task="multi_choice", video=f"{id}.mp4", question="q", options=("x", "y"),
        answer="y", answer_index=1, meta={"task": task} | ({"level": level} if level else {}),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "value"),
    [("8", 0.6), ("9", 0.9), ("10.", 1.0), ("10 chairs", 1.0), ("1e1", 1.0), ("6", 0.3), ("about 10", 0.0), ("10,0", 0.0)]
    + [("Ten", 0.0), ("", 0.0), ("nan", 0.0), ("inf", 0.0), ("<answer> 9 </answer>", 0.9), ("The answer is 10", 0.0)],
)
def test_the_first_word_is_the_number(text, value):
    assert official(item(number(1, "10"), text))["score"] == pytest.approx(value)


@pytest.mark.parametrize(
    ("text", "value"),
    [("B", 1), ("b", 1), ("B.", 1), ("B because", 1), ("(B)", 0), ("**B**", 0), ("The answer is B", 0), ("A", 0), ("", 0)]
    + [("<think>A</think> <answer> B </answer>", 1)],
)
def test_the_first_word_is_the_letter(text, value):
    assert official(item(letter(1), text))["score"] == value


def test_the_score_is_the_mean_of_tasks_and_direction_that_of_levels():
    right, wrong = "<answer> B </answer>", "<answer> A </answer>"
    items = [
        item(number(1, "10"), "<answer> 8 </answer>"),  # counting: (0.6 + 1) / 2
        item(number(2, "10"), "<answer> 10 </answer>"),
        *(item(letter(10 + n, "object_rel_direction", "easy"), right) for n in range(3)),
        item(letter(20, "object_rel_direction", "medium"), right),
        item(letter(21, "object_rel_direction", "medium"), wrong),
        item(letter(30, "object_rel_direction", "hard"), wrong),  # direction: (1 + 0.5 + 0) / 3
        item(letter(40), right),  # route: 1
    ]
    entry = summary("vsibench", items)
    assert entry["paper"] == pytest.approx(
        {"score": 100 * (0.8 + 0.5 + 1) / 3, "object_counting": 80, "object_rel_direction": 50, "route_planning": 100}
    )
    assert list(entry["paper"]) == ["score", "object_counting", "object_rel_direction", "route_planning"]
    assert entry["official"] == pytest.approx(entry["paper"])
    assert entry["by"]["type"]["object_rel_direction_medium"]["score"] == 50
    assert len(entry["missing_tasks"]) == 5 and entry["unanswered"] == 0
    low, high = entry["ci95"]["score"]
    assert low < entry["paper"]["score"] < high


def test_gold_times_1_1_as_the_official_script_has_it():
    """1.1 times the gold is 0.1 away, as far as the threshold 0.9 goes: nine of ten."""
    assert [values(item(number(1, str(gold)), f"<answer> {gold * 1.1:g} </answer>"))["score"] for gold in (2, 10)] == [0.9, 0.9]


def test_both_files_and_what_is_dropped():
    rows = [
        {"id": 1, "dataset": "scannet", "scene_name": "s", "question_type": "room_size_estimation", "question": "q?"}
        | {"ground_truth": 20.5, "options": None},
        {"id": 2, "dataset": "scannet", "scene_name": "s", "question_type": "colour", "question": "q?", "ground_truth": "1"},
        {"id": 3, "dataset": "scannet", "scene_name": "s", "question_type": "route_planning", "question": "q?"}
        | {"ground_truth": "D", "options": ["A. left", "B. right"]},
        {"id": 4, "dataset": "scannet", "scene_name": "s", "question_type": "object_counting", "question": "q?"}
        | {"ground_truth": "many", "options": None},
    ]
    for name in ("test.jsonl", "test.parquet"):
        reading = read({name: rows}, "test", "bench")
        assert [sample.answer for sample in reading.samples] == ["20.5"]
        assert dict(reading.dropped) == {"unknown_question_type": 1, "letter_out_of_range": 1, "no_number": 1}
    assert EXAMPLE.samples[0].numeric and not EXAMPLE.samples[1].numeric and len(TASKS) == 8
    assert vsibench.group(EXAMPLE.samples[1]) == "object_rel_direction/easy"
