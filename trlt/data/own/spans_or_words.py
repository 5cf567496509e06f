"""Whether the answers of questions without options are time spans or words. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from trlt.data.own.rows import Asked
from trlt.data.own.values import stated_span
from trlt.errors import counted, shown
from trlt.task.answer import parse_span


def answers_are_spans(questions: Sequence[Asked]) -> bool:
    """Whether every answer of questions without options and spans states a span, so that answers are the spans."""
    free = [
        one.answer for one in questions if not one.options and not one.spans and one.answer is not None and not one.is_no_span
    ]
    return bool(free) and all(stated_span(answer) for answer in free)


def spans_in_words(questions: Sequence[Asked]) -> tuple[str, ...]:
    """A note where some answers, though not all, state a time span."""
    free = [
        one for one in questions if not one.options and not one.spans and isinstance(one.answer, str) and not one.is_no_span
    ]
    stating = [one for one in free if parse_span(one.answer) is not None]
    if not stating:
        return ()
    return (
        f"{len(stating):,} of {counted(len(free), 'answer')} without options are spans, such as {shown(stating[0].answer)} "
        f"({stating[0].where}), and are taken for words, because the others are words; where they are times of events, "
        "put these questions into a table of their own, or the times into a column spans",
    )
