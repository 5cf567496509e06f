"""NExT-GQA: a NExT-QA answer, and the moment that shows it.

Origin: Xiao et al., "Can I Trust Your Answer? Visually Grounded Video Question Answering" (2024). `<split>.csv` has
`video_id,frame_count,width,height,question,answer,qid,type,a0..a4`, where `answer` is text;
`gsub_<split>.json[video_id]` is `{duration, fps, location: {qid: [[start, end], ...]}}`, seconds.

Splits: val (3,358 questions over 567 videos, 339 with several spans) is the training source: train has no spans. test (5,553
over 990, 591 with several spans) is the benchmark.
Protocol: one predicted span; the maximum IoU and, independently, the maximum IoP over the gold spans; Acc@GQA is a right answer
with IoP >= 0.5; all micro. Missing predictions count as wrong (the official script skips them). A prediction of zero length has
IoU 0, and IoP 1 inside a gold span. If the answer is among the options twice, either letter is right. License: MIT
(annotations); the videos are YFCC100M's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trlt.data.datasets._common import Collector, Example, Files, Purpose, Reading, clean, columns, get, pair
from trlt.data.datasets._facts import Facts
from trlt.data.datasets._fetch import Fetch, Remote, on_github
from trlt.data.datasets._metrics import (
    Item,
    benchmark_entry,
    best_iop,
    best_iou,
    find_span,
    mean_values,
    official_observed,
    official_option,
    paper_accuracy,
    paper_tiou,
    union_iou,
)
from trlt.data.datasets._next import MAP, NO_MAP, OPTION_COLUMNS, folders, options, video_path
from trlt.data.datasets._options import fault, flags
from trlt.data.datasets._spans import repair_spans
from trlt.task.sample import Sample, Span, Task

TITLE = "NExT-GQA"
TASK: Task = "grounded_qa"
LICENSE = "MIT"
WHERE = "github.com/doc-doc/NExT-GQA; videos are VidOR's"
DOMAIN = "personal videos"
_NEXTGQA = ("doc-doc/NExT-GQA", "63772e0256ad9e34b83d6a108f1ba2041b924607")
FETCH = Fetch(
    files=(
        Remote(
            on_github(*_NEXTGQA, "datasets/nextgqa/val.csv"),
            638_860,
            "sha256:ac5a1eb1d6dee9cd84ab7f9c94ab345b2404646f24b79ac182cd2aa9e2d424c1",
        ),
        Remote(
            on_github(*_NEXTGQA, "datasets/nextgqa/test.csv"),
            1_052_149,
            "sha256:0443ede53f521de4cbfb5e4fb02253926b90f81f62041b18bd17207a3511d114",
        ),
        Remote(
            on_github(*_NEXTGQA, "datasets/nextgqa/gsub_val.json"),
            115_228,
            "sha256:4feb23e53102cb2d4779e857ff8f9fd9b552fc38435621406b2ed9b0bf76204b",
        ),
        Remote(
            on_github(*_NEXTGQA, "datasets/nextgqa/gsub_test.json"),
            195_500,
            "sha256:0c16c31699238a0f2b8ace45aeed7f193149ce2f011d6ed4f1ef7170ef5d41e9",
        ),
        Remote(
            on_github(*_NEXTGQA, f"datasets/nextgqa/{MAP}"),
            331_540,
            "sha256:1955d89e7a175346faf8d4a582297ff349619231394f59fd7872f459ac8a8685",
        ),
    ),
    by_hand=("videos: those of NExT-QA, in {data}/nextqa/videos; `trlt download nextqa` says how to get them",),
    videos_at="nextqa/videos",
)
PAPER_COUNT = 3_358
TRAIN_SPLIT = "val"
TEST_SPLIT = "test"
FILES = {"val": ("val.csv", "gsub_val.json", MAP), "test": ("test.csv", "gsub_test.json", MAP)}
OPTIONAL = (MAP,)

FACTS = Facts(
    questions=5_553,
    videos=990,
    rule=("The largest IoU and IoP over the gold spans; Acc@GQA wants the right option and an IoP of at least 0.5."),
    published=("The paper's grounded prompt; the authors' figures are of models that aren't language models."),
    disagreements=(
        ("The official script skips questions without a prediction; here they are wrong."),
        ("mIoU of Qwen2.5-VL-7B is 20.2 in the paper and in VideoAuto-R1's README; Qwen3-VL-8B has 37.1 there."),
    ),
)

EXAMPLE = Example(
    split="test",
    purpose="bench",
    files={
        "test.csv": "video_id,frame_count,width,height,question,answer,qid,type,a0,a1,a2,a3,a4\n"
        "5550001113,900,640,480,what does the man do after standing up,wave,4,TN,sit,wave,run,sing,clap\n",
        "gsub_test.json": '{"5550001113": {"duration": 30, "fps": 30.0, "location": {"4": [[2.5, 6.0], [21, 24.5]]}}}',
        MAP: '{"5550001113": "0042/5550001113"}',
    },
    samples=(
        Sample(
            id="5550001113:4",
            source="nextgqa",
            split="test",
            task=TASK,
            video="0042/5550001113.mp4",
            video_key="flickr:5550001113",
            duration=30.0,
            question="what does the man do after standing up",
            options=("sit", "wave", "run", "sing", "clap"),
            answer="wave",
            answer_index=1,
            spans=(Span(2.5, 6.0), Span(21.0, 24.5)),
            license=LICENSE,
            meta={"type": "TN"},
        ),
    ),
)


def read(files: Files, split: str, purpose: Purpose) -> Reading:
    """Samples of a parsed `<split>.csv`, `gsub_<split>.json` and, if present, the map of videos."""
    name, gsub, _ = FILES[split]
    wanted = ("video_id", "question", "answer", "qid", "type", *OPTION_COLUMNS)
    paths, bench = folders(files), purpose == "bench"
    out = Collector(source="nextgqa", split=split, task=TASK, license=LICENSE)
    for row in columns(files, name, wanted, hint="NExT-QA's files have video and an index as answer: give NExT-GQA's own."):
        video, qid = row["video_id"].strip(), row["qid"].strip()
        where = f"{name}: video {video}, qid {qid}"
        texts, answer, question = options(row), clean(row["answer"]), clean(row["question"])
        if answer not in texts:
            out.drop("answer_not_an_option", f"{where}: answer {answer!r}")
            continue
        index = texts.index(answer)
        duration, raw = _grounding(files[gsub], video, qid, gsub)
        repairs = repair_spans(raw, duration, clip=not bench)
        reason = fault(texts, index, bench=bench) or repairs.reason or (None if question else "empty_question")
        if reason:
            out.drop(reason, where)
            continue
        meta: dict[str, Any] = {"type": row["type"].strip()}
        if [tuple(span) for span in repairs.spans] != raw:
            meta["raw_spans"] = [list(times) for times in raw]
        out.keep(
            flags=(*repairs.flags, *flags(texts)),
            id=f"{video}:{qid}" if bench else f"nextgqa:{split}:{video}_{qid}",
            video=video_path(video, paths),
            video_key=f"flickr:{video}",
            duration=duration,
            question=question,
            options=texts,
            answer=answer,
            answer_index=index,
            spans=repairs.spans,
            meta=meta,
        )
    return out.reading("" if MAP in files else NO_MAP)


def _grounding(gsub: Any, video: str, qid: str, name: str) -> tuple[float | None, list[tuple[float, float]]]:
    """Duration and raw spans of a question; none where the file doesn't know it."""
    if not isinstance(gsub, dict) or video not in gsub:
        return None, []
    where = f"{name}: {video}"
    duration = float(get(gsub[video], "duration", (int, float), where))
    location = get(gsub[video], "location", dict, where)
    spans = get(location, qid, list, f"{where}: location") if qid in location else []
    return duration, [pair(raw, f"{where}: location: {qid}") for raw in spans]


