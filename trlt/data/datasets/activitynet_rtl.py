"""ActivityNet-RTL: when does it happen, if that takes reasoning? 229 questions about untrimmed videos.

Origin: Huang et al., "LITA: Language Instructed Temporal-Localization Assistant" (2024). `annot_val_1_q229.json` is a list of
`{vid (without v_), question, answer, duration, question_id}`, seconds; the gold span is inside the answer's text, as `<start>
... <end>`. Videos are ActivityNet's: `v_<vid>.{mp4,mkv,webm}`.

Splits: val (229 questions). A benchmark only.
Protocol: the paper's metrics are mIoU and R1@{0.3, 0.5, 0.7} with >=, micro over questions, gold spans not clipped. Official
(`lita/eval/eval_model_rtl.py`): the first two `<number>` of a text, clamped to the video, in order of size, are its span, of
the gold answer too; fewer than two in a prediction mean the whole video; mIoU and P@0.5 are means over videos of each video's
mean. There an empty output is the whole video as well; here it is wrong.
License: annotations are LITA's, for non-commercial research; the videos belong to their uploaders.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from trlt.data.datasets._common import Collector, Example, Files, Purpose, Reading, clean, get, holding, youtube_key
from trlt.data.datasets._facts import Facts
from trlt.data.datasets._fetch import Fetch, Remote, hub
from trlt.data.datasets._grounding import values as values
from trlt.data.datasets._metrics import Item, benchmark_entry, mean_values, official_text
from trlt.data.datasets._spans import Repair, repair_span
from trlt.task.sample import Sample, Span, Task

TITLE = "ActivityNet-RTL"
TASK: Task = "grounding"
LICENSE = "LITA: non-commercial research; ActivityNet: research use"
WHERE = "huggingface.co/datasets/deahuang/LITA-Datasets (temporal_reasoning); videos are ActivityNet's"
DOMAIN = "human activities"
FETCH = Fetch(
    files=(
        Remote(
            hub(
                "deahuang/LITA-Datasets", "a9ee31fbadef10278a9397eaf2771cafe8e344ab", "temporal_reasoning/annot_val_1_q229.json"
            ),
            85_300,
        ),
    ),
    by_hand=("videos: those of ActivityNet, in {data}/activitynet/videos; `trlt download activitynet` says how to get them",),
    videos_at="activitynet/videos",
)
TEST_SPLIT = "val"
OFFICIAL_HIGHER = "LITA's rule takes an output without times for the whole video, and its means are over videos"
FILES = {"val": ("annot_val_1_q229.json",)}

_FIRST = Sample(
    id="aB3_dE-7hIj_0",
    source="activitynet_rtl",
    split="val",
    task=TASK,
    video="v_aB3_dE-7hIj.mp4",
    video_key="youtube:aB3_dE-7hIj",
    duration=61.5,
    question="When does the kite need the most wind?",
    spans=(Span(12.25, 40.0),),
    license=LICENSE,
)
FACTS = Facts(
    questions=229,
    videos=None,
    rule=(
        "The first two times of the answer, clamped to the video; fewer than two mean the whole video; means per "
        "video, then over videos."
    ),
    published=("The paper takes plain means over the 229 questions."),
    disagreements=(("The official metrics are means over videos, the paper's over questions."),),
)

EXAMPLE = Example(
    split="val",
    purpose="bench",
    files={
        "annot_val_1_q229.json": '[{"vid": "aB3_dE-7hIj", "question": "When does the kite need the most  wind?", '
        '"answer": "<12.25> <40> It flies highest then.", "duration": 61.5, "question_id": "aB3_dE-7hIj_0"}, '
        '{"vid": "aB3_dE-7hIj", "question": "When is the crew tired?", '
        '"answer": "From <50.> to <61.8>, when all sit down.", "duration": 61.5, "question_id": 7}]'
    },
    samples=(_FIRST, replace(_FIRST, id="7", question="When is the crew tired?", spans=(Span(50.0, 61.8),))),
)

_TIME = re.compile(r"<(\d*\.\d+|\d+\.?)>")


def read(files: Files, split: str, purpose: Purpose) -> Reading:
    """Samples of a parsed `annot_val_1_q229.json`."""
    name = FILES[split][0]
    out = Collector(source="activitynet_rtl", split=split, task=TASK, license=LICENSE)
    for index, record in enumerate(holding(files, name, list, "a list of records")):
        _read(out, record, f"{name}[{index}]")
    return out.reading()


def _read(out: Collector, record: Any, where: str) -> None:
    video, query = get(record, "vid", str, where), clean(get(record, "question", str, where))
    duration = float(get(record, "duration", (int, float), where))
    raw = _marked(get(record, "answer", str, where))
    # The official rule puts the two in order, so a reversed pair isn't dropped here as elsewhere.
    repair = repair_span(min(raw), max(raw), None, clip=False) if raw else Repair(None, reason="no_span")
    if raw is None or repair.span is None or not query:
        out.drop(repair.reason or "empty_question", f"{where}: {record['answer']:.60}")
        return
    out.keep(
        flags=["sorted_span"] * (raw[0] > raw[1]),
        id=str(get(record, "question_id", (str, int), where)),
        video=f"v_{video}.mp4",
        video_key=youtube_key(f"v_{video}"),
        duration=duration,
        question=query,
        spans=(repair.span,),
    )


def _marked(text: str) -> tuple[float, float] | None:
    """The first two `<number>` of a text; None where it has fewer."""
    times = [float(time) for time in _TIME.findall(text)[:2]]
    return (times[0], times[1]) if len(times) == 2 else None


def official(item: Item) -> dict[str, float]:
    """One question's mIoU and P@0.5 (with >=) by the official rule, on the text inside the tags or the whole text.

    Our own template states a span without angle brackets (`12.0 to 20.5`). Inside the tags that is a plain answer, so it
    counts as the span; the rule for "no times" is meant for texts that state none.
    """
    duration = item.sample.duration or 0.0
    text = official_text(item)
    said = _marked(text) or item.answer.span or (0.0, duration)
    gold = (item.sample.spans or ((0.0, 0.0),))[0]
    iou = _inside(said, duration).tiou(_inside(gold, duration)) if text.strip() else 0.0
    return {"mIoU": iou, "P@0.5": float(iou >= 0.5)}


def _inside(times: Sequence[float], duration: float) -> Span:
    """Two times in order, clamped to the video."""
    return Span(*sorted(min(max(time, 0.0), duration) for time in times))


def video_weights(items: Sequence[Item]) -> list[float]:
    """Weights that turn the mean over items into the official one over videos: 1 on average.

    Not named `weights`: the paper's metrics, and so their intervals, are micro.
    """
    sizes = Counter(item.sample.video for item in items)
    return [len(items) / (len(sizes) * sizes[item.sample.video]) for item in items]


def metrics(items: Sequence[Item]) -> dict[str, Any]:
    """The paper's metrics over questions, the official ones over videos; in percent."""
    entry = benchmark_entry(items, paper=values, official=official, answered=lambda item: item.answer.span is not None)
    return entry | {"official": mean_values(items, official, video_weights(items))}
