"""Turns a sample into the prompt's text, and into the target of SFT. The only place with wording, besides a recipe's own.

Knows tasks, templates and layouts; never videos (the video precedes the user's text), tokens or rewards. The prompt doesn't
state the video's duration: the model reads the frames' times.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from trlt.errors import DataError
from trlt.task.answer import BETWEEN, LETTERS, AnswerFormat
from trlt.task.layout import PAPER, Declared, Layout, Place, layout, read_parts
from trlt.task.sample import Sample, Span, Task
from trlt.task.template import rendered
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
_ALL_THAT_APPLY = "the letters of all options that apply"
_SHAPE: dict[AnswerFormat, str] = {"letter": "letter", "text": "text", "open": "words"}
_TIMES = "start and end in seconds with one decimal"
_SEVERAL = f"the {_TIMES} of each time that it happens, the most certain first"
_SHAPE_OF_TIMES = "start to end"
_UNSAID = re.compile(
    "[\ud800-\udfff]|<\\|(?:im_start|im_end|endoftext|vision_start|vision_end|vision_pad|image_pad|video_pad)\\|>"
)
"""Half a surrogate pair, and Qwen's chat marks: a tokenizer takes such a text for the mark itself."""


FIELDS = (
    *(
        "question",
        "task",
        "options",
        "letters",
        "lettered",
        "answer_format",
        "think",
        "several",
        "numeric",
        "all_that_apply",
        "format",
        "subtitles",
    ),
    *("id", "source", "meta"),
)
"""What an own template can show; `docs/own-prompts.md` tells their meaning. None holds the gold answer."""


@dataclass(frozen=True, slots=True)
class Words:
    """The wording of prompts, and the layouts of completions; the defaults are ours, with the paper's tags."""

    system: str = SYSTEM
    """Empty: no system turn, whose place some chat templates fill with a text of their own."""
    templates: tuple[tuple[Task, str], ...] = ()
    """Own Jinja templates of the user's text, by task; tasks without one have our wording."""
    layouts: Declared = ()
    """Own layouts, by task; tasks without one have the paper's."""
    trim: bool = True
    """Take off white space around what a template makes."""

    @property
    def version(self) -> str:
        """Names the wording in manifests and results: metrics under different ones aren't comparable."""
        if self == Words():
            return VERSION
        told = json.dumps(
            [VERSION, self.system, sorted(self.templates), sorted(self.layouts), *([] if self.trim else ["as is"])]
        )
        return f"own:{hashlib.sha256(told.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}"

    @property
    def begins_with_think(self) -> bool:
        """Whether completions with reasoning begin with `<think>`, as some chat templates begin them."""
        return all(read_parts(declared)[0].opens == "<think>" for _, declared in self.layouts)

    @property
    def marks(self) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
        """All marks of two characters or more, and the pairs around reasoning: for pages that show completions."""
        shown: dict[str, None] = {}
        around: dict[tuple[str, str], None] = {}
        for declared in {**PAPER, **dict(self.layouts)}.values():
            for part in read_parts(declared):
                shown |= dict.fromkeys(mark for mark in (part.opens, part.closes) if len(mark) > 1)
                if part.place == "reasoning":
                    around[part.opens, part.closes] = None
        return tuple(shown), tuple(around)

    def layout(self, task: Task, *, think: bool) -> Layout:
        """The layout of a task's completions.

        Raises:
            DataError: it lacks a place that the task needs.
        """
        try:
            return layout(self.layouts, task, think)
        except ValueError as error:
            raise DataError(f"prompt.format: {error}") from None


OURS = Words()


class Prompt(NamedTuple):
    """The two messages of one question; the video goes before `user`."""

    system: str
    user: str
    think: bool | None = None
    """Whether it asks for reasoning, to chat templates that have a say in it; None leaves it to them."""


def build(sample: Sample, *, think: bool, answer_format: AnswerFormat, as_gqa: bool = False, words: Words = OURS) -> Prompt:
    """The prompt of one sample (2.1 and 2.3 of the paper give the tags, not the wording).

    Args:
        sample: The question.
        think: Ask for `<think> ... </think>` first.
        answer_format: Ignored for grounding; a question without options is asked as `open`.
        as_gqa: Ask multi-choice with the grounded QA template ("Infer as GQA", Table 6).
        words: Own wording and layouts.

    Raises:
        DataError: more options than letters; or an own template that fails, or whose text can't be put to a model.
    """
    task, form = asked_as(sample, as_gqa=as_gqa), asked_format(sample, answer_format)
    options = () if task == "grounding" or form == "open" else _lettered(sample)
    shape = _shape(sample, words.layout(task, think=think), form)
    template = dict(words.templates).get(task)
    if template is None:
        return Prompt(words.system, _ours(sample, options, task, form, think, shape), think)
    letters = [letter(index) for index in range(len(options))]
    fields: dict[str, Any] = {
        "question": sample.question,
        "task": task,
        "options": list(options),
        "letters": letters,
        "lettered": [f"{name}. {text}" for name, text in zip(letters, options, strict=True)],
        "answer_format": form,
        "think": think,
        "several": sample.several,
        "numeric": sample.numeric,
        "all_that_apply": sample.answer_indices is not None,
        "subtitles": sample.subtitles,
        "format": shape,
        "id": sample.id,
        "source": sample.source,
        "meta": sample.meta,
    }
    try:
        user = rendered(template, fields, trim=words.trim)
    except DataError as error:
        raise DataError(f"sample {sample.id!r}: prompt.template: {error}") from None
    if not user.strip() or (found := unsaid(user)):
        made = f"a text with {found}" if user.strip() else "an empty text"
        raise DataError(f"sample {sample.id!r}: prompt.template: makes {made}")
    return Prompt(words.system, user, think)


