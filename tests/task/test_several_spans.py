"""Questions that ask for several spans: wording, strict and lenient reading, targets, own words, files."""

from __future__ import annotations

from dataclasses import replace

import pytest

from trlt.data.preparation import several_spans
from trlt.errors import DataError, RecipeError
from trlt.rollout.row import Generated, to_row
from trlt.task.answer import parse_spans
from trlt.task.grade import Grader
from trlt.task.lenient import read_leniently
from trlt.task.prompt import Words
from trlt.task.prompt_form import PromptForm
from trlt.task.sample import Sample, Span
from trlt.task.user_question import answer_values, stated_spans

ONE = Sample("g", "s", "train", "grounding", "a.mp4", "a dog barks", spans=(Span(12, 20.5), Span(30, 41.04)))
ALL = replace(ONE, several=True)
FORM = PromptForm(think=False, answer_format="letter")
TWO = (Span(12, 20.5), Span(30, 41))


def own(format: str | None = None, template: str | None = None) -> PromptForm:
    layouts = (("grounding", format),) if format else ()
    return replace(FORM, words=Words(layouts=layouts, templates=(("grounding", template),) if template else ()))


def test_the_prompt_asks_for_a_list_and_one_span_is_asked_for_as_ever() -> None:
    assert FORM.prompt(ALL).user == (
        "Event: a dog barks\nGive the start and end in seconds with one decimal of each time that it happens, the most certain "
        "first: <answer> start to end; start to end </answer>"
    )
    assert FORM.prompt(ONE).user == (
        "Event: a dog barks\nGive the event's start and end in seconds with one decimal: <answer> start to end </answer>"
    )
    think = replace(FORM, think=True)
    assert think.prompt(ALL).user.endswith(": <think> reasoning </think> <answer> start to end; start to end </answer>")
    assert "Give your reasoning, then the start" in think.prompt(ALL).user


def test_the_target_has_all_spans_and_is_read_back() -> None:
    target = FORM.target(ALL)
    assert target == "<answer> 12.0 to 20.5; 30.0 to 41.0 </answer>" and FORM.target(ONE) == "<answer> 30.0 to 41.0 </answer>"
    answer = FORM.read(ALL, target)
    assert answer.spans == TWO and answer.span == TWO[0] and answer.further == TWO[1:] and answer.well_formed
    assert not FORM.read(ONE, target).well_formed and FORM.read(ONE, target).spans == (), "one span was asked for"


@pytest.mark.parametrize(
    ("text", "spans"),
    [
        ("12.0 to 20.5; 30.0 to 41.0", TWO),
        ("12 to 20.5;30 to 41;", TWO),
        ("0:12 - 0:20.5;\n 30s to 41s", TWO),
        ("30 to 41; 12 to 20.5", TWO[::-1]),
        ("12 to 20.5", TWO[:1]),
        ("0 to 0", (Span(0, 0),)),
        ("12 to 20.5; 41 to 30", ()),  # read as a whole or not at all
        ("12 to 20.5, 30 to 41", ()),
        ("12 to 20.5;; 30 to 41", ()),
        (";", ()),
        ("", ()),
    ],
)
def test_a_list_is_read_as_a_whole(text: str, spans: tuple[Span, ...]) -> None:
    assert parse_spans(text) == spans
    assert FORM.read(ALL, f"<answer> {text} </answer>").well_formed == bool(spans)


@pytest.mark.parametrize(
    ("text", "spans"),
    [
        ("<answer> 12 to 20.5; 30 to 41 </answer>", TWO),
        ("<answer> 12 to 20.5, 30 to 41 </answer>", TWO),
        ("<answer> 12 to 20.5 and 30 to 41", TWO),
        ("<think> 1 to 2 </think> [[12, 20.5], [30, 41]]", TWO),
        ('{"windows": [{"start": 12, "end": 20.5}, {"start": 30, "end": 41}]}', TWO),
        ("1. 0:12 - 0:20.5\n2. 0:30 - 0:41", TWO),
        ("It might be 3 to 9 s. The answer is from 12 s to 20.5 s, and from 30 s to 41 s.", TWO),
        ("12 to 20.5; 41 to 30; 30 to 41; 12 to 20.5", TWO),  # what can't be is left out, and each is listed once
        ("Twice.", ()),
        ("1 to 2; " * 5000, ()),  # a loop
    ],
)
def test_lists_in_other_spellings_are_read_leniently(text: str, spans: tuple[Span, ...]) -> None:
    assert read_leniently(ALL, text, FORM.read(ALL, text)).spans == spans


