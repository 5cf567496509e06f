"""MMVU: hand-computed metrics, the official closing sentence, and the real file."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from dataset_helpers import item, write_files

from trlt.data.datasets import Reading, gold_text, read_source
from trlt.data.datasets.mmvu import DISCIPLINES, metrics, official
from trlt.errors import DataError
from trlt.evaluate.summary import summary
from trlt.task.answer import LETTERS
from trlt.task.sample import Sample


def sample(number: int = 0, subject: str = "Art") -> Sample:
    return Sample(
        id=f"validation_{number}",
        source="mmvu",
        split="validation",
        task="multi_choice",
        video=f"{subject}/{number}.mp4",
        question="q",
        options=("Zoom", "Pan", "Dolly", "Tilt", "Crane"),
        answer="Dolly",
        answer_index=2,
        meta={"subject": subject},
    )


def record(**changes: Any) -> dict[str, Any]:
    return {
        "id": "validation_1",
        "video": "https://example.org/videos/Art/1.mp4",
        "youtube_url": "https://youtu.be/aB3_dE-7hIj?si=x",
        "question_type": "multiple-choice",
        "metadata": {"subject": "Art"},
        "question": "Which  move?",
        "choices": {"A": "Zoom", "B": "Pan", "C": "", "D": "", "E": ""},
        "answer": "B",
    } | changes


def read(folder: Path, *records: Any) -> Reading:
    return read_source("mmvu", write_files(folder, {"validation.json": json.dumps(records)}), purpose="bench")


def test_metrics_by_hand() -> None:
    items = [
        item(sample(0), "<answer> C </answer>"),
        item(sample(1), "Step by step ... Therefore, the final answer is: C"),  # untagged: official only
        item(sample(2, "Civil Engineering"), "<answer> A </answer>"),
        item(sample(3, "Law"), ""),
        item(sample(4, "Alchemy"), "<answer> Dolly </answer>"),
    ]
    entry = summary("mmvu", items, bootstrap=50)
    assert entry["unanswered"] == 2 and entry["paper"] == {"acc": 40.0} and entry["official"] == {"acc": 60.0}
    assert entry["by"]["discipline"] == {
        "Engineering": {"n": 1, "acc": 0.0},
        "Humanities & Social Sciences": {"n": 3, "acc": pytest.approx(100 / 3)},
        "other": {"n": 1, "acc": 100.0},
    }
    assert entry["by"]["subject"]["Art"] == {"n": 2, "acc": 50.0}


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("C", True),
        ("(C) Dolly", True),
        ("Dolly.", True),
        ("It pans, so A? No. Therefore, the final answer is: C.", True),
        ("the final answer is: $C$", True),
        ("Therefore, the Final Answer is **C**", True),
        ("the final answer is: A. Wait: the final answer is: C", True),
        ("<answer> the final answer is: C </answer> A", True),
        ("the final answer is: C. Wait: the final answer is: A", False),
        ("the final answer is: Crane", False),
        ("the final answer is: Z", False),
        ("Clearly a dolly", False),
        ("<answer> A </answer> the final answer is: C", False),
        ("", False),
    ],
)
def test_official_rule(text: str, right: bool) -> None:
    assert official(item(sample(), text)) == {"acc": float(right)}


def test_rows(tmp_path: Path) -> None:
    reading = read(
        tmp_path,
        record(),
        record(id="validation_2", question_type="open-ended", answer="Dolly zoom"),
        record(id="validation_3", video="videos/Art/3.mp4", youtube_url="https://example.org/a", answer="A"),
        record(id="validation_4", answer="D"),
        record(id="validation_5", question_type="essay"),
        record(id="validation_6", youtube_url="https://www.youtube.com/watch?v=v_B3_dE-7hI&list=PL_0&index=7"),
    )
    assert reading.dropped == {"open_ended": 1, "letter_out_of_range": 1, "unknown_question_type": 1}
    assert [one.video for one in reading.samples] == ["Art/1.mp4", "Art/3.mp4", "Art/1.mp4"]
    assert [one.video_key for one in reading.samples] == ["youtube:aB3_dE-7hIj", "mmvu:Art/3", "youtube:v_B3_dE-7hI"]
    assert reading.samples[0].options == ("Zoom", "Pan") and reading.samples[0].question == "Which move?"
    assert "judge" in reading.notes[0]


def test_faults_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"validation.json\[0\]: choices: no field 'B'"):
        read(tmp_path, record(choices={"A": "x", "C": "y"}))
    with pytest.raises(DataError, match="expected a list of records"):
        read_source("mmvu", write_files(tmp_path, {"validation.json": "{}"}), purpose="bench")


def test_real_file(annotations: Path) -> None:
    reading = read_source("mmvu", annotations / "mmvu", purpose="bench")
    assert reading.read == 1_000 and reading.dropped == {"open_ended": 375} and not reading.repaired
    assert len(reading.samples) == 625 and len({one.video for one in reading.samples}) == 379
    assert all(len(one.options or ()) == 5 and one.video_key.startswith("youtube:") for one in reading.samples)
    entry = summary("mmvu", [item(one, gold_text(one)) for one in reading.samples], bootstrap=10)
    assert entry["paper"] == entry["official"] == {"acc": 100.0} and entry["unanswered"] == 0
    assert set(entry["by"]["subject"]) == {subject for subjects in DISCIPLINES.values() for subject in subjects}
    counts = Counter({name: part["n"] for name, part in entry["by"]["discipline"].items()})
    assert set(counts) == set(DISCIPLINES) and counts.total() == 625 and len(entry["by"]["subject"]) == 27


def test_real_file_with_the_next_gold_letter(annotations: Path) -> None:
    samples = read_source("mmvu", annotations / "mmvu", purpose="bench").samples
    places = [one.answer_index or 0 for one in samples]
    said = places[1:] + places[:1]
    entry = metrics([item(one, f"<answer> {LETTERS[place]} </answer>") for one, place in zip(samples, said, strict=True)])
    expected = 100 * sum(place == other for place, other in zip(places, said, strict=True)) / 625
    assert entry["paper"]["acc"] == entry["official"]["acc"] == pytest.approx(expected)
