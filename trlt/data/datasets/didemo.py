"""DiDeMo: when does the described event happen? Personal videos from Flickr, annotated in steps of five seconds.

Origin: Hendricks et al., "Localizing Moments in Video with Natural Language" (2017). `<split>_data.json` is a list of
`{"num_segments", "description", "times": [[a, b], ...], "video", "annotation_id"}`; four annotators (sometimes five to seven)
each choose a first and a last step, counted from 0. Only the first 30 s of a video were shown to them.

Splits: train (33,005 records; the paper counts 33,002), val (4,180), test. A training source only.
Span: the pair that most annotators chose; ties go to the earliest, then the shortest; 5a to 5(b + 1) seconds, and the end is
clamped to the video's length once that is known. All choices stay in `meta.times`. Videos: `<user>_<flickr id>_<hash>.<ext>`;
extensions vary, are missing, or differ between records of one video; a name may end in a bare dot, which is taken off. License:
annotations BSD-2-Clause; each video has its uploader's license, many of them non-commercial or no-derivatives.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

from trlt.data.datasets._common import Collector, Example, Files, Purpose, Reading, clean, didemo_key, get, holding, pair
from trlt.data.datasets._fetch import Fetch, Remote, on_github
from trlt.task.sample import Sample, Span, Task

TITLE = "DiDeMo"
TASK: Task = "grounding"
LICENSE = "annotations BSD-2-Clause; videos under their uploaders' licenses, many NC or ND"
WHERE = "github.com/LisaAnne/LocalizingMoments; videos from Flickr"
DOMAIN = "personal videos"
_MOMENTS = ("LisaAnne/LocalizingMoments", "b6a555c8134581305d0ed4716fbc192860e0b88c")
FETCH = Fetch(
    files=(
        Remote(on_github(*_MOMENTS, "data/train_data.json"), None, "git:ce7c7cb68c776bfcdc790bd7b1bbbbdd4278a7df"),
        Remote(
            on_github(*_MOMENTS, "data/val_data.json"),
            1_111_448,
            "sha256:b0364cc256553332feb19d46bcc4cd2b09774949fe6c0b25e7ed0ff3c6aefebb",
        ),
        Remote(
            on_github(*_MOMENTS, "data/test_data.json"),
            1_068_934,
            "sha256:1891c04ec48b3d364c739594b2b6413806b74bd9027c092d896e7ebb930ff1cd",
        ),
    ),
    by_hand=(
        "videos: under their uploaders' licenses; github.com/LisaAnne/LocalizingMoments (Getting the Videos) has a script that "
        "takes them from a public bucket, and a drive; put them into {data}/didemo/videos under the names in the annotation",
    ),
)
PAPER_COUNT = 33_002
TRAIN_SPLIT = "train"
TEST_SPLIT = "test"
FILES = {"train": ("train_data.json",), "val": ("val_data.json",), "test": ("test_data.json",)}
STEP_S = 5.0
ANNOTATED_S = 30.0

EXAMPLE = Example(
    split="train",
    purpose="train",
    files={
        "train_data.json": '[{"num_segments": 6, "description": "a dog  jumps over the hedge", "times": '
        '[[2, 3], [1, 3], [1, 3], [2, 3]], "video": "70123456@N05_4815162342_0a1b2c3d4e.mov", "annotation_id": 90001}]'
    },
    samples=(
        Sample(
            id="didemo:train:90001",
            source="didemo",
            split="train",
            task=TASK,
            video="70123456@N05_4815162342_0a1b2c3d4e.mov",
            video_key="flickr:4815162342",
            question="a dog jumps over the hedge",
            spans=(Span(5.0, 20.0),),
            license=LICENSE,
            meta={
                "times": [[2, 3], [1, 3], [1, 3], [2, 3]],
                "agree": 2,
                "annotated_s": ANNOTATED_S,
                "chunk_s": STEP_S,
            },
        ),
    ),
)


def read(files: Files, split: str, purpose: Purpose) -> Reading:
    """Samples of a parsed `<split>_data.json`."""
    name = FILES[split][0]
    out = Collector(source="didemo", split=split, task=TASK, license=LICENSE)
    for index, record in enumerate(holding(files, name, list, "a list of records")):
        where = f"{name}[{index}]"
        video, query = get(record, "video", str, where).rstrip("."), clean(get(record, "description", str, where))
        times, key = get(record, "times", list, where), get(record, "annotation_id", (int, str), where)
        chosen = choose([_steps(raw, f"{where}: times") for raw in times])
        if chosen is None or not query:
            out.drop(
                "empty_question" if chosen else "reversed" if times else "no_span",
                f"{where}: annotation_id {key}: {times} {query}",
            )
            continue
        (first, last), agree = chosen
        meta: dict[str, Any] = {"times": times, "agree": agree, "annotated_s": ANNOTATED_S, "chunk_s": STEP_S}
        out.keep(
            flags=("no_agreement",) if agree < 2 else (),
            id=f"didemo:{split}:{key}",
            video=video,
            video_key=didemo_key(video),
            question=query,
            spans=(Span(STEP_S * first, STEP_S * (last + 1)),),
            meta=meta,
        )
    return out.reading()


def choose(times: list[tuple[int, int]]) -> tuple[tuple[int, int], int] | None:
    """The pair of steps that most annotators chose, and how many did; None if no pair is usable."""
    counts = Counter(pair for pair in times if 0 <= pair[0] <= pair[1])
    if not counts:
        return None
    best = min(counts, key=lambda pair: (-counts[pair], pair[0], pair[1]))
    return best, counts[best]


def _steps(raw: Any, where: str) -> tuple[int, int]:
    first, last = pair(raw, where)
    return (int(first), int(last)) if math.isfinite(first + last) else (-1, -1)
