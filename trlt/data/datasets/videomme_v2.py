"""Video-MME-v2: 3,200 multi-choice questions with eight options about 800 videos, four per video, scored together.

Origin: Fu et al., "Video-MME-v2: Towards the Next Stage in Video Understanding Evaluation" (2026). `test.parquet` has rows of
`video_id` ("001"), `url`, `group_type` (relevance or logic), `group_structure` (a text such as `[1, [2, 3], 4]`),
`question_id` ("001-1"), `question`, `options` (one text, a line per option), `answer` (a letter), `level`, `second_head`,
`third_head`. `test.json`, the same rows as a JSON list, is read if the parquet file is missing. Videos are
`videos/<video_id>.mp4`, subtitles `subtitle/<video_id>.jsonl`, a line per word.

Splits: test.
Protocol: `acc` is the accuracy over all questions; `score` the mean over groups (a video's four questions, by their ids) of
the group's score. Relevance: k right of 4 are worth (k / 4)^2, where k = 1, 2, 3 give 1/16, 4/16, 9/16. Logic: k is the length
of the run of right answers from the first question; by the structure, k = 1, 2, 3 are worth 1/16, 4/16, 9/16 (`[1, 2, 3, 4]`),
1/12, 4/12, 7/12 (`[1, [2, 3], 4]`, where question 3 may stand for 2) or 1/10, 2/10, 5/10 (`[[1, 2], 3, 4]`, where 2 may stand
for 1). Breakdowns go by the group's last question. A group that lacks a question has no score; since a group is one video, a
missing video takes whole groups out. Official check: lead-ins such as "Final Answer:" are taken out, then the first capital A
to H anywhere is the answer. The authors' script counts an answer without any as right in a run (and as -1 in a sum): here it
is wrong. License: academic research only, no redistribution; videos belong to their owners.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from trlt.data.datasets._common import Collector, Example, Files, Purpose, Reading, clean, get, holding, watched, youtube_key
from trlt.data.datasets._facts import Facts
from trlt.data.datasets._fetch import Fetch
from trlt.data.datasets._lead_ins import first_capital
from trlt.data.datasets._metrics import Item, benchmark_entry, official_text
from trlt.data.datasets._metrics import accuracy_values as values
from trlt.data.datasets._options import bare, choose, fault, flags, split_options
from trlt.task.answer import LETTERS
from trlt.task.sample import Sample, Task

TITLE = "Video-MME-v2"
TASK: Task = "multi_choice"
LICENSE = "Video-MME-v2: academic research only, no redistribution; videos belong to their owners"
WHERE = "huggingface.co/datasets/MME-Benchmarks/Video-MME-v2"
DOMAIN = "mixed"
HEADLINES = ("score",)
TEST_SPLIT = "test"
FILES = {"test": ("test.parquet", "test.json")}
OPTIONAL = FILES["test"]
"""Either is enough; the parquet file is read if both are there."""
FETCH = Fetch(
    by_hand=(
        "annotation and subtitles: hf download MME-Benchmarks/Video-MME-v2 test.parquet subtitle.zip --repo-type dataset "
        "--local-dir {data}/videomme_v2, then unzip subtitle.zip there, into {data}/videomme_v2/subtitle",
        "videos: hf download MME-Benchmarks/Video-MME-v2 --repo-type dataset --include 'videos/*.zip' --local-dir "
        "{data}/videomme_v2, then unzip each archive in {data}/videomme_v2/videos",
    ),
)
GROUPS = ("group_type", "level", "second_head", "third_head")
OFFICIAL_LOWER = "Video-MME-v2's rule takes the first capital A to H for the answer; an answer in words is wrong by it"
FACTS = Facts(
    questions=3_200,
    videos=800,
    rule=(
        "Lead-ins are taken out, then the first capital A to H anywhere is the answer. Score: the mean over groups of four "
        "questions of a score that is less than linear in the right ones; accuracy over all questions beside it."
    ),
    published=(
        "64 uniform frames, or 1 per second; with or without subtitles (in one block, or between the frames), and with a "
        "prompt that asks for the letter only or for reasoning and `Final Answer: <letter>`. Say which of the settings."
    ),
    disagreements=(
        "The authors' script counts an unreadable answer as right in the runs of logic groups (four of them score 100) and as "
        "-1 in relevance groups, and leaves it out of the accuracy; lmms-eval, VLMEvalKit and trlt count it as wrong.",
        "Groups are four consecutive rows in the authors' script and VLMEvalKit, a video's questions in lmms-eval and here.",
        "Here, subtitles (`--subtitles`) stand after the video, each line with its time, and not between the frames.",
        "An output of reasoning that is read as a whole is answered by its first capital: cut the reasoning off first.",
        "Gemini-3-Pro has an accuracy of 66.1 and a score of 49.4 in the project's README.",
    ),
)

_FIRST = Sample(
    id="901-1",
    source="videomme_v2",
    split="test",
    task=TASK,
    video="901.mp4",
    video_key="youtube:aB3_dE-7hIj",
    question="What is sold?",
    options=tuple(f"thing {place}" for place in range(1, 9)),
    answer="thing 8",
    answer_index=7,
    license=LICENSE,
    meta={
        "group": "901",
        "place": 1,
        "structure": "[1, [2, 3], 4]",
        "group_type": "logic",
        "level": "3",
        "second_head": "Order",
        "third_head": "none",
        "subtitle_file": {"path": "901.jsonl", "offset_s": 0.0},
    },
)
EXAMPLE = Example(
    split="test",
    purpose="bench",
    files={
        "test.json": json.dumps(
            [
                {
                    "video_id": "901",
                    "url": "https://www.youtube.com/watch?v=aB3_dE-7hIj",
                    "group_type": "logic",
                    "group_structure": "[1, [2, 3], 4]",
                    "question_id": f"901-{place}",
                    "question": "What is  sold?",
                    "options": "\n".join(f"{letter}. thing {number}" for number, letter in enumerate("ABCDEFGH", 1)),
                    "answer": "H",
                    "level": "3" if place == 4 else "None",
                    "second_head": "Order" if place == 4 else "Count",
                    "third_head": None,
                }
                for place in range(1, 5)
            ]
        )
    },
    samples=tuple(replace(_FIRST, id=f"901-{place}", meta=_FIRST.meta | {"place": place}) for place in range(1, 5)),
)


def read(files: Files, split: str, purpose: Purpose) -> Reading:
    """Samples of the parsed rows of either file; those of a group have the breakdowns of its last question."""
    name = next(name for name in FILES[split] if name in files)
    rows = [(f"{name}[{index}]", row) for index, row in enumerate(holding(files, name, list, "a list of rows"))]
    groups: dict[str, dict[int, Any]] = {}
    for where, row in rows:
        groups.setdefault(get(row, "video_id", str, where), {})[_place(row, where)] = row
    out = Collector(source="videomme_v2", split=split, task=TASK, license=LICENSE)
    for where, row in rows:
        _read(out, row, groups[row["video_id"]], where)
    whole = sum(sorted(group) == [1, 2, 3, 4] for group in groups.values())
    return out.reading(f"{len(groups) - whole:,} groups lack questions and have no score" if whole < len(groups) else "")


def _place(row: Any, where: str) -> int:
    """The number of a question in its group; 0, which no group has, if its id ends in none."""
    number = get(row, "question_id", str, where).rpartition("-")[2]
    return int(number) if number.isascii() and number.isdecimal() else 0


def _read(out: Collector, row: Any, group: Mapping[int, Any], where: str) -> None:
    name, video = row["question_id"], row["video_id"]
    structure = "".join(str(row.get("group_structure") or "").split())
    kind = get(row, "group_type", str, where)
    if kind != "relevance" and (kind != "logic" or structure not in _WORTH):
        out.drop("unknown_group_structure", f"{name}: {kind} {structure}")
        return
    options = _options(row, where)
    chosen = choose(get(row, "answer", str, where), options)
    if chosen.place is None or (reason := fault(options, chosen.place, bench=True)):
        out.drop(chosen.reason or reason or "answer_not_an_option", name)
        return
    last = group[max(group)]
    known = watched(str(row.get("url") or ""))
    out.keep(
        flags=(*flags(options), *(["incomplete_group"] if sorted(group) != [1, 2, 3, 4] else [])),
        id=name,
        video=f"{video}.mp4",
        video_key=youtube_key(known) if known else f"videomme_v2:{video}",
        question=clean(get(row, "question", str, where)),
        options=options,
        answer=options[chosen.place],
        answer_index=chosen.place,
        meta={"group": video, "place": _place(row, where), "structure": str(row.get("group_structure") or "")}
        | {part: _named(last.get(part)) for part in GROUPS}
        | {"subtitle_file": {"path": f"{video}.jsonl", "offset_s": 0.0}},
    )


def _options(row: Any, where: str) -> tuple[str, ...]:
    given = get(row, "options", (str, list), where)
    if isinstance(given, str):
        return split_options(given).options
    return tuple(bare(str(text), place) for place, text in enumerate(given))


def _named(value: Any) -> str:
    """A part of a breakdown; the files hold both null and the word None."""
    return "none" if value in (None, "None") else str(value)


_SQUARES = (0.0, 1 / 16, 4 / 16, 9 / 16, 1.0)
_WORTH: Mapping[str, tuple[float, ...]] = {
    "[1,2,3,4]": _SQUARES,
    "[1,[2,3],4]": (0.0, 1 / 12, 4 / 12, 7 / 12, 1.0),
    "[[1,2],3,4]": (0.0, 1 / 10, 2 / 10, 5 / 10, 1.0),
}
"""What a run of k right answers is worth, by a logic group's structure."""


