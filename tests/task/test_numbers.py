"""Questions whose answer is a number: prompt, both readings, and nearness."""

from __future__ import annotations

import numpy as np
import pytest

from trlt.errors import DataError
from trlt.task.lenient import read_leniently
from trlt.task.numbers import THRESHOLDS, parse_number, relative_accuracy
from trlt.task.prompt_form import PromptForm
from trlt.task.sample import Sample
from trlt.task.score import score

FORM = PromptForm(think=False, answer_format="letter")


def asked(answer="10", **changes):
    given = {"task": "multi_choice", "video": "a.mp4", "question": "How many chairs?", "answer": answer, "numeric": True}
    return Sample(**{"id": "n", "source": "own", "split": "test", **given, **changes})


def test_thresholds_are_those_of_numpy():
    assert list(THRESHOLDS) == np.linspace(0.5, 0.95, 10).tolist()


@pytest.mark.parametrize(
    ("said", "gold", "value"),
    [
        (10, 10, 1.0),
        (9, 10, 0.9),
        (8, 10, 0.6),
        (6, 4, 0.1),
        (15.1, 10, 0.0),
        (None, 3, 0.0),
        (0, 0, 1.0),
        (1, 0, 0.0),
        (-4, -5, 0.6),
    ],
)
def test_nearness(said, gold, value):
    assert relative_accuracy(said, gold) == pytest.approx(value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("-2.5", -2.5),
        ("1,200", 1200),
        (" 12 cm ", 12),
        ("2.9 m²", 2.9),
        ("40%", 40),
        ("3.", 3),
        ("$5", 5),
        (".5", 0.5),
        ("\N{MINUS SIGN}2", -2),
        ("1\N{NARROW NO-BREAK SPACE}200", 1200),
        ("12 345 678", 12_345_678),
        ("2k", 2000),
        ("3 million", 3_000_000),
        ("5 dozen eggs", 60),
        ("3 km", 3),
    ]
    + [
        (text, None)
        for text in ("about 3", "3 to 4", "3 or 4", "three", "", "1,20", "1 20", "12:30", "nan", "inf", "-", "3 4", "9" * 400)
    ],
)
def test_strict_numbers(text, value):
    assert parse_number(text) == value


def test_a_number_is_asked_for_read_and_scored():
    sample = asked()
    assert FORM.prompt(sample).user == "Question: How many chairs?\nGive a number: <answer> number </answer>"
    for text, well_formed, value in (
        ("<answer> 8 </answer>", 1.0, 0.6),
        ("<answer> 10 chairs </answer>", 1.0, 1.0),
        ("<answer> about 10 </answer>", 0.0, 0.0),
        ("10", 0.0, 0.0),
    ):
        found = score(FORM.read(sample, text), sample)
        assert (found.format, found.accuracy, found.tiou) == (well_formed, pytest.approx(value), None)
    target = FORM.target(sample)
    assert target == "<answer> 10 </answer>" and score(FORM.read(sample, target), sample).accuracy == 1


@pytest.mark.parametrize(
    ("text", "payload"),
    [
        ("<answer> about 3 </answer>", "3"),
        ("There are Three chairs.", "3"),
        ("The answer is 1,200.", "1200"),
        (r"\boxed{2.5}", "2.5"),
        ("**4**", "4"),
        ("between 3 and 4", None),
        ("I see chairs.", None),
        ("I count 3 at first.\nThen 4.", None),
        ("<answer> 7 </answer>", "7"),
    ],
)
def test_lenient_numbers(text, payload):
    sample = asked()
    assert read_leniently(sample, text, FORM.read(sample, text)).payload == payload


@pytest.mark.parametrize(
    "changes", [{"answer": "ten"}, {"options": ("a", "b"), "answer": "a", "answer_index": 0}, {"numeric": 3}]
)
def test_what_is_no_question_for_a_number(changes):
    with pytest.raises(DataError, match="numeric: "):
        asked(**changes)


def test_files_keep_it():
    assert Sample.from_json(asked().to_json()) == asked()
    assert "numeric" not in asked(answer="ten", numeric=False).to_json(), "files of older samples stay as they are"
    with pytest.raises(DataError, match="numeric"):
        Sample.from_json(asked().to_json() | {"numeric": "yes"})
