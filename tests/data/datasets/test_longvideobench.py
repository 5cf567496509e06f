"""LongVideoBench: both forms of its file, a split without answers, the official reading, and keys of footage."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from dataset_helpers import item, write_files

from trlt.data.datasets import gold_text, load, locate, read_source
from trlt.errors import DataError
from trlt.evaluate.summary import summary

EXAMPLE = load("longvideobench").EXAMPLE.samples[0]  # gold C of three


def row(number: int = 0, **changes: Any) -> dict[str, Any]:
    made = {
        "id": f"aB3_dE-7hIj_{number}",
        "video_path": "aB3_dE-7hIj.mp4",
        "question": "Who?",
        "candidates": ["he", "she", "it"],
        "correct_choice": 1,
        "subtitle_path": "aB3_dE-7hIj_en.json",
        "starting_timestamp_for_subtitles": 12,
        "duration": 10.5,
        "duration_group": 15,
        "question_category": "S2A",
    }
    return made | changes


def test_rows(tmp_path: Path) -> None:
    rows = [
        row(),
        row(1, duration_group=3600, question_category="TOS", video_path="7123456789012345678.mp4", correct_choice=0),
        row(2, correct_choice=3),
        row(3, correct_choice=-1),
        row(4, candidates=["he", "", "it"]),
        row(5, subtitle_path=None),
    ]
    reading = read_source("longvideobench", write_files(tmp_path, {"lvb_val.json": json.dumps(rows)}), purpose="bench")
    assert [one.id[-1] for one in reading.samples] == ["0", "1", "5"]
    assert reading.dropped == {"answer_not_an_option": 1, "no_answer": 1, "empty_option": 1}
    first, other, bare = reading.samples
    assert (first.answer, first.video_key, other.video_key) == (
        "she",
        "youtube:aB3_dE-7hIj",
        "longvideobench:7123456789012345678",
    )
    assert first.meta["subtitle_file"] == {"path": "aB3_dE-7hIj_en.json", "offset_s": 12.0} and "subtitle_file" not in bare.meta
    assert (found := locate(first, lambda path: path == "videos/aB3_dE-7hIj.mp4")) and found.video.startswith("videos/")
    entry = summary("longvideobench", [item(one, "<answer> B </answer>") for one in reading.samples], bootstrap=10)
    assert entry["paper"] == entry["official"] == {"acc": pytest.approx(200 / 3)}
    assert entry["by"] == {
        "duration_group": {"15": {"n": 2, "acc": 100.0}, "3600": {"n": 1, "acc": 0.0}},
        "question_category": {"S2A": {"n": 2, "acc": 100.0}, "TOS": {"n": 1, "acc": 0.0}},
    }


def test_the_hubs_rows_give_the_same(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = []
    for one in (row(), row(1, candidates=["a", "b", "c", "d", "e"], correct_choice=4)):
        candidates = one.pop("candidates")
        rows.append(one | {f"option{place}": (candidates + ["N/A"] * 5)[place] for place in range(5)})
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "validation-00000-of-00001.parquet")
    first, second = read_source("longvideobench", tmp_path, purpose="bench").samples
    assert first.options == ("he", "she", "it") and (second.options, second.answer) == (tuple("abcde"), "e")
    (tmp_path / "json").mkdir()
    write_files(tmp_path / "json", {"lvb_val.json": json.dumps([row()])})
    assert read_source("longvideobench", tmp_path / "json", purpose="bench").samples == (first,)


def test_a_split_without_answers_is_refused(tmp_path: Path) -> None:
    asked = row()
    del asked["correct_choice"]
    write_files(tmp_path, {"lvb_test_wo_gt.json": json.dumps([asked, asked])})
    with pytest.raises(DataError, match="none of its 2 rows has an answer .*scored by the authors.* 'validation'"):
        read_source("longvideobench", tmp_path, "test", purpose="bench")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("C", "C"),
        ("The best answer is C", "C"),
        ("Best option: C. it", "C"),
        ("The answer is: (C)", "C"),
        ("Because of the gull, C", "B"),
        ("A gull, so C", "A"),
        ("the answer C", "C"),
        ("E", "E"),  # of three options
        ("<think> A </think> <answer> C </answer>", "C"),
        ("it", None),  # where lmms-eval draws a letter
        ("", None),
    ],
)
def test_official_rule(text: str, said: str | None) -> None:
    official = load("longvideobench").official
    for place, letter in enumerate("ABC"):
        gold = replace(EXAMPLE, answer=(EXAMPLE.options or ())[place], answer_index=place)
        assert official(item(gold, text)) == {"acc": float(letter == said)}
    assert official(item(EXAMPLE, gold_text(EXAMPLE))) == {"acc": 1.0}
