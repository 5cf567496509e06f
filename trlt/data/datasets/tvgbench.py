"""TVGBench: when does the described event happen? 800 queries about videos of five data sets, of eleven kinds.

Origin: Wang et al., "Time-R1: Post-Training Large Vision Language Model for Temporal Video Grounding" (2025). `tvgbench.json`
is a list of `{path, question, answer, start, end, duration, source, qsemtype, ...}`: `answer` is a text such as "13.4-28.1",
seconds from `start`, the beginning of the clip in the source's video (null: the whole video). 168 queries each are TACoS's,
ActivityNet's and Ego4D's, 158 HiREST's and 138 Charades'. Videos: `<name of path>`, in one folder.

Layouts: the official loader ignores `start` and `end` and reads a file from its beginning to its end, so the files are expected
to be cut already, and that is what is done here. But 53 names stand in rows with different bounds, and one file can't be all
of those clips: a row whose file isn't as long as its `duration` gets a warning, which the results count. `meta.bounds` keeps
the bounds in the source's video.

Splits: test (800 queries over 462 videos). A benchmark only.
Protocol: mIoU and R1@{0.3, 0.5, 0.7}, micro over queries. In 11 rows the gold span is empty: they stay, nothing scores in them,
and gold answers reach 98.625. 27 gold ends exceed the duration and aren't clipped. Official (`vllm_infer.py`, `eval_all.py`):
the last two numbers of the text are the span, whatever they stand for, and recalls need more than (>) the threshold; the
paper's here need at least (>=) it. There, queries whose videos are missing leave the denominator unseen; here they are listed.
License: the annotations come with Time-R1 (Apache-2.0); videos keep the terms of their sources (Ego4D's by agreement).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

from trlt.data.datasets._common import Collector, Example, Files, Purpose, Reading, clean, get, holding, youtube_key
from trlt.data.datasets._facts import Facts
from trlt.data.datasets._fetch import Fetch, Remote, on_github
from trlt.data.datasets._grounding import RECALLS
from trlt.data.datasets._grounding import values as usual_values
from trlt.data.datasets._metrics import Item, benchmark_entry, best_iou, is_answered, official_text
from trlt.task.sample import Sample, Span, Task

TITLE = "TVGBench"
TASK: Task = "grounding"
LICENSE = "annotations Apache-2.0 (Time-R1); videos under the terms of Charades, ActivityNet, TACoS, HiREST and Ego4D"
WHERE = "github.com/xiaomi-research/time-r1 (annotation), huggingface.co/datasets/Boshenxx/TimeR1-Dataset (videos)"
DOMAIN = "daily life, sports, cooking and instructions, some seen from the wearer's eyes"
FETCH = Fetch(
    files=(
        Remote(
            on_github(
                "xiaomi-research/time-r1",
                "7f2b5944a0c35993da80634a459d5a48a3a5431e",
                "dataset/timer1/annotations/tvgbench.json",
            ),
            520_933,
            "sha256:76df764c0c856a196e2900b5366c81c83478bbd03d117e3b2f23b5b6bfbc59a2",
        ),
    ),
    by_hand=(
        "videos: hf download Boshenxx/TimeR1-Dataset --repo-type dataset --local-dir {data}/tvgbench, then unpack its archive "
        "of TVGBench's videos into {data}/tvgbench/videos; Ego4D's need its license agreement (ego4d-data.org)",
    ),
)
TEST_SPLIT = "test"
FILES = {"test": ("tvgbench.json",)}
OFFICIAL_LOWER = "the last two numbers of the output count, whatever they stand for, and recalls need more than the threshold"
FACTS = Facts(
    questions=800,
    videos=462,
    rule=(
        "The last two numbers of the output are the span; R1 counts an IoU above (>) the threshold; the script divides by the "
        "predictions that it finds. Gold answers reach 98.625, since 11 gold spans are empty."
    ),
    published=(
        "Time-R1 used 2 frames a second, at most 3,584 tokens of 28 x 28 pixels for a video, and a prompt for think and answer "
        "tags with times such as `12.54 to 17.83`."
    ),
    disagreements=(
        "The script's `avg` is the mean of mIoU and the three recalls: no recall, and not mIoU.",
        "Time-R1-7B has R1@0.3, 0.5, 0.7 of 41.8, 29.4, 16.4 and Gemini-2.5-Pro 39.1, 24.4, 12.8 (README of Time-R1).",
    ),
)

EMPTY_S = 0.001
"""Seconds of the span that stands for an empty gold span, since a sample has no empty ones; `meta.empty` marks it."""
SOURCES = {
    "Charades_sta_test": "charades",
    "anet_test": "activitynet",
    "tacos_val": "tacos",
    "hirest_formated_moment_evaluation_gt": "hirest",
    "nlq_r1_val": "ego4d",
}
"""Stem of the file in `source` -> data set that a query's video is from."""

