"""Video-MMMU's official reading of an output, letters and open answers: a rule of its own. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from trlt.task.answer import LETTERS

_OUTER = ",.!?;:'"
_LONG = 5
"""Words of an output beyond which option texts are looked for in it."""
_CUES = ("could be ", "so ", "is ", "thus ", "therefore ", "final ", "answer ", "result ")
_NUMBERS = (
    re.compile(r"-?\b\d{1,3}(?:,\d{3})+\b"),
    re.compile(r"-?\d+(?:\.\d+)?[eE][+-]?\d+"),
    re.compile(r"-?(?:\d+\.\d+|\.\d+|\d+\b)(?![eE][+-]?\d+)(?![,\d])"),
)


def official_letter(text: str, options: Sequence[str]) -> int | None:
    """Index of the option that an output names.

    Outer punctuation is stripped, sign by sign. Then the first of these forms that any letter has: `X.` or `X:`; `(X)`; `X` and
    a blank; in an output of more than five words, an option's text. Of several options, the one that stands last.
    """
    said = text
    for sign in _OUTER:
        said = said.strip(sign)
    said = f" {said} "
    letters = LETTERS[: len(options)]
    dotted = [letter for letter in letters if f"{letter}." in said]
    found = [*dotted, *(letter for letter in letters if f"{letter}:" in said)]
    form = "{}." if dotted else "{}:"
    if not found:
        found, form = [letter for letter in letters if f"({letter})" in said], "({})"
    if not found:
        found, form = [letter for letter in letters if f"{letter} " in said], " {} "
    if found:
        # The first of those that stand equally far back: the script takes a letter found twice for two.
        return letters.index(max(found, key=lambda letter: said.rfind(form.format(letter))))
    lower = said.lower()
    named = [place for place, option in enumerate(options) if option.lower() in lower] if len(said.split()) > _LONG else []
    return max(named, key=lambda place: lower.rfind(options[place].lower()), default=None)


def official_open(text: str, golds: Sequence[str]) -> bool:
    """Whether an output states an open answer: MMMU's rule.

    Of each line what follows its last cue (`is`, `so`, `answer`, in the last line also `=`), else the whole text, and all
    numbers in these, rounded to two decimals: right if one of them is a gold number, or holds a gold text.
    """
    wanted = [one for gold in golds for one in _normal(gold)]
    stated = list(_stated(text.strip().strip(".").lower()))
    numbers = [match[0] for part in stated for pattern in _NUMBERS for match in pattern.finditer(part)]
    said = [one for part in (*stated, *numbers) for one in _normal(part)]
    return any(
        (isinstance(one, str) and any(isinstance(gold, str) and gold in one for gold in wanted)) or (one in wanted)
        for one in said
    )


def _stated(text: str) -> Iterator[str]:
    lines = text.split("\n")
    found = False
    for place, line in enumerate(lines):
        cues = (*_CUES, "=") if place == len(lines) - 1 else _CUES
        tails = [line.split(cue)[-1].strip() for cue in cues if cue in line]
        if tails and (shortest := min(tails, key=len)) not in (*_OUTER, ""):
            found = True
            yield shortest
    if not found:
        yield text


def _normal(text: str) -> list[float | str]:
    """A number rounded to two decimals; else the text in lower case, and a single sign with a blank before or behind it."""
    text = text.strip()
    try:
        return [round(float(text.replace(",", "")), 2)]
    except ValueError:
        lower = text.lower()
        return [f" {lower}", f"{lower} "] if len(lower) == 1 else [lower]


def golds_of(answer: str) -> list[str]:
    """The right answers that an open question's gold states: one, or a list as Python writes it, in one row without a quote."""
    if not answer.startswith("["):
        return [answer]
    return [part.strip(" '\"") for part in answer.strip("[]").split(",")]