def values(item: Item) -> dict[str, float]:
    """The metrics mIoU and acc of one question, from the tags."""
    return {"mIoU": paper_tiou(item), "acc": paper_accuracy(item)}


def official(item: Item) -> dict[str, float]:
    """The official script's metrics of one question."""
    span, gold = _official_span(item), item.sample.spans or ()
    iou, iop = best_iou(span, gold), best_iop(span, gold)
    chosen, texts = official_option(item), item.sample.options or ()
    right = float(chosen is not None and texts[chosen] == item.sample.answer)
    return {
        "acc_gqa": right * (iop >= 0.5),
        "mIoP": iop,
        "IoP@0.3": float(iop >= 0.3),
        "IoP@0.5": float(iop >= 0.5),
        "mIoU": iou,
        "IoU@0.3": float(iou >= 0.3),
        "IoU@0.5": float(iou >= 0.5),
        "acc": right,
    }


def secondary(item: Item) -> dict[str, float]:
    """IoU with the union of the gold spans: one span can't reach the others, so the maximum flatters."""
    return {"mIoU_union": union_iou(_official_span(item), item.sample.spans or ())}


def _official_span(item: Item) -> Span | None:
    """From `<observe>`, or from the whole text where there is none."""
    return item.answer.span or find_span(official_observed(item))


def metrics(items: Sequence[Item]) -> dict[str, Any]:
    """The paper's mIoU and acc, by type of question too, and the official metrics: micro, in percent.

    A question is unanswered if its option or its span is missing.
    """
    entry = benchmark_entry(
        items,
        paper=values,
        official=official,
        answered=lambda item: item.answer.option is not None and item.answer.span is not None,
        by={"type": lambda sample: str(sample.meta["type"])},
    )
    return entry | {"secondary": mean_values(items, secondary)}
