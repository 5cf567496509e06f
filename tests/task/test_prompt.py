import pytest
from hypothesis import given
from hypothesis import strategies as st

from trlt.errors import DataError
from trlt.task.answer import AnswerFormat, parse
from trlt.task.prompt import VERSION, asked_as, asked_format, build, letter, render_answer
from trlt.task.sample import Sample, Span
from trlt.task.score import score

MC = Sample(
    "1", "s", "train", "multi_choice", "a.mp4", "What moves?", options=("a ball", "a cat"), answer="a cat", answer_index=1
)
TVG = Sample("2", "s", "train", "grounding", "a.mp4", "a ball rolls", spans=(Span(1, 2), Span(12, 20.46)), duration=77.7)
GQA = Sample(
    "3", "s", "train", "grounded_qa", "a.mp4", "Why?", options=("x", "y"), answer="x", answer_index=0, spans=(Span(5, 9),)
)
FREE = Sample("4", "s", "train", "grounded_qa", "a.mp4", "Why?", answer="two dogs", spans=(Span(5, 9),))
FORMATS: tuple[AnswerFormat, ...] = ("letter", "text", "open")


def ask(sample: Sample, think: bool = False, form: AnswerFormat = "letter", as_gqa: bool = False) -> str:
    return build(sample, think=think, answer_format=form, as_gqa=as_gqa).user


def test_wording() -> None:
    assert VERSION == "2", "raise it with any change of the words below"
    assert build(MC, think=False, answer_format="letter").system == "You answer questions about a video."
    assert ask(MC) == (
        "Question: What moves?\nA. a ball\nB. a cat\nGive the letter of the right option: <answer> letter </answer>"
    )
    assert ask(MC, form="text") == (
        "Question: What moves?\nA. a ball\nB. a cat\nGive the text of the right option: <answer> text </answer>"
    )
    assert ask(MC, form="open") == "Question: What moves?\nGive a few words: <answer> words </answer>"
    assert ask(MC, think=True) == (
        "Question: What moves?\nA. a ball\nB. a cat\nGive your reasoning, then the letter of the right option: "
        "<think> reasoning </think> <answer> letter </answer>"
    )
    assert ask(TVG) == (
        "Event: a ball rolls\nGive the event's start and end in seconds with one decimal: <answer> start to end </answer>"
    )
    assert ask(GQA) == (
        "Question: Why?\nA. x\nB. y\nGive the start and end in seconds with one decimal of what shows the answer, then the "
        "letter of the right option: <observe> start to end </observe> <answer> letter </answer>"
    )


def test_as_gqa_changes_multi_choice_alone() -> None:
    assert ask(MC, as_gqa=True).endswith("<observe> start to end </observe> <answer> letter </answer>")
    assert asked_as(MC, as_gqa=True) == "grounded_qa" and asked_as(MC) == "multi_choice"
    assert ask(TVG, as_gqa=True) == ask(TVG) and ask(GQA, as_gqa=True) == ask(GQA)


def test_what_a_prompt_hides() -> None:
    for think in (True, False):
        assert "77" not in ask(TVG, think), "the duration"
        assert "ball" not in ask(MC, think, "open"), "the options"
        assert ask(FREE, think) == ask(FREE, think, "open") and asked_format(FREE, "letter") == "open"
        for form in FORMATS:
            assert "12" not in ask(TVG, think, form), "the gold span"


def test_rendered_answers() -> None:
    assert render_answer(MC, think=False, answer_format="letter") == "<answer> B </answer>"
    assert render_answer(MC, think=False, answer_format="text") == "<answer> a cat </answer>"
    assert render_answer(MC, think=False, answer_format="open") == "<answer> a cat </answer>"
    assert render_answer(MC, think=True, answer_format="letter", reasoning=" so ") == "<think> so </think> <answer> B </answer>"
    assert render_answer(MC, think=True, answer_format="letter") == "<think> </think> <answer> B </answer>"
    assert render_answer(TVG, think=False, answer_format="letter") == "<answer> 12.0 to 20.5 </answer>", "the longest span"
    assert render_answer(GQA, think=False, answer_format="letter") == "<observe> 5.0 to 9.0 </observe> <answer> A </answer>"
    assert (
        render_answer(FREE, think=False, answer_format="letter")
        == "<observe> 5.0 to 9.0 </observe> <answer> two dogs </answer>"
    )


def test_reasoning_with_a_tag_is_refused() -> None:
    with pytest.raises(DataError, match="sample '1': reasoning: holds the mark '</think>'"):
        render_answer(MC, think=True, answer_format="letter", reasoning="so </think> <answer> A </answer>")


def test_more_options_than_letters() -> None:
    options = tuple(str(i) for i in range(27))
    many = Sample("5", "s", "train", "multi_choice", "a.mp4", "q?", options=options, answer="26", answer_index=26)
    for call in (build, render_answer):
        with pytest.raises(DataError, match="27 are more than the 26 letters"):
            call(many, think=False, answer_format="letter")
        assert call(many, think=False, answer_format="open")
    assert letter(0) == "A" and letter(25) == "Z"


words = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20).filter(lambda text: "<" not in text and text.strip())
tenths = st.integers(0, 10_000).map(lambda value: value / 10)


@st.composite
def samples(draw: st.DrawFn) -> Sample:
    task = draw(st.sampled_from(("multi_choice", "grounding", "grounded_qa")))
    spans = tuple(Span(a, a + 0.1 + b) for a, b in draw(st.lists(st.tuples(tenths, tenths), min_size=1, max_size=3)))
    if task == "grounding":
        return Sample("i", "s", "train", task, "a.mp4", draw(words), spans=spans)
    options = tuple(draw(st.lists(words, min_size=2, max_size=8, unique_by=lambda text: " ".join(text.split()).casefold())))
    index = draw(st.integers(0, len(options) - 1))
    return Sample(
        "i",
        "s",
        "train",
        task,
        "a.mp4",
        draw(words),
        options=options,
        answer=options[index],
        answer_index=index,
        spans=None if task == "multi_choice" else spans,
    )


@given(samples(), st.booleans(), st.sampled_from(("letter", "text")), st.none() | words)
def test_rendered_answers_are_read_back_as_right(
    sample: Sample, think: bool, form: AnswerFormat, reasoning: str | None
) -> None:
    text = render_answer(sample, think=think, answer_format=form, reasoning=reasoning)
    answer = parse(text, task=sample.task, think=think, options=sample.options, answer_format=form)
    scores = score(answer, sample)
    assert scores.format == 1.0
    assert scores.accuracy in (None, 1.0)
    assert scores.tiou is None or scores.tiou == pytest.approx(1.0)
    assert build(sample, think=think, answer_format=form).user
