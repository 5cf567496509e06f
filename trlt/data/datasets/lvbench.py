"""LVBench: 1,549 multi-choice questions about 103 YouTube videos of half an hour to two hours.

Origin: Wang et al., "LVBench: An Extreme Long Video Understanding Benchmark" (2024). `video_info.meta.jsonl` has a line per
video: `{"key": YouTube id, "qa": [{"uid", "question", "answer": a letter, "question_type": [one or more abilities], ...}]}`;
the options are inside the question, one per line (`(A) text`). The hub's copy for lmms-eval is a table of `{uid, question,
options, answer, question_type, video_path}`. Videos aren't given out: they are `<key>.mp4`, by the YouTube id.

Splits: test. Videos that have been deleted are the norm: `--allow-missing` leaves their questions out, and results give both
how many videos are missing and how much of the whole benchmark was asked (`coverage`).
Protocol: accuracy, micro; a question counts under each of its abilities. Official check (`polish_answer`): what stands before
the first `)`, then after the first `(`, of that the first word's first character must be the gold letter, so `The answer is C`
reads as T. There, a question without an answer leaves the denominator; here it is wrong. License: CC BY-NC-SA 4.0, academic
research only; videos belong to their owners.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from trlt.data.datasets._common import Collector, Example, Files, Purpose, Reading, clean, get, holding, youtube_key
from trlt.data.datasets._facts import Facts
from trlt.data.datasets._fetch import Fetch
from trlt.data.datasets._metrics import Item, benchmark_entry, mean_values, official_text
from trlt.data.datasets._metrics import accuracy_values as values
from trlt.data.datasets._options import SplitQuestion, bare, choose, fault, flags, split_options
from trlt.task.answer import LETTERS
from trlt.task.sample import Sample, Task

TITLE = "LVBench"
TASK: Task = "multi_choice"
LICENSE = "LVBench: CC BY-NC-SA 4.0, academic research only; videos belong to their owners"
WHERE = "huggingface.co/datasets/THUDM/LVBench"
DOMAIN = "long YouTube videos"
TEST_SPLIT = "test"
META, TABLE = "video_info.meta.jsonl", "train-00000-of-00001.parquet"
FILES = {"test": (META, TABLE)}
OPTIONAL = FILES["test"]
"""Either is enough; the official one is read if both are there."""
FETCH = Fetch(
    by_hand=(
        "annotation: hf download THUDM/LVBench video_info.meta.jsonl --repo-type dataset --local-dir {data}/lvbench",
        "videos: each line's `key` is a YouTube id; what is still there goes to {data}/lvbench/videos/<key>.mp4",
    ),
)
ABILITIES = {
    "key information retrieval": "KIR",
    "event understanding": "EU",
    "summarization": "Sum",
    "entity recognition": "ER",
    "reasoning": "Rea",
    "temporal grounding": "TG",
}
"""The official names, and their short forms on the leaderboard."""
OFFICIAL_LOWER = "LVBench's rule takes the first word's first character for the letter; an answer in words is wrong by it"
FACTS = Facts(
    questions=1_549,
    videos=103,
    rule=(
        "The first character of the first word, after the first opening and before the first closing bracket, must be the gold "
        "letter. Accuracy over all questions, and by six abilities, under each of which a question may count."
    ),
    published="Frames, pixels and prompts are each model's own; what the official scripts get is a letter per question.",
    disagreements=(
        "Deleted videos are the norm, so two figures are rarely over the same questions: EasyVideoR1 has 99 of the 103 videos "
        "(1,492 questions).",
        "In the official script a question without an answer leaves the denominator.",
        "lmms-eval reads letters by a parser of its own, with 16 new tokens.",
    ),
)

EXAMPLE = Example(
    split="test",
    purpose="bench",
    files={
        META: '{"key": "aB3_dE-7hIj", "type": "live", "qa": [{"uid": "9001", "question": "Who wins?\\n(A) The red team\\n'
        '(B) The blue team\\n(C) Nobody\\n(D) Both", "answer": "C", "question_type": ["reasoning", "event understanding"], '
        '"time_reference": "01:00-02:00"}]}'
    },
    samples=(
        Sample(
            id="9001",
            source="lvbench",
            split="test",
            task=TASK,
            video="aB3_dE-7hIj.mp4",
            video_key="youtube:aB3_dE-7hIj",
            question="Who wins?",
            options=("The red team", "The blue team", "Nobody", "Both"),
            answer="Nobody",
            answer_index=2,
            license=LICENSE,
            meta={"abilities": ["reasoning", "event understanding"]},
        ),
    ),
)


class _LvbenchRecord(NamedTuple):
    """One question, and its video's path."""

    content: Any
    video: str
    where: str


