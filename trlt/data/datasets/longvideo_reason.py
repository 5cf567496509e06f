"""LongVideo-Reason: questions that need reasoning over long videos, with a model's reasoning.

Origin: Chen et al., "Scaling RL to Long Videos" (2025). `train.jsonl` has a line per question, `{"problem_id", "data_type":
"video", "videos": "<name>.mp4", "problem", "problem_type", "reasoning", "answer": "<answer>B</answer>"}`; the options stand in
the problem's text, a line each. `openended.jsonl` has the same fields, without options.

Splits: train and openended (52,000 pairs in all by the project's page; not counted here). A training source only: the test
questions, whose videos are others, are an evaluation set and aren't read. A question without options whose answer is a
letter is dropped (`no_options`). Videos: `longvila_videos/<name>`, or as the annotation has them. `reasoning` becomes
`meta.reasoning`, which `train.sft.targets` can use. License: not stated where the questions are; videos their uploaders'.
"""

from __future__ import annotations

import re
from typing import Any

from trlt.data.datasets._common import Collector, Example, Files, Purpose, Reading, clean, get
from trlt.data.datasets._fetch import Fetch
from trlt.data.datasets._footage import footage_key, inside
from trlt.data.datasets._options import bare, choose, fault, flags, split_options
from trlt.data.datasets._pool import expect, reasoning, stated
from trlt.errors import DataError
from trlt.task.sample import Sample, Task

TITLE = "LongVideo-Reason"
TASK: Task = "multi_choice"
LICENSE = "see its page; videos under their uploaders' terms"
WHERE = "huggingface.co/datasets/LongVideo-Reason/longvideo-reason; its videos are apart, in the same organization"
DOMAIN = "long videos of all kinds"
FETCH = Fetch(
    by_hand=(
        "annotation: hf download LongVideo-Reason/longvideo-reason --repo-type dataset --local-dir {data}/longvideo_reason",
        "videos: those of the same organization, unpacked into {data}/longvideo_reason/videos/longvila_videos",
    )
)
PAPER_COUNT = None
TRAIN_SPLIT = "train"
FILES = {"train": ("train.jsonl",), "openended": ("openended.jsonl",)}

EXAMPLE = Example(
    split="train",
    purpose="train",
    files={
        "train.jsonl": '{"problem_id": 7, "data_type": "video", "videos": "aB3_dE-7hIj.mp4", "problem": "Why does the guide  '
        'stop?\\nA. To rest\\nB. To read a map\\nC. To sing", "problem_type": "general", "reasoning": "<think>A map is '
        'unfolded.</think>", "answer": "<answer>B</answer>"}\n'
    },
    samples=(
        Sample(
            id="longvideo_reason:train:0",
            source="longvideo_reason",
            split="train",
            task=TASK,
            video="longvila_videos/aB3_dE-7hIj.mp4",
            video_key="youtube:aB3_dE-7hIj",
            question="Why does the guide stop?",
            options=("To rest", "To read a map", "To sing"),
            answer="To read a map",
            answer_index=1,
            license=LICENSE,
            meta={"reasoning": "A map is unfolded."},
        ),
    ),
)

_LETTER = re.compile(r"\(?[A-Za-z][.):]?")


def read(files: Files, split: str, purpose: Purpose) -> Reading:
    """Samples of a parsed file; ids are line numbers, from 0."""
    name = FILES[split][0]
    expect(files[name], name, [frozenset({"problem", "answer", "videos"})], "NVlabs/Long-RL (longvideo-reason)")
    out = Collector(source="longvideo_reason", split=split, task=TASK, license=LICENSE)
    for row, record in enumerate(files[name]):
        where = f"{name}[{row}]"
        try:
            _read(out, record, f"longvideo_reason:{split}:{row}", where)
        except DataError as error:
            out.drop("malformed", str(error))
    return out.reading()


def _read(out: Collector, record: Any, id_: str, where: str) -> None:
    """Makes a sample of a line, or counts it as dropped.

    Raises:
        DataError: a field is missing or of another type.
    """
    problem, said = get(record, "problem", str, where), stated(get(record, "answer", str, where))
    videos = get(record, "videos", (str, list), where)
    if isinstance(videos, list):
        if len(videos) != 1 or not isinstance(videos[0], str):
            raise DataError(f"{where}: videos: expected one file, got {videos!r:.60}")
        videos = videos[0]
    video = inside(videos)
    if not video:
        raise DataError(f"{where}: videos: {videos!r} names no file")
    if record.get("data_type", "video") != "video":
        out.drop("not_a_video", f"{where}: {record['data_type']}")
        return
    question, options = _asked(problem, record.get("options"))
    text, kept = reasoning(record.get("reasoning"))
    shared: dict[str, Any] = {
        "id": id_,
        "video": video if "/" in video else f"longvila_videos/{video}",
        "video_key": footage_key(video, "longvila_videos", "longvideo_reason"),
        "question": question,
        "meta": {"reasoning": text} if text else {},
    }
    if not options:
        reason = "empty_question" if not question else "empty_answer" if not said else None
        if reason or _LETTER.fullmatch(said):
            out.drop(reason or "no_options", f"{where}: {said:.40}: {problem:.60}")
            return
        out.keep(flags=kept, answer=clean(said), **shared)
        return
    chosen = choose(said, options)
    place = chosen.place
    bad = "empty_question" if not question else chosen.reason if place is None else fault(options, place, bench=False)
    if bad or place is None:
        out.drop(bad or "answer_not_an_option", f"{where}: {said:.40}: {problem:.60}")
        return
    out.keep(flags=(*kept, *flags(options)), options=options, answer=options[place], answer_index=place, **shared)


def _asked(problem: str, listed: Any) -> tuple[str, tuple[str, ...]]:
    """The question and its options, which are listed, or stand in its text."""
    if isinstance(listed, list) and listed and all(isinstance(option, str) for option in listed):
        return clean(problem), tuple(bare(clean(option), place) for place, option in enumerate(listed))
    found = split_options(problem)
    return found.question, found.options
