"""InternVid-VTime: events out of three kinds of dialogue; all rows are invented."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from dataset_helpers import write_files

from trlt.data.datasets import Reading, fit_to_file, read_source
from trlt.data.datasets.internvid import Event, events
from trlt.task.sample import Span

TOKENS = {"<s0>": 0, "<e0>": 5.5, "<s1>": 6, "<e1>": 9.0, "<s10>": 11.0, "<e10>": 12.5}
META = {"split": [100.0, 120.0], "duration": 20.0, "token": TOKENS}


def record(*said: str, meta: Any = META, **fields: Any) -> dict[str, Any]:
    turns = [{"from": ("human", "gpt")[place % 2], "value": text} for place, text in enumerate(said)]
    return {"source": "internvid", "id": "abcdefghijk", "conversations": turns, "meta": meta} | fields


def read(folder: Path, *records: Any) -> Reading:
    return read_source("internvid", write_files(folder, {"stage2.json": json.dumps(records)}))


GOOD = record("<video>\nWhat happens?", "From <s0> to <e0>, Good one.")


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ("From <s0> to <e0>, A cat sits. From <s1> to <e1>, it leaves.", [("0", "A cat sits"), ("1", "it leaves")]),
        ("A cat, alone, from <s0> to <e0>. It leaves, from <s1> to <e1>.", [("0", "A cat, alone"), ("1", "It leaves")]),
        ("A cat sits from <s0> to <e0>, and it leaves from <s1> to <e1>.", [("0", "A cat sits"), ("1", "it leaves")]),
        # Both ways in one answer; a full stop inside an event.
        ("From <s0> to <e0>, a cat sits. It leaves, from <s1> to <e1>.", [("0", "a cat sits"), ("1", "It leaves")]),
        ("From <s0> to <e0>, Mr. Cat sits. From <s1> to <e1>, he eats.", [("0", "Mr. Cat sits"), ("1", "he eats")]),
        ("From <s0> to <e0>, a cat it leaves, from <s1> to <e1>.", [("0", ""), ("1", "")]),
        # <s1> is a prefix of <s10>.
        ("From <s10> to <e10>, ten. From <s1> to <e1>, one.", [("10", "ten"), ("1", "one")]),
    ],
)
def test_dense_captions_give_each_time_its_sentence(answer: str, told: list[tuple[str, str]]) -> None:
    assert events("<video>\nWhat happens when?", answer) == [Event((number,), text) for number, text in told]


def test_segment_captions_have_the_times_in_the_question() -> None:
    assert events("<video>\nWhat goes on from <s1> to <e1> in the video?", "A dog barks.") == [Event(("1",), "A dog barks")]
    both = events("What happens from <s0> to <e0> and from <s1> to <e1>?", "A dog barks.")
    assert both == [Event(("0",), ""), Event(("1",), "")]


@pytest.mark.parametrize(
    "question",
    [
        "<video>\nDuring which frames can we see a dog barking?",
        "At what point in the video can we observe a dog barking taking place?",
        "Between which two frames do you notice a dog barking occurring in the video?",
        "Between which frames is a dog barking visible in the video?",
        "When does 'a dog barking' occur in the video?",
    ],
)
@pytest.mark.parametrize("answer", ["From <s1> to <e1>.", "It happens between <s1> and <e1>."])
def test_grounding_has_the_event_in_the_question(question: str, answer: str) -> None:
    assert events(question, answer) == [Event(("1",), "a dog barking")]


def test_grounding_in_an_unknown_form_or_in_several_spans() -> None:
    assert events("Localise the bark.", "From <s1> to <e1>.") == [Event(("1",), "")]
    asked = "During which frames can we see a dog?"
    assert events(asked, "From <s0> to <e0> and from <s10> to <e10>.") == [Event(("0", "10"), "a dog")]


def test_times_come_from_the_tokens_and_are_relative_to_the_split(tmp_path: Path) -> None:
    reading = read(tmp_path, record("<video>\nWhen?", "From <s1> to <e1>, a cat sits. From <s10> to <e10>, it eats."))
    one, ten = reading.samples
    assert (one.id, ten.id) == ("internvid:train:abcdefghijk:0:1", "internvid:train:abcdefghijk:0:10")
    assert (one.spans, ten.spans) == ((Span(6.0, 9.0),), (Span(11.0, 12.5),))
    assert one.clip == Span(100.0, 120.0) and one.duration == 20.0 and one.meta == {"maybe_cut": True}
    assert one.video == "abcdefghijk.mp4" and one.video_key == "youtube:abcdefghijk"
    whole, cut = fit_to_file(one, 300.0).sample, fit_to_file(one, 20.2).sample
    assert whole and whole.clip == one.clip and cut and cut.clip is None and cut.spans == one.spans


def test_an_event_told_again_counts_once(tmp_path: Path) -> None:
    said = (
        "<video>\nWhen?",
        "From <s0> to <e0>, A cat sits.",
        "During which frames can we see a cat sits?",
        "From <s0> to <e0>.",
    )
    other = ("What goes on from <s0> to <e0>?", "An animal rests.")
    reading = read(tmp_path, record(*said, *other), record(*said))
    assert [(sample.id.partition("abcdefghijk:")[2], sample.question) for sample in reading.samples] == [
        ("0:0", "A cat sits"),
        ("0:0.1", "An animal rests"),
        ("1:0", "A cat sits"),
    ]
    assert reading.read == 3 and not reading.dropped


def test_records_without_split_or_duration_are_flagged(tmp_path: Path) -> None:
    said = ("When?", "From <s0> to <e0>, a cat sits.")
    reading = read(tmp_path, record(*said, meta={"duration": 6, "token": TOKENS}), record(*said, meta={"token": TOKENS}))
    known, unknown = reading.samples
    assert known.clip is None and known.duration == 6.0 and known.meta == {"flags": ["no_split"]}
    assert unknown.duration is None and reading.repaired == {"no_split": 2, "no_duration": 1}


def test_what_has_no_times_is_dropped(tmp_path: Path) -> None:
    dense = ("When?", "From <s7> to <e7>, a cat sits.")
    bare = record(*dense)
    del bare["meta"]
    text = record(*dense, meta={"token": {"<s7>": "0", "<e7>": True}})
    reading = read(tmp_path, GOOD, record(*dense), bare, record(*dense, meta={}), text, record("What is it?", "A cat."))
    assert len(reading.samples) == 1 and reading.dropped == {"no_times": 5}
    assert reading.examples["no_times"][0] == "stage2.json[1]: abcdefghijk: <s7>: a cat sits"


def test_events_that_cannot_be_isolated_are_dropped(tmp_path: Path) -> None:
    reading = read(
        tmp_path,
        GOOD,
        record("Localise the bark.", "From <s1> to <e1>."),
        record("When?", "It starts at <s1>."),
        record("When?", "From <s0> to <e0>, a cat sits until <e1>."),
    )
    assert reading.samples[0].question == "Good one"
    assert reading.dropped == {"no_event": 2, "placeholder_left": 1}


def test_spans_are_repaired_within_the_clip(tmp_path: Path) -> None:
    tokens = {"<s0>": 18.0, "<e0>": 21.0, "<s1>": 3, "<e1>": 3, "<s2>": 9.0, "<e2>": 4.0, "<s3>": 30.0, "<e3>": 40.0}
    answer = " ".join(f"From <s{number}> to <e{number}>, cat {number} sits." for number in range(4))
    reading = read(tmp_path, record("When?", answer, meta={"split": [1, 21], "duration": 20, "token": tokens}))
    (sample,) = reading.samples
    assert sample.spans == (Span(18.0, 20.0),) and sample.meta["raw_spans"] == [[18.0, 21.0]]
    assert reading.repaired == {"clamped_end": 1}
    assert reading.dropped == {"zero_length": 1, "reversed": 1, "starts_past_end": 1}


def test_rounding_of_the_split_clamps_nothing(tmp_path: Path) -> None:
    tokens = {"<s0>": 40.0, "<e0>": 54.2}
    meta = {"split": [129.8, 184.0], "duration": 54.2, "token": tokens}
    (sample,) = read(tmp_path, record("When?", "From <s0> to <e0>, a cat sits.", meta=meta)).samples
    assert sample.duration == 54.2 and sample.spans == (Span(40.0, 54.2),) and sample.meta == {"maybe_cut": True}


def test_malformed_records_are_dropped_with_their_place(tmp_path: Path) -> None:
    said = ("When?", "From <s0> to <e0>, a cat sits.")
    bad: list[Any] = [
        "no object",
        record(*said, id=7),
        record(*said, id=" "),
        record(*said, conversations={"from": "human"}),
        record(*said, conversations=[{"from": "gpt"}]),
        record(*said, meta={"split": [5, 2], "token": TOKENS}),
        record(*said, meta={"split": "all", "token": TOKENS}),
        record(*said, meta=[1]),
        record(*said, source="anet"),
    ]
    reading = read(tmp_path, *bad, GOOD)
    assert reading.dropped == {"malformed": 8, "other_source": 1} and reading.read == 10
    assert reading.examples["malformed"][1] == "stage2.json[1]: id: expected str, got 7"
    assert reading.samples[0].id == "internvid:train:abcdefghijk:9:0"
