import re
import time
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trlt.task.answer import parse
from trlt.task.layout import PAPER, Layout, Place, layout, read_parts
from trlt.task.sample import TASKS, Task

TAGS = {"multi_choice": ("answer",), "grounding": ("answer",), "grounded_qa": ("observe", "answer")}
BODY = r"((?:(?!</?(?:think|observe|answer)>).)*)"
MARKS = ("<think>", "</think>", "<observe>", "</observe>", "<answer>", "</answer>", "B", "1 to 2", "x < y", " ", "\n")


def own(format: str, task: Task = "multi_choice", think: bool = True) -> Layout:
    return layout(((task, format),), task, think)


@given(st.lists(st.sampled_from(MARKS), max_size=14).map("".join), st.sampled_from(TASKS), st.booleans())
def test_the_papers_layout_reads_the_papers_tags(text: str, task: Task, think: bool) -> None:
    tags = ("think",) * think + TAGS[task]
    strict = re.compile(r"\s*" + r"\s*".join(f"<{tag}>{BODY}</{tag}>" for tag in tags) + r"\s*", re.DOTALL)
    inside = {}
    for tag in ("think", *TAGS[task]):
        bodies = re.findall(rf"<{tag}>((?:(?!</?{tag}>).)*)</{tag}>", text, re.DOTALL)
        inside[tag] = bodies[-1].strip() if bodies else None
    ours = layout((), task, think)
    assert ours.matches(text) == (strict.fullmatch(text) is not None)
    assert ours.inside("reasoning", text) == inside["think"]
    if task != "grounding":
        assert ours.inside("answer", text) == inside["answer"]
    if task != "multi_choice":
        assert ours.inside("span", text) == inside["answer" if task == "grounding" else "observe"]


@pytest.mark.parametrize(
    ("format", "marks"),
    [
        ("<think>{reasoning}</think><answer>{answer}</answer>", [("<think>", "</think>"), ("<answer>", "</answer>")]),
        ("<think> {reasoning} </think> {answer}", [("<think>", "</think>"), ("", "")]),
        ("[THINK]{reasoning}[/THINK]\n[ANSWER] {answer} [/ANSWER]", [("[THINK]", "[/THINK]"), ("[ANSWER]", "[/ANSWER]")]),
        (r"\why{{reasoning}}\boxed{{answer}}", [(r"\why{", "}"), (r"\boxed{", "}")]),
        ("{reasoning}\nFinal answer: {answer}", [("", ""), ("Final answer:", "")]),
        ("{reasoning}#### {answer}", [("", "####"), ("", "")]),
        ("Reasoning: {reasoning}. So: {answer}.", [("Reasoning:", "."), ("So:", ".")]),
        ("{answer}", [("", "")]),
    ],
)
def test_what_stands_between_two_places_is_divided(format: str, marks: list[tuple[str, str]]) -> None:
    assert [(part.opens, part.closes) for part in read_parts(format)] == marks
    shaped = own(format, think="{reasoning}" in format)
    assert shaped.written({"reasoning": "{reasoning}", "answer": "{answer}"}) == format, "as it was declared"


