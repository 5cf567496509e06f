"""Questions with several right options: samples, prompts, reading, scores and credit, by hand."""

from __future__ import annotations

import json

import pytest

from trlt.data.own.answers import places
from trlt.errors import DataError
from trlt.recipe import Recipe
from trlt.recipe.rewards import Rewards
from trlt.rollout.row import Generated, to_row
from trlt.task.choices import parse_choices
from trlt.task.lenient import read_leniently
from trlt.task.prompt_form import PromptForm
from trlt.task.sample import Sample
from trlt.task.score import score

OPTIONS = ("a cup", "a hat", "a dog", "a red ball")
FORM = PromptForm(think=False, answer_format="open")


def question(*right: int) -> Sample:
    answer = "; ".join(OPTIONS[place] for place in right)
    head = ("q", "own", "train", "multi_choice", "a.mp4", "What is on the table?")
    return Sample(*head, options=OPTIONS, answer=answer, answer_indices=right)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("A, C", (0, 2)),
        ("C,A", (0, 2)),
        ("AC", (0, 2)),
        ("A and C", (0, 2)),
        ("A, B, and D", (0, 1, 3)),
        ("a c", (0, 2)),
        ("(A), (C)", (0, 2)),
        ("[A, C].", (0, 2)),
        ("A/C", (0, 2)),
        ("The answers are A & C.", (0, 2)),
        ("A. a cup; C. a dog", (0, 2)),
        ("a cup, a dog", (0, 2)),
        ("B", (1,)),
        ("A, A", (0,)),
        ("A, E", ()),
        ("AE", ()),
        ("ac", ()),
        ("A or maybe C", ()),
        ("a cup, a cat", ()),
        ("", ()),
    ],
)
def test_lists_are_read_as_a_whole_or_not_at_all(text, found) -> None:
    assert parse_choices(text, OPTIONS) == found


def said(text: str) -> str:
    return f"<answer> {text} </answer>"


def test_the_prompt_asks_for_all_and_the_target_is_read_back_as_right() -> None:
    sample = question(0, 2)
    prompt = FORM.prompt(sample).user
    assert "D. a red ball" in prompt and prompt.endswith(
        "Give the letters of all options that apply: <answer> letters </answer>"
    )
    assert FORM.target(sample) == said("A, C")
    answer = FORM.read(sample, FORM.target(sample))
    assert (answer.choices, answer.option, answer.well_formed) == ((0, 2), None, True)
    assert score(answer, sample).accuracy == 1.0
    for text, accuracy in (("A", 0.0), ("A, B, C", 0.0), ("C and A", 1.0), ("all of them", 0.0)):
        assert score(FORM.read(sample, said(text)), sample).accuracy == accuracy
    assert not FORM.read(sample, said("all of them")).well_formed


def test_a_question_for_one_option_is_as_strict_as_before() -> None:
    one = Sample("q", "own", "t", "multi_choice", "a.mp4", "What?", options=OPTIONS, answer="a cup", answer_index=0)
    answer = PromptForm(False, "letter").read(one, said("A, C"))
    assert (answer.option, answer.choices, answer.well_formed) == (None, (), False)
    assert "answer_indices" not in one.to_json()


@pytest.mark.parametrize(
    ("text", "exact", "jaccard", "subset"),
    [
        ("A, C", 1.0, 1.0, 1.0),
        ("A", 0.0, 0.5, 0.5),
        ("A, B", 0.0, 1 / 3, 0.0),
        ("A, B, C", 0.0, 2 / 3, 0.0),
        ("D", 0.0, 0.0, 0.0),
        ("none", 0.0, 0.0, 0.0),
    ],
)
def test_a_part_is_worth_what_the_recipe_says(text, exact, jaccard, subset) -> None:
    for rule, worth in (("exact", exact), ("jaccard", jaccard), ("subset", subset)):
        recipe = Recipe(reward=Rewards(choices=rule, format=0.0))
        [[grade]] = recipe.grader("probe").grade([(question(0, 2), [said(text)])])
        assert grade.reward == pytest.approx(worth) and grade.scores.accuracy == exact, rule


def test_rows_and_samples_hold_them_and_the_lenient_reading_finds_them(tmp_path) -> None:
    sample = question(0, 2)
    assert Sample.from_json(json.loads(json.dumps(sample.to_json()))) == sample
    text = "I see a cup and a dog.\nThe correct answers are: A and C."
    strict = FORM.read(sample, text)
    assert strict.choices == () and read_leniently(sample, text, strict).choices == (0, 2)
    for changed, message in (
        ({"answer_indices": [2, 0]}, "ascending and each once"),
        ({"answer_indices": [0, 4]}, "must be places from 0 to 3"),
        ({"answer_index": 0}, "leave answer_index null"),
        ({"answer": "a cup"}, "must be the right options' texts, 'a cup; a dog'"),
        ({"options": None}, "there are none; write the options"),
    ):
        with pytest.raises(DataError, match=message):
            Sample.from_json({**sample.to_json(), **changed})
    drawn = [Generated(said(text), 3, True) for text in ("A, C", "A")]
    row = to_row(sample, drawn, grader=Recipe().grader("probe"), video_tokens=8)
    assert row["correct"] == 1 and [one.get("choices") for one in row["answers"]] == [[0, 2], [0]]


def test_own_tables_name_several_by_letters_or_texts() -> None:
    assert places("A, C", OPTIONS) == places(["A", "C"], OPTIONS) == places(["a dog", "a cup"], OPTIONS) == (0, 2)
    assert places("A", OPTIONS) is places("a red ball", OPTIONS) is places(["A", "x"], OPTIONS) is places(2, OPTIONS) is None