_FIRST = Sample(
    id="0",
    source="tvgbench",
    split="test",
    task=TASK,
    video="QX7LK.mp4",
    video_key="charades:QX7LK",
    duration=31.5,
    question="a person closes an umbrella.",
    spans=(Span(3.5, 9.0),),
    license=LICENSE,
    meta={"dataset": "charades", "type": "Human Pose", "whole_file": True},
)
EXAMPLE = Example(
    split="test",
    purpose="bench",
    files={
        "tvgbench.json": '[{"path": "./videos/QX7LK.mp4", "question": "a person  closes an umbrella.", "answer": "3.5-9.0", '
        '"start": null, "end": null, "duration": 31.5, "source": "./raw/Charades_sta_test.json", "qsemtype": "Human Pose"}, '
        '{"path": "./videos/aB3_dE-7hIj.mp4", "question": "cut the bread", "answer": "10.0-30.5", "start": 5.25, "end": 65.25, '
        '"duration": 60.0, "source": "./raw/hirest_formated_moment_evaluation_gt.json", '
        '"qsemtype": "Human Action (Simple)"}]'
    },
    samples=(
        _FIRST,
        replace(
            _FIRST,
            id="1",
            video="aB3_dE-7hIj.mp4",
            video_key="youtube:aB3_dE-7hIj",
            duration=60.0,
            question="cut the bread",
            spans=(Span(10.0, 30.5),),
            meta={"dataset": "hirest", "type": "Human Action (Simple)", "whole_file": True, "bounds": [5.25, 65.25]},
        ),
    ),
)

_ANSWER = re.compile(r"\s*(\d+(?:\.\d+)?)\s*-\s*(\d+(?:\.\d+)?)\s*")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_SECONDS = (int, float)


def read(files: Files, split: str, purpose: Purpose) -> Reading:
    """Samples of a parsed `tvgbench.json`; ids are row numbers, from 0."""
    out = Collector(source="tvgbench", split=split, task=TASK, license=LICENSE)
    for row, record in enumerate(holding(files, "tvgbench.json", list, "a list of records")):
        where = f"tvgbench.json[{row}]"
        file = PurePosixPath(get(record, "path", str, where)).name
        dataset = _dataset(get(record, "source", str, where))
        duration = float(get(record, "duration", _SECONDS, where))
        answer = get(record, "answer", str, where)
        times = _ANSWER.fullmatch(answer)
        start, end = (float(times[1]), float(times[2])) if times else (1.0, 0.0)
        if end < start or dataset is None:
            out.drop("malformed" if dataset else "unknown_source", f"{where}: {answer!r} of {record['source']}")
            continue
        meta: dict[str, Any] = {"dataset": dataset, "type": get(record, "qsemtype", str, where), "whole_file": True}
        if record.get("start") is not None:
            meta["bounds"] = [float(get(record, key, _SECONDS, where)) for key in ("start", "end")]
        if empty := end == start:
            meta["empty"] = True
        out.keep(
            flags=("empty_gold",) if empty else (),
            id=str(row),
            video=file,
            video_key=_key(dataset, file),
            duration=duration,
            question=clean(get(record, "question", str, where)),
            spans=((start, end + EMPTY_S if empty else end),),
            meta=meta,
        )
    return out.reading()


def values(item: Item) -> dict[str, float]:
    """The metrics of one query, from the tags; 0 where the gold span is empty."""
    found = usual_values(item)
    return dict.fromkeys(found, 0.0) if item.sample.meta.get("empty") else found


def official(item: Item) -> dict[str, float]:
    """The same, from the last two numbers of the text, and with > for the recalls."""
    numbers = [float(number) for number in _NUMBER.findall(official_text(item))[-2:]]
    iou = 0.0
    if len(numbers) == 2 and not item.sample.meta.get("empty"):
        iou = best_iou(Span(*numbers), item.sample.spans or ())
    return {"mIoU": iou, **{f"R1@{k}": float(iou > k) for k in RECALLS}}


def metrics(items: Sequence[Item]) -> dict[str, Any]:
    """The benchmark's part of `results.json`, in percent."""
    by = {key: lambda sample, key=key: sample.meta[key] for key in ("dataset", "type")}
    return benchmark_entry(items, paper=values, official=official, answered=is_answered, by=by)


def _dataset(source: str) -> str | None:
    return SOURCES.get(PurePosixPath(source).stem)


def _key(dataset: str, file: str) -> str:
    """The footage, spelled as in the data sets that it is from."""
    stem = PurePosixPath(file).stem
    return youtube_key(stem) if dataset in ("activitynet", "hirest") else f"{dataset}:{stem}"
