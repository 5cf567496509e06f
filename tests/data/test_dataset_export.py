"""Records of other tools: what they hold, and what is left out instead of being changed."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from trlt.data.export import FORMATS, REASONS, TOOLS, Format, LeftOut, convert
from trlt.task.answer import parse
from trlt.task.prompt import build
from trlt.task.sample import Sample, Span
from trlt.task.score import score

MC = Sample(
    "m", "s", "train", "multi_choice", "d/a.mp4", "What moves?", options=("a ball", "a cat"), answer="a cat", answer_index=1
)
TVG = Sample("t", "s", "train", "grounding", "d/a.mp4", "a ball rolls", spans=(Span(10, 25),), duration=50.0)
GQA = Sample(
    "g", "s", "train", "grounded_qa", "a.mp4", "Why?", options=("x", "y"), answer="x", answer_index=0, spans=(Span(5, 9),)
)
FREE = Sample("f", "s", "train", "grounded_qa", "a.mp4", "Why?", answer="two dogs", spans=(Span(5, 9), Span(20, 30)))
MANY = tuple(f"option {number}" for number in range(30))


def record(sample: Sample, format: Format, **how: Any) -> dict[str, Any]:
    made = convert(sample, format, number=7, **how)
    assert isinstance(made, dict), made
    return made


def test_video_r1_holds_question_letters_and_a_path_below_its_folder() -> None:
    assert record(MC, "video-r1") == {
        "problem_id": 7,
        "problem": "What moves?",
        "data_type": "video",
        "problem_type": "multiple choice",
        "options": ["A. a ball", "B. a cat"],
        "process": "",
        "solution": "<answer>B</answer>",
        "path": "./d/a.mp4",
        "data_source": "s",
    }
    told = record(replace(MC, meta={"reasoning": " It walks. ", "data_source": "other"}), "video-r1", video="v/a.mp4")
    assert (told["process"], told["path"], told["data_source"]) == ("<think>It walks.</think>", "./v/a.mp4", "s")
    back = replace(MC, source="video_r1", meta={"data_source": "STAR"})
    assert record(back, "video-r1")["data_source"] == "STAR"


def test_temporal_r1_holds_fractions_of_the_video_and_asks_for_what_its_reward_reads() -> None:
    made = record(TVG, "temporal-r1")
    assert made.pop("problem") == (
        "Event: a ball rolls\nGive your reasoning, then the event's start and end in seconds as JSON: "
        '<think> reasoning </think> <answer> {"start_time": "seconds", "end_time": "seconds"} </answer>'
    )
    assert made == {"dataset": "charades_train", "video": "d/a.mp4", "solution": [0.2, 0.5]}


@pytest.mark.parametrize("sample", [MC, TVG, GQA, FREE])
@pytest.mark.parametrize("think", [True, False])
@pytest.mark.parametrize("form", ["letter", "text", "open"])
def test_ms_swift_and_trl_ask_in_the_words_of_trlt(sample: Sample, think: bool, form: Any) -> None:
    how: dict[str, Any] = {"think": think, "answer_format": form}
    words = build(sample, **how)
    swift, trl = record(sample, "ms-swift", **how), record(sample, "trl", **how)
    assert swift.pop("messages") == [
        {"role": "system", "content": words.system},
        {"role": "user", "content": f"<video>{words.user}"},
    ]
    assert swift.pop("videos") == [sample.video]
    assert trl.pop("prompt") == [
        {"role": "system", "content": [{"type": "text", "text": words.system}]},
        {"role": "user", "content": [{"type": "video", "video": sample.video}, {"type": "text", "text": words.user}]},
    ]
    assert swift == trl and swift["think"] is think


@pytest.mark.parametrize("sample", [MC, TVG, GQA, FREE])
@pytest.mark.parametrize("form", ["letter", "text", "open"])
def test_a_reward_function_can_grade_with_what_it_is_given(sample: Sample, form: Any) -> None:
    made = record(sample, "ms-swift", answer_format=form)
    read = Sample.from_json(json.loads(made["sample"]))
    assert read == sample
    answer = parse(made["solution"], task=made["task"], think=False, options=read.options, answer_format=made["answer_format"])
    scores = score(answer, read)
    assert scores.format == 1.0 and scores.accuracy in (None, 1.0) and scores.tiou in (None, 1.0)


def test_columns_keep_one_type_whatever_the_sample() -> None:
    # A column that begins with nulls or empty lists can't hold anything else further down, for `datasets`.
    for format in ("ms-swift", "trl"):
        rows = [record(sample, format) for sample in (MC, TVG, GQA, FREE)]
        kinds = [{key: type(value) for key, value in row.items()} for row in rows]
        assert all(kind == kinds[0] for kind in kinds)
        assert all(value not in (None, []) for row in rows for value in row.values())


@pytest.mark.parametrize(
    ("sample", "format", "reason"),
    [
        (TVG, "video-r1", "no_grounding"),
        (GQA, "video-r1", "no_grounded_qa"),
        (MC, "temporal-r1", "no_multi_choice"),
        (GQA, "temporal-r1", "no_grounded_qa"),
        *((replace(MC, clip=Span(1, 3)), format, "clip") for format in ("video-r1", "ms-swift", "trl")),
        (replace(TVG, clip=Span(1, 51)), "temporal-r1", "clip"),
        (replace(TVG, spans=(Span(1, 2), Span(4, 5))), "temporal-r1", "several_spans"),
        (replace(TVG, duration=None), "temporal-r1", "no_duration"),
        (replace(TVG, duration=24.9), "temporal-r1", "past_end"),
        (replace(TVG, video="https://x.org/a.mp4"), "temporal-r1", "address"),
        (replace(MC, video="https://x.org/a.mp4"), "video-r1", "address"),
        (replace(MC, options=MANY, answer=MANY[1]), "video-r1", "too_many_options"),
        (replace(MC, options=MANY, answer=MANY[1]), "ms-swift", "too_many_options"),
        (replace(MC, question="Where is <image>?"), "ms-swift", "media_tag"),
        (replace(MC, meta={"reasoning": "so <answer>B"}), "video-r1", "answer_tag"),
        (replace(FREE, answer="<answer>"), "trl", "answer_tag"),
    ],
)
def test_what_a_format_cannot_carry_is_left_out(sample: Sample, format: Format, reason: str) -> None:
    assert convert(sample, format, number=0) == LeftOut(reason)
    assert reason in REASONS


def test_what_only_some_cannot_carry_is_kept_by_the_others() -> None:
    assert record(replace(MC, options=MANY, answer=MANY[1]), "trl", answer_format="open")
    assert record(replace(MC, video="https://x.org/a.mp4"), "ms-swift")["videos"] == ["https://x.org/a.mp4"]
    assert record(replace(MC, question="Where is <image>?"), "trl")
    assert json.loads(record(FREE, "trl")["sample"])["spans"] == [[5, 9], [20, 30]]


def test_each_format_is_described() -> None:
    assert set(TOOLS) == set(FORMATS)
    assert {tool.suffix for tool in TOOLS.values()} == {".json", ".jsonl"}
