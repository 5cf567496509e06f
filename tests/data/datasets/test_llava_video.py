"""LLaVA-Video-178K: one sample a turn, out of the files of all buckets; all rows are invented."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from trlt.data.datasets import Reading, read_source
from trlt.data.datasets.llava_video import FILES, read, video_key
from trlt.errors import DataError, UsageError

SHORT, LONGER = "0_30_s_youtube_mc_v0_1_qa_processed.json", "30_60_s_youtube_mc_v0_1_qa_processed.json"
FOLDER = "0_30_s_youtube_v0_1"
TAIL = "\nPlease provide your answer by stating the letter followed by the full option."
ASKED = "<image>\nWhat is it?\nOptions:\nA. a cat.\nB. a dog.\nC. a cow." + TAIL


def record(*said: str, **fields: Any) -> dict[str, Any]:
    turns = [{"from": ("human", "gpt")[place % 2], "value": text} for place, text in enumerate(said)]
    video = "liwei_youtube_videos/videos/youtube_video_2024/ytb_abcdefghijk.mp4"
    return {"id": "abcdefghijk", "conversations": turns, "data_source": FOLDER, "video": video} | fields


def reading(*records: Any) -> Reading:
    return read({SHORT: records}, "youtube_mc", "train")


def ids(result: Reading) -> list[str]:
    return [sample.id.removeprefix("llava_video:youtube_mc:") for sample in result.samples]


def test_every_pair_of_turns_is_a_sample() -> None:
    second = "Where is it?\nA. In\nB. Out\nPlease respond with only the letter of the correct answer."
    result = reading(record(ASKED, "C. a cow.", second, "B."))
    cow, out = result.samples
    assert ids(result) == ["0_30_s:abcdefghijk:0", "0_30_s:abcdefghijk:1"]
    assert (cow.question, cow.options, cow.answer_index) == ("What is it?", ("a cat.", "a dog.", "a cow."), 2)
    assert (out.question, out.options, out.answer) == ("Where is it?", ("In", "Out"), "Out")
    assert cow.video == out.video == f"{FOLDER}/liwei_youtube_videos/videos/youtube_video_2024/ytb_abcdefghijk.mp4"
    assert cow.video_key == "youtube:abcdefghijk" and cow.duration is None and cow.meta == {}


@pytest.mark.parametrize(
    "text",
    [
        "<image>\nWhat is it?\nA. a cat\nB. a dog" + TAIL,
        "What is it?\nOptions:\nA. a cat\nB. a dog" + TAIL + "\n<image>",
        "<image>\nWhat is it? A. a cat B. a dog" + TAIL,
        "<image>\nWhat is it? Options: A. a cat B. a dog" + TAIL.replace("\n", " "),
        "<image>\nWhat is it?\nA. a cat\nB. a dog" + TAIL.replace("\n", " "),
        "<image>\nWhat is it?\n(A) a cat\n(B) a dog\nAnswer with the option's letter from the given choices directly.",
        "<image>\nWhat is it?\nA. a cat\nB. a dog",
    ],
)
def test_options_are_inline_or_listed(text: str) -> None:
    (sample,) = reading(record(text, "B. a dog.")).samples
    assert (sample.question, sample.options, sample.answer_index) == ("What is it?", ("a cat", "a dog"), 1)


def test_an_option_that_names_an_instruction_stays() -> None:
    asked = "What does the sign say?\nA. Please respond with only the letter of the correct answer, thanks\nB. Closed" + TAIL
    (sample,) = reading(record(asked, "B. Closed")).samples
    assert sample.options == ("Please respond with only the letter of the correct answer, thanks", "Closed")


def test_ids_of_records_repeat() -> None:
    result = reading(
        record(ASKED, "A."), record(ASKED, "A.", id="other"), record(ASKED, "B."), record(ASKED, "C.", ASKED, "A.")
    )
    assert ids(result) == [
        "0_30_s:abcdefghijk:0",
        "0_30_s:other:0",
        "0_30_s:abcdefghijk#2:0",
        "0_30_s:abcdefghijk#3:0",
        "0_30_s:abcdefghijk#3:1",
    ]
    assert not result.dropped


def test_the_same_id_in_two_buckets_is_no_repeat() -> None:
    result = read({SHORT: [record(ASKED, "A.")], LONGER: [record(ASKED, "A.")]}, "youtube_mc", "train")
    assert ids(result) == ["0_30_s:abcdefghijk:0", "30_60_s:abcdefghijk:0"]
    assert result.samples[1].video.startswith("30_60_s_youtube_v0_1/liwei_youtube_videos/")


@pytest.mark.parametrize(
    ("question", "answer", "reason"),
    [
        (ASKED, "E. training.", "letter_out_of_range"),
        (ASKED, "A. a dog.", "letter_and_text_disagree"),
        (ASKED, "It rains.", "answer_not_an_option"),
        (ASKED, " ", "empty_answer"),
        ("<image>\nWhat is it?\nAnswer the question using a single word or phrase.", "A cat.", "no_options"),
        ("<image>\nA. a cat\nB. a dog" + TAIL, "A. a cat", "empty_question"),
        ("<image>\nWhat is it?\nA. a cat\nB. \nC. a cow" + TAIL, "A. a cat", "empty_option"),
    ],
)
def test_turns_that_cannot_be_used(question: str, answer: str, reason: str) -> None:
    result = reading(record(ASKED, "A. a cat.", question, answer))
    assert result.dropped == {reason: 1} and ids(result) == ["0_30_s:abcdefghijk:0"] and result.read == 2
    assert result.examples[reason][0].startswith(f"{SHORT}[0]: turn 1: ")


def test_duplicate_options() -> None:
    asked = "What is it?\nA. a dog\nB. A dog.\nC. a cow" + TAIL
    result = reading(record(asked, "A. a dog", asked, "C. a cow"))
    assert result.dropped == {"ambiguous_answer": 1} and result.repaired == {"duplicate_options": 1}
    assert ids(result) == ["0_30_s:abcdefghijk:1"] and result.samples[0].meta == {"flags": ["duplicate_options"]}


def test_half_a_pair_is_counted() -> None:
    turns = [
        {"from": "human", "value": ASKED},
        {"from": "human", "value": ASKED},
        {"from": "gpt", "value": "A."},
        {"from": "gpt", "value": "B."},
        {"from": "human", "value": ASKED},
    ]
    result = reading(record(conversations=turns))
    assert ids(result) == ["0_30_s:abcdefghijk:1"]
    assert result.dropped == {"empty_answer": 2, "no_options": 1} and result.read == 4


def test_malformed_records_are_dropped_with_their_place() -> None:
    gone = record(ASKED, "A.")
    del gone["video"]
    bad: list[Any] = [
        ["no object"],
        gone,
        record(ASKED, "A.", id=None),
        record(ASKED, "A.", id=" "),
        record(ASKED, "A.", video=" "),
        record(conversations="all"),
        record(conversations=[]),
        record(conversations=[{"from": "human"}]),
        record(conversations=[{"from": "human", "value": 3}]),
        record(conversations=[{"from": "system", "value": ASKED}]),
    ]
    result = reading(*bad, record(ASKED, "A.", id=17), record(ASKED, "A.", video="../x.mp4"))
    assert result.dropped == {"malformed": 10, "invalid": 1} and result.read == 12
    assert ids(result) == ["0_30_s:17:0"]
    assert result.examples["malformed"] == [
        f"{SHORT}[0]: expected an object, got list",
        f"{SHORT}[1]: no field 'video'; found id, conversations, data_source",
        f"{SHORT}[2]: id: expected str/int, got None",
        f"{SHORT}[3]: id: empty",
        f"{SHORT}[4]: video: empty",
    ]


YOUTUBE, ACADEMIC = "2_3_m_youtube_v0_1", "0_30_s_academic_v0_1"


@pytest.mark.parametrize(
    ("video", "folder", "key"),
    [
        ("liwei_youtube_videos/videos/youtube_video_2024/ytb_a_b-c_d-e_f.mp4", YOUTUBE, "youtube:a_b-c_d-e_f"),
        ("liwei_youtube_videos/videos/ytb_v_123456789", YOUTUBE, "youtube:v_123456789"),
        ("ytb_abcdefghijk.webm", YOUTUBE, "youtube:abcdefghijk"),
        ("abcdefghijk.mp4", YOUTUBE, "youtube:abcdefghijk"),
        ("clips/ytb_abcdefghijk.mp4", ACADEMIC, "youtube:abcdefghijk"),
        ("academic_source/Charades/AB1CD.mp4", ACADEMIC, "charades:AB1CD"),
        ("data/academic_source/charades/Charades_v1_480/AB1CD.mp4", ACADEMIC, "charades:AB1CD"),
        ("academic_source/CharadesEgo/AB1CDEGO.mp4", ACADEMIC, "charadesego:AB1CDEGO"),
        ("academic_source/activitynet/v_abc-efghijk.mp4", ACADEMIC, "youtube:abc-efghijk"),
        ("ActivityNet-QA/activitynet/train/v1-3/train_val/v_abc-efghijk.mkv", "1_2_m_activitynetqa", "youtube:abc-efghijk"),
        ("academic_source/NextQA/1015/3020000001.mp4", ACADEMIC, "flickr:3020000001"),
        ("NextQA/NExTVideo/0002/3020000001.mp4", "0_30_s_nextqa", "flickr:3020000001"),
        ("videos/3020000001.mp4", "0_30_s_nextqa", "flickr:3020000001"),
        ("perception_test/video_90001.mp4", "0_30_s_perceptiontest", "perceptiontest:video_90001"),
        ("video_90001.mp4", "30_60_s_perceptiontest", "perceptiontest:video_90001"),
        ("academic_source/youcook2/101/abcdefghijk/split_2.mp4", ACADEMIC, "youtube:abcdefghijk"),
        ("academic_source/youcook2/abcdefghijk.mp4", ACADEMIC, "youtube:abcdefghijk"),
        ("academic_source/Kinetics-700/abcdefghijk_000010_000020.mp4", ACADEMIC, "youtube:abcdefghijk"),
        ("academic_source/Ego4D/68aa-44bb.mp4", ACADEMIC, "ego4d:68aa-44bb"),
        ("academic_source/Other/12/split_2.mp4", ACADEMIC, "other:12/split_2"),
        ("x.mp4", ACADEMIC, "academic:x"),
    ],
)
def test_keys_of_videos(video: str, folder: str, key: str) -> None:
    assert video_key(video, folder) == key


def lay_out(folder: Path, name: str, *records: Any) -> None:
    """A bucket as it is downloaded: its folder holds its file."""
    bucket = folder / name.removesuffix("_qa_processed.json").replace("_mc", "")
    bucket.mkdir(exist_ok=True)
    (bucket / name).write_text(json.dumps(records), encoding="utf-8")


def test_the_layout_of_the_download_and_the_files_that_are_missing(tmp_path: Path) -> None:
    lay_out(tmp_path, SHORT, record(ASKED, "A."))
    lay_out(tmp_path, LONGER, record(ASKED, "B."))
    result = read_source("llava_video", tmp_path)
    assert ids(result) == ["0_30_s:abcdefghijk:0", "30_60_s:abcdefghijk:0"]
    assert [path.parent.name for path in result.files] == ["0_30_s_youtube_v0_1", "30_60_s_youtube_v0_1"]
    assert result.notes == (
        "files that aren't there: 1_2_m_youtube_mc_v0_1_qa_processed.json, 2_3_m_youtube_mc_v0_1_qa_processed.json",
    )


@pytest.mark.parametrize("split", FILES)
def test_a_split_that_is_whole_has_no_note(tmp_path: Path, split: str) -> None:
    for name in FILES[split]:
        lay_out(tmp_path, name, record(ASKED, "A."))
    result = read_source("llava_video", tmp_path, split)
    assert result.notes == () and len(result.samples) == len(FILES[split])
    assert result.samples[0].id == f"llava_video:{split}:0_30_s:abcdefghijk:0"
    assert (tmp_path / result.samples[0].video).parts[len(tmp_path.parts)] == result.files[0].parent.name


def test_open_ended_files_and_other_splits_are_refused(tmp_path: Path) -> None:
    lay_out(tmp_path, "0_30_s_nextqa_oe_qa_processed.json", record("Why?", "It rains."))
    with pytest.raises(DataError, match="wants one at least of 0_30_s_nextqa_mc_qa_processed.json"):
        read_source("llava_video", tmp_path, "nextqa")
    with pytest.raises(UsageError, match="unknown split 'youtube'; did you mean youtube_mc"):
        read_source("llava_video", tmp_path, "youtube")


def test_a_truncated_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / SHORT).write_text(json.dumps([record(ASKED, "A.")] * 2)[:-30], encoding="utf-8")
    with pytest.raises(DataError, match=r"not JSON after 1 records .*truncated"):
        read_source("llava_video", tmp_path)