@pytest.mark.parametrize(
    ("format", "said"),
    [
        ("Answer:", r"has no place; write \{reasoning\}, \{span\}, \{answer\}"),
        ("<a>{anwser}</a>", r"\{anwser\} is no place of a format; did you mean answer"),
        ("<a>{answer}</a> <b>{answer}</b>", r"\{answer\} stands twice"),
        ("{span} {answer}", r"\{span\} and \{answer\} can't be told apart; put a mark between them"),
        ("<a>{span}</a> <a>{answer}</a>", r"the mark '<a>' of \{span\} is also in a mark of \{answer\}"),
        ("Answer {span} Answer: {answer}", r"the mark 'Answer' of \{span\} is also in a mark of \{answer\}"),
        (r"\boxed{answer}", r"write \\boxed\{\{answer\}\}, with the command's own braces"),
        ("A {answer}", r"the mark 'A' of \{answer\} may be an answer itself"),
        ("<a>" + "x" * 1000 + "{answer}</a>", "1,0.. characters; a format has 1,000 at most"),
    ],
)
def test_a_layout_that_cannot_be_read_is_refused(format: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_parts(format)


def test_a_layout_lacks_no_place_that_the_task_needs() -> None:
    with pytest.raises(ValueError, match=r"has no \{span\}, and the prompt is about grounding questions"):
        own("<answer>{answer}</answer>", "grounding", think=False)
    with pytest.raises(ValueError, match=r"has no \{reasoning\}, and the prompt asks for reasoning"):
        own("<answer>{answer}</answer>", think=True)
    every = "<think>{reasoning}</think> <time>{span}</time> <answer>{answer}</answer>"
    shown: dict[Place, str] = {"reasoning": "r", "span": "s", "answer": "a"}
    assert own(every, "grounding", think=False).written(shown) == "<time>s</time>"
    assert own(every, "multi_choice", think=False).written(shown) == "<answer>a</answer>"
    assert own(every, "grounded_qa").written(shown) == "<think>r</think> <time>s</time> <answer>a</answer>"


def test_reading_and_strictness_follow_the_marks() -> None:
    boxed = own(r"{reasoning} \boxed{{answer}}")
    assert boxed.matches("so a {set} of balls \\boxed{B}"), "a brace ends the box alone"
    assert boxed.inside("answer", "\\boxed{A} no, \\boxed{B} it is") == "B" and not boxed.matches("\\boxed{A} \\boxed{B}")
    assert boxed.inside("reasoning", "no box") is None and not boxed.matches("\\boxed{B} it is")
    rest = own("<think>{reasoning}</think> {answer}")
    assert rest.inside("answer", "<think> cut off") is None, "no answer before the reasoning has ended"
    assert rest.inside("answer", "<think>x</think>\n B ") == "B" and rest.matches("<think>x</think>\n B ")
    assert not rest.matches("<think>x</think> B</think>")
    line = own("Reasoning: {reasoning}\nFinal answer: {answer}")
    assert line.matches("Reasoning: a\nFinal  answer:\tB") and line.inside("answer", "Final answer: B") == "B"
    bare = own("<answer>{answer}</answer>", think=False)
    assert bare.inside("reasoning", "<think>x</think>") is None, "none is declared"
    answer = parse("[A]B[/A]", task="multi_choice", think=False, options=("x", "y"), answer_format="letter",
                   laid_out=own("[A]{answer}[/A]", think=False))  # fmt: skip
    assert (answer.payload, answer.option, answer.well_formed) == ("B", 1, True)


def test_marks_of_any_task_cannot_stand_in_a_body() -> None:
    formats: tuple[tuple[Task, str], ...] = (("grounding", "<when>{span}</when>"),)
    shaped = layout(formats, "multi_choice", False)
    assert not shaped.matches("<answer>B <when></answer>") and shaped.held_mark("answer", "a </when> b") == "</when>"
    assert shaped.held_mark("answer", "a <b> c") is None
    assert (
        shaped.marks == ("<answer>", "</answer>")
        and PAPER["grounding"] == "<think> {reasoning} </think> <answer> {span} </answer>"
    )


def test_long_texts_are_read_in_linear_time() -> None:
    formats = ("{answer}", "<think>{reasoning}</think> {answer}", "{reasoning}\nFinal answer: {answer}", "**{answer}**")
    begun = time.perf_counter()
    for format, text in product(
        formats, (" " * 50_000 + "</think>x", "<think>" * 10_000, "* " * 30_000, "Final answer:" * 5000)
    ):
        shaped = own(format, think="{reasoning}" in format)
        shaped.matches(text), shaped.inside("answer", text)
    assert time.perf_counter() - begun < 5
