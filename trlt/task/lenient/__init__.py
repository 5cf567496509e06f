"""The third way to read an output: what it says in whatever spelling, as long as it says one thing. Pure.

The strict parser (`trlt.task.answer`) reads the form that was asked for. This one reads what a person would read at a glance in
an output that another prompt or another tool asked for: `**B**`, `The answer is (B)`, `{"answer": "B"}`, `from 3 seconds to
nine seconds`. It recovers spellings and decides nothing: an output that states two different options, or two different spans,
as its answer is unread, also where one stands last, since reading the last would reward those that name several. What the
strict parser read is kept. Where the prompt asked for several spans, all that the answer states are its spans. No text makes it
raise, and its time grows with the length of the text, not faster.
"""

from __future__ import annotations

from dataclasses import replace

from trlt.task.answer import Answer
from trlt.task.choices import find_choices
from trlt.task.lenient.numbers import find_number
from trlt.task.lenient.options import find_option, said_words
from trlt.task.lenient.spans import find_span, find_spans
from trlt.task.lenient.text import cleaned, final_part, inside, without
from trlt.task.numbers import parse_number
from trlt.task.sample import Sample

__all__ = ["read_leniently"]


def read_leniently(sample: Sample, text: str, strict: Answer, *, letters: bool = True) -> Answer:
    """The answer that a text states, in any of the spellings in `docs/results.md`.

    Args:
        sample: The question.
        text: The raw completion.
        strict: The same completion by the strict parser; each part that it read is taken as it is.
        letters: Whether letters name options; not where the prompt showed none (`open`).
    """
    wants_option = sample.task != "grounding" and strict.option is None and not strict.choices
    wants_span = sample.task != "multi_choice" and strict.span is None
    unsaid = strict.payload is None or (sample.numeric and parse_number(strict.payload) is None)
    wants_words = sample.task != "grounding" and sample.options is None and unsaid
    if not (wants_option or wants_span or wants_words):
        return strict
    said = final_part(cleaned(text))
    # The parts that the strict parser found may have marks of a layout of one's own.
    answered = inside("answer", said) if strict.payload is None else cleaned(strict.payload)
    observed = inside("observe", said) if strict.observed is None else cleaned(strict.observed)
    answer = strict
    if wants_span:
        place = observed if sample.task == "grounded_qa" else answered
        place = said if place is None else place
        if sample.several:
            first, *further = find_spans(place) or (None,)
            answer = replace(answer, span=first, further=tuple(further))
        else:
            answer = replace(answer, span=find_span(place))
    rest = without("observe", said) if answered is None else answered
    if wants_option and sample.options is not None:
        if sample.answer_indices is not None:
            answer = replace(answer, choices=find_choices(rest, sample.options))
        else:
            answer = replace(answer, option=find_option(rest, sample.options, letters=letters))
    if wants_words:
        words = said_words(rest)
        answer = replace(answer, payload=find_number(words or rest) if sample.numeric else words)
    return answer
