"""G-VideoLLM: two layouts, times in texts, options or none; all rows are invented."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from dataset_helpers import write_files

from trlt.data.datasets import Reading, read_source
from trlt.errors import DataError
from trlt.task.sample import Sample, Span

FILE = "G-VideoQA-gpt4o-mini-anno.json"
ASK = "<image>\nWhat does he do?\n(A) He waves.\n(B) He runs."


def talk(*said: str, **fields: Any) -> dict[str, Any]:
    turns = [{"from": ("human", "gpt")[place % 2], "value": text} for place, text in enumerate(said)]
    return {"question_id": "q", "video_id": "v_abcdefghijk", "conversation": turns} | fields


def flat(**fields: Any) -> dict[str, Any]:
    return {"video": "v_abcdefghijk", "question": "What does he do?", "answer": "He runs.", "timestamps": [1, 2.5]} | fields


def read(folder: Path, *records: Any) -> Reading:
    return read_source("gvideollm", write_files(folder, {FILE: json.dumps(records)}))


def only(folder: Path, record: Any) -> Sample:
    (sample,) = read(folder, record).samples
    return sample


@pytest.mark.parametrize(
    "said",
    [
        (ASK, "(B) He runs. From <12.3> to <20>."),
        (ASK, "The correct answer is (B) He runs, which happens from <12.3> to <20>."),
        (ASK, "From <12.3> to <20.0> seconds, B."),
        (ASK + "\nAnswer with the option's letter. Please provide the timestamps.", "Answer: (B) (<12.3> - <20>)"),
        (ASK, "(B) He runs.", "When does it happen?", "From <12.3> to <20>."),
        (ASK, "B", "Give the timestamps.", "The answer can be found in the segment <12.3> to <20>."),
        ("When is this answered: what does he do?", "It happens between <12.3> and <20>.", ASK, "(B) He runs."),
    ],
)
def test_conversations_with_options(tmp_path: Path, said: tuple[str, ...]) -> None:
    sample = only(tmp_path, talk(*said))
    assert (sample.question, sample.options) == ("What does he do?", ("He waves.", "He runs."))
    assert (sample.answer, sample.answer_index, sample.spans) == ("He runs.", 1, (Span(12.3, 20.0),))
    assert sample.id == "gvideollm:train:v_abcdefghijk:0:0"


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (("Question: What does he do?", "He runs away. From <3> to <4.5>."), "He runs away."),
        (("What does he do? Please give the start and end timestamps.", "He runs (from <3> to <4.5>)."), "He runs."),
        (("What does he do?", "From <3> to <4.5>, he runs."), "he runs."),
    ],
)
def test_open_answers_have_no_options(tmp_path: Path, said: tuple[str, ...], answer: str) -> None:
    sample = only(tmp_path, talk(*said))
    assert (sample.question, sample.answer, sample.spans) == ("What does he do?", answer, (Span(3.0, 4.5),))
    assert sample.options is None and sample.answer_index is None


def test_several_questions_and_several_moments_of_a_conversation(tmp_path: Path) -> None:
    both = ("Who runs?", "A dog, from <1> to <2> and from <5> to <6.5>.", "Who sits?", "A cat, from <3> to <4>.")
    first, second = read(tmp_path, talk(*both)).samples
    assert (first.answer, first.spans) == ("A dog.", (Span(1.0, 2.0), Span(5.0, 6.5)))
    assert (second.id, second.question, second.spans) == ("gvideollm:train:v_abcdefghijk:0:1", "Who sits?", (Span(3.0, 4.0),))


@pytest.mark.parametrize(
    ("fields", "spans"),
    [
        ({}, (Span(1.0, 2.5),)),
        ({"timestamps": [[1, 2.5], [4, 5]]}, (Span(1.0, 2.5), Span(4.0, 5.0))),
        ({"span": [3, 4], "timestamps": [1, 2.5]}, (Span(1.0, 2.5),)),
    ],
)
def test_flat_records(tmp_path: Path, fields: dict[str, Any], spans: tuple[Span, ...]) -> None:
    sample = only(tmp_path, flat(**fields))
    assert sample.spans == spans and sample.answer == "He runs." and sample.options is None


@pytest.mark.parametrize("names", [("start", "end"), ("start_time", "end_time"), ("span",), ("temporal_span",)])
def test_flat_times_under_other_names(tmp_path: Path, names: tuple[str, ...]) -> None:
    record = flat()
    del record["timestamps"]
    record |= dict(zip(names, (1, 2.5), strict=True)) if len(names) == 2 else {names[0]: [1, 2.5]}
    assert only(tmp_path, record).spans == (Span(1.0, 2.5),)


@pytest.mark.parametrize("answer", ["B", "(B)", "B. He runs.", "He runs.", 1])
@pytest.mark.parametrize(
    "options", [["He waves.", "He runs."], ["A. He waves.", "B. He runs."], {"A": "He waves.", "B": "He runs."}]
)
def test_flat_options_and_answers(tmp_path: Path, options: Any, answer: Any) -> None:
    sample = only(tmp_path, flat(options=options, answer=answer))
    assert (sample.options, sample.answer, sample.answer_index) == (("He waves.", "He runs."), "He runs.", 1)


def test_answers_that_name_no_option_are_dropped(tmp_path: Path) -> None:
    options = ["waves", "runs", "runs"]
    reading = read(
        tmp_path,
        flat(),
        flat(options=options, answer="E"),
        flat(options=options, answer="A. runs"),
        flat(options=options, answer="sits down"),
        flat(options=options, answer="runs"),
        flat(options=options, answer="waves"),
    )
    assert reading.dropped == {
        "letter_out_of_range": 1,
        "letter_and_text_disagree": 1,
        "answer_not_an_option": 1,
        "ambiguous_answer": 1,
    }
    assert reading.repaired == {"duplicate_options": 1} and len(reading.samples) == 2


def test_no_time_is_left_in_a_text(tmp_path: Path) -> None:
    reading = read(
        tmp_path,
        talk("What does he do from <1> to <2>?", "He runs, from <1> to <2>."),
        talk("What does he do?", "He runs at <3.5>, from <1> to <2>."),
        talk("What does he do?", "He runs."),
        talk("When does he run?", "From <1> to <2>."),
        talk("<image>", "He runs, from <1> to <2>."),
        talk("What does he do?", "He runs, from <1> to <2>."),
    )
    assert reading.dropped == {
        "times_in_question": 1,
        "placeholder_left": 1,
        "no_times": 1,
        "no_answer": 1,
        "empty_question": 1,
    }
    assert [sample.answer for sample in reading.samples] == ["He runs."]


def test_no_time_is_left_in_a_flat_text(tmp_path: Path) -> None:
    reading = read(tmp_path, flat(answer="He runs, from <1> to <2>."), flat(options=["at <4>", "He runs."]))
    assert reading.dropped == {"placeholder_left": 1} and reading.samples[0].answer == "He runs."


@pytest.mark.parametrize(
    ("fields", "video", "key"),
    [
        ({"video_id": "v_abcdefghijk"}, "v_abcdefghijk.mp4", "youtube:abcdefghijk"),
        ({"video_id": "abc_efg-ijk_510.0_660.0"}, "abc_efg-ijk_510.0_660.0.mp4", "youtube:abc_efg-ijk"),
        ({"video_file": "/qvh/abc_efg-ijk_60.0_210.0.mp4"}, "qvh/abc_efg-ijk_60.0_210.0.mp4", "youtube:abc_efg-ijk"),
        ({"video_file": "../anet/v_abcdefghijk.mkv"}, "anet/v_abcdefghijk.mkv", "youtube:abcdefghijk"),
    ],
)
def test_videos_and_their_keys(tmp_path: Path, fields: dict[str, Any], video: str, key: str) -> None:
    sample = only(tmp_path, talk("Who runs?", "A dog, from <1> to <2>.", **fields))
    # The name of a cut file isn't trusted for its length.
    assert (sample.video, sample.video_key, sample.clip, sample.duration) == (video, key, None, None)


def test_spans_are_repaired_or_dropped(tmp_path: Path) -> None:
    reading = read(
        tmp_path,
        flat(timestamps=[1, 11], duration=10, dataset_name="qvh"),
        flat(timestamps=[3, 3]),
        flat(timestamps=[4, 3]),
    )
    (sample,) = reading.samples
    assert sample.spans == (Span(1.0, 10.0),) and sample.duration == 10.0
    assert sample.meta == {"dataset": "qvh", "raw_spans": [[1.0, 11.0]], "flags": ["clamped_end"]}
    assert reading.dropped == {"zero_length": 1, "reversed": 1}


def test_malformed_records_are_dropped_with_their_place(tmp_path: Path) -> None:
    bad = ["no object", flat(video=7), flat(video="/"), flat(answer=3), flat(options="A"), flat(timestamps=[]), {"video": "a"}]
    reading = read(tmp_path, *bad, flat())
    assert reading.dropped == {"malformed": 7} and reading.read == 8
    assert reading.examples["malformed"][1] == f"{FILE}[1]: video: expected str, got 7"
    assert reading.samples[0].id == "gvideollm:train:v_abcdefghijk:7:0"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([{"clip": "a", "q": "?"}], r"unknown layout: wanted \(video_file \| .*start_time and end_time\).* has clip, q\."),
        ([flat() | {"video": "a"}, 1][1:], "the first record has no object"),
        ([{"video": "a", "question": "?", "answer": "x"}], "unknown layout"),
        ([], "unknown layout"),
        ({"data": []}, "expected a list of records, got dict"),
    ],
)
def test_another_layout_is_refused(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_source("gvideollm", write_files(tmp_path, {FILE: json.dumps(content)}))
