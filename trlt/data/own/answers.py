"""Which option an answer names: a letter, a text, a letter with its text, or a place from 0 or 1. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple

from trlt.data.datasets._options import choose
from trlt.data.own.values import Unusable, text
from trlt.errors import shown
from trlt.task.answer import LETTERS, parse_option, plain
from trlt.task.choices import parse_choices

Counting = Literal["texts", 0, 1]
"""What whole numbers among the answers are: texts of options, or places from 0 or from 1."""
_TAGGED = re.compile(r"<answer>((?:(?!</?answer>).)*)</answer>", re.DOTALL)
_WHOLE = re.compile(r"[+-]?\d+(?:\.0+)?")


class Undecided(NamedTuple):
    """Answers that could count from 0 or from 1."""

    rows: int
    example: str
    largest: int


def untagged(answer: Any) -> Any:
    """An answer without the tags around it and what stands before them, and out of a list that holds it alone."""
    if isinstance(answer, list) and len(answer) == 1 and not isinstance(answer[0], (list, dict)):
        answer = answer[0]
    if isinstance(answer, str) and (tagged := _TAGGED.findall(answer)):
        return tagged[-1].strip()
    return answer.strip() if isinstance(answer, str) else answer


def whole(answer: Any) -> int | None:
    """The whole number that an answer is, as number or text."""
    if isinstance(answer, bool):
        return None
    if isinstance(answer, float) and answer.is_integer():
        return int(answer)
    if isinstance(answer, str) and _WHOLE.fullmatch(answer) and len(answer) < 10:
        return int(float(answer))
    return answer if isinstance(answer, int) else None


def counting(answers: Iterable[tuple[str, Any, Sequence[str]]]) -> Counting | Undecided:
    """What the whole numbers among a table's answers are.

    Texts, if each is the text of one of its options. Else places: from 0 if one of them is 0; from 1 if none is, and one is as
    large as the number of its options, so that they can't count from 0. Anything else is undecided.

    Args:
        answers: (place in the table, answer, options) of each question with options.
    """
    numbers = [(where, number, options) for where, said, options in answers if (number := whole(said)) is not None]
    if all(plain(str(number)) in map(plain, options) for _, number, options in numbers):
        return "texts"
    places = [(where, number) for where, number, options in numbers if 0 <= number <= len(options)]
    if any(number == 0 for _, number in places):
        return 0
    if any(number == len(options) for _, number, options in numbers):
        return 1
    if not places:
        return 0
    return Undecided(len(places), places[0][0], max(number for _, number in places))


def places(answer: Any, options: Sequence[str]) -> tuple[int, ...] | None:
    """The places of several right options, from 0: `A, C`, `AC`, `["A", "C"]` or their texts; None where one is named, or none.

    Numbers aren't taken for places, as nothing tells from where they count.
    """
    if isinstance(answer, list):
        named = [parse_option(one, options) if isinstance(one, str) else None for one in answer]
        found = tuple(sorted({one for one in named if one is not None})) if None not in named else ()
    elif isinstance(answer, str) and whole(answer) is None:
        found = parse_choices(answer, options)
    else:
        return None
    return found if len(found) > 1 else None


def place(answer: Any, options: Sequence[str], count: Counting) -> int:
    """The place of the right option, from 0.

    Raises:
        Unusable: it names none, or two.
    """
    number = whole(answer)
    if number is not None and count != "texts":
        if count <= number < len(options) + count:
            return number - count
        last = len(options) - 1 + count
        raise Unusable(
            f"{shown(answer)} is no place of {len(options)} options, which count from {count} to {last} in this table"
        )
    if isinstance(answer, (list, dict)):
        raise Unusable(f"{shown(answer)}: one right option is needed: its letter, its text, or its place")
    said = str(answer) if isinstance(answer, bool) else text(answer)
    texts = [plain(option) for option in options]
    letter = LETTERS.find(said.upper()) if len(said) == 1 and said.isascii() else -1
    if 0 <= letter < len(options) and plain(said) in texts and texts.index(plain(said)) != letter:
        by_text = LETTERS[texts.index(plain(said))]
        raise Unusable(
            f"{shown(said)} is the letter of option {LETTERS[letter]} and the text of option {by_text}; write letter and text, "
            f"as {LETTERS[letter]}. {options[letter]}"
        )
    chosen = choose(said, options)
    if chosen.place is not None:
        return chosen.place
    if chosen.reason != "letter_and_text_disagree" and (found := parse_option(said, options)) is not None:
        return found
    listed = ", ".join(shown(option) for option in options[:6]) + (", …" if len(options) > 6 else "")
    if chosen.reason == "letter_out_of_range":
        raise Unusable(f"{shown(said)} is no letter of {len(options)} options")
    if chosen.reason == "letter_and_text_disagree":
        raise Unusable(f"{shown(said)}: its letter names another option than its text; the options are {listed}")
    raise Unusable(f"{shown(said)} names none of the options {listed}; write the letter, the text or the place of one")
