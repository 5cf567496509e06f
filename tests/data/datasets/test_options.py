"""Options inside a question, answers that name them, instructions, and what is left over."""

from __future__ import annotations

import pytest

from trlt.data.datasets._common import left_over, without_instruction
from trlt.data.datasets._options import bare, choose, fault, split_options
from trlt.task.wording import needs_options


@pytest.mark.parametrize(
    ("text", "question", "options"),
    [
        ("What?\nOptions:\nA. a cat\nB. a dog", "What?", ("a cat", "a dog")),
        ("What?\n(A) a cat\n(B) a dog\n(C) none", "What?", ("a cat", "a dog", "none")),
        ("What? Options: A. a cat B. a dog C. an A. Smith", "What?", ("a cat", "a dog", "an A. Smith")),
        ("What does A. Smith do?\nA) sit\nB) run", "What does A. Smith do?", ("sit", "run")),
        ("What?\nA. a cat that\nsits\nB. a dog", "What?", ("a cat that sits", "a dog")),
        ("A: why?\nWhat is meant?\nA. x\nB. y", "A: why? What is meant?", ("x", "y")),
        ("What is vitamin C. good for?", "What is vitamin C. good for?", ()),
        ("What?\nA. only one", "What? A. only one", ()),
    ],
)
def test_options_are_taken_out(text: str, question: str, options: tuple[str, ...]) -> None:
    assert split_options(text) == (question, options)


OPTIONS = ("a cat.", "a dog", "B")


@pytest.mark.parametrize(
    ("answer", "place", "reason"),
    [
        ("A", 0, None),
        ("b", 1, None),
        ("(B) a dog", 1, None),
        ("A. a cat", 0, None),
        ("A dog", 1, None),
        ("a cat", 0, None),
        ("B. a cat", None, "letter_and_text_disagree"),
        ("E. training", None, "letter_out_of_range"),
        ("a horse", None, "answer_not_an_option"),
        ("  ", None, "empty_answer"),
    ],
)
def test_annotated_answers(answer: str, place: int | None, reason: str | None) -> None:
    assert choose(answer, OPTIONS) == (place, reason)


def test_options_that_still_have_letters_are_dropped() -> None:
    assert fault(("A. a cat", "B. a dog"), 0, bench=False) == "lettered_options"
    assert fault(("A. a cat", "B. a dog"), 0, bench=True) is None
    assert fault(("A. Lincoln", "a dog"), 0, bench=False) is None


def test_letters_of_a_list_go() -> None:
    assert bare("B. a dog", 1) == "a dog" and bare("(B) a dog", 1) == "a dog"
    assert bare("B. a dog", 0) == "B. a dog", "another letter is part of the text"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("Q?\nA. x\nPlease provide your answer by stating the letter followed by the full option.", "Q?\nA. x"),
        ("Q? Answer with the option's letter from the given choices directly.", "Q?"),
        ("Q?\nAnswer the question using a single word or phrase.", "Q?"),
        ("Q? Select the best option.", "Q?"),
        ("Which word did he write", "Which word did he write"),
        ("what choice did she give him", "what choice did she give him"),
        ("Please select the right option.", "Please select the right option."),
    ],
)
def test_instructions_go(text: str, left: str) -> None:
    assert without_instruction(text) == left


@pytest.mark.parametrize("text", ["from <s0> to <e10>", "<TIME_ZERO>", "at <12.3>", "at <7>", "<image> what", "[S3] x"])
def test_placeholders_are_noticed(text: str) -> None:
    assert left_over(text)


@pytest.mark.parametrize("text", ["is 3 < 4 > 2", "what does <b> mean", "a cat", "<3 she said"])
def test_other_texts_are_not_placeholders(text: str) -> None:
    assert not left_over(text)


@pytest.mark.parametrize(
    ("question", "options", "needed"),
    [
        ("Which of the following happens first?", ("a run", "a jump"), True),
        ("Which one of these statements is true?", ("a run", "a jump"), True),
        ("What best describes the video?", ("a run", "a jump"), True),
        ("Which option is right?", ("a run", "a jump"), True),
        ("Which caption matches the video better?", ("a run", "a jump"), True),
        ("Which description is a more suitable match for the video?", ("a run", "a jump"), True),
        ("Which color is the sentence on the board?", ("red", "blue"), False),
        ("What happens after the run?", ("a jump", "All of the above"), True),
        ("What happens after the run?", ("a jump", "Both A and B"), True),
        ("What happens after the run?", ("a jump", "None of the options"), True),
        ("What happens after the run?", ("a jump", "both of them fall"), False),
        ("What does the man following the dog hold?", ("a stick", "a ball"), False),
        ("Who is in the box below the stairs?", ("a cat", "a dog"), False),
    ],
)
def test_questions_that_need_their_options(question: str, options: tuple[str, ...], needed: bool) -> None:
    assert needs_options(question, options) is needed
