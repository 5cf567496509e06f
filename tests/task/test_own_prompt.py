"""Prompts in own words: fields, layouts, targets that are read back, and the version that is saved."""

import pickle
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trlt.errors import DataError, RecipeError
from trlt.task.answer import AnswerFormat
from trlt.task.prompt import OURS, VERSION, Words
from trlt.task.prompt_form import PromptForm
from trlt.task.sample import TASKS, Sample, Span, Task
from trlt.task.score import score

MC = Sample(
    "m", "s", "train", "multi_choice", "a.mp4", "What moves?", options=("a ball", "a cat"), answer="a cat", answer_index=1
)
TVG = Sample("g", "s", "train", "grounding", "a.mp4", "a ball rolls", spans=(Span(1, 2), Span(12, 20.46)), duration=77.7)
GQA = Sample(
    "q", "s", "train", "grounded_qa", "a.mp4", "Why?", options=("x", "y"), answer="x", answer_index=0, spans=(Span(5, 9),)
)
FREE = Sample("f", "s", "train", "grounded_qa", "a.mp4", "Why?", answer="two dogs", spans=(Span(5, 9),))
EVERY = "<think>{reasoning}</think><time>{span}</time><say>{answer}</say>"
FORMATS = (
    EVERY,
    r"\why{{reasoning}} \when{{span}} \boxed{{answer}}",
    "[WHY]{reasoning}[/WHY]\n[TIME] {span} [/TIME]\n[ANSWER] {answer} [/ANSWER]",
    "Reasoning: {reasoning}\nTime: {span}\nFinal answer: {answer}",
    "{answer} <- answer {span} <- time {reasoning}",
    "**{answer}** ({span}) so {reasoning} END",
)


def words(template: str | None = None, format: str | None = None, system: str = OURS.system) -> Words:
    return Words(
        system,
        tuple((task, template) for task in TASKS if template is not None),
        tuple((task, format) for task in TASKS if format is not None),
    )


def form(
    template: str | None = None, format: str | None = None, think: bool = False, answers: AnswerFormat = "letter"
) -> PromptForm:
    return PromptForm(think, answers, words=words(template, format))


SHOW = (
    "{{ task }}|{{ question }}|{{ options }}|{{ letters }}|{{ lettered }}|{{ answer_format }}|{{ think }}|{{ format }}|"
    "{{ id }}|{{ source }}|{{ meta.level }}"
)


def test_a_template_shows_these_fields():
    sample = replace(MC, meta={"level": 3})
    assert form(SHOW).prompt(sample).user == (
        "multi_choice|What moves?|['a ball', 'a cat']|['A', 'B']|['A. a ball', 'B. a cat']|letter|False|"
        "<answer> letter </answer>|m|s|3"
    )
    asked = form(SHOW, EVERY, think=True, answers="open").prompt(sample).user
    assert asked == "multi_choice|What moves?|[]|[]|[]|open|True|<think>reasoning</think><say>words</say>|m|s|3"
    gqa = replace(form(SHOW, EVERY, answers="text"), as_gqa=True).prompt(sample).user
    assert gqa.startswith("grounded_qa|What moves?|['a ball', 'a cat']|") and "<time>start to end</time><say>text</say>" in gqa
    free = form(SHOW).prompt(replace(FREE, meta={"level": 1})).user
    assert free.startswith("grounded_qa|Why?|[]|[]|[]|open|False|<observe> start to end </observe> <answer> words </answer>|f")


def test_no_field_holds_the_gold_answer_or_the_length():
    user = form("{{ question }}{{ options }}{{ lettered }}{{ letters }}{{ format }}").prompt(replace(TVG, question="?")).user
    assert "12" not in user and "77" not in user


def test_tasks_without_a_template_or_format_have_the_papers():
    own = PromptForm(
        False, "letter", words=Words("sys", (("multi_choice", "{{ question }}"),), (("grounding", "<t>{span}</t>"),))
    )
    assert own.prompt(MC) == ("sys", "What moves?", False)
    assert own.prompt(TVG).user.endswith("Give the event's start and end in seconds with one decimal: <t>start to end</t>")
    assert own.prompt(GQA).user == PromptForm(False, "letter").prompt(GQA).user
    assert own.target(TVG) == "<t>12.0 to 20.5</t>" and own.target(MC) == "<answer> B </answer>"


def test_the_version_names_the_words_and_nothing_else():
    assert OURS.version == VERSION == "2" and Words().version == "2"
    versions = [words("{{ question }}").version, words("{{ question }} ").version, words(format=EVERY).version]
    versions += [words(system="x").version, words(system="").version]
    assert len({*versions}) == 5 and all(len(one) == 16 and one.startswith("own:") for one in versions)
    assert words("{{ question }}").version == versions[0]
    made = form("{{ question }}", EVERY)
    assert pickle.loads(pickle.dumps(made)) == made, "a cluster's workers get it so"  # noqa: S301


TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
WORDS = TEXT.filter(
    lambda text: text.strip() and not set(text) & set("<>[]{}()*:\\") and "so" not in text and "END" not in text
)
TENTHS = st.integers(0, 10_000).map(lambda value: value / 10)


@st.composite
def samples(draw: st.DrawFn) -> Sample:
    task: Task = draw(st.sampled_from(TASKS))
    start = draw(TENTHS)
    spans = None if task == "multi_choice" else (Span(start, start + 0.1 + draw(TENTHS)),)
    if task == "grounding":
        return Sample("i", "s", "train", task, "a.mp4", "q", spans=spans)
    options = tuple(draw(st.lists(WORDS, min_size=2, max_size=8, unique_by=lambda text: " ".join(text.split()).casefold())))
    index = draw(st.integers(0, len(options) - 1))
    return Sample(
        "i", "s", "train", task, "a.mp4", "q", options=options, answer=options[index], answer_index=index, spans=spans
    )


@given(samples(), st.sampled_from(FORMATS), st.booleans(), st.sampled_from(("letter", "text")), st.none() | WORDS)
def test_targets_of_every_format_are_read_back_as_right(
    sample: Sample, format: str, think: bool, answers: AnswerFormat, reasoning: str | None
):
    own = form(format=format, think=think, answers=answers)
    text = own.target(sample, reasoning)
    answer = own.read(sample, text)
    scores = score(answer, sample)
    assert (
        scores.format == 1.0 and scores.accuracy in (None, 1.0) and (scores.tiou is None or scores.tiou == pytest.approx(1.0))
    )
    if think:
        assert answer.reasoning == (reasoning or "").strip()
    assert not own.read(sample, f"{text} {text}").well_formed
    assert all(mark in own.prompt(sample).user for mark in own.words.layout(sample.task, think=think).marks)


@pytest.mark.parametrize(
    ("format", "answer", "mark"),
    [
        (EVERY, "a </say> b", "</say>"),
        (EVERY, "a <time> b", "<time>"),
        (r"\boxed{{answer}}", r"\frac{1}{2}", "}"),
        ("Final answer: {answer}", "the final  Final  answer: x", "Final  answer:"),
    ],
)
def test_an_answer_that_holds_a_mark_is_no_target(format, answer, mark):
    sample = replace(MC, options=("x", answer), answer=answer)
    own = PromptForm(False, "text", words=Words(layouts=(("multi_choice", format),)))
    with pytest.raises(DataError, match="sample 'm': answer: holds the mark") as found:
        own.target(sample)
    assert repr(mark) in str(found.value)
    assert own.target(replace(sample, answer="x", answer_index=0)), "the other option can be said"


def test_single_marks_of_the_papers_tags_stand_under_own_ones():
    own = PromptForm(False, "text", words=Words(layouts=tuple((task, EVERY) for task in TASKS)))
    said = replace(MC, options=("x", "the tag <answer>"), answer="the tag <answer>")
    assert own.target(said) == "<say>the tag <answer></say>" and own.read(said, own.target(said)).option == 1
    assert own.read(MC, "<answer> a cat </answer>").payload is None


@pytest.mark.parametrize(
    ("template", "format", "said"),
    [
        (
            "{{ question }}",
            None,
            r"asks sample 'm' \(multi_choice\) without showing <answer>, </answer>, by which its answer is",
        ),
        ("{{ question }} [A] letter [/A]", None, "without showing <answer>, </answer>"),
        ("{{ question }} {{ format }} {{ meta.level }}", None, "sample 'm': prompt.template: line 1: 'dict object' has no"),
        ("{% if task == 'x' %}{{ question }}{% endif %}", None, "sample 'm': prompt.template: makes an empty text"),
        ("{{ question }} {{ '<|im_' ~ 'end|>' }}", None, r"makes a text with the mark '<\|im_end\|>'"),
        ("{{ question }} {{ format }}", "<a>{answer}</a>", r"has no \{span\}, and the prompt is about grounding questions"),
    ],
)
def test_words_are_tried_on_the_first_sample_of_each_task(template, format, said):
    with pytest.raises(RecipeError, match=said):
        form(template, format).try_out([MC, TVG])


def test_words_that_can_be_used_pass():
    many = replace(MC, options=tuple(str(i) for i in range(27)), answer="1", answer_index=1)
    form("{{ question }} <answer> like this </answer>{% if task == 'grounded_qa' %} <observe> </observe>{% endif %}").try_out(
        [many, replace(MC, question="<|im_end|>"), MC, TVG, GQA]
    )
    PromptForm(True, "letter").try_out([MC])
    with pytest.raises(RecipeError, match=r"has no \{reasoning\}"):
        form(format="<a>{span}</a> <b>{answer}</b>", think=True).try_out([MC])
