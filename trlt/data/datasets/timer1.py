"""Time-R1's training data: when does the described event happen? 2,500 queries that its authors chose by difficulty.

Origin: Wang et al., "Time-R1: Post-Training Large Vision Language Model for Temporal Video Grounding" (2025). `train_2k5.json`
is a list of `{"video", "duration", "timestamp": [s, e], "sentence", "qid": "my|<data set>|<video>|<sentence>", "video_start",
"video_end", "difficulty", "pred"}`; 801 rows are CosMo-Cap's, 764 YT-Temporal's, 571 InternVid-VTime's, 237 DiDeMo's, 94
HowTo100M's and 33 QuerYD's.

Splits: train. A training source only. Times count from `video_start`, where the clip begins in its video (665 rows): 509 names
hold the bounds, so those files should be cut already, and a file's length decides (`meta.maybe_cut`).
Span: 48 ends are past the duration, as far as hours: by up to 1.5 s they are clamped, else the row is dropped (`overshoot`,
`starts_past_end`). Videos: `<name>`, in one folder. License: Apache-2.0; videos under their uploaders' terms.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

from trlt.data.datasets._common import Collector, Example, Files, Purpose, Reading, amount, clean, get, holding, pair
from trlt.data.datasets._fetch import Fetch, Remote, on_github
from trlt.data.datasets._footage import footage_key
from trlt.data.datasets._pool import expect
from trlt.data.datasets._spans import repair_span
from trlt.errors import DataError
from trlt.task.sample import Sample, Span, Task

TITLE = "Time-R1's training data"
TASK: Task = "grounding"
LICENSE = "Apache-2.0; videos under their uploaders' terms"
WHERE = "github.com/xiaomi-research/time-r1 (annotation), huggingface.co/datasets/Boshenxx/TimeR1-Dataset (videos)"
DOMAIN = "videos of all kinds"
FETCH = Fetch(
    files=(
        Remote(
            on_github(
                "xiaomi-research/time-r1",
                "7f2b5944a0c35993da80634a459d5a48a3a5431e",
                "dataset/timer1/annotations/train_2k5.json",
            ),
            1_503_851,
            "sha256:588dbb9171b05faf2c811d4951e78caac0bffc427f8a5ca0e37286f8d309a93c",
        ),
    ),
    by_hand=(
        "videos: hf download Boshenxx/TimeR1-Dataset --repo-type dataset --local-dir {data}/timer1, then unpack its archive of "
        "timerft_data into {data}/timer1/videos",
    ),
)
PAPER_COUNT = None
TRAIN_SPLIT = "train"
NAME = "train_2k5.json"
FILES = {"train": (NAME,)}

EXAMPLE = Example(
    split="train",
    purpose="train",
    files={
        NAME: '[{"video": "./data/aB3_dE-7hIj_00:00:39:000_00:01:24:700.mp4", "duration": 45.7, "timestamp": [34.5, 46.0], '
        '"sentence": "a boat  leaves", "qid": "my|internvid-vtime|aB3_dE-7hIj|a boat leaves", "video_start": 39.0, '
        '"video_end": 84.7, "difficulty": 41.5, "pred": [30.0, 44.0]}]'
    },
    samples=(
        Sample(
            id="timer1:train:0",
            source="timer1",
            split="train",
            task=TASK,
            video="aB3_dE-7hIj_00:00:39:000_00:01:24:700.mp4",
            video_key="youtube:aB3_dE-7hIj",
            clip=Span(39.0, 84.7),
            duration=45.7,
            question="a boat leaves",
            spans=(Span(34.5, 45.7),),
            license=LICENSE,
            meta={"origin": "internvid-vtime", "difficulty": 41.5, "maybe_cut": True, "flags": ["clamped_end"]},
        ),
    ),
)


def read(files: Files, split: str, purpose: Purpose) -> Reading:
    """Samples of a parsed `train_2k5.json`; ids are row numbers, from 0."""
    records = holding(files, NAME, list, "a list of records")
    expect(records, NAME, [frozenset({"video", "duration", "timestamp", "sentence"})], "xiaomi-research/time-r1")
    out = Collector(source="timer1", split=split, license=LICENSE)
    for row, record in enumerate(records):
        try:
            keep_row(out, record, f"timer1:{split}:{row}", f"{NAME}[{row}]")
        except DataError as error:
            out.drop("malformed", str(error))
    return out.reading()


def keep_row(
    out: Collector, record: Any, id_: str, where: str, *, folder: str = "", meta: dict[str, Any] | None = None
) -> None:
    """Makes a sample of a row in Time-R1's form, or counts it as dropped.

    Args:
        out: Collects the samples.
        record: The row.
        id_: The sample's id.
        where: The row's place, for messages.
        folder: Of the videos, below the video root, with a slash at its end; or empty.
        meta: More for the sample's `meta`.

    Raises:
        DataError: a field is missing or of another type.
    """
    file = PurePosixPath(get(record, "video", str, where)).name
    query, length = clean(get(record, "sentence", str, where)), float(get(record, "duration", (int, float), where))
    times = pair(get(record, "timestamp", list, where), f"{where}: timestamp")
    begin, end = (amount(record.get(key)) for key in ("video_start", "video_end"))
    repair = repair_span(*times, length, clip=True)
    if repair.span is None or not query or not file:
        reason = repair.reason or ("empty_question" if not query else "no_video")
        out.drop(reason, f"{where}: {file}: {list(times)} of {length:g} s")
        return
    parts = str(record.get("qid") or "").split("|")
    origin = parts[1] if len(parts) > 3 else ""
    about = {"origin": origin, "difficulty": amount(record.get("difficulty"))}
    clip = Span(begin, end) if begin is not None and end is not None else None
    out.keep(
        flags=repair.flags,
        task=TASK,
        id=id_,
        video=f"{folder}{file}",
        video_key=footage_key(file, origin, "timer1"),
        clip=clip,
        duration=length,
        question=query,
        spans=(repair.span,),
        meta={key: value for key, value in about.items() if value not in (None, "")}
        | ({"maybe_cut": True} if clip else {})
        | (meta or {}),
    )
