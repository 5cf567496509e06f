"""PerceptionTest: three options a question, and frames at which to cut; all rows are invented."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from dataset_helpers import write_files

from trlt.data.datasets import Reading, fit_to_file, read_source
from trlt.data.datasets.perceptiontest import read
from trlt.errors import DataError, UsageError
from trlt.task.sample import Span

NAME, CUTS = "mc_question_train.json", "cut_frame_mapping_train.json"


def question(key: Any = 0, **fields: Any) -> dict[str, Any]:
    row = {
        "id": key,
        "question": "What is  on the table? ",
        "options": ["a cup", "a hat ", "a spoon"],
        "answer_id": 1,
        "area": "semantics",
        "reasoning": "descriptive",
        "tag": ["object recognition"],
    }
    return row | fields


def video(*questions: Any, **metadata: Any) -> dict[str, Any]:
    return {"mc_question": list(questions) or [question()], "metadata": {"frame_rate": 20.0, "num_frames": 300} | metadata}


def reading(videos: Any, cuts: Any = None, split: str = "train") -> Reading:
    files = {f"mc_question_{split}.json": videos} | ({} if cuts is None else {f"cut_frame_mapping_{split}.json": cuts})
    return read(files, split, "train")


def test_a_question_becomes_a_sample() -> None:
    first, second = reading({"video_7": video(question(3), question(5, answer_id=0))}, {}).samples
    assert (first.id, second.id) == ("perceptiontest:train:video_7:3", "perceptiontest:train:video_7:5")
    assert (first.question, first.options) == ("What is on the table?", ("a cup", "a hat", "a spoon"))
    assert (first.answer, first.answer_index, second.answer) == ("a hat", 1, "a cup")
    assert (first.video, first.video_key, first.duration, first.clip) == ("video_7.mp4", "perceptiontest:video_7", 15.0, None)
    assert first.meta == {"area": "semantics", "reasoning": "descriptive", "tag": ["object recognition"]}


def test_a_cut_becomes_the_clip() -> None:
    result = reading({"video_7": video(), "video_8": video(), "video_9": video()}, {"video_7": 130, "video_8": -1})
    cut, whole, unlisted = result.samples
    assert cut.clip == Span(0.0, 6.5) and cut.duration == 6.5
    assert whole.clip is None and whole.duration == 15.0 and unlisted.clip is None
    assert not result.repaired and result.notes == ()
    # A file that was cut before holds the clip, and nothing else.
    for file_s in (15.0, 6.5):
        fitted = fit_to_file(cut, file_s).sample
        assert fitted and fitted.clip == Span(0.0, 6.5)


def test_a_cut_at_the_end_cuts_nothing() -> None:
    result = reading({"video_7": video()}, {"video_7": 300})
    assert result.samples[0].clip is None and result.samples[0].duration == 15.0 and not result.repaired


@pytest.mark.parametrize("cut", [301, 0, -5, "130", True, None, [130], float("nan"), 10**400])
def test_a_cut_that_does_not_fit_is_flagged(cut: Any) -> None:
    result = reading({"video_7": video()}, {"video_7": cut})
    (sample,) = result.samples
    assert sample.clip is None and sample.duration == 15.0
    assert result.repaired == {"bad_cut": 1} and sample.meta["flags"] == ["bad_cut"]


def test_without_the_mapping_a_note_says_so() -> None:
    result = reading({"video_7": video()})
    assert result.notes == (f"{CUTS} isn't there: videos that aren't cut show the answer at their end",)
    assert result.samples[0].clip is None and not result.repaired


@pytest.mark.parametrize("metadata", [{"frame_rate": 0}, {"frame_rate": None}, {"num_frames": "300"}, {"num_frames": 10**400}])
def test_without_a_rate_or_a_length_there_is_no_duration(metadata: dict[str, Any]) -> None:
    whole, cut = reading({"video_7": video(**metadata), "video_8": video(**metadata)}, {"video_8": 130}).samples
    assert whole.duration is None and whole.meta["flags"] == ["no_duration"]
    assert cut.duration is None and cut.clip is None and cut.meta["flags"] == ["bad_cut", "no_duration"]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"answer_id": 3}, "answer_not_an_option"),
        ({"answer_id": -1}, "answer_not_an_option"),
        ({"options": []}, "answer_not_an_option"),
        ({"options": ["a cup", " ", "a hat"], "answer_id": 0}, "empty_option"),
        ({"question": " "}, "empty_question"),
        ({"options": ["A hat.", "a hat", "a cup"]}, "ambiguous_answer"),
        ({"answer_id": "1"}, "malformed"),
        ({"answer_id": True}, "malformed"),
        ({"options": ["a cup", 2, "a hat"]}, "malformed"),
        ({"question": None}, "malformed"),
        ({"id": None}, "malformed"),
    ],
)
def test_questions_that_cannot_be_used(fields: dict[str, Any], reason: str) -> None:
    result = reading({"video_7": video(question(0), question(1) | fields)}, {})
    assert len(result.samples) == 1 and result.dropped == {reason: 1} and result.read == 2
    assert result.examples[reason][0].startswith(f"{NAME}: video_7: mc_question[1]: ")


def test_other_options_that_are_the_same_are_flagged() -> None:
    result = reading({"video_7": video(question(options=["a cup", "a hat", "a cup"]))}, {"video_7": 900})
    assert result.repaired == {"duplicate_options": 1, "bad_cut": 1}
    assert result.samples[0].meta["flags"] == ["bad_cut", "duplicate_options"]


def test_malformed_videos_are_dropped_with_their_name() -> None:
    bad = {
        "video_1": [1],
        "video_2": {"mc_question": [question()]},
        "video_3": {"mc_question": {}, "metadata": {}},
        "video_4": video(video_id="video_5"),
        "video_5": video("no object"),
    }
    result = reading(bad | {"video_7": video(video_id="video_7")}, {})
    assert [sample.video for sample in result.samples] == ["video_7.mp4"]
    assert result.dropped == {"malformed": 5} and result.read == 6
    assert result.examples["malformed"][0] == f"{NAME}: video_1: expected an object, got list"


def test_videos_of_another_split_are_dropped() -> None:
    videos = {"video_7": video(split="train"), "video_8": video(question(0), question(1), split="valid")}
    result = reading(videos, {})
    assert len(result.samples) == 1 and result.dropped == {"other_split": 2}


def test_the_split_of_the_benchmark_is_refused_unless_asked_for(tmp_path: Path) -> None:
    write_files(tmp_path, {"mc_question_valid.json": json.dumps({"video_7": video(split="valid")})})
    with pytest.raises(UsageError, match="'valid' is its test split"):
        read_source("perceptiontest", tmp_path, "valid")
    (sample,) = read_source("perceptiontest", tmp_path, "valid", allow_test=True).samples
    assert sample.id == "perceptiontest:valid:video_7:0" and sample.split == "valid"


@pytest.mark.parametrize("name", [NAME, CUTS])
def test_a_list_is_no_official_file(name: str) -> None:
    with pytest.raises(DataError, match=f"{name}: expected an object by video id, got list"):
        read({NAME: {"video_7": video()}, CUTS: {}} | {name: []}, "train", "train")
