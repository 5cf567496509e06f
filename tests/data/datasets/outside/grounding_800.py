"""800 queries: when does the described event happen? TVGBench as a user would write it, outside of trlt.

Origin: Wang et al., "Time-R1" (2025). `tvgbench.json` is a list of `{path, question, answer, start, end, duration, qsemtype,
…}`; `answer` is "13.4-28.1" in seconds from `start`, the beginning of the clip in the source's video, or null for the whole.

Splits: test alone.
Protocol: mIoU and R1@{0.3, 0.5, 0.7}, micro over queries. Official: the hull of the output's last two numbers, recalls with >.
In 11 rows the gold span is empty: they stay, and nothing scores in them, so that gold answers score 98.625.
Videos: `<name>.mp4`, already cut to the clip.
License: Apache-2.0; the sources keep their terms.
"""

import re

from trlt.data.kit import (
    Collector,
    Example,
    Item,
    Sample,
    Span,
    benchmark_entry,
    best_iou,
    clean,
    get,
    holding,
    is_answered,
    official_text,
)
from trlt.data.kit import values as usual_values

TITLE = "800 queries"
TASK = "grounding"
LICENSE = "Apache-2.0"
WHERE = "the repository of Time-R1"
DOMAIN = "five sources"
TEST_SPLIT = "test"
FILES = {"test": ("tvgbench.json",)}
OFFICIAL_LOWER = "the last two numbers of the output count, whatever they stand for"

EXAMPLE = Example(
    split="test",
    purpose="bench",
    files={
        "tvgbench.json": '[{"path": "./videos/K1.mp4", "question": "a person  sits down.", "answer": "2.5-8", '
        '"duration": 30.1, "start": null, "end": null, "qsemtype": "Human Pose"}]'
    },
    samples=(
        Sample(
            id="0",
            source="grounding_800",
            split="test",
            task="grounding",
            video="K1.mp4",
            video_key="tvgbench:K1",
            duration=30.1,
            question="a person sits down.",
            spans=(Span(2.5, 8.0),),
            license=LICENSE,
            meta={"type": "Human Pose"},
        ),
    ),
)


def read(files, split, purpose):
    out = Collector(source="grounding_800", split=split, task=TASK, license=LICENSE)
    for row, record in enumerate(holding(files, "tvgbench.json", list, "a list of records")):
        where = f"tvgbench.json[{row}]"
        name = get(record, "path", str, where).rpartition("/")[2]
        start, end = map(float, get(record, "answer", str, where).split("-"))
        meta = {"type": get(record, "qsemtype", str, where)}
        if end <= start:
            meta["empty"] = True
        out.keep(
            id=str(row),
            video=name,
            video_key=f"tvgbench:{name.removesuffix('.mp4')}",
            duration=float(get(record, "duration", (int, float), where)),
            question=clean(get(record, "question", str, where)),
            spans=(Span(start, end if end > start else start + 0.001),),
            meta=meta,
        )
    return out.reading()


def values(item: Item):
    found = usual_values(item)
    return dict.fromkeys(found, 0.0) if item.sample.meta.get("empty") else found


def official(item: Item):
    numbers = re.findall(r"\d+(?:\.\d+)?", official_text(item))[-2:]
    iou = 0.0
    if len(numbers) == 2 and not item.sample.meta.get("empty"):
        iou = best_iou(Span(*sorted(map(float, numbers))), item.sample.spans)
    return {"mIoU": iou, **{f"R1@{k}": float(iou > k) for k in (0.3, 0.5, 0.7)}}


def metrics(items):
    by = {"type": lambda sample: sample.meta["type"]}
    return benchmark_entry(items, paper=values, official=official, answered=is_answered, by=by)
