"""QVHighlights, moment retrieval: all times at which the described event happens, in clips of YouTube of up to 150 s.

Origin: Lei et al., "QVHighlights: Detecting Moments and Highlights in Videos via Natural Language Queries" (2021). A line of
`highlight_<split>_release.jsonl` is `{qid, query, duration, vid, relevant_windows: [[start, end], ...], relevant_clip_ids,
saliency_scores}`, seconds. Videos: `<vid>.mp4`, where `vid` is `<youtube id>_<start>_<end>`.

Splits: val (1,550 queries over 1,519 videos; the default, which most papers quote), test (1,542 over 1,529, from
`highlight_test_with_gt.jsonl`, which the authors released when their server closed) and train (7,218 over 7,100).
Training: a query has all of its windows and asks for all of them (`several`): the target of the supervised baseline lists them,
and the reward is of the first window of an answer. Windows are repaired as those of other sets are.
Protocol: of the windows in the tags, R1@{0.5, 0.7} with >= of the first and the gold window that it overlaps most, and mAP over
the IoUs 0.5, 0.55 ... 0.95, mAP@0.5 and mAP@0.75 of the first ten, ranked by their order; micro over queries. `by.length` has
the same with the gold windows up to 10 s (short), up to 30 s (middle) and above (long) alone, as the official script has it:
right windows of another length count as false there. mIoU of the first window stands in `secondary`. One window at most can
reach a mAP of 78.86, and perfect answers reach 99.76, as 13 queries have more than ten windows. Official
(`standalone_eval/eval.py`): the same, but ranked by scores where predictions come with them; it stops at a query without a
window, which is wrong here. Saliency isn't asked for.
License: annotations CC BY-NC-SA 4.0; the videos belong to their uploaders.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

from trlt.data.datasets._common import Collector, Example, Files, Purpose, Reading, clean, get, holding, pair, youtube_key
from trlt.data.datasets._facts import Facts
from trlt.data.datasets._fetch import Fetch, Remote, on_github
from trlt.data.datasets._metrics import Item, benchmark_entry, best_iou, find_spans, is_answered, mean_values, official_text
from trlt.data.datasets._spans import repair_spans
from trlt.data.datasets._windows import window_values
from trlt.errors import DataError, shown
from trlt.task.answer import BETWEEN
from trlt.task.sample import Sample, Span, Task

TITLE = "QVHighlights"
TASK: Task = "grounding"
LICENSE = "annotations CC BY-NC-SA 4.0; videos belong to their uploaders"
WHERE = "github.com/jayleicn/moment_detr (data)"
DOMAIN = "vlogs and news"
_DETR = ("jayleicn/moment_detr", "b7e553ac3b0c898ee6b85e03ee507c064eab89ca")
FETCH = Fetch(
    files=(
        Remote(
            on_github(*_DETR, "data/highlight_train_release.jsonl"),
            3_956_580,
            "sha256:fd28404187468f57cf99242be2963127dc9b4aef26c7de3cb9469569801f2625",
        ),
        Remote(
            on_github(*_DETR, "data/highlight_val_release.jsonl"),
            821_101,
            "sha256:f668a1eaea156ec5315e14718999cea043a8cf948d3cafbd8e8d655318c3cd02",
        ),
        Remote(
            on_github(*_DETR, "data/highlight_test_with_gt.jsonl"),
            824_658,
            "sha256:bd50ec6bb5dd3f72571126ba5fdc7418efdd9219a9487984e483a02e2ce5d493",
        ),
    ),
    by_hand=(
        "videos: https://nlp.cs.unc.edu/data/jielei/qvh/qvhilights_videos.tar.gz, unpacked into {data}/qvhighlights/videos as "
        "<vid>.mp4",
    ),
)
PAPER_COUNT = None
TRAIN_SPLIT = "train"
TEST_SPLIT = "val"
HELD_OUT = ("test",)
FILES = {
    "train": ("highlight_train_release.jsonl",),
    "val": ("highlight_val_release.jsonl",),
    "test": ("highlight_test_with_gt.jsonl",),
}
LENGTHS = {"short": (0, 10), "middle": (10, 30), "long": (30, 150)}
"""Seconds of gold windows, more than the first and up to the second."""
FACTS = Facts(
    questions=1550,
    videos=1519,
    rule=(
        "Of the first ten windows of a list, ranked by score, the average precision at IoUs from 0.5 to 0.95; R1 is of the "
        "window that stands first, with an IoU at or above the threshold. All queries need a window, or the script stops."
    ),
    published=(
        "Detectors such as Moment-DETR give ten windows with scores. Papers on language models let them state one window or "
        "several, without scores, and some split a query into one for each window."
    ),
    disagreements=(
        "On val, one window to a query can reach a mAP of 78.86 at most, and all gold windows reach 99.76.",
        "Papers use val or test, and all gold windows or the first alone: the whole video has a mIoU of 23.89 or 21.50 on val.",
        "Moment-DETR's sample predictions on val have R1 53.94 and 34.84, mAP 32.20 (its repository).",
    ),
)

_FIRST = Sample(
    id="90001",
    source="qvhighlights",
    split="val",
    task=TASK,
    video="aB3_dE-7hIj_60.0_210.0.mp4",
    video_key="youtube:aB3_dE-7hIj",
    duration=150.0,
    question="A cook slices bread.",
    spans=(Span(20.0, 46.0), Span(82.0, 90.0)),
    several=True,
    license=LICENSE,
)
EXAMPLE = Example(
    split="val",
    purpose="bench",
    files={
        "highlight_val_release.jsonl": '{"qid": 90001, "query": "A cook slices  bread.", "duration": 150, '
        '"vid": "aB3_dE-7hIj_60.0_210.0", "relevant_windows": [[20, 46], [82, 90]], "relevant_clip_ids": [10], '
        '"saliency_scores": [[4, 2, 3]]}\n'
        '{"qid": 90002, "query": "Two friends talk in a car", "duration": 148, "vid": "v_B3_dE-7hI_0.0_150.0", '
        '"relevant_windows": [[100, 144]], "relevant_clip_ids": [50], "saliency_scores": [[1, 2, 3]]}\n'
    },
    samples=(
        _FIRST,
        replace(
            _FIRST,
            id="90002",
            video="v_B3_dE-7hI_0.0_150.0.mp4",
            video_key="youtube:v_B3_dE-7hI",
            duration=148.0,
            question="Two friends talk in a car",
            spans=(Span(100.0, 144.0),),
        ),
    ),
)


def read(files: Files, split: str, purpose: Purpose) -> Reading:
    """Samples of a parsed `highlight_<split>_….jsonl`."""
    name = FILES[split][0]
    out = Collector(source="qvhighlights", split=split, task=TASK, license=LICENSE, several=True)
    for line, record in enumerate(holding(files, name, list, "an object per line"), 1):
        where = f"{name}:{line}"
        qid, video = get(record, "qid", int, where), get(record, "vid", str, where)
        duration = float(get(record, "duration", (int, float), where))
        windows = get(record, "relevant_windows", list, where)
        times = [pair(window, f"{where}: relevant_windows[{place}]") for place, window in enumerate(windows)]
        repairs = repair_spans(times, duration, clip=purpose == "train")
        query = clean(get(record, "query", str, where))
        if repairs.reason or not query:
            out.drop(repairs.reason or "empty_question", f"{where}: qid {qid}: {windows}")
            continue
        out.keep(
            flags=repairs.flags,
            id=str(qid) if purpose == "bench" else f"qvhighlights:{split}:{qid}",
            video=f"{video}.mp4",
            video_key=youtube_key(video),
            duration=duration,
            question=query,
            spans=repairs.spans,
            meta={"raw_spans": [list(one) for one in times]} if list(repairs.spans) != times else {},
        )
    return out.reading()


def values(item: Item) -> dict[str, float]:
    """The metrics of one query, from the tags."""
    return window_values(item.answer.spans, item.sample.spans or ())


def official(item: Item) -> dict[str, float]:
    """The same, ranked by scores where the text has them; without tags, of all windows in the text."""
    windows, scores = _scored(item.text) or (item.answer.spans or find_spans(official_text(item)), None)
    return window_values(windows, item.sample.spans or (), scores)


def metrics(items: Sequence[Item]) -> dict[str, Any]:
    """The benchmark's part of `results.json`, in percent."""
    entry = benchmark_entry(items, paper=values, official=official, answered=is_answered)
    parts: dict[str, Any] = {}
    for name, (above, most) in LENGTHS.items():
        some = [(item, [span for span in item.sample.spans or () if above < span.length <= most]) for item in items]
        part = [replace(item, sample=replace(item.sample, spans=tuple(gold))) for item, gold in some if gold]
        if part:
            parts[name] = {"n": len(part), **mean_values(part, values)}
    return entry | {"by": {"length": parts}, "secondary": mean_values(items, secondary)}