def test_rewards_and_rows_have_the_first_span_and_show_all() -> None:
    said = ["<answer> 30.0 to 41.0; 12.0 to 20.5 </answer>", "<answer> 50 to 60; 12 to 20.5 </answer>"]
    row = to_row(ALL, [Generated(text, 1, True) for text in said], grader=Grader(FORM), video_tokens=1)
    assert row["ious"] == [pytest.approx(11 / 11.04), 0.0] and row["rewards"] == [pytest.approx(1 + 11 / 11.04), 1.0]
    assert row["answers"][0]["span"] == [30, 41] and row["answers"][0]["spans"] == [[30, 41], [12, 20.5]]
    one = to_row(ALL, [Generated("<answer> 1 to 2 </answer>", 1, True)], grader=Grader(FORM), video_tokens=1)
    assert "spans" not in one["answers"][0] and stated_spans(one["answers"][0]) == [Span(1, 2)]
    values = answer_values(FORM.read(ALL, said[0]), said[0], finished=True)
    assert stated_spans(values) == list(TWO[::-1]) and stated_spans(answer_values(FORM.read(ALL, ""), "", finished=True)) == []


@pytest.mark.parametrize("format", [r"\when{{span}}", "[TIME] {span} [/TIME]", "Time: {span}", "[{span}]"])
def test_own_formats_hold_lists(format: str) -> None:
    form = own(format)
    assert form.read(ALL, form.target(ALL)).spans == TWO and form.read(ALL, form.target(ALL)).well_formed
    assert "start to end; start to end" in form.prompt(ALL).user
    form.try_out([ONE, ALL])


def test_own_words_that_can_not_ask_for_lists_are_refused() -> None:
    with pytest.raises(RecipeError, match=r"prompt.format: its mark ';' stands in lists of spans too .*; take another mark"):
        own("{span};").try_out([ONE, ALL])
    own("{span};").try_out([ONE])
    with pytest.raises(
        RecipeError, match=r"asks sample 'g' for all of its spans in the words that ask for one; write \{\{ form"
    ):
        own(template="When? {{ question }} <answer> </answer>").try_out([ONE, ALL])
    own(template="When? {{ question }} {{ format }}").try_out([ONE, ALL])
    form = own(template="{% if several %}All{% else %}One{% endif %}: {{ question }} <answer> </answer>")
    form.try_out([ALL])
    assert form.prompt(ALL).user == "All: a dog barks <answer> </answer>"


def test_files_of_samples_are_as_ever_without_it() -> None:
    assert "several" not in ONE.to_json() and ALL.to_json()["several"] is True
    assert [Sample.from_json(one.to_json()) for one in (ONE, ALL)] == [ONE, ALL]
    assert list(ALL.to_json()).index("several") == list(ALL.to_json()).index("spans") + 1
    with pytest.raises(DataError, match="several: expected true or false, got 'yes'"):
        Sample.from_json(ONE.to_json() | {"several": "yes"})
    with pytest.raises(DataError, match="several: True must be true or false, and true for grounding alone"):
        Sample("m", "s", "t", "multi_choice", "a.mp4", "q", options=("a", "b"), answer="a", answer_index=0, several=True)


def test_prepare_makes_a_sample_of_one_span_of_it() -> None:
    longest = several_spans(ALL, "longest")
    assert longest and longest.spans == (Span(30, 41.04),) and not longest.several
    assert several_spans(ALL, "keep") is ALL
