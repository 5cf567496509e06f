"""Training pools of other projects: what is read, what is counted as dropped, and files of another form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from trlt.data.datasets import Reading, load, read_source
from trlt.errors import DataError

VIDEO = {"data_type": "video", "options": [], "videos": ["x/a.mp4"]}


def read(folder: Path, name: str, rows: list[Any], file: str | None = None, split: str | None = None) -> Reading:
    path = folder / (file or load(name).FILES["train"][0])
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = path.suffix == ".jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) if lines else json.dumps(rows))
    return read_source(name, folder, split)


def test_onethinker_counts_what_it_leaves_out(tmp_path: Path) -> None:
    letters: dict[str, Any] = {
        "problem": "<video>Where?",
        "problem_type": "multiple choice",
        "options": ["A. here", "B. there"],
        "answer": "B. there",
    }
    letters["options"] = ["A. here", "B. there"]
    moment = {"problem": 'When does "a dog bark"?', "problem_type": "temporal grounding"}
    rows = [
        VIDEO | letters,
        VIDEO | letters | {"answer": "B. here"},
        VIDEO | letters | {"data_type": "image"},
        VIDEO | moment | {"answer": '<answer>{"time": [[1, 2], [5, 7.5]]}</answer>'},
        VIDEO | moment | {"answer": '{"boxes": [1, 2, 3, 4]}'},
        VIDEO | moment | {"answer": '{"time": [1, 2]}', "problem": "When does a dog bark?"},
        VIDEO | {"problem": "", "problem_type": "segmentation", "answer": ""},
        VIDEO | {"problem": "How far?", "problem_type": "regression", "answer": "2.5"},
        VIDEO | {"problem": "How far?", "problem_type": "numerical", "answer": "far"},
        VIDEO | letters | {"videos": ["/mnt/x/a.mp4", "b.mp4"]},
    ]
    reading = read(tmp_path, "onethinker", rows)
    assert [(s.task, s.answer, s.numeric, s.spans and [tuple(t) for t in s.spans]) for s in reading.samples] == [
        ("multi_choice", "there", False, None),
        ("grounding", None, False, [(1.0, 2.0), (5.0, 7.5)]),
        ("multi_choice", "2.5", True, None),
    ]
    wanted = "letter_and_text_disagree image no_times query_not_found other_kind no_number malformed".split()
    assert reading.dropped == dict.fromkeys(wanted, 1)
    assert reading.read == len(rows)


def test_timer1_drops_what_ends_far_past_its_video(tmp_path: Path) -> None:
    row = {
        "video": "./d/aB3_dE-7hIj.mp4",
        "duration": 30.0,
        "sentence": "a dog barks",
        "qid": "my|queryd|aB3_dE-7hIj|a dog barks",
    }
    rows = [row | {"timestamp": times} for times in ([1, 31.5], [1, 40.0], [50, 60])]
    reading = read(tmp_path, "timer1", rows)
    assert [(s.video_key, tuple(s.spans[0])) for s in reading.samples if s.spans] == [("youtube:aB3_dE-7hIj", (1.0, 30.0))]
    assert reading.dropped == {"overshoot": 1, "starts_past_end": 1}


def test_timelens_100k_reads_filtered_files_and_spells_footage_alike(tmp_path: Path) -> None:
    row = {
        "source": "didemo",
        "video_path": "didemo/7@N_4815162342_0a.mp4",
        "duration": 30,
        "query": "a dog.",
        "span": [[0, 5]],
    }
    reading = read(tmp_path, "timelens_100k", [row | {"iou": 0.25}, row | {"span": [[8, 2]]}])
    assert [(s.video_key, s.question, s.meta["iou"]) for s in reading.samples] == [("flickr:4815162342", "a dog", 0.25)]
    assert reading.dropped == {"reversed": 1}


def test_videoauto_r1_without_evaluation_sets(tmp_path: Path) -> None:
    tv = {"question": "What moves?", "candidates": ["a cube", "a ball"], "answer": "a ball", "video": "video_9.mp4"}
    reading = read(tmp_path, "videoauto_r1", [tv], "TVBench/filter_json/moving_direction.json")
    assert [(s.video_key, s.answer_index) for s in reading.samples] == [("clevrer:video_9", 1)]
    assert reading.repaired == {"evaluation_set": 1}
    assert any("the split `clean` leaves them out" in note for note in reading.notes)
    with pytest.raises(DataError, match="wants one at least of"):
        read_source("videoauto_r1", tmp_path, "clean")
    moment = {"description": "a dog barks", "timestamps": [3, 9], "video": "v_aB3_dE-7hIj.mp4"}
    clean = read(tmp_path, "videoauto_r1", [moment], "ActivityNet-TVG/anet_tvg_filter.json", "clean")
    assert [s.video_key for s in clean.samples] == ["youtube:aB3_dE-7hIj"]


def test_longvideo_reason_reads_words_and_letters(tmp_path: Path) -> None:
    row = {"videos": "aB3_dE-7hIj.mp4", "problem": "Why?", "answer": "<answer>To rest</answer>"}
    reading = read(tmp_path, "longvideo_reason", [row, row | {"answer": "<answer>B</answer>"}])
    assert [(s.answer, s.options) for s in reading.samples] == [("To rest", None)]
    assert reading.dropped == {"no_options": 1}


@pytest.mark.parametrize("name", ["timelens_100k", "onethinker", "longvideo_reason", "timer1"])
def test_a_file_of_another_form_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none of its first 1 records has .*; the first has clip, text"):
        read(tmp_path, name, [{"clip": 1, "text": "a"}])