def secondary(item: Item) -> dict[str, float]:
    """IoU of the first window with the gold window that it overlaps most."""
    return {"mIoU": best_iou(item.answer.span, item.sample.spans or ())}


def prediction(record: Mapping[str, Any], where: str) -> tuple[str, str] | None:
    """A line of a predictions file in the official form as id and text; None if it is no such line.

    Windows keep their order, and scores follow the answer, where only `official` reads them.

    Args:
        record: `{qid, pred_relevant_windows: [[start, end, score], ...], ...}`; scores may be missing.
        where: Starts the message of an error.

    Raises:
        DataError: windows that are none.
    """
    if "pred_relevant_windows" not in record or "qid" not in record:
        return None
    qid, windows = get(record, "qid", (int, str), where), get(record, "pred_relevant_windows", list, where)
    for place, window in enumerate(windows):
        if not isinstance(window, list) or len(window) != len(windows[0]) or len(window) not in (2, 3) or not _finite(window):
            form = "[start, end, score] or, in all windows of a query, [start, end]"
            raise DataError(f"{where}: pred_relevant_windows[{place}]: expected {form} as numbers, got {shown(window)}")
    listed = f"{BETWEEN} ".join(f"{_plain(window[0])} to {_plain(window[1])}" for window in windows)
    scores = f"{BETWEEN} ".join(_plain(window[2]) for window in windows if len(window) == 3)
    return str(qid), f"<answer> {listed} </answer>" + (f" <scores> {scores} </scores>" if scores else "")


_NUMBER = r"-?\d+(?:\.\d+)?"
_SCORED = re.compile(rf"<answer> ((?:{_NUMBER} to {_NUMBER}(?:; )?)+) </answer> <scores> ((?:{_NUMBER}(?:; )?)+) </scores>")


def _scored(text: str) -> tuple[list[Span], list[float]] | None:
    """Windows and scores of a text that `prediction` has made."""
    found = _SCORED.fullmatch(text)
    if not found:
        return None
    windows = [Span(*map(float, window.split(" to "))) for window in found[1].split(f"{BETWEEN} ")]
    scores = [float(score) for score in found[2].split(f"{BETWEEN} ")]
    return (windows, scores) if len(windows) == len(scores) else None


def _finite(values: Sequence[Any]) -> bool:
    return all(isinstance(one, (int, float)) and not isinstance(one, bool) and abs(one) < 1e9 for one in values)


def _plain(value: float) -> str:
    """All digits of a number, without an exponent."""
    return f"{Decimal(json.dumps(value)):f}"