def read(files: Files, split: str, purpose: Purpose) -> Reading:
    """Samples of the official lines, or of the hub's table."""
    out = Collector(source="lvbench", split=split, task=TASK, license=LICENSE)
    for record in _official(files) if META in files else _table(files):
        _read(out, record)
    return out.reading()


def _official(files: Files) -> Iterator[_LvbenchRecord]:
    for index, line in enumerate(holding(files, META, list, "a line per video")):
        where = f"{META}[{index}]"
        video = f"{get(line, 'key', str, where)}.mp4"
        for place, question in enumerate(get(line, "qa", list, where)):
            yield _LvbenchRecord(question, video, f"{where}: qa[{place}]")


def _table(files: Files) -> Iterator[_LvbenchRecord]:
    for index, row in enumerate(holding(files, TABLE, list, "a list of rows")):
        yield _LvbenchRecord(row, get(row, "video_path", str, f"{TABLE}[{index}]"), f"{TABLE}[{index}]")


def _read(out: Collector, record: _LvbenchRecord) -> None:
    row, where = record.content, record.where
    name = str(get(row, "uid", (str, int), where))
    asked = _asked(row, where)
    chosen = choose(get(row, "answer", str, where), asked.options)
    if chosen.place is None or (reason := fault(asked.options, chosen.place, bench=True)):
        out.drop(chosen.reason or reason or "answer_not_an_option", name)
        return
    kinds = get(row, "question_type", (list, str), where)
    out.keep(
        flags=flags(asked.options),
        id=name,
        video=record.video,
        video_key=youtube_key(PurePosixPath(record.video).stem),
        question=asked.question,
        options=asked.options,
        answer=asked.options[chosen.place],
        answer_index=chosen.place,
        meta={"abilities": [str(kind) for kind in (kinds if isinstance(kinds, list) else [kinds])]},
    )


def _asked(row: Any, where: str) -> SplitQuestion:
    """The question apart from its options, which have a column of their own in the hub's copy."""
    question = get(row, "question", str, where)
    if row.get("options"):
        options = get(row, "options", list, where)
        return SplitQuestion(clean(question), tuple(bare(str(text), place) for place, text in enumerate(options)))
    return split_options(question)


def official(item: Item) -> dict[str, float]:
    """Whether `polish_answer` makes the gold letter of the output."""
    text = official_text(item).strip().split(")")[0].strip()
    if "(" in text:
        text = text.split("(")[1].strip()
    return {"acc": float(text.split(" ")[0][:1] == LETTERS[item.sample.answer_index or 0])}


def metrics(items: Sequence[Item]) -> dict[str, Any]:
    """Accuracy in percent, micro; by ability; and how much of the benchmark was asked."""
    entry = benchmark_entry(items, paper=values, official=official, answered=lambda item: item.answer.option is not None)
    parts: dict[str, list[Item]] = {}
    for item in items:
        for ability in item.sample.meta["abilities"]:
            parts.setdefault(ability, []).append(item)
    by = {ability: {"n": len(parts[ability]), **mean_values(parts[ability], values)} for ability in sorted(parts)}
    videos = len({item.sample.video_key for item in items})
    asked = {"questions": len(items), "of_questions": FACTS.questions, "videos": videos, "of_videos": FACTS.videos}
    return entry | {"by": {"ability": by}, "coverage": asked}
