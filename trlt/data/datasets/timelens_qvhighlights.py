"""TimeLens-Bench, QVHighlights: when does the described event happen? Clips of YouTube, with queries and times annotated anew.

Origin: Zhang et al., "TimeLens: Rethinking Video Temporal Grounding with Multimodal LLMs" (2025), which corrects
QVHighlights. `qvhighlights-timelens.json` is `{vid: {duration, spans: [[start, end], ...], queries: [...]}}`, seconds, spans
and queries in step. One span to a query, other than in QVHighlights itself. White space and full stops around a query are
dropped, as its loader does. Videos: `<vid>.mp4`.

Splits: test (1,541 queries over 1,511 videos). A benchmark only.
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

TITLE = "QVHighlights-TimeLens"
TASK: Task = "grounding"
LICENSE = f"{TIMELENS_LICENSE}; QVHighlights: CC BY-NC-SA 4.0"
DOMAIN = "vlogs and news"
FETCH = fetch("qvhighlights")
TEST_SPLIT = "test"
FILES = {"test": ("qvhighlights-timelens.json",)}
FACTS = Facts(
    questions=1_541,
    videos=1_511,
    rule=RULE,
    published=PUBLISHED,
    disagreements=(
        *DISAGREEMENTS,
        "Qwen2.5-VL-7B has R1@0.3, 0.5, 0.7 and mIoU of 41.5, 27.8, 15.2, 31.6, "
        "and Qwen3-VL-8B 74.2, 64.6, 49.3, 59.4 (README of TimeLens).",
    ),
)

_FIRST = Sample(
    id="aB3_dE-7hIj_60.0_210.0:0",
    source="timelens_qvhighlights",
    split="test",
    task=TASK,
    video="aB3_dE-7hIj_60.0_210.0.mp4",
    video_key="youtube:aB3_dE-7hIj",
    duration=150.0,
    question="A cook slices bread",
    spans=(Span(20.0, 46.0),),
    license=LICENSE,
)
EXAMPLE = Example(
    split="test",
    purpose="bench",
    files={
        "qvhighlights-timelens.json": '{"aB3_dE-7hIj_60.0_210.0": {"duration": 150, "spans": [[20, 46], [100, 144]], '
        '"queries": ["A cook slices  bread.", "Two friends talk in a car"]}}'
    },
    samples=(
        _FIRST,
        replace(_FIRST, id="aB3_dE-7hIj_60.0_210.0:1", question="Two friends talk in a car", spans=(Span(100.0, 144.0),)),
    ),
)


def read(files: Files, split: str, purpose: Purpose) -> Reading:
    """Samples of a parsed `qvhighlights-timelens.json`."""
    out = Collector(source="timelens_qvhighlights", split=split, task=TASK, license=LICENSE)
    return read_timelens(files, FILES[split][0], out, youtube_key)
