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
from trlt.data.datasets._facts import Facts
from trlt.data.datasets._fetch import Fetch, Remote, on_github
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
_TAN = ("microsoft/VideoX", "1744b2159c3d11694f94dab4fcde8660c685e79a")
FETCH = Fetch(
    files=(
        # Copies of val_1.json and val_2.json in a repository, which calls them by their use.
        Remote(
            on_github(*_TAN, "2D-TAN/data/ActivityNet/val.json"),
            1_910_790,
            "sha256:466aaccb9ebe45c6db4c98488a4ddbeb5b22faffe62e1bbce81222c14fc29e1c",
            saved="val_1.json",
        ),
        Remote(
            on_github(*_TAN, "2D-TAN/data/ActivityNet/test.json"),
            1_727_037,
            "sha256:08fe56568bc92dd02a6150fe1094457a5f2ac72975b8778a922bc9a65aa7f0e9",
            saved="val_2.json",
        ),
    ),
    by_hand=(
        "videos: ask for them with the form at http://activity-net.org/download.html, or take them from YouTube by their ids; "
        "put them into {data}/activitynet/videos as v_<id>.mp4 (or .mkv, .webm)",
    ),
)
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
FACTS = Facts(
    questions=17_031,
    videos=4_885,
    rule=("As Charades-STA's, on the captions' times of the set val_2."),
    published=("The paper's prompt and 2,048 tokens a video, at 2 frames per second."),
    disagreements=(
        ("Papers take val_1, val_2 or both; the whole video as the answer has 32.3 on val_1 and 34.6 on val_2."),
        ("Qwen2.5-VL-7B has 24.0 in the paper and 26.9 in VideoAuto-R1's README."),
    ),
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
