import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trlt.task.answer import (
    Answer,
    AnswerFormat,
    free_answer,
    match_open,
    match_text,
    normalise,
    parse,
    parse_option,
    parse_span,
    token_f1,
)
from trlt.task.sample import TASKS, Span, Task

OPTIONS = ("a red ball", "two dogs", "the cat sleeps", "1.5 metres", "no")
FORMATS: tuple[AnswerFormat, ...] = ("letter", "text", "open")


def read(text: str, task: Task = "multi_choice", think: bool = False, form: AnswerFormat = "letter") -> Answer:
    return parse(text, task=task, think=think, options=None if task == "grounding" else OPTIONS, answer_format=form)


@pytest.mark.parametrize(
    ("text", "option"),
    [
        ("B", 1),
        (" b ", 1),
        ("(B)", 1),
        ("(b).", 1),
        ("B.", 1),
        ("B)", 1),
        ("B:", 1),
        ("B) two dogs", 1),
        ("B. Two dogs.", 1),
        ("(B) some other words", 1),
        ("B) B", 1),
        ("Answer: B", 1),
        ("answer: (B) two dogs", 1),
        ("The answer is B.", 1),
        ("The correct answer is: B", 1),
        ("Answer: two dogs", 1),
        ("two dogs", 1),
        ("  Two   DOGS.", 1),
        ("A red ball", 0),
        # The letter and the text disagree: said two things.
        ("B) the cat sleeps", None),
        ("B) C", None),
        ("(B), (C)", None),
        ("(B) and C", None),
        ("B) C, D", None),
        ("(B), (B)", 1),
        ("B) C or so", 1),
        # No letter of an option, and no option's text.
        ("F", None),
        ("Z) two dogs", None),
        ("two", None),
        ("dogs", None),
        ("BC", None),
        ("B or C", None),
        ("A man", None),
        ("", None),
        (".", None),
        ("()", None),
    ],
)
def test_option(text: str, option: int | None) -> None:
    assert parse_option(text, OPTIONS) == option


def test_options_that_look_like_letters() -> None:
    assert parse_option("A", ("B", "A")) == 0, "a letter is a letter first"
    assert parse_option("X", ("X", "Y", "Z")) == 0, "X is no letter of three options, but a text"
    assert parse_option("A) A", ("A", "B")) == 0
    assert parse_option("U.S. flag", ("a flag", "U.S. flag")) == 1
    assert parse_option("same", ("same", "other", "same")) == 0
    assert parse_option("C) same", ("same", "other", "same")) == 2


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("12 to 20.5", (12, 20.5)),
        ("12.0 to 20.5", (12, 20.5)),
        ("12.0s - 20.5s", (12, 20.5)),
        ("12-20.5", (12, 20.5)),
        ("12 – 20.5", (12, 20.5)),
        ("12 and 20.5", (12, 20.5)),
        ("between 12 and 20.5 seconds", (12, 20.5)),
        ("From 12 sec to 20.5 secs.", (12, 20.5)),
        ("[12, 20.5]", (12, 20.5)),
        ("(12,20.5)", (12, 20.5)),
        ("[ 12 s to 20.5 s ]", (12, 20.5)),
        ("0:12 to 0:20.5", (12, 20.5)),
        ("00:12 - 20.5", (12, 20.5)),
        ("1:02:03 to 1:02:04.5", (3723, 3724.5)),
        ("90:00 to 90:01", (5400, 5401)),
        ('{"start_time": "12.3", "end_time": "20.0"}', (12.3, 20)),
        ('{"end_time": 20, "start_time": 12.3}', (12.3, 20)),
        ('{\n  "start_time": "0:12",\n  "end_time": "0:20.5"\n}', (12, 20.5)),
        (".5 to 1", (0.5, 1)),
        ("  12   to\n20.5 ", (12, 20.5)),
        ("5 to 5", (5, 5)),
        ("0 to 0", (0, 0)),
        # Inverted, negative, not finite, missing, or more than one.
        ("20.5 to 12", None),
        ('{"start_time": 20, "end_time": 12}', None),
        ('{"start_time": 12, "start_time": 20}', None),
        ("-1 to 5", None),
        ("nan to 5", None),
        ("0 to inf", None),
        ("0 to " + "9" * 400, None),
        ("0 to 1e400", None),
        ("0:75 to 2:00", None),
        ("1:75:00 to 3:00:00", None),
        ("12", None),
        ("12 to", None),
        ("12 20", None),
        ("1 to 2, 3 to 4", None),
        ("[1, 2, 3]", None),
        ("[1, 2)", None),
        ("start to end", None),
        ("", None),
        ("[", None),
        ("[]", None),
    ],
)
def test_span(text: str, span: tuple[float, float] | None) -> None:
    assert parse_span(text) == span


