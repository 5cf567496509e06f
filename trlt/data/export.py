"""Turns a sample into a record of another tool's training file, or a reason why that format can't express it. Pure.

Knows the other tools' fields and paths; opens no file. A record says what the sample says: what a format can't express is left
out with a reason, never distorted. Facts about the formats, from the tools' own pages and code:

- Video-R1 (`src/open_r1/grpo.py`): a list; asks in its own words, joins `problem` and `options`, compares the letter in
  `<answer>`, and takes the first character off `path` before its data folder goes in front, so that `./` must lead.
- Temporal-R1 (`verl/utils/dataset_video.py`, `reward_score/tvg.py`): a list; takes grounding under the one name
  `charades_train`, divides the predicted seconds by the video's length before it compares them with `solution`, and reads
  them from `{"start_time": "..", "end_time": ".."}` behind reasoning.
- ms-swift (custom data sets): JSONL; `<video>` in a text stands for the next of `videos`, contents are plain text, and GRPO
  hands further fields to the reward function.
- TRL: JSONL of messages in parts; further fields reach the reward function. Its GRPOTrainer (1.16) takes images only.

The last two are read by `datasets`, which fixes a column's type by the file's first rows. So no field is ever null or an
empty list, and the whole sample stands in `sample` as JSON text: a reward function can grade with `trlt` itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

from trlt.errors import DataError
from trlt.task.answer import LETTERS, AnswerFormat
from trlt.task.prompt import OURS, Words, asked_format, build, letter, render_answer
from trlt.task.sample import TASKS, Sample, Task
from trlt.video.remote import is_remote

Format = Literal["video-r1", "temporal-r1", "ms-swift", "trl"]
FORMATS: tuple[Format, ...] = get_args(Format)


@dataclass(frozen=True, slots=True)
class Tool:
    """The file of a format, and what it can express."""

    suffix: str
    """Its loader relies on it: `.json` is one list, `.jsonl` one object per line."""
    tasks: tuple[Task, ...]
    fixed: bool
    """The tool asks for reasoning and one form of answer by itself, whatever a file says."""
    note: str = ""
    """A warning for users before training with it."""


TOOLS: Mapping[Format, Tool] = {
    "video-r1": Tool(".json", ("multi_choice",), True),
    "temporal-r1": Tool(
        ".json",
        ("grounding",),
        True,
        "Temporal-R1's loader knows one data set name, so all records are called charades_train, and it keeps one folder of "
        "videos for that name: files that are trained on together need the same one",
    ),
    "ms-swift": Tool(".jsonl", TASKS, False),
    "trl": Tool(
        ".jsonl",
        TASKS,
        False,
        "TRL's GRPOTrainer (1.16) takes images only: it would compute the loss without the videos; use a trainer that takes "
        "them",
    ),
}

REASONS: Mapping[str, str] = {
    "no_multi_choice": "the format has no multiple choice",
    "no_grounding": "the format has no grounding",
    "no_grounded_qa": "the format has no grounded questions",
    "clip": "the sample is about a part of its file, and the format has no bounds",
    "several_spans": "the format has room for one span; `trlt prepare --several-spans` decides on one",
    "no_duration": "the format counts in fractions of the video's length, which isn't known",
    "past_end": "a span ends after the video does",
    "address": "the format takes paths below a folder, not addresses",
    "no_options": "the question is answered in words, and the format has only multiple choice",
    "several_options": "the question asks for all options that apply, and the format has one right option",
    "too_many_options": f"more options than the {len(LETTERS)} letters",
    "media_tag": "the text holds a tag that the tool takes for a picture, a video or a box",
    "answer_tag": "the answer or the reasoning holds a tag of the template",
}
"""Why a sample is left out, in words."""

_MEDIA_TAGS = ("<image>", "<video>", "<audio>", "<bbox>", "<ref-object>")
_TEMPLATE_TAGS = ("<think>", "</think>", "<answer>", "</answer>")


class LeftOut(NamedTuple):
    """A sample that a format can't express."""

    reason: str
    """A key of `REASONS`."""