def group_score(kind: str, structure: str, right: Sequence[bool]) -> float:
    """The score of a group of four, from 0 to 1, as `cal_relevance` and `cal_logic` of the official script give it.

    Args:
        kind: `relevance` or `logic`.
        structure: Of a logic group: `[1, 2, 3, 4]`, `[1, [2, 3], 4]` or `[[1, 2], 3, 4]`.
        right: Whether each question is, in order.
    """
    if kind == "relevance":
        return _SQUARES[sum(right)]
    run = next((place for place, one in enumerate(right) if not one), len(right))
    plan = "".join(structure.split())
    if (plan == "[1,[2,3],4]" and run == 1 and right[2]) or (plan == "[[1,2],3,4]" and run == 0 and right[1]):
        run += 1
    return _WORTH[plan][run]


def together(items: Sequence[Item], rows: Sequence[Mapping[str, float]]) -> list[dict[str, float]]:
    """The values of questions, with the `score` of each whole group at its last question.

    Args:
        items: All questions.
        rows: What `values` or `official` gives for each.
    """
    groups: dict[str, dict[int, int]] = {}
    for index, item in enumerate(items):
        groups.setdefault(item.sample.meta["group"], {})[item.sample.meta["place"]] = index
    made = [dict(row) for row in rows]
    for group in groups.values():
        if sorted(group) == [1, 2, 3, 4]:
            meta = items[group[4]].sample.meta
            right = [rows[group[place]]["acc"] == 1 for place in (1, 2, 3, 4)]
            made[group[4]]["score"] = group_score(meta["group_type"], meta["structure"], right)
    return made


