"""Answers that name several options: how they are read, and what a part of the right ones is worth (pure)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from trlt.task.answer import LETTERS, Answer, parse_option, plain
from trlt.task.sample import Sample

ChoicesRule = Literal["exact", "jaccard", "subset"]
BETWEEN = ", "
"""Stands between the letters of an answer."""

_PREFIX = re.compile(
    r"(?:the )?(?:final |correct |right )?(?:answers?|options?|letters?)(?: (?:is|are):?| ?:) ?", re.IGNORECASE
)
_RUN = re.compile(r"[A-Z]{2,}")
_LONE = re.compile(r"\(?([A-Za-z])\)?\.?")
_APART = re.compile(r"(?:\s*[,;/&]\s*(?:and\s+)?|\s+and\s+|\s+)", re.IGNORECASE)
_LISTED = (re.compile(r"\s*[;\n]\s*"), re.compile(r"\s*(?:,|;|\n|\s+and\s+)\s*(?:and\s+)?", re.IGNORECASE))


def parse_choices(text: str, options: Sequence[str]) -> tuple[int, ...]:
    """Indices of the options that a text names, ascending; empty if a part of it names none.

    Reads what `parse_option` reads as one option, and lists: `A, C`, `AC` (upper case), `A and C`, `A C`, `(A), (C)`, `[A, C]`,
    and letters with their texts or texts alone, as `A. a cup; C. a hat`. A list is read as a whole or not at all, and naming an
    option twice names it once.
    """
    said = text.strip()
    texts = [plain(option) for option in options]
    if plain(said) in texts:
        return (texts.index(plain(said)),)
    if prefix := _PREFIX.match(said):
        said = said[prefix.end() :].strip()
    said = said.removesuffix(".").rstrip()
    if said[:1] == "[" and said[-1:] == "]":
        said = said[1:-1].strip()
    if _RUN.fullmatch(said):
        return _indices(list(said), options)
    parts = [part for part in _APART.split(said) if part]
    if parts and all(_LONE.fullmatch(part) for part in parts):
        return _indices([found[1] for part in parts if (found := _LONE.fullmatch(part))], options)
    for apart in _LISTED:
        named = [parse_option(part, options) for part in apart.split(said) if part]
        whole = {one for one in named if one is not None}
        if whole and None not in named:
            return tuple(sorted(whole))
    one = parse_option(text, options)
    return () if one is None else (one,)


def find_choices(text: str, options: Sequence[str]) -> tuple[int, ...]:
    """The options that a text states in any spelling: as a whole, or in what follows "the answer is", or in its last line."""
    lines = [line.strip(" *#") for line in text.splitlines() if line.strip(" *#")]
    cues = [*_PREFIX.finditer(text)]
    tried = [text, *([text[cues[-1].end() :].strip(" *\n")] if cues else []), *lines[-1:]]
    return next((found for one in tried if (found := parse_choices(one, options))), ())


def _indices(letters: Sequence[str], options: Sequence[str]) -> tuple[int, ...]:
    found = [LETTERS.index(letter.upper()) for letter in letters]
    return tuple(sorted(set(found))) if max(found) < len(options) else ()


def credit(answer: Answer, sample: Sample, rule: ChoicesRule = "exact") -> float:
    """What an answer to a question with several right options is worth, by the sets P of its options and G of the right ones.

    `exact`: 1 if P = G. `jaccard`: |P & G| / |P | G|. `subset`: |P| / |G| if P holds right ones alone, else 0 (TW-GRPO, arXiv
    2505.24718). Options of equal text count as one. An answer without options is worth 0.
    """
    options = sample.options or ()
    said = {plain(options[place]) for place in answer.choices}
    gold = {plain(options[place]) for place in sample.answer_indices or ()}
    if not said:
        return 0.0
    if rule == "jaccard":
        return len(said & gold) / len(said | gold)
    if rule == "subset":
        return len(said) / len(gold) if said <= gold else 0.0
    return float(said == gold)
