"""The option that a cleaned output states. Pure.

An output states options in phrases (`the answer is B`, `choose B`, `B is correct`), in a first or last line of its own (`B`,
`(B) he waves`), or as an option's whole text. All statements are gathered; one is the answer only if there is no other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import islice

from trlt.task.answer import LETTERS, match_text, normalise, plain

_OUTSIDE = -1
"""Stands for a statement that names no option of the question: it contradicts any other."""
_MOST, _BORDERS = 400, 12
"""Characters of a line, and clauses of them, that are looked at behind a phrase; options are shorter."""
_MANY = 2_000
"""Phrases from which on a text is a loop, which states nothing."""

_BE = r"(?:is|are|would\ be|should\ be|must\ be|will\ be|=|:|->|=>|~|-)"
_NAME = r"(?:answer|choice|option|letter|prediction|selection)"
_CUE = re.compile(
    rf"""
    (?<![A-Za-z]){_NAME}\b (?:\ (?:letter|choice|option|here))? ["'\])]{{0,2}} \s{{0,3}} {_BE} (?:\s{{0,3}}:)?
    | \b(?:choose|chose|select|selected|pick|picked|go\ with|going\ with)\b
    | \b(?:so|thus|therefore|hence)\b ,? (?:\ it\ (?:is|must\ be)|\ it's)?
    | 答案 [是为选应该]{{0,4}} \s?:?
    | (?:选择|选(?!项)|应选|故选)
    """,
    re.IGNORECASE | re.VERBOSE,
)
_AFTER_CUE = re.compile(
    r"\s{0,3}(?:(?:most\ likely|likely|probably|definitely|clearly|simply|the|correct|best|right|final)\ ){0,4}"
    r"(?:(?:option|choice|letter|answer)\b\s?(?:is\b|:)?\s{0,3})?",
    re.IGNORECASE,
)
_NEGATED = re.compile(
    r"(?:\b(?:not|never|no|cannot|without|if|whether|unless)|n't|[不非别未若]|如果)(?:\ (?:the|a|correct|final)){0,3}\s?$",
    re.IGNORECASE,
)
_LETTER = re.compile(r"[\s\"'(\[{<]{0,4}([A-Z])(?![A-Za-z0-9]|'[A-Za-z]|-[A-Za-z])[)\]}\"'>]{0,4}")
_GOES_ON = re.compile(
    r"\s{0,3}(?:$|[\n.,;:!?)\]}\"'<(]|-\s|[^\x00-\x7f]|\b(?:because|since|as|due|based|which|where|for|so|and|or|not|rather|instead)\b)"
)
"""What may follow a letter that is an answer. Another word makes it one of the sentence: `A man waves`, `I think`."""
_ALSO = re.compile(
    r"\s{0,3}(?:,|/|&|\||\band\b|\bor\b|[或和与及]|还是)\s{0,3}(?:(?:and|or|maybe|possibly|perhaps|even|also|option|choice)\b\s?){0,3}"
)
_BACK = re.compile(
    r"(?<![A-Za-z0-9'])([A-Z])[)\]\"']?\s{0,2}(?:(?:is|seems|would\ be|must\ be|appears)\s(?:to\ be\s)?(?:the\s)?"
    r"(?:most\ |very\ )?(?:likely\s)?(?:correct|right|best|answer|final\ answer|true|accurate|appropriate)\b"
    r"|(?:选项)?(?:是|为)?正确)"
)
_BEFORE_BACK = re.compile(r"(?:\b(?:if|whether|unless|neither|nor|not)\s|[不非])(?:option\s|choice\s|\()?$", re.IGNORECASE)
_BEFORE_ALSO = re.compile(r"(?:,|/|&|\bor|\band|[或和与及])\s{0,2}(?:option\s|choice\s)?[(\"']?$", re.IGNORECASE)
_LONE = re.compile(
    r"(?:(?:option|choice|letter)\s|选项\s?|选)?[\"'(\[{]{0,3}([A-Za-z])[)\]}\"']{0,3}[.:,;!]{0,2}", re.IGNORECASE
)
_LED = re.compile(
    r"(?:(?:option|choice)\s)?(?:[(\[\"']([A-Za-z])[)\]\"'][.:,]?|([A-Za-z])(?:\)[.:]?|[.:]|\s?-(?=\s)))\s{0,3}(.+)",
    re.IGNORECASE,
)
_CLAUSE = re.compile(r"[,.;:!?\n()\[\]{}\"]|\s-\s|\b(?:because|since|as)\b")


def find_option(said: str, options: Sequence[str], *, letters: bool = True) -> int | None:
    """Index of the one option that an output states; None if it states none, or several.

    Args:
        said: A cleaned output, without its reasoning.
        options: The options' texts.
        letters: Whether letters stand for options.
    """
    found: set[int] = set()
    for one in _statements(said, _Options(options, letters)):
        found.add(one)
        if len(found) > 1:
            return None
    return next(iter(found - {_OUTSIDE}), None)


class _Options:
    """A question's options, with the words of each."""

    def __init__(self, options: Sequence[str], letters: bool) -> None:
        self.texts = options
        self.letters = letters
        self._known: dict[str, int | None] = {}

    def text(self, phrase: str) -> int | None:
        """The option that a phrase is, word by word."""
        phrase = phrase.strip(" \t\n\"'()[]{}<>.,:;!?-")
        if len(phrase) > _MOST or (self.letters and len(phrase) == 1 and phrase.isalpha()):
            return None
        if phrase not in self._known:
            # `A. he waves` without its article would be the text of another option.
            led = self.letters and _LED.fullmatch(phrase) and plain(phrase) not in map(plain, self.texts)
            found = None if led else match_text(phrase, self.texts)
            self._known[phrase] = None if found is None else self.first(found)
        return self._known[phrase]

    def among(self, phrase: str, known: int) -> int | None:
        """Another option than the known one whose words a phrase holds."""
        words = normalise(phrase)
        for place, text in enumerate(self.texts):
            wanted = normalise(text)
            starts = range(len(words) - len(wanted) + 1) if wanted and self.first(place) != known else ()
            if any(words[start : start + len(wanted)] == wanted for start in starts):
                return self.first(place)
        return None

    def ahead(self, said: str, start: int = 0) -> Iterator[int]:
        """The option whose text stands at a place of a line, up to the line's end or a clause's: the longest such text.

        Another one in the rest of the line contradicts it: `he sits, then he waves`.
        """
        line = said[start : start + _MOST].lstrip(" ").partition("\n")[0]
        if line[:1] in ('"', "'") and line[0] in line[1:]:
            found = self.text(line[1:].partition(line[0])[0])
            yield from () if found is None else (found,)
            return
        line = line.lstrip("\"'([{<")
        ends = [border.start() for border in islice(_CLAUSE.finditer(line), _BORDERS)]
        for end in (len(line), *reversed(ends)):
            found = self.text(line[:end])
            if found is not None:
                other = self.among(line[end:], found)
                yield from (found,) if other is None else (found, other)
                return

    def letter(self, letter: str) -> int:
        """The option that a letter names."""
        place = LETTERS.find(letter.upper())  # not of Kelvin's sign, which a pattern takes for a K
        return self.first(place) if 0 <= place < len(self.texts) else _OUTSIDE

    def first(self, place: int) -> int:
        """The first option of the same text: some questions hold one twice, and either is the same answer."""
        wanted = plain(self.texts[place])
        return next(index for index, text in enumerate(self.texts) if plain(text) == wanted)


def _statements(said: str, options: _Options) -> Iterator[int]:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    if not lines:
        return
    whole = options.text(said)
    if whole is not None:  # an option may look like a phrase that names another: `B or C`
        yield whole
        return
    yield from _in_phrases(said, options)
    ends = lines[:1] + lines[1:][-1:]
    for line in ends:
        found = options.text(line)
        if found is not None:
            yield found
        elif options.letters and (lone := _LONE.fullmatch(line)):
            yield options.letter(lone[1])
    if options.letters:
        yield from _led(lines, ends, options)
        yield from _first_letter(lines[0], options)
    yield from options.ahead(lines[0])


def _in_phrases(said: str, options: _Options) -> Iterator[int]:
    for count, cue in enumerate(_CUE.finditer(said)):
        if count == _MANY:
            yield from (_OUTSIDE, 0)
            return
        if _NEGATED.search(said[max(0, cue.start() - 24) : cue.start()]):
            continue
        yield from _stated(said, cue.end(), options)
    for back in islice(_BACK.finditer(said), _MANY) if options.letters else ():
        before = said[max(0, back.start() - 16) : back.start()]
        if not _BEFORE_BACK.search(before):
            yield _OUTSIDE if _BEFORE_ALSO.search(before) else options.letter(back[1])


def _stated(said: str, place: int, options: _Options) -> Iterator[int]:
    """What a phrase such as `the answer is` is followed by: an option's text, or letters."""
    junk = _AFTER_CUE.match(said, place)
    after = junk.end() if junk else place
    for start in dict.fromkeys((place, after)):
        if found := [*options.ahead(said, start)]:
            yield from found
            return
    if options.letters:
        yield from _letters_at(said, after, options)


def _letters_at(said: str, place: int, options: _Options) -> Iterator[int]:
    """The letter at a place, and those that `or`, `and` or a comma add to it."""
    letter = _LETTER.match(said, place)
    if letter is None:
        return
    rest = said[letter.end() : letter.end() + _MOST]
    if options.text(rest.partition("\n")[0]) == options.letter(letter[1]) != _OUTSIDE:
        yield options.letter(letter[1])
        return
    if not _GOES_ON.match(rest):
        return
    yield options.letter(letter[1])
    yield from _contradictions(rest, options)


def _contradictions(rest: str, options: _Options) -> Iterator[int]:
    """What stands behind a letter and names an option itself: another letter, or an option's text."""
    also = _ALSO.match(rest)
    if also and (other := _LETTER.match(rest, also.end())) and _GOES_ON.match(rest, other.end()):
        yield options.letter(other[1])
    yield from islice(options.ahead(rest.lstrip(" .):,;-")), 1)


def _led(lines: Sequence[str], ends: Sequence[str], options: _Options) -> Iterator[int]:
    """`B. he waves` as the first or last line. Lines of several letters are a list of options, which states none."""
    found = [(line, match) for line in lines if len(line) < 10 * _MOST and (match := _LED.fullmatch(line))]
    if len({(match[1] or match[2]).upper() for _, match in found}) != 1:
        return
    for line, match in found:
        letter, rest = match[1] or match[2], match[3]
        bare = match[1] is None and not line.startswith(f"{letter})")
        if line not in ends or (bare and letter.islower()):
            continue
        yield options.letter(letter)
        other = _LETTER.match(rest)
        if other and _GOES_ON.match(rest, other.end()):
            yield options.letter(other[1])
        yield from _contradictions(rest, options)


def _first_letter(line: str, options: _Options) -> Iterator[int]:
    """`B, since he waves`, `(B) because …`; not `A, the first, …`, where it may be a word."""
    if _LED.fullmatch(line[: 10 * _MOST]):
        return
    found = [*_letters_at(line, 0, options)]
    if len(found) > 1 or not re.match("[AI],", line):
        yield from found


def said_words(said: str) -> str | None:
    """The words of an answer to a question without options: behind `the answer is`, else a text of one line."""
    found: dict[tuple[str, ...], str] = {}
    for cue in islice(_CUE.finditer(said), _MANY):
        words = said[cue.end() : cue.end() + _MOST].partition("\n")[0].strip(" \t\"'.:{}")
        if re.match(_NAME, cue[0], re.IGNORECASE) and normalise(words):
            found[normalise(words)] = words
    if len(found) == 1:
        return next(iter(found.values()))
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return lines[0] if not found and len(lines) == 1 and len(lines[0]) <= _MOST else None