_LEAD_INS = (
    *("Final Answer:", "The best answer is", "The correct answer is", "The answer is", "The answer", "The best option is"),
    *("The correct option is", "Best answer:", "Best option:", "Answer:", "Option:"),
)


def official(item: Item) -> dict[str, float]:
    """Whether the first capital A to H is the gold letter."""
    said = first_capital(official_text(item), _LEAD_INS, "A-H")
    return {"acc": float(said == LETTERS[item.sample.answer_index or 0])}


def metrics(items: Sequence[Item]) -> dict[str, Any]:
    """Accuracy and mean group score in percent; by kind of group, level and heads; and how many groups were whole."""
    entry = benchmark_entry(
        items,
        paper=_looked_up(items, values),
        official=_looked_up(items, official),
        answered=lambda item: item.answer.option is not None,
        by={part: _part(part) for part in GROUPS},
    )
    groups = len({item.sample.meta["group"] for item in items})
    whole = sum("score" in row for row in together(items, [values(item) for item in items]))
    return entry | {"groups": {"scored": whole, "incomplete": groups - whole}}


def _looked_up(items: Sequence[Item], rule: Callable[[Item], dict[str, float]]) -> Callable[[Item], dict[str, float]]:
    """The values of a question among all others."""
    rows = together(items, [rule(item) for item in items])
    known = {id(item): row for item, row in zip(items, rows, strict=True)}
    return lambda item: known[id(item)]


def _part(group: str) -> Callable[[Sample], str]:
    return lambda sample: str(sample.meta[group])