def _shape(sample: Sample, laid_out: Layout, form: AnswerFormat) -> str:
    """A completion with words in its places.

    Raises:
        DataError: a list of spans would be cut off by a mark of the layout.
    """
    span = f"{_SHAPE_OF_TIMES}{BETWEEN} {_SHAPE_OF_TIMES}" if sample.several else _SHAPE_OF_TIMES
    if sample.several and (mark := laid_out.held_mark("span", render_spans((Span(1.0, 2.0), Span(3.0, 4.0))))):
        raise DataError(
            f"sample {sample.id!r}: prompt.format: its mark {mark!r} stands in lists of spans too (`1.0 to 2.0{BETWEEN} 3.0 to "
            "4.0`), which this question asks for; take another mark"
        )
    said = "number" if sample.numeric else "letters" if sample.answer_indices is not None else _SHAPE[form]
    return laid_out.written({"reasoning": "reasoning", "span": span, "answer": said})


def _ours(sample: Sample, options: Sequence[str], task: Task, form: AnswerFormat, think: bool, shape: str) -> str:
    """The user's text in our wording."""
    if task == "grounding":
        lines, ask = [f"Event: {sample.question}"], _SEVERAL if sample.several else f"the event's {_TIMES}"
    else:
        lines = [f"Question: {sample.question}", *(f"{letter(index)}. {text}" for index, text in enumerate(options))]
        ask = "a number" if sample.numeric else _ALL_THAT_APPLY if sample.answer_indices is not None else _ASK[form]
    if task == "grounded_qa":
        ask = f"the {_TIMES} of what shows the answer, then {ask}"
    if think:
        ask = f"your reasoning, then {ask}"
    said = ["Subtitles:", sample.subtitles] if sample.subtitles else []
    return "\n".join([*said, *lines, f"Give {ask}: {shape}"])


def unaskable(sample: Sample) -> str | None:
    """Why a sample can't be put to a model: what its question, options or subtitles hold; None if it can."""
    found = next((part for text in (sample.question, *(sample.options or ())) if (part := unsaid(text))), None)
    if found is None and (found := unsaid(sample.subtitles)):
        return f"subtitles: hold {found}; take it out of the text"
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
    if sample.answer_indices is not None:  # several are named by their letters, whatever the others are
        return "letter"
    return "text" if answer_format == "open" and needs_options(sample.question, sample.options) else answer_format


def render_answer(
    sample: Sample, *, think: bool, answer_format: AnswerFormat, reasoning: str | None = None, words: Words = OURS
) -> str:
    """The gold completion: the target of SFT, which `answer.parse` reads back as right.

    With several gold spans it has the longest (the first of equals), whose IoU with the union of all is the highest; a question
    that asks for several has all of them, in their order.

    Args:
        sample: The question with its gold answer.
        think: Whether the prompt asked for reasoning.
        answer_format: As the prompt asked; `open` and `text` are answered by the option's text.
        reasoning: Content of `<think>`; None leaves it empty.
        words: With the layouts that the prompt asked for.

    Raises:
        DataError: reasoning or an answer that holds a mark of the layout, which would break it, or that is no text to a model.
    """
    laid_out = words.layout(sample.task, think=think)
    bodies: dict[Place, str] = {}
    for part in laid_out.parts:
        if part.place == "reasoning":
            body = reasoning or ""
        elif part.place == "span":
            body = _times(sample)
        else:
            body = _gold(sample, asked_format(sample, answer_format))
        mark = laid_out.held_mark(part.place, body)
        found = f"the mark {mark!r} of the answer's format" if mark else unsaid(body)
        if found:
            raise DataError(f"sample {sample.id!r}: {part.place}: holds {found}; take it out of the text")
        bodies[part.place] = body
    return laid_out.written(bodies)


def _gold(sample: Sample, form: AnswerFormat) -> str:
    if sample.answer_indices is not None:
        _lettered(sample)
        return ", ".join(map(letter, sample.answer_indices))
    if form != "letter" or sample.answer_index is None:
        return sample.answer or ""
    _lettered(sample)
    return letter(sample.answer_index)


def _times(sample: Sample) -> str:
    if sample.several:
        return render_spans(sample.spans or ())
    return render_span(max(sample.spans or (), key=lambda span: span.length))


def render_span(span: Span) -> str:
    """`12.0 to 20.5`: seconds with one decimal."""
    return f"{span.start:.1f} to {span.end:.1f}"


def render_spans(spans: Sequence[Span]) -> str:
    """`12.0 to 20.5; 30.0 to 41.0`, as `trlt.task.answer.parse_spans` reads it."""
    return f"{BETWEEN} ".join(map(render_span, spans))


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
