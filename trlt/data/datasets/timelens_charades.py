"""TimeLens-Bench, Charades: when does the described event happen? Indoor videos, with queries and times annotated anew.

Origin: Zhang et al., "TimeLens: Rethinking Video Temporal Grounding with Multimodal LLMs" (2025), which corrects
Charades-STA. `charades-timelens.json` is `{vid: {duration, spans: [[start, end], ...], queries: [...]}}`, seconds, spans and
queries in step. White space and full stops around a query are dropped, as its loader does. Videos: `<vid>.mp4`.

Splits: test (3,363 queries over 1,313 videos). A benchmark only.
Protocol: mIoU and R1@{0.3, 0.5, 0.7} with >=, micro over queries; gold spans aren't clipped. Official (`timelens/utils.py`,
`evaluation/`): of the text in lower case, the first pair of clock times, else `a - b`, else `a to b`, else of bare numbers;
both ends are rounded to whole seconds (half to even); no pair means a span 10 s behind the end; an inverted one scores 0.
Entries of equal video, query and span are one there: only the last counts in `official`.
License: for academic use only and not in the European Union, by TimeLens's terms; videos keep theirs.
"""

from __future__ import annotations

from dataclasses import replace

from trlt.data.datasets._common import Collector, Example, Files, Purpose, Reading
from trlt.data.datasets._facts import Facts
from trlt.data.datasets._grounding import values as values
from trlt.data.datasets._timelens import DISAGREEMENTS, PUBLISHED, RULE, fetch, read_timelens
from trlt.data.datasets._timelens import LICENSE as TIMELENS_LICENSE
from trlt.data.datasets._timelens import OFFICIAL_LOWER as OFFICIAL_LOWER
from trlt.data.datasets._timelens import WHERE as WHERE
from trlt.data.datasets._timelens import metrics as metrics
from trlt.data.datasets._timelens import official as official
from trlt.task.sample import Sample, Span, Task

TITLE = "Charades-TimeLens"
TASK: Task = "grounding"
LICENSE = f"{TIMELENS_LICENSE}; Charades: non-commercial use"
DOMAIN = "daily life indoors"
FETCH = fetch("charades")
TEST_SPLIT = "test"
FILES = {"test": ("charades-timelens.json",)}
FACTS = Facts(
    questions=3_363,
    videos=1_313,
    rule=RULE,
    published=PUBLISHED,
    disagreements=(
        *DISAGREEMENTS,
        "Qwen2.5-VL-7B has R1@0.3, 0.5, 0.7 and mIoU of 59.7, 37.8, 16.6, 39.3, "
        "and Qwen3-VL-8B 69.2, 53.4, 27.5, 48.3 (README of TimeLens).",
    ),
)

_FIRST = Sample(
    id="QX7LK:0",
    source="timelens_charades",
    split="test",
    task=TASK,
    video="QX7LK.mp4",
    video_key="charades:QX7LK",
    duration=29.6,
    question="person #1 closes a red umbrella",
    spans=(Span(3.0, 9.0),),
    license=LICENSE,
)
EXAMPLE = Example(
    split="test",
    purpose="bench",
    files={
        "charades-timelens.json": '{"QX7LK": {"duration": 29.6, "spans": [[3, 9], [21.0, 28.0]], '
        '"queries": ["  person #1 closes a red  umbrella. ", "the person leaves"]}}'
    },
    samples=(_FIRST, replace(_FIRST, id="QX7LK:1", question="the person leaves", spans=(Span(21.0, 28.0),))),
)


def read(files: Files, split: str, purpose: Purpose) -> Reading:
    """Samples of a parsed `charades-timelens.json`."""
    out = Collector(source="timelens_charades", split=split, task=TASK, license=LICENSE)
    return read_timelens(files, FILES[split][0], out, lambda video: f"charades:{video}")
