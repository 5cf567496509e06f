"""Video-MME: hand-computed metrics, the official rule with messy outputs, and both kinds of file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from dataset_helpers import item, write_files

from trlt.data.datasets import read_source
from trlt.data.datasets.videomme import official
from trlt.errors import DataError
from trlt.evaluate.summary import summary
from trlt.task.sample import Sample

PARQUET = "test-00000-of-00001.parquet"


def row(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "video_id": f"{number:03}",
        "duration": ("short", "medium", "long")[number % 3],
        "domain": "Knowledge",
        "sub_category": "Law",
        "url": "https://www.youtube.com/watch?v=x",
        "videoID": f"v_B3_dE-7h{number}",
        "question_id": f"{number:03}-1",
        "task_type": "OCR Problems",
        "question": "Which word?",
        "options": ["A. Red.", "B. Blue.", "C. A. Gray.", "D. None of these."],
        "answer": "C",
    } | changes


def sample(number: int = 0, duration: str = "short") -> Sample:
    return Sample(
        id=f"{number}-1",
        source="videomme",
        split="test",
        task="multi_choice",
        video=f"{number}.mp4",
        question="q",
        options=("Red.", "Blue.", "Gray.", "Black."),
        answer="Gray.",
        answer_index=2,
        meta={"duration": duration, "domain": "Knowledge", "task_type": "OCR Problems", "sub_category": "Law"},
    )


def write_parquet(folder: Path, rows: list[dict[str, Any]]) -> Path:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    pq.write_table(pa.Table.from_pylist(rows), folder / PARQUET)
    return folder


def test_parquet_and_json_read_alike(tmp_path: Path) -> None:
    rows = [row(number) for number in range(3)]
    parquet, table = tmp_path / "parquet", tmp_path / "json"
    (parquet / "videomme").mkdir(parents=True)
    table.mkdir()
    write_parquet(parquet / "videomme", rows)
    write_files(table, {"test.json": json.dumps(rows)})
    reading = read_source("videomme", parquet, purpose="bench")
    assert [path.name for path in reading.files] == [PARQUET] and reading.read == 3 and not reading.dropped
    assert reading.samples == read_source("videomme", table, purpose="bench").samples
    first = reading.samples[0]
    assert (first.id, first.video, first.video_key) == ("000-1", "v_B3_dE-7h0.mp4", "youtube:v_B3_dE-7h0")
    assert first.options == ("Red.", "Blue.", "A. Gray.", "None of these.") and first.answer == "A. Gray."


def test_a_whole_key_is_kept(tmp_path: Path) -> None:
    reading = read_source("videomme", write_parquet(tmp_path, [row(1, videoID="v_bcdefghij")]), purpose="bench")
    assert reading.samples[0].video_key == "youtube:v_bcdefghij"  # eleven characters: the v_ is part of the id


def test_the_parquet_file_comes_first(tmp_path: Path) -> None:
    write_files(write_parquet(tmp_path, [row(1)]), {"test.json": json.dumps([row(2)])})
    assert [one.id for one in read_source("videomme", tmp_path, purpose="bench").samples] == ["001-1"]


def test_faults_are_named(tmp_path: Path) -> None:
    rows = [row(1), row(1), row(2, answer="E"), row(3, answer="")]
    reading = read_source("videomme", write_parquet(tmp_path, rows), purpose="bench")
    assert reading.dropped == {"duplicate_id": 1, "letter_out_of_range": 1, "empty_answer": 1}
    (tmp_path / PARQUET).unlink()
    with pytest.raises(DataError, match="expected a list of rows"):
        read_source("videomme", write_files(tmp_path, {"test.json": "{}"}), purpose="bench")


def test_metrics_by_hand() -> None:
    items = [
        item(sample(0), "<answer> C </answer>"),
        item(sample(1), "The best answer is C."),  # untagged: official only
        item(sample(2, "long"), "<answer> gray </answer>"),  # text: ours only
        item(sample(3, "long"), "<answer> B </answer>"),
        item(sample(4, "long"), ""),
    ]
    entry = summary("videomme", items, bootstrap=50)
    assert entry["unanswered"] == 2 and entry["paper"] == {"acc": 40.0} and entry["official"] == {"acc": 40.0}
    assert entry["by"]["duration"] == {"long": {"n": 3, "acc": pytest.approx(100 / 3)}, "short": {"n": 2, "acc": 50.0}}
    assert set(entry["by"]) == {"duration", "domain", "task_type", "sub_category"}


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("C", True),
        (" (C) Gray.", True),
        ("The answer is C", True),
        ("The answer: C", True),
        ("The correct answer is C, not B", True),
        ("So. The best answer is C", True),
        ("it is C", True),
        ("The best option is C", True),
        ("<answer> C </answer> A", True),
        ("Because it is C", False),  # reads as B
        ("Best answer: C", False),  # reads as B: the official list has a comma missing
        ("c", False),
        ("none of them", False),
        ("<answer> A </answer> C", False),
        ("", False),
    ],
)
def test_official_rule(text: str, right: bool) -> None:
    assert official(item(sample(), text)) == {"acc": float(right)}
