"""ActivityNet Captions: when does the described event happen? Untrimmed YouTube videos, about two minutes each.

Origin: Krishna et al., "Dense-Captioning Events in Videos" (2017) over ActivityNet. `val_1.json` and `val_2.json` are
`{v_id: {duration, timestamps: [[start, end], ...], sentences: [...]}}`, seconds. Videos: `v_<id>.{mp4,mkv,webm}`.

Splits: val_2 is the test set (17,031 sentences over 4,885 videos); val_1 (17,505 over 4,917) is another annotation of
the same validation videos. A benchmark only.
Protocol: mIoU and R1@{0.3, 0.5, 0.7} with >=, micro over sentences; gold spans aren't clipped.
License: the videos belong to their uploaders; ActivityNet is for research.
"""

from __future__ import annotations

from dataclasses import replace

from trlt.data.datasets._common import Collector, Example, Files, Purpose, Reading, clean, get, holding, pair, youtube_key
from trlt.data.datasets._grounding import metrics as metrics
from trlt.data.datasets._grounding import official as official
from trlt.data.datasets._grounding import values as values
from trlt.data.datasets._spans import repair_span
from trlt.errors import DataError
from trlt.task.sample import Sample, Span, Task

TITLE = "ActivityNet Captions"
TASK: Task = "grounding"
LICENSE = "ActivityNet: research use"
WHERE = "cs.stanford.edu/people/ranjaykrishna/densevid; videos from YouTube"
DOMAIN = "human activities"
TEST_SPLIT = "val_2"
FILES = {"val_2": ("val_2.json",), "val_1": ("val_1.json",)}

_FIRST = Sample(
    id="v_aB3_dE-7hIj:0",
    source="activitynet",
    split="val_2",
    task=TASK,
    video="v_aB3_dE-7hIj.mp4",
    video_key="youtube:aB3_dE-7hIj",
    duration=61.5,
    question="A kite is unpacked.",
    spans=(Span(0.0, 12.25),),
    license=LICENSE,
)
EXAMPLE = Example(
    split="val_2",
    purpose="bench",
    files={
        "val_2.json": '{"v_aB3_dE-7hIj": {"duration": 61.5, "timestamps": [[0, 12.25], [10.5, 61.51]], '
        '"sentences": ["A kite is unpacked.", "  It flies over a beach."]}}'
    },
    samples=(_FIRST, replace(_FIRST, id="v_aB3_dE-7hIj:1", question="It flies over a beach.", spans=(Span(10.5, 61.51),))),
)


def read(files: Files, split: str, purpose: Purpose) -> Reading:
    """Samples of a parsed `val_1.json` or `val_2.json`."""
    name = FILES[split][0]
    out = Collector(source="activitynet", split=split, task=TASK, license=LICENSE)
    for video, record in holding(files, name, dict, "an object of videos").items():
        where = f"{name}: {video}"
        duration = float(get(record, "duration", (int, float), where))
        times, sentences = get(record, "timestamps", list, where), get(record, "sentences", list, where)
        if len(times) != len(sentences):
            raise DataError(f"{where}: {len(times)} timestamps and {len(sentences)} sentences; equal numbers are expected")
        for index, (raw, sentence) in enumerate(zip(times, sentences, strict=True)):
            repair = repair_span(*pair(raw, f"{where}: timestamps[{index}]"), duration, clip=purpose == "train")
            query = clean(str(sentence))
            if repair.span is None or not query:
                out.drop(repair.reason or "empty_question", f"{where}:{index}: {raw} {query}")
                continue
            out.keep(
                flags=repair.flags,
                id=f"{video}:{index}",
                video=f"{video}.mp4",
                video_key=youtube_key(video),
                duration=duration,
                question=query,
                spans=(repair.span,),
            )
    return out.reading()
