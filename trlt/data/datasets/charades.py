"""Charades-STA: when does the described event happen? Indoor videos of everyday acts, about 30 s each.

Origin: Gao et al., "TALL: Temporal Activity Localization via Language Query" (2017), sentences and times over Charades
(Sigurdsson et al., 2016). Lines of `charades_sta_<split>.txt` are `VID start end##sentence`, seconds with one decimal;
lengths are in the column `length` of `Charades_v1_<split>.csv`. Videos: `Charades_v1_480/<VID>.mp4`.

Splits: train (12,408 lines, the paper's count) and test (3,720 lines over 1,334 videos).
Training: ends past the length are clamped and flagged, reversed spans dropped.
Protocol: mIoU and R1@{0.3, 0.5, 0.7} with >=, micro over queries. 562 gold ends of the test set exceed the video's length and
aren't clipped. License: Charades is for non-commercial use (Allen Institute for AI).
"""

from __future__ import annotations

import math
import re
from dataclasses import replace

from trlt.data.datasets._common import Collector, Example, Files, Purpose, Reading, clean, columns
from trlt.data.datasets._facts import Facts
from trlt.data.datasets._fetch import Fetch, Remote, on_github
from trlt.data.datasets._grounding import metrics as metrics
from trlt.data.datasets._grounding import official as official
from trlt.data.datasets._grounding import values as values
from trlt.data.datasets._spans import repair_span
from trlt.errors import DataError
from trlt.task.sample import Sample, Span, Task

TITLE = "Charades-STA"
TASK: Task = "grounding"
LICENSE = "Charades: non-commercial use"
WHERE = "github.com/jiyanggao/TALL (sentences and times), prior.allenai.org/projects/charades (csv files and videos)"
DOMAIN = "daily life indoors"
_TAN = ("microsoft/VideoX", "1744b2159c3d11694f94dab4fcde8660c685e79a")
_AT = "2D-TAN/data/Charades-STA"
FETCH = Fetch(
    files=(
        # The authors' files lie on a drive; this is a copy of them in a repository.
        Remote(
            on_github(*_TAN, f"{_AT}/charades_sta_train.txt"),
            622_491,
            "sha256:47ec9b6b488fca753373d9cc29b07a959f7237a922cb29463cd088cd6198e805",
        ),
        Remote(
            on_github(*_TAN, f"{_AT}/charades_sta_test.txt"),
            186_686,
            "sha256:fab341679c20b0917173dcffffde367a71113fe63f3a645558cef2ebfbfefb55",
        ),
        Remote(
            on_github(*_TAN, f"{_AT}/Charades_v1_train.csv"),
            3_622_045,
            "sha256:59273c6dc2139ec7eb95b980fd26bc8529774b1ede0602f6ca90b546ed12f0fc",
        ),
        Remote(
            on_github(*_TAN, f"{_AT}/Charades_v1_test.csv"),
            1_173_833,
            "sha256:8b8b207b55fb95b949018027f69d83bd46cd844d15834f8f592ee8e7446173eb",
        ),
    ),
    videos=(
        Remote(
            "https://ai2-public-datasets.s3-us-west-2.amazonaws.com/charades/Charades_v1_480.zip",
            14_000_000_000,
            to="videos",
            unpack=True,
        ),
    ),
)
PAPER_COUNT = 12_408
TRAIN_SPLIT = "train"
TEST_SPLIT = "test"
FILES = {
    "train": ("charades_sta_train.txt", "Charades_v1_train.csv"),
    "test": ("charades_sta_test.txt", "Charades_v1_test.csv"),
}
OPTIONAL = ("Charades_v1_test.csv",)
"""The metric needs no lengths; clamping the training spans does."""

_FIRST = Sample(
    id="QX7LK:0",
    source="charades",
    split="test",
    task=TASK,
    video="QX7LK.mp4",
    video_key="charades:QX7LK",
    duration=31.5,
    question="person #1 closes a red umbrella.",
    spans=(Span(3.5, 9.0),),
    license=LICENSE,
)
FACTS = Facts(
    questions=3_720,
    videos=1_334,
    rule=(
        "Of one predicted span the IoU with the gold one: its mean, and the shares of at least 0.3, 0.5 and 0.7, "
        "over all queries."
    ),
    published=(
        "The paper's prompt and 2,048 tokens a video; lmms-eval takes 32 frames and 50 new tokens, and Qwen's "
        "frames and prompt aren't published."
    ),
    disagreements=(
        ("Qwen2.5-VL-7B has mIoU 43.6 by Qwen's card, 52.9 in VideoAuto-R1's README and 29.5 by one harness."),
        ("Qwen3-VL-8B has 56.0 by Qwen's report and 44.6 in VideoAuto-R1's README."),
        ("562 gold ends pass the video's end; they are kept."),
    ),
)

EXAMPLE = Example(
    split="test",
    purpose="bench",
    files={
        "charades_sta_test.txt": "QX7LK 3.5 9.0##person #1 closes a red umbrella.\nQX7LK 28.0 32.5##the person leaves.\n",
        "Charades_v1_test.csv": 'id,subject,script,length\nQX7LK,S001,"A person closes an umbrella, then leaves.",31.5\n',
    },
    samples=(_FIRST, replace(_FIRST, id="QX7LK:1", question="the person leaves.", spans=(Span(28.0, 32.5),))),
)

# Sentences may hold a `#` of their own ("person #1"), so the first `##` is the border.
_LINE = re.compile(r"(\S+)\s+(-?[\d.]+)\s+(-?[\d.]+)\s*##(.*)")


def read(files: Files, split: str, purpose: Purpose) -> Reading:
    """Samples of a parsed `charades_sta_<split>.txt` and, if present, `Charades_v1_<split>.csv`."""
    sentences, lengths = FILES[split]
    durations = _durations(files, lengths) if lengths in files else {}
    out = Collector(source="charades", split=split, task=TASK, license=LICENSE)
    for number, line in enumerate(files[sentences]):
        if not line.strip():
            continue
        where = f"{sentences}:{number + 1}: {line.strip()}"
        match = _LINE.fullmatch(line.strip())
        times = _times(match) if match else None
        if match is None or times is None:
            out.drop("malformed", where)
            continue
        video, query = match[1], clean(match[4])
        duration = durations.get(video)
        repair = repair_span(*times, duration, clip=purpose == "train")
        if repair.span is None or not query:
            out.drop(repair.reason or "empty_question", where)
            continue
        out.keep(
            flags=repair.flags if duration or purpose == "bench" else (*repair.flags, "no_duration"),
            id=f"{video}:{number}" if purpose == "bench" else f"charades:{split}:{video}:{number}",
            video=f"{video}.mp4",
            video_key=f"charades:{video}",
            duration=duration,
            question=query,
            spans=(repair.span,),
            meta={"raw_spans": [list(times)]} if tuple(repair.span) != times else {},
        )
    return out.reading("" if lengths in files else f"{lengths} isn't there: durations come from the videos")


def _times(match: re.Match[str]) -> tuple[float, float] | None:
    try:
        return float(match[2]), float(match[3])
    except ValueError:
        return None


def _durations(files: Files, name: str) -> dict[str, float]:
    out: dict[str, float] = {}
    for row in columns(files, name, ("id", "length")):
        try:
            seconds = float(row["length"])
        except ValueError:
            seconds = math.nan
        if not 0 < seconds < math.inf:
            raise DataError(f"{name}: id {row['id']}: length: {row['length']!r} is no number of seconds; download it again")
        out[row["id"]] = seconds
    return out
