"""Video-R1: questions of many kinds about videos and images; only multiple choice about videos is read.

Origin: Feng et al., "Video-R1: Reinforcing Video Reasoning in MLLMs" (2025). Both files are lists of `{"problem_id", "problem",
"data_type": "video" or "image", "problem_type": "multiple choice", "numerical", "OCR", "free-form" or "regression", "options":
["A. text", ...], "process": "<think>...</think>", "solution": "<answer>B</answer>", "path": "./<folder>/...", "data_source"}`.

Splits: train (`Video-R1-260k.json`, 263,071 records, 116,248 of them about videos) and cot (`Video-R1-COT-165k.json`, 165,575
records that overlap with it, with a model's reasoning in `process`). A training source only; the paper doesn't use it.
Options are listed as `A. text` or `A) text`. What is inside `<think>` becomes `meta.reasoning`, which `train.sft.targets` can
use; reasoning that contains another tag of the template isn't kept (`reasoning_with_tags`). `trlt export` writes this format
under any name. Videos: five folders, taken from other data sets. `video_key` names their origin by the folders and
`data_source`, so that those of benchmarks are found: LLaVA-Video-178K has parts of YouTube, ActivityNet, Charades, NExT-QA and
YouCook2, and STAR's videos are Charades'. License: Apache-2.0 by its page; the questions and videos belong to the data sets
they were taken from.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Any

from trlt.data.datasets._common import Collector, Example, Files, Purpose, Reading, clean, get
from trlt.data.datasets._fetch import Fetch, Remote, hub
from trlt.data.datasets._footage import footage_key
from trlt.data.datasets._options import Chosen, bare, choose, fault, flags, split_options
from trlt.errors import DataError
from trlt.task.answer import LETTERS
from trlt.task.sample import Sample, Task

TITLE = "Video-R1"
TASK: Task = "multi_choice"
LICENSE = "Apache-2.0 by its page; questions and videos under the terms of their own data sets"
WHERE = "huggingface.co/datasets/Video-R1/Video-R1-data; unzip the archives of a folder in that folder"
DOMAIN = "videos of all kinds"
FETCH = Fetch(
    files=(
        Remote(hub("Video-R1/Video-R1-data", "main", "Video-R1-260k.json"), 176_000_000),
        Remote(hub("Video-R1/Video-R1-data", "main", "Video-R1-COT-165k.json"), 267_000_000),
    ),
    by_hand=(
        "videos: hf download Video-R1/Video-R1-data --repo-type dataset --include '*.zip' --local-dir {data}/video_r1/videos "
        "(309 GB with its images), then unzip each archive in its folder",
    ),
)
PAPER_COUNT = None
TRAIN_SPLIT = "train"
FILES = {"train": ("Video-R1-260k.json",), "cot": ("Video-R1-COT-165k.json",)}
STREAMED = ("Video-R1-260k.json", "Video-R1-COT-165k.json")

EXAMPLE = Example(
    split="cot",
    purpose="train",
    files={
        "Video-R1-COT-165k.json": '[{"problem_id": 90001, "problem": "What does the cook do after the oven is opened?", '
        '"data_type": "video", "problem_type": "multiple choice", "options": ["A. Sings", "B. Takes out a pie", "C. Leaves"], '
        '"process": "<think>The door opens, then a pie is lifted out.</think>", "solution": "<answer>B</answer>", '
        '"path": "./LLaVA-Video-178K/liwei_youtube_videos/videos/youtube_video_2024/ytb_aB3_dE-7hIj.mp4", '
        '"data_source": "LLaVA-Video-178K/30_60_s_youtube_v0_1"}]'
    },
    samples=(
        Sample(
            id="video_r1:cot:90001",
            source="video_r1",
            split="cot",
            task=TASK,
            video="LLaVA-Video-178K/liwei_youtube_videos/videos/youtube_video_2024/ytb_aB3_dE-7hIj.mp4",
            video_key="youtube:aB3_dE-7hIj",
            question="What does the cook do after the oven is opened?",
            options=("Sings", "Takes out a pie", "Leaves"),
            answer="Takes out a pie",
            answer_index=1,
            license=LICENSE,
            meta={
                "data_source": "LLaVA-Video-178K/30_60_s_youtube_v0_1",
                "reasoning": "The door opens, then a pie is lifted out.",
            },
        ),
    ),
)

_ANSWER = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)
_THINK = re.compile(r"<think>(.*)</think>", re.DOTALL)
_TAG = re.compile(r"</?(?:think|observe|answer)>")


def read(files: Files, split: str, purpose: Purpose) -> Reading:
    """Samples of the records of one file that are multiple choice about a video."""
    name = FILES[split][0]
    out = Collector(source="video_r1", split=split, task=TASK, license=LICENSE)
    for index, record in enumerate(files[name]):
        where = f"{name}[{index}]"
        try:
            _read(out, record, split, where)
        except DataError as error:
            out.drop("malformed", str(error))
    return out.reading("only multiple choice about videos is read" if out.dropped else "")


def _read(out: Collector, record: Any, split: str, where: str) -> None:
    """Makes a sample of a record, or counts it as dropped.

    Raises:
        DataError: a field is missing or of another type.
    """
    kind, form = get(record, "data_type", str, where), get(record, "problem_type", str, where)
    if kind != "video":
        out.drop("image" if kind == "image" else "unknown_data_type", f"{where}: {kind}")
        return
    if form != "multiple choice":
        out.drop("not_multi_choice", f"{where}: {form}")
        return
    number = get(record, "problem_id", (int, str), where)
    question, options = _asked(record, where)
    said = get(record, "solution", str, where)
    found = _ANSWER.search(said)
    chosen = choose(found[1] if found else said, options)
    reason = _fault(question, options, chosen)
    if reason or chosen.place is None:
        out.drop(reason or "answer_not_an_option", f"{where}: problem_id {number}: {said:.60}")
        return
    video = PurePosixPath(get(record, "path", str, where))  # without the leading ./
    if not video.name:
        raise DataError(f"{where}: path: expected a file, got {record['path']!r}")
    reasoning, kept = _reasoning(record)
    meta = {"data_source": str(record.get("data_source") or ""), "reasoning": reasoning}
    out.keep(
        flags=(*kept, *flags(options)),
        id=f"video_r1:{split}:{number}",
        video=video.as_posix(),
        video_key=footage_key(video.as_posix(), meta["data_source"], "video_r1"),
        question=question,
        options=options,
        answer=options[chosen.place],
        answer_index=chosen.place,
        meta={key: value for key, value in meta.items() if value},
    )


def _fault(question: str, options: tuple[str, ...], chosen: Chosen) -> str | None:
    """Why a question can't be used, or None."""
    if not question:
        return "empty_question"
    if not options:
        return "no_options"
    if chosen.place is None:
        return chosen.reason if all(options) else "empty_option"
    return fault(options, chosen.place, bench=False)


def _asked(record: Any, where: str) -> tuple[str, tuple[str, ...]]:
    """The question and its options; if the list is empty, they are looked for in the question's text."""
    problem, listed = get(record, "problem", str, where), get(record, "options", list, where)
    if not listed:
        return split_options(problem)
    if not all(isinstance(option, str) for option in listed):
        raise DataError(f"{where}: options: expected a list of texts, got {listed!r:.60}")
    if len(listed) > len(LETTERS):
        raise DataError(f"{where}: options: {len(listed)} are more than the letters")
    return clean(problem), tuple(bare(clean(option), index) for index, option in enumerate(listed))


def _reasoning(record: Any) -> tuple[str, tuple[str, ...]]:
    """The content of `<think>`, and a flag if it can't be a target."""
    process = record.get("process")
    found = _THINK.search(process) if isinstance(process, str) else None
    text = found[1].strip() if found else process.strip() if isinstance(process, str) else ""
    return ("", ("reasoning_with_tags",)) if _TAG.search(text) else (text, ())
