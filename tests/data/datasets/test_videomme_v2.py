"""Video-MME-v2: the group score's 16 patterns by hand, groups that lack questions, values per question, the official rule."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from dataset_helpers import item, write_files

from trlt.data.datasets import Reading, load, read_source
from trlt.data.datasets.videomme_v2 import group_score
from trlt.evaluate.question_scores import item_columns
from trlt.evaluate.summary import summary
from trlt.report.caveats import notes_on

EXAMPLE = load("videomme_v2").EXAMPLE.samples[0]  # gold H
PLAIN, BRANCH, JOINED = "[1, 2, 3, 4]", "[1, [2, 3], 4]", "[[1, 2], 3, 4]"

# Right answers to questions 1 to 4: percent of relevance, and of logic by structure.
TABLE = {
    "0000": (0, 0, 0, 0),
    "0001": (6.25, 0, 0, 0),
    "0010": (6.25, 0, 0, 0),
    "0011": (25, 0, 0, 0),
    "0100": (6.25, 0, 0, 10),
    "0101": (25, 0, 0, 10),
    "0110": (25, 0, 0, 10),
    "0111": (56.25, 0, 0, 10),
    "1000": (6.25, 6.25, 100 / 12, 10),
    "1001": (25, 6.25, 100 / 12, 10),
    "1010": (25, 6.25, 400 / 12, 10),
    "1011": (56.25, 6.25, 400 / 12, 10),
    "1100": (25, 25, 400 / 12, 20),
    "1101": (56.25, 25, 400 / 12, 20),
    "1110": (56.25, 56.25, 700 / 12, 50),
    "1111": (100, 100, 100, 100),
}


def test_the_sixteen_patterns() -> None:
    assert set(TABLE) == {"".join(bits) for bits in product("01", repeat=4)}
    for bits, (relevance, *logic) in TABLE.items():
        right = [bit == "1" for bit in bits]
        assert 100 * group_score("relevance", "", right) == pytest.approx(relevance)
        for structure, percent in zip((PLAIN, BRANCH, JOINED), logic, strict=True):
            assert 100 * group_score("logic", structure, right) == pytest.approx(percent), (bits, structure)


def row(video: str, place: int, **changes: Any) -> dict[str, Any]:
    made = {
        "video_id": video,
        "url": f"https://youtu.be/aB3_dE-7{video}",
        "group_type": "relevance",
        "group_structure": None,
        "question_id": f"{video}-{place}",
        "question": "Who?",
        "options": "\n".join(f"{letter}. person {letter}" for letter in "ABCDEFGH"),
        "answer": "B",
        "level": "1",
        "second_head": "x",
        "third_head": "None",
    }
    return made | changes


def read(folder: Path, *rows: dict[str, Any]) -> Reading:
    return read_source("videomme_v2", write_files(folder, {"test.json": json.dumps(rows)}), purpose="bench")


def test_groups(tmp_path: Path) -> None:
    joined = {"group_type": "logic", "group_structure": JOINED}
    rows = [row("001", place) for place in (1, 2, 3, 4)]
    # Not in order, with the breakdowns of the last question.
    rows += [row("002", place, **joined, level=str(place), second_head=f"h{place}") for place in (4, 2, 3, 1)]
    rows += [row("003", place) for place in (1, 2, 4)]
    reading = read(tmp_path, *rows)
    assert "1 groups lack questions" in reading.notes[0] and reading.repaired == {"incomplete_group": 3}
    wrong = {"001-4", "002-1"}
    items = [item(one, f"<answer> {'C' if one.id in wrong else 'B'} </answer>") for one in reading.samples]
    entry = summary("videomme_v2", items, bootstrap=50)
    # 001: 3 of 4 right, 56.25; 002: question 2 stands for 1, 10; 003 lacks a question.
    assert entry["paper"] == entry["official"] == {"acc": pytest.approx(900 / 11), "score": pytest.approx(33.125)}
    assert entry["groups"] == {"scored": 2, "incomplete": 1}
    assert any(note.startswith("1 group of questions without a score") for note in notes_on("videomme_v2", entry))
    assert entry["by"]["group_type"] == {
        "logic": {"n": 4, "acc": 75.0, "score": pytest.approx(10)},
        "relevance": {"n": 7, "acc": pytest.approx(600 / 7), "score": 56.25},
    }
    assert entry["by"]["level"]["4"]["n"] == 4 and set(entry["by"]["second_head"]) == {"x", "h4"}
    assert set(entry["by"]["third_head"]) == {"none"}
    columns = item_columns("videomme_v2", items, entry, {})
    scored = dict(zip(columns["id"], columns["paper.score"], strict=True))
    assert {id: score for id, score in scored.items() if score is not None} == {"001-4": 0.5625, "002-4": 0.1}
    assert columns["lenient.score"] == columns["official.score"] == columns["paper.score"]
    low, high = entry["ci95"]["score"]
    assert 10 <= low < 33.125 < high <= 56.25


def test_unreadable_answers_are_wrong(tmp_path: Path) -> None:
    """The authors' script has 100 for a logic group without any readable answer."""
    rows = [row("001", place, group_type="logic", group_structure=PLAIN) for place in (1, 2, 3, 4)]
    items = [item(one, "") for one in read(tmp_path, *rows).samples]
    entry = summary("videomme_v2", items, bootstrap=10)
    assert entry["paper"] == entry["official"] == {"acc": 0.0, "score": 0.0} and entry["unanswered"] == 4


def test_records_that_cannot_be_used(tmp_path: Path) -> None:
    reading = read(
        tmp_path,
        row("001", 1, url="none"),
        row("001", 2, answer="J"),
        row("002", 1, group_type="logic", group_structure="[1, 2, [3, 4]]"),
        row("003", 1, options=[f"{letter}. person" for letter in "ABCDEFG"] + ["H. "], answer="A"),
    )
    assert [one.video_key for one in reading.samples] == ["videomme_v2:001"]
    assert reading.dropped == {"letter_out_of_range": 1, "unknown_group_structure": 1, "empty_option": 1}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("H", "H"),
        ("Final Answer: H", "H"),
        ("The best answer is: (H)", "H"),
        ("Answer: H", "H"),
        ("Because it rains, Final Answer: G", "B"),
        ("A man walks in. Final Answer: C", "A"),
        ("Option: D", "D"),
        ("<answer> H </answer>", "H"),
        ("I saw it", None),
        ("", None),
    ],
)
def test_official_rule(text: str, said: str | None) -> None:
    official = load("videomme_v2").official
    for place, letter in enumerate("ABCDEFGH"):
        gold = replace(EXAMPLE, answer=(EXAMPLE.options or ())[place], answer_index=place)
        assert official(item(gold, text)) == {"acc": float(letter == said)}
