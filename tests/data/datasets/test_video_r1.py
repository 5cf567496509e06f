"""Video-R1: multiple choice about videos out of a mixed file; all rows are invented."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from dataset_helpers import write_files

from trlt.data.datasets import Reading, read_source
from trlt.task.prompt import render_answer


def record(**fields: Any) -> dict[str, Any]:
    return {
        "problem_id": 5,
        "problem": "What falls?",
        "data_type": "video",
        "problem_type": "multiple choice",
        "options": ["A. a cup", "B. a hat"],
        "process": "",
        "solution": "<answer>B</answer>",
        "path": "./CLEVRER/train_videos/video_90001.mp4",
        "data_source": "CLEVRER",
    } | fields


def read(folder: Path, *records: Any, name: str = "Video-R1-260k.json") -> Reading:
    return read_source("video_r1", write_files(folder, {name: json.dumps(records)}) / name)


def test_images_and_other_kinds_are_dropped_with_their_count(tmp_path: Path) -> None:
    reading = read(
        tmp_path,
        record(),
        record(data_type="image"),
        record(data_type="audio"),
        *(record(problem_type=kind, options=[]) for kind in ("numerical", "OCR", "free-form", "regression")),
    )
    (sample,) = reading.samples
    assert sample.id == "video_r1:train:5" and sample.video == "CLEVRER/train_videos/video_90001.mp4"
    assert sample.options == ("a cup", "a hat") and (sample.answer, sample.answer_index) == ("a hat", 1)
    assert sample.meta == {"data_source": "CLEVRER"} and reading.read == 7
    assert reading.dropped == {"image": 1, "unknown_data_type": 1, "not_multi_choice": 4}
    assert reading.examples["not_multi_choice"][0] == "Video-R1-260k.json[3]: numerical"
    assert reading.notes == ("only multiple choice about videos is read",)


@pytest.mark.parametrize(
    ("options", "texts"),
    [
        (["A. a cup", "B. a hat"], ("a cup", "a hat")),
        (["A) a cup", "B) a hat"], ("a cup", "a hat")),
        (["(A) a cup", "(B)a hat"], ("a cup", "a hat")),
        (["a cup", "a hat"], ("a cup", "a hat")),
        (["A. a\ncup", " B.  a  hat "], ("a cup", "a hat")),
        (["A. B. Smith", "B. A. Jones"], ("B. Smith", "A. Jones")),
    ],
)
def test_options_lose_their_letters(tmp_path: Path, options: list[str], texts: tuple[str, ...]) -> None:
    (sample,) = read(tmp_path, record(options=options)).samples
    assert sample.options == texts and sample.answer == texts[1]


def test_options_may_stand_in_the_question(tmp_path: Path) -> None:
    (sample,) = read(tmp_path, record(problem="What falls?\nA. a cup\nB. a hat", options=[])).samples
    assert sample.question == "What falls?" and sample.options == ("a cup", "a hat")


@pytest.mark.parametrize(
    ("solution", "place"),
    [("<answer> b </answer>", 1), ("B", 1), ("<answer>a cup</answer>", 0), ("<answer>(A) a cup</answer>", 0)],
)
def test_solutions(tmp_path: Path, solution: str, place: int) -> None:
    assert read(tmp_path, record(solution=solution)).samples[0].answer_index == place


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"solution": "<answer>C</answer>"}, "letter_out_of_range"),
        ({"solution": "<answer>a dog</answer>"}, "answer_not_an_option"),
        ({"solution": "<answer></answer>"}, "empty_answer"),
        ({"solution": "<answer>B. a cup</answer>"}, "letter_and_text_disagree"),
        ({"options": []}, "no_options"),
        ({"options": ["A. a cup", "B. "]}, "empty_option"),
        ({"options": ["A. a hat", "B. a hat", "C. a cup"]}, "ambiguous_answer"),
        ({"problem": " <video> "}, "empty_question"),
        ({"path": "./../../etc/passwd"}, "invalid"),
        ({"path": "/videos/a.mp4"}, "invalid"),
        ({"path": "./"}, "malformed"),
        ({"path": None}, "malformed"),
        ({"options": ["A. a cup", 3]}, "malformed"),
        ({"options": ["x"] * 30}, "malformed"),
        ({"problem_id": 4}, "duplicate_id"),
    ],
)
def test_what_cannot_be_used_is_dropped(tmp_path: Path, fields: dict[str, Any], reason: str) -> None:
    reading = read(tmp_path, record(problem_id=4), record(**fields))
    assert len(reading.samples) == 1 and reading.dropped == {reason: 1}


def test_a_record_that_is_none_is_malformed(tmp_path: Path) -> None:
    assert read(tmp_path, record(), "text", {"data_type": "video"}).dropped == {"malformed": 2}


@pytest.mark.parametrize(
    ("path", "source", "key"),
    [
        ("LLaVA-Video-178K/liwei_youtube_videos/videos/youtube_video_2024/ytb_aB3_dE-7hIj.mp4", "", "youtube:aB3_dE-7hIj"),
        ("LLaVA-Video-178K/academic_source/activitynet/v_aB3_dE-7hIj.mp4", "", "youtube:aB3_dE-7hIj"),
        ("LLaVA-Video-178K/academic_source/youcook2/101/aB3_dE-7hIj/split_2.mp4", "", "youtube:aB3_dE-7hIj"),
        ("LLaVA-Video-178K/academic_source/Charades/QX7LK.mp4", "", "charades:QX7LK"),
        ("LLaVA-Video-178K/academic_source/NextQA/1164/5550001112.mp4", "", "flickr:5550001112"),
        ("LLaVA-Video-178K/academic_source/ego4d/0a1b-2c3d.mp4", "", "llava-video-178k:0a1b-2c3d"),
        ("NeXT-QA/NextQA/NExTVideo/1164/5550001112.mp4", "NeXT-QA/0_30_s_nextqa", "flickr:5550001112"),
        ("PerceptionTest/video_90001.mp4", "PerceptionTest", "perceptiontest:video_90001"),
        ("CLEVRER/train_videos/video_90001.mp4", "CLEVRER", "clevrer:video_90001"),
        ("STAR/Charades_v1_480/QX7LK.mp4", "STAR", "charades:QX7LK"),
        ("STAR/QX7LK_1.5_8.0.mp4", "STAR", "charades:QX7LK"),
        ("1164/5550001112.mp4", "nextqa", "flickr:5550001112"),
        ("Other/Clip.mp4", "", "other:Clip"),
        ("Clip.mp4", "", "video_r1:Clip"),
    ],
)
def test_footage_is_known_by_its_origin(tmp_path: Path, path: str, source: str, key: str) -> None:
    (sample,) = read(tmp_path, record(path=f"./{path}", data_source=source)).samples
    assert sample.video == path and sample.video_key == key


def test_reasoning_can_be_taught(tmp_path: Path) -> None:
    cot = "Video-R1-COT-165k.json"
    reading = read(
        tmp_path,
        record(process="<think>\nIt slips.\n</think>"),
        record(process="It slips.", problem_id=6),
        record(process="<think>It <answer>slips</think>", problem_id=7),
        record(process=None, problem_id=8),
        name=cot,
    )
    told, bare, tagged, none = reading.samples
    assert told.id == "video_r1:cot:5" and told.meta["reasoning"] == bare.meta["reasoning"] == "It slips."
    assert "reasoning" not in tagged.meta and tagged.meta["flags"] == ["reasoning_with_tags"] and "reasoning" not in none.meta
    assert reading.repaired == {"reasoning_with_tags": 1} and not reading.notes
    said = render_answer(told, think=True, answer_format="letter", reasoning=told.meta["reasoning"])
    assert said == "<think> It slips. </think> <answer> B </answer>"