def test_normalise() -> None:
    assert normalise("The  Two-Dogs, and a cat's ball!") == ("2", "dogs", "and", "cats", "ball")
    assert normalise("twenty-one") == normalise("21") == ("21",)
    assert normalise("twenty zero") == ("20", "0")
    assert normalise("seven one") == ("7", "1")
    assert normalise("1,000 m") == ("1000", "m")
    assert normalise("-5") != normalise("5") and normalise("1.5") != normalise("15")
    assert normalise("5-6") == ("5", "6")
    assert normalise("A") == ("a",), "an article alone is all there is"
    assert normalise("?!") == ()


def test_token_f1() -> None:
    assert token_f1("two dogs", "2 dogs") == 1
    assert token_f1("dogs", "two dogs") == pytest.approx(2 / 3)
    assert token_f1("dogs dogs", "two dogs") == 0.5
    assert token_f1("cat", "two dogs") == token_f1("", "two dogs") == token_f1("", "") == 0


def test_match_open() -> None:
    assert match_open("2 dogs", OPTIONS, 0.5) == 1
    assert match_open("dogs", OPTIONS, 0.5) == 1
    assert match_open("dogs", OPTIONS, 0.7) is None, "F1 is 2/3"
    assert match_open("a ball that is very big and green", OPTIONS, 0.5) is None
    assert match_open("elephant", OPTIONS, 0.01) is None
    assert match_open("red", ("red ball", "red cube"), 0.1) is None, "two best matches"
    assert match_open("red cube", ("red ball", "red cube"), 0.1) == 1
    assert match_open("c++", ("c", "c++"), 0.5) == 1, "the exact text wins where normalised texts are the same"
    assert match_open("c +", ("c", "c++"), 0.5) is None
    assert match_open("left side", ("left", "left", "right"), 0.5) == 0, "equal options count as one"
    assert match_open("a red ball two dogs the cat sleeps 1.5 metres no", OPTIONS, 0.5) is None, "all of them is none"


def test_match_text_falls_back_to_the_letter() -> None:
    assert match_text("red ball", OPTIONS) == 0
    assert match_text("dogs", OPTIONS) is None
    assert match_text("a dog", ("the dog", "dog", "cat")) is None
    assert read("<answer> red ball </answer>", form="text").option == 0
    assert read("<answer> B </answer>", form="text").option == 1
    assert read("<answer> A </answer>", form="text").option == 0
    assert parse("<answer> A </answer>", task="multi_choice", think=False, options=("B", "A"), answer_format="text").option == 1


@pytest.mark.parametrize(
    ("text", "task", "think"),
    [
        ("<answer> B </answer>", "multi_choice", False),
        ("\n<answer>B</answer>\n", "multi_choice", False),
        ("<think> x </think> <answer> B </answer>", "multi_choice", True),
        ("<think>x\ny</think>\n\n<answer>(B)</answer>", "multi_choice", True),
        ("<think> a < b > c </think><answer> B </answer>", "multi_choice", True),
        ("<answer> 12.0 to 20.5 </answer>", "grounding", False),
        ("<answer> 5 to 5 </answer>", "grounding", False),
        ("<think> </think> <answer> 12.0 to 20.5 </answer>", "grounding", True),
        ("<observe> 12.0 to 20.5 </observe> <answer> B </answer>", "grounded_qa", False),
        ("<think> x </think> <observe> 12.0 to 20.5 </observe> <answer> B </answer>", "grounded_qa", True),
    ],
)
def test_well_formed(text: str, task: Task, think: bool) -> None:
    assert read(text, task, think).well_formed
    assert not read(text, task, not think).well_formed, "the other template"
    assert not read(text + " and more", task, think).well_formed
    assert not read("so " + text, task, think).well_formed
    assert not read(text + text, task, think).well_formed
    for tag in re.findall(r"</?\w+>", text):
        assert not read(text.replace(tag, "", 1), task, think).well_formed
        assert not read(text.replace(tag, tag + tag, 1), task, think).well_formed
        assert not read(text.replace(tag, tag.upper(), 1), task, think).well_formed


@pytest.mark.parametrize(
    ("text", "task", "think"),
    [
        ("<answer> F </answer>", "multi_choice", False),
        ("<answer> </answer>", "multi_choice", False),
        ("<answer> B) the cat sleeps </answer>", "multi_choice", False),
        ("<answer> B </answer> <think> x </think>", "multi_choice", True),
        ("<think> x <answer> B </answer> </think>", "multi_choice", True),
        ("<think> x </think> so <answer> B </answer>", "multi_choice", True),
        ("<think> <observe> </think> <answer> B </answer>", "multi_choice", True),
        ("<observe> 1 to 2 </observe> <answer> B </answer>", "multi_choice", False),
        ("<answer> 20 to 12 </answer>", "grounding", False),
        ("<answer> B </answer>", "grounding", False),
        ("<answer> B </answer>", "grounded_qa", False),
        ("<answer> B </answer> <observe> 1 to 2 </observe>", "grounded_qa", False),
        ("<observe> 2 to 1 </observe> <answer> B </answer>", "grounded_qa", False),
        ("<observe> 1 to 2 </observe> <answer> F </answer>", "grounded_qa", False),
    ],
)
def test_not_well_formed(text: str, task: Task, think: bool) -> None:
    assert not read(text, task, think).well_formed


