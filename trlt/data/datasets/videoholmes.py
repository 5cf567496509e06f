"""Video-Holmes: 1,837 multi-choice questions about 270 suspense short films, whose clues lie far apart.

Origin: Cheng et al., "Video-Holmes: Can MLLM Think Like Holmes for Complex Video Reasoning?" (2025). `test_Video-Holmes.json`
is a list of `{"video ID", "Question ID", "Question Type", "Question", "Options": {A..F}, "Answer", "Explanation"}`, where the
answer is a letter. Videos are `videos_cropped/<video ID>.mp4`, or `Benchmark/videos/<video ID>.mp4` as the official script
looks for them.

Splits: test.
Protocol: accuracy, micro; by the seven types of questions. Official check (`evaluate.py`): on the text of the last answer tag,
or on the whole output without one, the first of A to F that stands before a blank or colon, or after `[`; else the first of A
to F that occurs at all. So `D. A cat` and `ANSWER: E` read as A, and gold given as `F. friend` isn't always right. License:
Apache-2.0, for academic use; videos belong to their owners.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from trlt.data.datasets._common import Collector, Example, Files, Purpose, Reading, clean, get, holding, youtube_key
from trlt.data.datasets._facts import Facts
from trlt.data.datasets._fetch import Fetch
from trlt.data.datasets._metrics import Item, benchmark_entry
from trlt.data.datasets._metrics import accuracy_values as values
from trlt.data.datasets._options import choose, fault, flags
from trlt.task.answer import LETTERS
from trlt.task.sample import Sample, Task

TITLE = "Video-Holmes"
TASK: Task = "multi_choice"
LICENSE = "Video-Holmes: Apache-2.0, academic use; videos belong to their owners"
WHERE = "huggingface.co/datasets/TencentARC/Video-Holmes"
DOMAIN = "suspense short films"
TEST_SPLIT = "test"
FILES = {"test": ("test_Video-Holmes.json",)}
FETCH = Fetch(
    by_hand=(
        "annotation: hf download TencentARC/Video-Holmes test_Video-Holmes.json --repo-type dataset --local-dir "
        "{data}/videoholmes",
        "videos: hf download TencentARC/Video-Holmes videos.zip --repo-type dataset --local-dir {data}/videoholmes, then unzip "
        "it there, into {data}/videoholmes/videos_cropped",
    ),
    videos_at="videoholmes/videos_cropped",
)
OFFICIAL_LOWER = "Video-Holmes' rule tries A before B to F, anywhere: `D. A cat` and `ANSWER: E` are answers A by it"
FACTS = Facts(
    questions=1_837,
    videos=270,
    rule=(
        "In the last answer tag, or the whole output without one, the first of A to F before a blank or colon, or after a "
        "square bracket, else the first of A to F that occurs at all; none is wrong. Accuracy over all questions, and by type."
    ),
    published="The official prompt asks for think and answer tags, with the options in one line as `A: …, B: …`.",
    disagreements=(
        "Gold given as `F. friend` has 89.44 by the official rule, as `F: friend` 99.40, as the letter 100.",
        "VLMEvalKit counts an output without tags as wrong.",
        "lmms-eval asks for the letter only, with 64 new tokens, and draws a letter at random where it finds none.",
        "The official script, when resumed, scores new rows only, and skips those whose Question ID another video's row had.",
        "Qwen2.5-VL-7B has 27.8 in the project's README.",
    ),
)

EXAMPLE = Example(
    split="test",
    purpose="bench",
    files={
        "test_Video-Holmes.json": '[{"video ID": "aB3_dE-7hIj", "Question ID": 1, "Question Type": "TA", '
        '"Question": "What happens  first?", "Options": {"A": "A knock", "B": "A scream", "C": "A fall", "D": "A call", '
        '"E": "A theft", "F": "A kiss"}, "Answer": "F", "Explanation": "none"}]'
    },
    samples=(
        Sample(
            id="aB3_dE-7hIj:1",
            source="videoholmes",
            split="test",
            task=TASK,
            video="aB3_dE-7hIj.mp4",
            video_key="youtube:aB3_dE-7hIj",
            question="What happens first?",
            options=("A knock", "A scream", "A fall", "A call", "A theft", "A kiss"),
            answer="A kiss",
            answer_index=5,
            license=LICENSE,
            meta={
                "type": "TA",
                "alternatives": [
                    {"video": "videos_cropped/aB3_dE-7hIj.mp4", "cut": False},
                    {"video": "videos/aB3_dE-7hIj.mp4", "cut": False},
                    {"video": "Benchmark/videos/aB3_dE-7hIj.mp4", "cut": False},
                ],
            },
        ),
    ),
)
_FOLDERS = ("videos_cropped", "videos", "Benchmark/videos")


def read(files: Files, split: str, purpose: Purpose) -> Reading:
    """Samples of the parsed list."""
    name = FILES[split][0]
    out = Collector(source="videoholmes", split=split, task=TASK, license=LICENSE)
    for index, record in enumerate(holding(files, name, list, "a list of records")):
        _read(out, record, f"{name}[{index}]")
    return out.reading()


def _read(out: Collector, record: Any, where: str) -> None:
    video, number = get(record, "video ID", str, where), get(record, "Question ID", (int, str), where)
    given = get(record, "Options", dict, where)
    options = tuple(clean(str(get(given, letter, (str, int, float), f"{where}: Options"))) for letter in LETTERS[: len(given)])
    chosen = choose(get(record, "Answer", str, where), options)
    if chosen.place is None or (reason := fault(options, chosen.place, bench=True)):
        out.drop(chosen.reason or reason or "answer_not_an_option", f"{video}:{number}")
        return
    out.keep(
        flags=flags(options),
        id=f"{video}:{number}",
        video=f"{video}.mp4",
        video_key=youtube_key(video),
        question=clean(get(record, "Question", str, where)),
        options=options,
        answer=options[chosen.place],
        answer_index=chosen.place,
        meta={
            "type": get(record, "Question Type", str, where),
            "alternatives": [{"video": f"{folder}/{video}.mp4", "cut": False} for folder in _FOLDERS],
        },
    )


_TAGGED = re.compile(r"<answer>\s*(.*?)\s*</answer>", re.DOTALL)


def official(item: Item) -> dict[str, float]:
    """Whether the letter that `evaluate.py` finds is the gold one."""
    # Without the tags of this project's own templates: the official script knows none but these.
    tagged = _TAGGED.findall(item.text)
    text = tagged[-1].strip() if tagged else item.text if item.answer.payload is None else item.answer.payload
    known = LETTERS[:6]
    marked = (letter for letter in known if f"{letter} " in text or f"{letter}:" in text or f"[{letter}" in text)
    said = next(marked, None) or next((letter for letter in known if letter in text), None)
    return {"acc": float(said == LETTERS[item.sample.answer_index or 0])}


def metrics(items: Sequence[Item]) -> dict[str, Any]:
    """Accuracy in percent, micro; by type of question."""
    return benchmark_entry(
        items,
        paper=values,
        official=official,
        answered=lambda item: item.answer.option is not None,
        by={"type": lambda sample: str(sample.meta["type"])},
    )
