"""Video-MMMU: its official readings by hand, the mean of tracks, and the real files."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from dataset_helpers import item
from paths import SHARED

from trlt.data.datasets import gold_text, read_source
from trlt.data.datasets._videommmu import golds_of, official_letter, official_open
from trlt.data.datasets.videommmu import EXAMPLE, official, values
from trlt.evaluate.summary import summary
from trlt.video.budget import spread

REAL = SHARED / "data/annotations/videommmu"
OPTIONS = ("red fox", "grey wolf", "brown bear", "white owl", "black cat", "blue jay")


@pytest.mark.parametrize(
    ("text", "place"),
    [("B", 1), ("B.", 1), ("(B)", 1), ("The answer is B.", 1), ("(C) and then (A)", 0), ("A. no, B. yes", 1), ("C: bear", 2)]
    + [("**E**", None), ("<answer>F</answer>", None), ("D because A is wrong", 0), ("b", None), ("", None)]
    + [("grey wolf", None), ("I think that it was the grey wolf", 1), ("not the red fox, it is the grey wolf", 1)],
)
def test_letters_by_the_official_rule(text, place):
    assert official_letter(text, OPTIONS) == place


@pytest.mark.parametrize(
    ("text", "gold", "right"),
    [("3.4286", "3.429", True), ("It is 3.43.", "3.429", True), ("3.42", "3.429", False), ("so x = 12.97", "12.97", True)]
    + [("The answer is 1,000 units", "1000", True), ("about 7", "8", False), ("", "4", False), ("It is A", "A", True)]
    + [("24/7", "['24/7', '3.429', '3.43]", True), ("3.43", "['24/7', '3.429', '3.43]", True)],
)
def test_open_answers_by_the_official_rule(text, gold, right):
    assert official_open(text, golds_of(gold)) is right


def test_a_number_is_right_to_two_decimals():
    sample = replace(EXAMPLE.samples[2], answer="3.43", meta={**EXAMPLE.samples[2].meta, "golds": ["24/7", "3.429", "3.43"]})
    for text, right in (("3.4286", 1), ("3.43", 1), ("3.4", 0), ("three", 0)):
        assert values(item(sample, f"<answer> {text} </answer>")) == {"acc": right, "adaptation": right}


def test_delta_is_what_the_video_adds():
    first = EXAMPLE.samples[0]

    def asked(track, number, text):
        meta = {"track": track, "subject": "Biology"}
        return item(replace(first, id=f"{track}:{number}", video=f"{number}.mp4", meta=meta), f"<answer> {text} </answer>")

    items = [asked("Adaptation", n, "B" if n < 3 else "A") for n in range(4)]
    items += [asked("Perception", 0, "B"), asked("Comprehension", 0, "A")]
    entry = summary("videommmu", items)
    assert entry["paper"] == {"acc": pytest.approx(175 / 3), "adaptation": 75, "perception": 100, "comprehension": 0}
    entry = summary("videommmu", [*items, *(asked("QuestionOnly", n, "B" if n < 1 else "A") for n in range(4))])
    wanted = {"acc": 175 / 3, "adaptation": 75, "perception": 100, "comprehension": 0, "question_only": 25, "delta": 200 / 3}
    assert entry["paper"] == pytest.approx(wanted) and entry["official"] == pytest.approx(wanted)
    assert "delta" not in entry["ci95"] and "question_only" in entry["ci95"]


def test_the_last_frame_is_always_shown():
    for frames, count in ((100, 4), (9000, 768), (33, 16)):
        assert spread(0, frames - 1, count)[-1] == frames - 1


@pytest.fixture(scope="module")
def real():
    if not REAL.is_dir():
        pytest.skip("no real annotation here")
    return {split: read_source("videommmu", REAL, split, purpose="bench") for split in ("test", "all")}


def test_all_of_the_real_files_is_read(real):
    reading = real["test"]
    assert (reading.read, len(reading.samples), len(real["all"].samples)) == (900, 900, 1200)
    assert Counter(sample.meta["track"] for sample in reading.samples) == dict.fromkeys(
        ("Perception", "Comprehension", "Adaptation"), 300
    )
    assert sum(sample.options is None for sample in reading.samples) == 20 and sum(s.numeric for s in reading.samples) == 18
    assert len({sample.meta["subject"] for sample in reading.samples}) == 30


def test_known_figures_of_the_real_files(real):
    samples = real["test"].samples
    entry = summary("videommmu", [item(sample, gold_text(sample)) for sample in samples], bootstrap=10)
    assert set(entry["paper"].values()) == {100.0} and entry["official"]["acc"] == 100
    entry = summary("videommmu", [item(sample, "A") for sample in samples], bootstrap=10)
    tracks = [round(entry["official"][key], 2) for key in ("perception", "comprehension", "adaptation")]
    assert tracks == [10.67, 9.33, 18.33]
    assert entry["unanswered"] == 900 and official(item(samples[0], "<answer> A </answer>")).keys() == {"acc", "perception"}
