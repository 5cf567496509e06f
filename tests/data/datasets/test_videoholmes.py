"""Video-Holmes: the official reading of letters, types, layouts of videos, and the example rows of the real set."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from dataset_helpers import item, write_files

from trlt.data.datasets import Reading, gold_text, load, locate, read_source
from trlt.errors import DataError
from trlt.evaluate.summary import summary

EXAMPLE = load("videoholmes").EXAMPLE.samples[0]  # gold F


def record(**changes: Any) -> dict[str, Any]:
    made = {
        "video ID": "aB3_dE-7hIj",
        "Question ID": 1,
        "Question Type": "SR",
        "Question": "Who is she?",
        "Options": {letter: f"person {letter}" for letter in "ABCDEF"},
        "Answer": "B",
    }
    return made | {key.replace("_", " "): value for key, value in changes.items()}


def read(folder: Path, *records: Any) -> Reading:
    return read_source("videoholmes", write_files(folder, {"test_Video-Holmes.json": json.dumps(records)}), purpose="bench")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("F", "F"),
        ("<think> A or B </think> <answer> F </answer>", "F"),
        ("<answer> A </answer> no: <answer> E </answer>", "E"),
        ("F: a kiss", "F"),
        ("[F] a kiss", "F"),
        ("D. A cat", "A"),  # the article
        ("ANSWER: E", "A"),  # neither `A ` nor `E:`, so the first that occurs at all
        ("F. friend", "F"),
        ("F. Anna", "A"),
        ("E and F: a kiss", "E"),
        ("F: a kiss, B: no", "B"),
        ("f", None),
        ("no idea", None),
        ("", None),
    ],
)
def test_official_rule(text: str, said: str | None) -> None:
    official = load("videoholmes").official
    for place, letter in enumerate("ABCDEF"):
        gold = replace(EXAMPLE, answer=(EXAMPLE.options or ())[place], answer_index=place)
        assert official(item(gold, text)) == {"acc": float(letter == said)}


def test_records_and_types(tmp_path: Path) -> None:
    reading = read(
        tmp_path,
        record(),
        record(Question_ID=2, Question_Type="TA", Answer="F"),
        record(Question_ID=3, Answer="G"),
        record(Question_ID=4, Options={"A": "x", "B": ""}),
        record(),
    )
    assert [one.id for one in reading.samples] == ["aB3_dE-7hIj:1", "aB3_dE-7hIj:2"]
    assert reading.dropped == {"letter_out_of_range": 1, "empty_option": 1, "duplicate_id": 1}
    entry = summary("videoholmes", [item(one, "<answer> B </answer>") for one in reading.samples], bootstrap=10)
    assert entry["paper"] == entry["official"] == {"acc": 50.0}
    assert entry["by"]["type"] == {"SR": {"n": 1, "acc": 100.0}, "TA": {"n": 1, "acc": 0.0}}
    for there in ("aB3_dE-7hIj.mp4", "videos_cropped/aB3_dE-7hIj.mp4", "Benchmark/videos/aB3_dE-7hIj.mp4"):
        found = locate(reading.samples[0], lambda path, there=there: path == there)
        assert found is not None and found.video == there


def test_faults_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"test_Video-Holmes.json\[0\]: no field 'video ID'"):
        read(tmp_path, {"video_id": "x"})
    with pytest.raises(DataError, match=r"\[0\]: Options: no field 'B'"):
        read(tmp_path, record(Options={"A": "x", "C": "y"}))


def test_real_example_rows(annotations: Path, tmp_path: Path) -> None:
    """Two videos' rows are public; the rest is on the hub."""
    paths = sorted((annotations / "video_holmes").glob("*.json"))
    rows = [row for path in paths for row in json.loads(path.read_text(encoding="utf-8"))]
    reading = read(tmp_path, *rows)
    assert len(reading.samples) == len(rows) == 16 and not reading.dropped
    assert {one.video_key for one in reading.samples} == {"youtube:RSmjqss0XKQ", "youtube:dGS48Kcax5k"}
    entry = summary("videoholmes", [item(one, gold_text(one)) for one in reading.samples], bootstrap=10)
    assert entry["paper"] == entry["official"] == {"acc": 100.0}
    assert set(entry["by"]["type"]) <= {"SR", "IMC", "TCI", "TA", "MHR", "PAR", "CTI"}
