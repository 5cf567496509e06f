"""Options inside a question's text, and answers that name one of them. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from trlt.data.datasets._common import clean
from trlt.task.answer import LETTERS, plain
from trlt.task.mistakes import lettered

_LINE = re.compile(r"^\s*\(?([A-Z])[.):]\s*(.*)$")
_INLINE = re.compile(r"(?:(?<=\s)|(?<=^))\(?([A-Z])[.)]\s+")
_HEADING = re.compile(r"\s*(?:answer )?(?:options|choices|candidates)\s*:?\s*$", re.IGNORECASE)
_LED = re.compile(r"^\s*\(?([A-Za-z])(?:[.):]+(?:\s+|$)|\)\s*|$)(.*)$", re.DOTALL)


class SplitQuestion(NamedTuple):
    """A question separated from its options."""

    question: str
    options: tuple[str, ...]
    """Without letters, in order; empty if there are none."""


class Chosen(NamedTuple):
    """The option that an answer names, or the reason why it names none."""

    place: int | None
    """Index of the option, from 0."""
    reason: str | None = None
    """`letter_out_of_range`, `letter_and_text_disagree`, `answer_not_an_option` or `empty_answer`."""


def split_options(text: str) -> SplitQuestion:
    """Takes the options out of a question: one per line (`A. text`, `(A) text`, `A) text`), or all in one line.

    Letters must run from A without a gap. A heading such as `Options:` is removed.
    """
    lines = text.splitlines()
    marked = [(number, match) for number, line in enumerate(lines) if (match := _LINE.match(line))]
    run: list[tuple[int, re.Match[str]]] = []
    for number, match in marked:
        # A question may hold a line such as "A: why did you come?", which is followed by another A, not by a B.
        if match[1] == LETTERS[len(run) % 26]:
            run.append((number, match))
        elif match[1] == "A" and len(run) < 2:
            run = [(number, match)]
    if len(run) >= 2:
        question = "\n".join(lines[: run[0][0]])
        bounds = [number for number, _ in run[1:]] + [len(lines)]
        options = [" ".join([match[2], *lines[number + 1 : end]]) for (number, match), end in zip(run, bounds, strict=True)]
        return SplitQuestion(clean(_HEADING.sub("", question)), tuple(clean(option) for option in options))
    return _inline(text)


def _inline(text: str) -> SplitQuestion:
    joined = " ".join(text.split())
    found: list[re.Match[str]] = []
    for match in _INLINE.finditer(joined):
        if match[1] == LETTERS[len(found) % 26]:
            found.append(match)
        elif match[1] == "A" and len(found) < 2:
            found = [match]
    if len(found) < 2:
        return SplitQuestion(clean(text), ())
    ends = [match.start() for match in found[1:]] + [len(joined)]
    options = tuple(clean(joined[match.end() : end]) for match, end in zip(found, ends, strict=True))
    return SplitQuestion(clean(_HEADING.sub("", joined[: found[0].start()])), options)


def choose(answer: str, options: Sequence[str]) -> Chosen:
    """Which option an annotated answer names: by letter, by letter and text, or by text.

    A letter and a text that disagree name none, since either may be wrong.
    """
    said = clean(answer)
    if not said:
        return Chosen(None, "empty_answer")
    texts = [plain(option) for option in options]
    if plain(said) in texts and not (len(said) == 1 and said.upper() in LETTERS[: len(options)]):
        return Chosen(texts.index(plain(said)))
    led = _LED.match(said)
    if led is None:
        return Chosen(None, "answer_not_an_option")
    letter, rest = led[1].upper(), plain(led[2])
    index = LETTERS.index(letter)
    if index >= len(options):
        return Chosen(None, "letter_out_of_range")
    if not rest or rest == texts[index]:
        return Chosen(index)
    return Chosen(None, "letter_and_text_disagree")


def bare(option: str, index: int) -> str:
    """An option without the letter that it is listed under: `B. text` at place 1 becomes `text`."""
    match = _LINE.match(option)
    return clean(match[2]) if match and match[1] == LETTERS[index] else clean(option)


def fault(texts: tuple[str, ...], index: int, *, bench: bool) -> str | None:
    """Why a question can't be used, or None.

    An answer that occurs twice among the options has no unique letter, so it isn't trained on; a benchmark keeps it, and either
    letter counts as right.
    """
    if not all(texts):
        return "empty_option"
    if not bench and texts.count(texts[index]) > 1:
        return "ambiguous_answer"
    if not bench and lettered(texts):  # which a file of samples may not hold
        return "lettered_options"
    return None


def flags(texts: tuple[str, ...]) -> tuple[str, ...]:
    """`duplicate_options` where two options are the same."""
    return ("duplicate_options",) if len(set(texts)) < len(texts) else ()