def convert(
    sample: Sample,
    format: Format,
    *,
    number: int,
    video: str | None = None,
    think: bool = True,
    answer_format: AnswerFormat = "letter",
    words: Words = OURS,
) -> dict[str, Any] | LeftOut:
    """The record of one sample, or why there is none.

    Args:
        sample: The question.
        format: Of the record.
        number: Index among the written records, from 0: Video-R1 numbers them.
        video: Path to write; None takes the sample's.
        think: Whether to ask for reasoning; not for formats whose tool asks by itself.
        answer_format: How to ask for the answer; likewise.
        words: Wording and layouts; likewise.

    Raises:
        DataError: an own template fails.
    """
    reason = _unfit(sample, format)
    if reason:
        return LeftOut(reason)
    path = sample.video if video is None else video
    if format == "video-r1":
        return _video_r1(sample, number, path)
    if format == "temporal-r1":
        return _temporal_r1(sample, path)
    if len(sample.options or ()) > len(LETTERS) and asked_format(sample, answer_format) != "open":
        return LeftOut("too_many_options")
    prompt = build(sample, think=think, answer_format=answer_format, words=words)
    try:
        graded = _graded(sample, think, answer_format, words)
    except DataError:  # the one thing that rendering an answer refuses
        return LeftOut("answer_tag")
    if format == "trl":
        turn = [{"type": "video", "video": path}, _part(prompt.user)]
        system = [{"role": "system", "content": [_part(prompt.system)]}] if prompt.system else []
        return {"prompt": [*system, {"role": "user", "content": turn}], **graded}
    if any(tag in prompt.user for tag in _MEDIA_TAGS):
        return LeftOut("media_tag")
    first = [{"role": "system", "content": prompt.system}] if prompt.system else []
    return {"messages": [*first, {"role": "user", "content": f"<video>{prompt.user}"}], "videos": [path], **graded}


def _unfit(sample: Sample, format: Format) -> str | None:
    """Why a format can't express a sample, judged by its fields."""
    if sample.task not in TOOLS[format].tasks:
        return f"no_{sample.task}"
    if sample.clip is not None:
        return "clip"
    if TOOLS[format].fixed and is_remote(sample.video):
        return "address"
    if format == "video-r1":
        if sample.options is None:
            return "no_options"
        if sample.answer_indices is not None:
            return "several_options"
        if len(sample.options or ()) > len(LETTERS):
            return "too_many_options"
        return "answer_tag" if any(tag in _reasoning(sample) for tag in _TEMPLATE_TAGS) else None
    return _unfit_fraction(sample) if format == "temporal-r1" else None


def _unfit_fraction(sample: Sample) -> str | None:
    """Why a span can't be given as fractions of the video."""
    spans = sample.spans or ()
    if len(spans) > 1:
        return "several_spans"
    if sample.duration is None:
        return "no_duration"
    return "past_end" if spans[0].end > sample.duration else None


def _reasoning(sample: Sample) -> str:
    said = sample.meta.get("reasoning")
    return said.strip() if isinstance(said, str) else ""


def _video_r1(sample: Sample, number: int, path: str) -> dict[str, Any]:
    assert sample.options is not None and sample.answer_index is not None  # see _unfit
    reasoning = _reasoning(sample)
    origin = sample.meta.get("data_source") if sample.source == "video_r1" else None
    return {
        "problem_id": number,
        "problem": sample.question,
        "data_type": "video",
        "problem_type": "multiple choice",
        "options": [f"{letter(index)}. {text}" for index, text in enumerate(sample.options)],
        "process": f"<think>{reasoning}</think>" if reasoning else "",
        "solution": f"<answer>{letter(sample.answer_index)}</answer>",
        "path": f"./{path}",
        "data_source": origin if isinstance(origin, str) and origin else sample.source,
    }


def _temporal_r1(sample: Sample, path: str) -> dict[str, Any]:
    assert sample.spans and sample.duration  # see _unfit_fraction
    start, end = sample.spans[0]
    # The one wording outside prompt.py: this tool's reward reads JSON, and takes the times of our template for no answer.
    shape = '<think> reasoning </think> <answer> {"start_time": "seconds", "end_time": "seconds"} </answer>'
    return {
        "dataset": "charades_train",
        "video": path,
        "problem": f"Event: {sample.question}\nGive your reasoning, then the event's start and end in seconds as JSON: {shape}",
        "solution": [start / sample.duration, end / sample.duration],
    }


def _graded(sample: Sample, think: bool, answer_format: AnswerFormat, words: Words) -> dict[str, Any]:
    """Inputs of a reward function; of several gold spans `solution` has the longest, unless it asks for all; `sample` has all.

    Raises:
        DataError: an answer that holds a tag of the template.
    """
    return {
        "solution": render_answer(sample, think=False, answer_format=answer_format, words=words),
        "task": sample.task,
        "think": think,
        "answer_format": asked_format(sample, answer_format),
        "sample": json.dumps(sample.to_json(), ensure_ascii=False),
    }


def _part(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}
