"""TimeLens-Bench, ActivityNet: when does the described event happen? Untrimmed videos, with queries and times annotated anew.

Origin: Zhang et al., "TimeLens: Rethinking Video Temporal Grounding with Multimodal LLMs" (2025), which corrects ActivityNet
Captions. `activitynet-timelens.json` is `{vid: {duration, spans: [[start, end], ...], queries: [...]}}`, seconds, spans and
queries in step. White space and full stops around a query are dropped, as its loader does. Videos: `<vid>.mp4`.

Splits: test (4,500 queries over 1,455 videos). A benchmark only.
Protocol: mIoU and R1@{0.3, 0.5, 0.7} with >=, micro over queries; gold spans aren't clipped. Official (`timelens/utils.py`,
`evaluation/`): of the text in lower case, the first pair of clock times, else `a - b`, else `a to b`, else of bare numbers;
both ends are rounded to whole seconds (half to even); no pair means a span 10 s behind the end; an inverted one scores 0.
Entries of equal video, query and span are one there: only the last counts in `official`.
License: for academic use only and not in the European Union, by TimeLens's terms; videos keep theirs.
"""

from __future__ import annotations

from dataclasses import replace

from trlt.data.datasets._common import Collector, Example, Files, Purpose, Reading, youtube_key
from trlt.data.datasets._facts import Facts
from trlt.data.datasets._grounding import values as values
from trlt.data.datasets._timelens import DISAGREEMENTS, PUBLISHED, RULE, fetch, read_timelens
from trlt.data.datasets._timelens import LICENSE as TIMELENS_LICENSE
from trlt.data.datasets._timelens import OFFICIAL_LOWER as OFFICIAL_LOWER
from trlt.data.datasets._timelens import WHERE as WHERE
from trlt.data.datasets._timelens import metrics as metrics
from trlt.data.datasets._timelens import official as official
from trlt.task.sample import Sample, Span, Task

TITLE = "ActivityNet-TimeLens"
TASK: Task = "grounding"
LICENSE = f"{TIMELENS_LICENSE}; ActivityNet: research use"
DOMAIN = "human activities"
FETCH = fetch("activitynet")
TEST_SPLIT = "test"
FILES = {"test": ("activitynet-timelens.json",)}
FACTS = Facts(
    questions=4_500,
    videos=1_455,
    rule=RULE,
    published=PUBLISHED,
    disagreements=(
        *DISAGREEMENTS,
        "Qwen2.5-VL-7B has R1@0.3, 0.5, 0.7 and mIoU of 44.1, 31.0, 16.1, 31.4, "
        "and Qwen3-VL-8B 62.1, 51.2, 34.4, 46.8 (README of TimeLens).",
    ),
)

_FIRST = Sample(
    id="v_aB3_dE-7hIj:0",
    source="timelens_activitynet",
    split="test",
    task=TASK,
    video="v_aB3_dE-7hIj.mp4",
    video_key="youtube:aB3_dE-7hIj",
    duration=61.5,
    question="A kite is unpacked",
    spans=(Span(0.0, 12.0),),
    license=LICENSE,
)
EXAMPLE = Example(
    split="test",
    purpose="bench",
    files={
        "activitynet-timelens.json": '{"v_aB3_dE-7hIj": {"duration": 61.5, "spans": [[0, 12], [10, 61]], '
        '"queries": ["A kite  is unpacked.", "It flies over a beach"]}}'
    },
    samples=(_FIRST, replace(_FIRST, id="v_aB3_dE-7hIj:1", question="It flies over a beach", spans=(Span(10.0, 61.0),))),
)


def read(files: Files, split: str, purpose: Purpose) -> Reading:
    """Samples of a parsed `activitynet-timelens.json`."""
    out = Collector(source="timelens_activitynet", split=split, task=TASK, license=LICENSE)
    return read_timelens(files, FILES[split][0], out, youtube_key)