def test_parts() -> None:
    answer = read("<think> why </think> <observe> 1 to 2 </observe> <answer> B) two dogs </answer>", "grounded_qa", True)
    assert answer == Answer("B) two dogs", 1, Span(1, 2), "why", True)
    assert read("<answer> 1 to 2 </answer>", "grounding") == Answer("1 to 2", None, Span(1, 2), None, True)
    assert read("<answer> 1 to 2 </answer>").span is None
    assert read("B") == Answer(None, None, None, None, False), "text outside the tags is no answer"


def test_the_last_complete_answer_wins() -> None:
    assert read("<answer> A </answer> wait <answer> B </answer>").option == 1
    assert read("<answer> A </answer> <answer> B").option == 0
    assert read("<answer> A <answer> B </answer>").option == 1
    assert read("<answer> B </answer> C </answer>").option == 1
    assert read("<observe> 1 to 2 </observe> <observe> 3 to 4 </observe>", "grounded_qa").span == (3, 4)


def test_open_answers_need_no_option_to_be_well_formed() -> None:
    assert read("<answer> an elephant </answer>", form="open") == Answer("an elephant", None, None, None, True)
    assert not read("<answer> ... </answer>", form="open").well_formed
    free = parse("<answer> an elephant </answer>", task="multi_choice", think=False, options=None, answer_format="letter")
    assert free == Answer("an elephant", None, None, None, True)


WORDS = "<think> </think> <answer> </answer> <observe> </observe> < > A B) ( ) . : 12.0 to 20.5 - [ ] nan -1"
pieces = st.sampled_from([*WORDS.split(), "\n", '{"start_time":', "\ud800"])
texts = st.text() | st.lists(pieces | st.text(max_size=3)).map(" ".join) | st.lists(pieces).map("".join)


@given(texts, st.sampled_from(TASKS), st.booleans(), st.sampled_from(FORMATS), st.none() | st.lists(st.text(), max_size=30))
def test_no_text_raises(text: str, task: Task, think: bool, form: AnswerFormat, options: list[str] | None) -> None:
    answer = parse(text, task=task, think=think, options=options, answer_format=form)
    assert answer.option is None or 0 <= answer.option < len(options or ())
    assert answer.span is None or 0 <= answer.span.start <= answer.span.end < math.inf
    if answer.well_formed:
        assert answer.payload and (task == "multi_choice" or answer.span is not None)


@pytest.mark.parametrize("text", ["<answer>" * 20_000, "<think>" + " " * 200_000, "9" * 200_000, "[" * 200_000, "1:" * 100_000])
def test_long_texts_take_no_time(text: str) -> None:
    for task in TASKS:
        assert not read(f"<answer>{text}</answer>", task).well_formed
        assert not read(text, task, think=True).well_formed


@given(texts)
def test_spans_of_any_text(text: str) -> None:
    span = parse_span(text)
    assert span is None or 0 <= span.start <= span.end < math.inf


times = st.floats(0, 1e5).map(lambda t: round(t, 1))


@given(
    times,
    times,
    st.sampled_from(["{} to {}", "{}s - {}s", "{} and {}", "[{}, {}]", '{{"start_time": "{}", "end_time": "{}"}}']),
)
def test_written_spans_are_read_back(start: float, end: float, form: str) -> None:
    assert parse_span(form.format(start, end)) == (Span(start, end) if start <= end else None)


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_clock_times_are_seconds(start: int, length: int) -> None:
    def clock(t: int) -> str:
        return f"{t // 3600}:{t // 60 % 60:02}:{t % 60:02}"

    assert parse_span(f"{clock(start)} to {clock(start + length)}") == (start, start + length)


@given(st.text())
def test_normalise_is_idempotent_on_its_words(text: str) -> None:
    words = normalise(text)
    assert token_f1(text, text) == (1.0 if words else 0.0)


def test_a_free_answer_is_what_follows_the_reasoning_that_it_begins_with():
    found = free_answer("<think>\nIt moves.\n</think>\n\nA dog, I </think> think.")
    assert (found.reasoning, found.payload) == ("It moves.", "A dog, I </think> think.")
    assert (free_answer("<think>\nIt").reasoning, free_answer("<think>\nIt").payload) == ("It", None)
    assert (free_answer(" A dog. ").reasoning, free_answer(" A dog. ").payload) == (None, " A dog. ")
