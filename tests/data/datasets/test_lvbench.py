"""LVBench: both layouts, options inside the question, abilities, the official rule, and how much was asked."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from dataset_helpers import item, write_files

from trlt.data.datasets import gold_text, load, read_source
from trlt.errors import DataError
from trlt.evaluate.summary import summary
from trlt.report.caveats import notes_on

EXAMPLE = load("lvbench").EXAMPLE.samples[0]  # gold C
ASKED = "Who wins (in the end)?\n(A) red\n(B) blue\n(C) nobody\n(D) both"


def question(**changes: Any) -> dict[str, Any]:
    return {"uid": "1", "question": ASKED, "answer": "B", "question_type": ["reasoning"]} | changes


def test_lines_of_videos(tmp_path: Path) -> None:
    lines = [
        {"key": "aB3_dE-7hIj", "qa": [question(), question(uid="2", question_type=["reasoning", "summarization"])]},
        {"key": "zB3_dE-7hIj", "qa": [question(uid="3", answer="E"), question(uid="4", question="Who?")]},
    ]
    write_files(tmp_path, {"video_info.meta.jsonl": "\n".join(json.dumps(line) for line in lines)})
    reading = read_source("lvbench", tmp_path, purpose="bench")
    assert reading.dropped == {"letter_out_of_range": 2} and [one.id for one in reading.samples] == ["1", "2"]
    first = reading.samples[0]
    assert first.question == "Who wins (in the end)?" and first.options == ("red", "blue", "nobody", "both")
    assert (first.video, first.video_key) == ("aB3_dE-7hIj.mp4", "youtube:aB3_dE-7hIj")
    items = [item(reading.samples[0], gold_text(reading.samples[0])), item(reading.samples[1], "<answer> A </answer>")]
    entry = summary("lvbench", items, missing_videos=5, bootstrap=10)
    assert entry["paper"] == entry["official"] == {"acc": 50.0} and entry["missing_videos"] == 5
    # A question counts under each of its abilities.
    assert entry["by"]["ability"] == {"reasoning": {"n": 2, "acc": 50.0}, "summarization": {"n": 1, "acc": 0.0}}
    assert entry["coverage"] == {"questions": 2, "of_questions": 1549, "videos": 1, "of_videos": 103}
    assert "2 of the benchmark's 1,549 questions, about 1 of its 103 videos" in notes_on("lvbench", entry)


def test_the_hubs_table(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [
        {"uid": "7", "question": "Who?", "options": ["(A) he", "(B) she"], "answer": "B", "question_type": "reasoning"}
        | {"video_path": "videos/aB3_dE-7hIj.mp4"},
        question(uid="8", video_path="zB3_dE-7hIj.mp4", options=None, question_type="summarization"),
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "train-00000-of-00001.parquet")
    first, second = read_source("lvbench", tmp_path, purpose="bench").samples
    assert (first.options, first.answer, first.video_key) == (("he", "she"), "she", "youtube:aB3_dE-7hIj")
    assert (second.answer, second.meta["abilities"]) == ("blue", ["summarization"])


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("C", True),
        ("(C) nobody", True),
        ("C) nobody", True),
        ("C. nobody", True),
        ("Cats win", True),  # the first character of the first word
        ("I choose (C)", True),
        ("<answer> C </answer>", True),
        ("The answer is C", False),  # T
        ("Answer: C", False),  # A
        ("(the answer) (C)", False),  # before the first closing bracket
        ("c", False),
        ("()C", False),
        ("", False),
    ],
)
def test_official_rule(text: str, right: bool) -> None:
    assert load("lvbench").official(item(EXAMPLE, text)) == {"acc": float(right)}


def test_an_empty_answer_is_no_gold() -> None:
    gold = replace(EXAMPLE, answer=(EXAMPLE.options or ())[0], answer_index=0)
    assert load("lvbench").official(item(gold, " ")) == {"acc": 0.0}


def test_faults_are_named(tmp_path: Path) -> None:
    write_files(tmp_path, {"video_info.meta.jsonl": '{"key": "aB3_dE-7hIj", "qa": [{"uid": "1"}]}'})
    with pytest.raises(DataError, match=r"video_info.meta.jsonl\[0\]: qa\[0\]: no field 'question'"):
        read_source("lvbench", tmp_path, purpose="bench")
