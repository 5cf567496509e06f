"""MLVU's two sets: records with odd gold, both official rules, M-Avg by hand, and the real files of the dev set."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from dataset_helpers import item, write_files

from trlt.data.datasets import Reading, gold_text, load, read_source
from trlt.errors import DataError
from trlt.evaluate.summary import summary
from trlt.task.sample import Sample


def record(**changes: Any) -> dict[str, Any]:
    made = {"video": "a.mp4", "duration": 60, "question": "Who?", "candidates": ["he", "she", "it", "we"], "answer": "she"}
    return made | changes


def dev(folder: Path, **records: list[dict[str, Any]]) -> Reading:
    """The dev set with these records, by the task's file."""
    files = {f"{task}.json": json.dumps(records.get(task.partition("_")[2], [])) for task in load("mlvu").TASKS}
    return read_source("mlvu", write_files(folder, files), purpose="bench")


def test_odd_gold_of_the_dev_set(tmp_path: Path) -> None:
    reading = dev(
        tmp_path,
        needle=[record(answer="she herself")],
        plotQA=[record(candidates=["she", "it", " she ", "she"]), record(candidates=["", "she", "it", ""])],
        topic_reasoning=[record(question="", candidates=["", "", "", ""], answer="")],
    )
    twice, holes, near, empty = reading.samples
    assert (twice.id, twice.video, twice.answer_index) == ("1_plotQA:0", "1_plotQA/a.mp4", 3)
    assert holes.options == ("(empty 1)", "she", "it", "(empty 4)") and holes.answer_index == 1
    assert near.answer == "she" and near.meta["gold_no_option"] == "she herself"
    assert (empty.question, empty.answer_index) == ("(empty)", 3)
    assert reading.repaired == {"duplicate_options": 1, "empty_option": 2, "empty_question": 1, "gold_no_option": 1}
    assert len({one.video_key for one in reading.samples}) == 1
    entry = summary("mlvu", [item(one, gold_text(one)) for one in reading.samples], bootstrap=20)
    # Plot QA 2 of 2, Needle QA 0 of 1, Topic Reasoning 1 of 1.
    assert entry["paper"] == entry["official"] == {"m_avg": pytest.approx(200 / 3), "acc": 75.0}
    assert entry["missing_tasks"] == ["Ego Reasoning", "Action Count", "Action Order", "Anomaly Recognition"]
    assert entry["by"]["task"]["1_plotQA"] == {"n": 2, "acc": 100.0}
    # Of equal options the last is gold by the official rule, and either by the paper's.
    assert load("mlvu").official(item(twice, "A")) == {"m_avg": 0.0, "acc": 0.0}
    assert load("mlvu").values(item(twice, "<answer> A </answer>")) == {"m_avg": 1.0, "acc": 1.0}


def question(bench: str) -> Sample:
    """One whose gold is B."""
    sample: Sample = load(bench).EXAMPLE.samples[0]
    options = ("he", "she", "it", "we")
    return Sample.from_json(sample.to_json() | {"options": list(options), "answer": "she", "answer_index": 1})


@pytest.mark.parametrize(
    ("text", "in_dev", "in_test"),
    [
        ("B", True, True),
        (" B\n", True, True),
        ("B) she", True, True),
        ("(B) she", True, False),  # what a chat model says: the prompt has the bracket already
        ("The answer is B)", True, False),
        ("<answer> B </answer>", True, True),
        ("B.", False, False),
        ("b", False, False),
        ("Answer: B", False, False),
        ("A) or B)", False, False),
        (")B", False, False),
        ("", False, False),
    ],
)
def test_official_rules(text: str, in_dev: bool, in_test: bool) -> None:
    for bench, right in (("mlvu", in_dev), ("mlvu_test", in_test)):
        assert load(bench).official(item(question(bench), text))["acc"] == right


def test_generation_tasks_are_counted(tmp_path: Path) -> None:
    write_files(tmp_path, {"8_sub_scene.json": "[{}, {}]", "9_summary.json": "[{}]"})
    reading = dev(tmp_path, ego=[record()])
    assert reading.dropped == {"generation_task": 3} and "judge" in reading.notes[0] and len(reading.samples) == 1


def test_the_test_set_from_questions_and_answers(tmp_path: Path) -> None:
    asked = [record(question_id=f"AO_{place}", question_type="order") for place in range(4)]
    for one in asked:
        del one["answer"]
    asked[3]["question_type"] = "poetry"
    gold = [
        {"question_id": "AO_0", "option": "C"},
        {"question_id": "AO_1", "answer": "we"},
        {"question_id": "AO_3", "answer": "he"},
    ]
    files = {"test_question.json": json.dumps(asked), "test_mcq_gt.json": json.dumps(gold)}
    reading = read_source("mlvu_test", write_files(tmp_path, files), purpose="bench")
    assert [(one.id, one.answer) for one in reading.samples] == [("AO_0", "it"), ("AO_1", "we")]
    assert reading.dropped == {"no_answer": 1, "unknown_task": 1}
    write_files(tmp_path, {"test_mcq_gt.json": json.dumps([{"question_id": "AO_0", "option": "E"}])})
    with pytest.raises(DataError, match=r"AO_0: option: expected a letter from A to D, got 'E'"):
        read_source("mlvu_test", tmp_path, purpose="bench")
    (tmp_path / "test_question.json").unlink()
    with pytest.raises(DataError, match=r"answers without questions; put test_question.json or .* beside it"):
        read_source("mlvu_test", tmp_path, purpose="bench")


def test_real_files(annotations: Path) -> None:
    """The official script's figures: gold 99.92, everything A 25.04."""
    reading = read_source("mlvu", annotations / "mlvu", purpose="bench")
    assert len(reading.samples) == 2_175 and reading.dropped == {"generation_task": 418}
    assert reading.repaired["gold_no_option"] == 2 and len({one.video_key for one in reading.samples}) == 1_122
    entry = summary("mlvu", [item(one, gold_text(one)) for one in reading.samples], bootstrap=10)
    assert entry["unanswered"] == 0 and entry["official"] == entry["paper"]
    assert entry["paper"]["m_avg"] == pytest.approx((600 + 100 * 353 / 355) / 7) and round(entry["paper"]["m_avg"], 2) == 99.92
    sizes = [539, 355, 352, 206, 259, 200, 264]
    assert [part["n"] for part in entry["by"]["task"].values()] == sizes
    said_a = load("mlvu").metrics([item(one, "A") for one in reading.samples])
    assert round(said_a["official"]["m_avg"], 2) == 25.04
