"""Turns a sample into the prompt's text, and into the target of SFT. The only place with wording.

Knows tasks and templates; never videos (the video precedes the user's text), tokens or rewards. The prompt doesn't state the
video's duration: the model reads the frames' times.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from trlt.errors import DataError
from trlt.task.answer import LETTERS, AnswerFormat
from trlt.task.sample import Sample, Span, Task
from trlt.task.wording import needs_options

VERSION = "2"
"""Changes with any word below, or with the choice of templates; saved with every run: metrics under different wordings aren't
comparable."""

SYSTEM = "You answer questions about a video."

_ASK: dict[AnswerFormat, str] = {
    "letter": "the letter of the right option",
    "text": "the text of the right option",
    "open": "a few words",
}
_SHAPE: dict[AnswerFormat, str] = {"letter": "letter", "text": "text", "open": "words"}
_TIMES = "start and end in seconds with one decimal"
_UNSAID = re.compile(
    "[\ud800-\udfff]|<\\|(?:im_start|im_end|endoftext|vision_start|vision_end|vision_pad|image_pad|video_pad)\\|>"
)
"""Half a surrogate pair, and Qwen's chat marks: a tokenizer takes such a text for the mark itself."""


class Prompt(NamedTuple):
    """The two messages of one question; the video goes before `user`."""

    system: str
    user: str
    think: bool | None = None
    """Whether it asks for reasoning, to chat templates that have a say in it; None leaves it to them."""


def build(sample: Sample, *, think: bool, answer_format: AnswerFormat, as_gqa: bool = False) -> Prompt:
    """The prompt of one sample (2.1 and 2.3 of the paper give the tags, not the wording).

    Args:
        sample: The question.
        think: Ask for `<think> ... </think>` first.
        answer_format: Ignored for grounding; a question without options is asked as `open`.
        as_gqa: Ask multi-choice with the grounded QA template ("Infer as GQA", Table 6).

    Raises:
        DataError: more options than letters.
    """
    task, form = asked_as(sample, as_gqa=as_gqa), asked_format(sample, answer_format)
    if task == "grounding":
        lines = [f"Event: {sample.question}"]
        ask, shape = f"the event's {_TIMES}", "<answer> start to end </answer>"
    else:
        lines = [f"Question: {sample.question}"]
        if form != "open":
            lines += [f"{letter(index)}. {text}" for index, text in enumerate(_lettered(sample))]
        ask, shape = _ASK[form], f"<answer> {_SHAPE[form]} </answer>"
    if task == "grounded_qa":
        ask, shape = f"the {_TIMES} of what shows the answer, then {ask}", f"<observe> start to end </observe> {shape}"
    if think:
        ask, shape = f"your reasoning, then {ask}", f"<think> reasoning </think> {shape}"
    return Prompt(SYSTEM, "\n".join([*lines, f"Give {ask}: {shape}"]), think)


def unaskable(sample: Sample) -> str | None:
    """Why a sample can't be put to a model: what its question or options hold; None if it can."""
    found = next((part for text in (sample.question, *(sample.options or ())) if (part := unsaid(text))), None)
    return f"question or options: hold {found}; take it out of the text" if found else None


def unsaid(text: str) -> str | None:
    """The part of a text that is no text to a model, in words."""
    found = _UNSAID.search(text)
    if not found:
        return None
    return f"the mark {found[0]!r}" if found[0].startswith("<") else "half a surrogate pair"


def asked_as(sample: Sample, *, as_gqa: bool = False) -> Task:
    """The task whose template a sample's prompt uses; `answer.parse` needs it."""
    return "grounded_qa" if as_gqa and sample.task == "multi_choice" else sample.task


def asked_format(sample: Sample, answer_format: AnswerFormat) -> AnswerFormat:
    """The answer format that a sample allows.

    Without options there is nothing to choose from. If the question needs them ("which of the following ..."), hiding them
    would make it unanswerable: such a question is answered with its option's text.
    """
    if sample.options is None:
        return "open"
    return "text" if answer_format == "open" and needs_options(sample.question, sample.options) else answer_format


def render_answer(sample: Sample, *, think: bool, answer_format: AnswerFormat, reasoning: str | None = None) -> str:
    """The gold completion: the target of SFT, which `answer.parse` reads back as right.

    With several gold spans it has the longest (the first of equals), whose IoU with the union of all is the highest.

    Args:
        sample: The question with its gold answer.
        think: Whether the prompt asked for reasoning.
        answer_format: As the prompt asked; `open` and `text` are answered by the option's text.
        reasoning: Content of `<think>`; None leaves it empty.

    Raises:
        DataError: reasoning or an answer that holds a tag of the template, which would break it, or that is no text to a model.
    """
    parts = []
    if think:
        parts.append(_tagged(sample, "think", reasoning or ""))
    if sample.task != "multi_choice":
        parts.append(_tagged(sample, "observe" if sample.task == "grounded_qa" else "answer", _times(sample)))
    if sample.task != "grounding":
        parts.append(_tagged(sample, "answer", _gold(sample, asked_format(sample, answer_format))))
    return " ".join(parts)


def _tagged(sample: Sample, tag: str, body: str) -> str:
    tags = re.search(r"</?(?:think|observe|answer)>", body)
    found = f"the tag {tags[0]!r}" if tags else unsaid(body)
    if found:
        raise DataError(f"sample {sample.id!r}: {tag}: holds {found}; take it out of the text")
    return " ".join([f"<{tag}>", *([body.strip()] if body.strip() else []), f"</{tag}>"])


def _gold(sample: Sample, form: AnswerFormat) -> str:
    if form != "letter" or sample.answer_index is None:
        return sample.answer or ""
    _lettered(sample)
    return letter(sample.answer_index)


def _times(sample: Sample) -> str:
    return render_span(max(sample.spans or (), key=lambda span: span.length))


def render_span(span: Span) -> str:
    """`12.0 to 20.5`: seconds with one decimal."""
    return f"{span.start:.1f} to {span.end:.1f}"


def letter(index: int) -> str:
    """The letter of an option, from A."""
    return LETTERS[index]


def _lettered(sample: Sample) -> tuple[str, ...]:
    options = sample.options or ()
    if len(options) > len(LETTERS):
        raise DataError(
            f"sample {sample.id!r}: options: {len(options)} are more than the {len(LETTERS)} letters; "
            "ask it with answer_format: open"
        )
    return options
