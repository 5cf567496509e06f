"""VSI-Bench: how large, how far, how many, which way? Questions about rooms that are walked through; letters and numbers.

Origin: Yang et al., "Thinking in Space: How Multimodal Large Language Models See, Remember, and Recall Spaces" (2024).
`test.jsonl` or `test.parquet` has rows of `{id, dataset: arkitscenes|scannet|scannetpp, scene_name, question_type, question,
ground_truth: "4" | "2.9" | "C", options: ["A. ...", ...] or null}`. Videos are `<dataset>/<scene_name>.mp4`.

Splits: test (5,130 questions over 288 videos: 2,490 by letter, 2,640 by number). Its pruned and debiased variants are lists of
these ids, and other figures.
Protocol: numbers by the mean relative accuracy, letters by accuracy; each of the eight tasks is the mean over its questions
(direction: of its easy, medium and hard ones), and `score` is the mean of the eight. Official: the first word of the output,
without dots at its end, is the letter in any case, or a number as Python reads one; anything else scores 0, `(B)` and `1,200`
too. License: Apache-2.0 (annotations); the terms of ScanNet, ScanNet++ and ARKitScenes hold for the videos.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from trlt.data.datasets._common import Collector, Example, Files, Purpose, Reading, clean, get, holding
from trlt.data.datasets._facts import Facts
from trlt.data.datasets._fetch import Fetch
from trlt.data.datasets._metrics import Item, benchmark_entry, is_answered, official_text, paper_accuracy
from trlt.data.datasets._options import bare, choose, flags
from trlt.task.answer import LETTERS
from trlt.task.numbers import parse_number, relative_accuracy
from trlt.task.sample import Sample, Task

TITLE = "VSI-Bench"
TASK: Task = "multi_choice"
LICENSE = "Apache-2.0 (annotations); ScanNet, ScanNet++ and ARKitScenes have terms of their own"
WHERE = "huggingface.co/datasets/nyu-visionx/VSI-Bench"
DOMAIN = "rooms"
FETCH = Fetch(
    by_hand=(
        "annotation: hf download nyu-visionx/VSI-Bench --repo-type dataset --include 'test*' --local-dir {data}/vsibench",
        "videos: hf download nyu-visionx/VSI-Bench --repo-type dataset --include '*.zip' --local-dir {data}/vsibench, then "
        "unzip them into {data}/vsibench/videos, so that there are arkitscenes, scannet and scannetpp",
    ),
)
HEADLINES = ("score",)
TEST_SPLIT = "test"
FILES = {"test": ("test.jsonl", "test.parquet")}
OPTIONAL = FILES["test"]
"""Either is enough; the first is read if both are there."""
OFFICIAL_LOWER = "VSI-Bench's rule reads the first word alone: `(B)`, `about 3` and any sentence score 0"
DIRECTION = "object_rel_direction"
TASKS = (
    *("object_counting", "object_abs_distance", "object_size_estimation", "room_size_estimation"),
    *("object_rel_distance", DIRECTION, "route_planning", "obj_appearance_order"),
)
"""The first four by number, the others by letter."""
LEVELS = ("easy", "medium", "hard")
FACTS = Facts(
    questions=5_130,
    videos=288,
    rule=(
        "The output's first word is the answer. Numbers score the mean relative accuracy of ten thresholds (8 for 10 is 0.6), "
        "letters 1 or 0; the score is the mean of eight tasks, of which direction is the mean of its three levels."
    ),
    published=(
        "The question follows `These are frames of a video.`, with a line that asks for the letter alone, or for a single word "
        "or phrase; frames are each model's (16 or 32 in the paper's tables)."
    ),
    disagreements=(
        "Video-R1, OneThinker and EasyVideoR1 compare with < instead of <=, so that 8 for 10 is 0.7.",
        "Newer versions of lmms-eval look for a number in the output; the official rule reads its first word.",
        "Qwen3-VL-2B and 4B have 53.9 and 58.4 by Qwen's report, 51.0 and 54.7 by lmms-eval (issue 2028 of Qwen3-VL).",
        "Some figures are of the pruned or the debiased variant.",
    ),
)

_FIRST = Sample(
    id="90001",
    source="vsibench",
    split="test",
    task=TASK,
    video="scannet/scene9001_00.mp4",
    video_key="scannet:scene9001_00",
    question="How many lamps are in this room?",
    answer="4",
    numeric=True,
    license=LICENSE,
    meta={"task": "object_counting"},
)
EXAMPLE = Example(
    split="test",
    purpose="bench",
    files={
        "test.jsonl": '{"id": 90001, "dataset": "scannet", "scene_name": "scene9001_00", "question_type": "object_counting", '
        '"question": "How many  lamps are in this room?", "ground_truth": "4", "options": null}\n'
        '{"id": 90002, "dataset": "scannet", "scene_name": "scene9001_00", "question_type": "object_rel_direction_easy", '
        '"question": "Is the lamp to the left or the right?", "ground_truth": "B", "options": ["A. left", "B. right"]}\n'
    },
    samples=(
        _FIRST,
        replace(
            _FIRST,
            id="90002",
            question="Is the lamp to the left or the right?",
            options=("left", "right"),
            answer="right",
            answer_index=1,
            numeric=False,
            meta={"task": DIRECTION, "level": "easy"},
        ),
    ),
)


def read(files: Files, split: str, purpose: Purpose) -> Reading:
    """Samples of a parsed `test.jsonl` or `test.parquet`."""
    name = next(name for name in FILES[split] if name in files)
    out = Collector(source="vsibench", split=split, task=TASK, license=LICENSE)
    for index, record in enumerate(holding(files, name, list, "a list of records")):
        _read(out, record, f"{name}[{index}]")
    return out.reading()


def _read(out: Collector, record: Any, where: str) -> None:
    kind = get(record, "question_type", str, where)
    task, _, level = kind.rpartition("_") if kind.startswith(f"{DIRECTION}_") else (kind, "", "")
    if task not in TASKS or (level and level not in LEVELS):
        out.drop("unknown_question_type", f"{where}: {kind}")
        return
    collection, scene = get(record, "dataset", str, where), get(record, "scene_name", str, where)
    gold = str(get(record, "ground_truth", (str, int, float), where)).strip()
    said: dict[str, Any] = {
        "id": str(get(record, "id", (int, str), where)),
        "video": f"{collection}/{scene}.mp4",
        "video_key": f"{collection}:{scene}",
        "question": clean(get(record, "question", str, where)),
        "meta": {"task": task} | ({"level": level} if level else {}),
    }
    listed = record.get("options")
    if listed is None or len(listed) == 0:
        if parse_number(gold) is None:
            out.drop("no_number", f"{where}: {gold!r}")
            return
        out.keep(answer=gold, numeric=True, **said)
        return
    options = tuple(bare(str(text), place) for place, text in enumerate(listed))
    chosen = choose(gold, options)
    if chosen.place is None:
        out.drop(chosen.reason or "answer_not_an_option", f"{where}: {gold!r}")
        return
    out.keep(flags=flags(options), options=options, answer=options[chosen.place], answer_index=chosen.place, **said)


def group(sample: Sample) -> str:
    """The task, and of direction the level: tasks weigh alike, and so do levels."""
    level = sample.meta.get("level")
    return f"{sample.meta['task']}/{level}" if level else str(sample.meta["task"])


def values(item: Item) -> dict[str, float]:
    """The score of one question, from the tags; under the name of its task too."""
    return _named(item.sample, paper_accuracy(item))


def official(item: Item) -> dict[str, float]:
    """The same by the first word of the text inside the tags, or of the whole text."""
    words = official_text(item).split()
    return _named(item.sample, _official(words[0].rstrip(".") if words else "", item.sample))


def _official(word: str, sample: Sample) -> float:
    if not sample.numeric:
        return float(word.lower() == LETTERS[sample.answer_index or 0].lower())
    try:
        said = float(word)
    except ValueError:
        return 0.0
    return relative_accuracy(said if math.isfinite(said) else None, parse_number(sample.answer or "") or 0.0)


def _named(sample: Sample, value: float) -> dict[str, float]:
    return {"score": value, sample.meta["task"]: value}


def metrics(items: Sequence[Item]) -> dict[str, Any]:
    """The mean of the tasks, each task, and the levels of direction; missing tasks by name. In percent."""
    entry = benchmark_entry(
        items,
        paper=values,
        official=official,
        answered=is_answered,
        by={"type": lambda sample: group(sample).replace("/", "_")},
        group=group,
    )
    order = ("score", *TASKS)
    for protocol in ("paper", "official"):
        entry[protocol] = {key: entry[protocol][key] for key in order if key in entry[protocol]}
    return entry | {"missing_tasks": [task for task in TASKS if task not in entry["paper"]]}
