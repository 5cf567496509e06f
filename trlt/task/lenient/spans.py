"""The time span that a cleaned output states, in seconds. Pure.

First every time of the text is found (`12.5`, `0:12`, `1 min 20 s`, `nine seconds`), then what stands between each two
neighbors decides whether they are a span. A text has one span if all of its spans are the same, or all those that it calls its
answer are.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from trlt.task.answer import parse_span
from trlt.task.sample import Span

_UNITS = {word: value for value, word in enumerate("zero one two three four five six seven eight nine".split())}
_TEENS = "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen".split()
_BELOW_20 = _UNITS | {word: value for value, word in enumerate(_TEENS, 10)}
_TENS = {word: 10 * value for value, word in enumerate("twenty thirty forty fifty sixty seventy eighty ninety".split(), 2)}

_ONES = "|".join(_UNITS)
_UNDER_100 = rf"(?:(?:{'|'.join(_TENS)})(?:[- ](?:{_ONES}))?|{'|'.join(sorted(_BELOW_20, key=len, reverse=True))})"
_WORDS = (
    rf"(?:(?:a|one|two|three) hundred(?:(?: and)? {_UNDER_100})?|{_UNDER_100})(?: point (?:{_ONES})(?: (?:{_ONES})){{0,2}})?"
)
_NUMBER = r"(?:[0-9]{1,9}(?:\.[0-9]{1,25})?|\.[0-9]{1,25})"
_S = r"(?:seconds?|seonds|secs?|s|秒钟?)"
"""`seonds`: a prompt of lmms-eval spells it so, and models repeat it."""
_M = r"(?:minutes?|mins?|分钟?)"
_H = r"(?:hours?|hrs?|h|小时)"
_JOIN = r"(?:,? and | ?, ?| )?"
_NO_WORD = r"(?![A-Za-z])"
_CLOCK = (
    r"(?<![0-9A-Za-z_.])(?<![0-9]:)(?P<clock>[0-9]{1,3}(?::[0-9]{1,2}){1,2}(?:\.[0-9]{1,9}|,[0-9]{3}(?![0-9]))?)(?![0-9A-Za-z_:])"
    rf"(?: ?{_S}{_NO_WORD}| {_M}{_NO_WORD})?"
)
_APART = r"(?<![0-9A-Za-z_./])(?<![0-9]:)"
_PARTS = rf"{_APART}(?:(?P<h>{_NUMBER}) ?{_H}{_JOIN})?(?P<m>{_NUMBER}) ?(?:{_M}|m){_JOIN}(?P<ms>{_NUMBER}) ?{_S}{_NO_WORD}"
_COUNTED = (
    rf"{_APART}(?P<number>{_NUMBER})(?P<half> and a half)?(?P<unit>[- ]?(?:{_S}|{_M}){_NO_WORD})?"
    r"(?![0-9A-Za-z_%]|\.[0-9]|:[0-9])"
)
_IN_WORDS = rf"\b(?P<words>{_WORDS})(?P<whalf> and a half)?(?P<wunit>[- ](?:seconds?|secs?|minutes?|mins?)\b)?(?!\w)"
_TIME = re.compile("|".join((_CLOCK, _PARTS, _COUNTED, _IN_WORDS)), re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Time:
    """A time in a text."""

    start: int
    end: int
    seconds: float
    """nan for a clock whose minutes or seconds reach 60."""
    unit: str
    """`clock`, `s`, `min`, or empty for a bare number."""


_ABOUT = r"(?:(?:about|around|approximately|roughly|approx\.?|nearly|the)\s){0,2}"
_QUOTES = r"[\"']?"
_TO = re.compile(
    rf"{_QUOTES}\s{{0,3}}(?:mark\s)?(?:to|until|till|through|thru|up\sto|-{{1,3}}>?|~|=>|至|到)\s{{0,3}}{_ABOUT}{_QUOTES}",
    re.IGNORECASE,
)
_AND = re.compile(rf"\s{{0,3}}(?:mark\s)?and\s{{1,3}}{_ABOUT}", re.IGNORECASE)
_BETWEEN = re.compile(rf"\bbetween\s{{1,3}}{_ABOUT}[\"'(\[]?$", re.IGNORECASE)
_COMMA = re.compile(r"[\"']?\s{0,3}[,;]\s{0,3}[\"']?")
_OPEN_BRACKET, _SHUT_BRACKET = re.compile(r"[\[(]\s{0,2}[\"']?$"), re.compile(r"[\"']?\s{0,2}[\])]")
_OF_TIME = r"(?:times?|seconds?|secs?|s|timestamps?|points?)"
_LABEL = rf"[a-z]{{0,5}}(?:[_\s-]{{0,2}}{_OF_TIME})?[\"')\]]{{0,3}}\s{{0,3}}(?:\((?:s|secs?|seconds?)\))?"
_TAIL = r"(?:\s{0,3}(?:is|are|=|:|at|around|about|approximately|roughly|the)){0,4}\s{0,3}[\"'(\[]{0,2}"
_FROM, _UNTO = (rf"[\"']{word}[\"']\s{{0,3}}[:=]\s{{0,3}}[\"']?" for word in ("from", "to"))
_BEGIN, _STOP = rf"\b(?:start|begin|onset)_?{_LABEL}{_TAIL}", rf"(?:end|finish|stop|conclude|offset)_?{_LABEL}{_TAIL}"
_START = re.compile(rf"(?:{_BEGIN}|{_FROM})$", re.IGNORECASE)
_BETWEEN_LABELS = r"[\"')\]}.,;\s-]{0,8}(?:(?:and|then|it|the|event|action|clip|its)\s{1,3}){0,4}[\"']?"
_THEN_END = re.compile(rf"{_BETWEEN_LABELS}{_STOP}|[\"']?\s{{0,3}},\s{{0,3}}{_UNTO}", re.IGNORECASE)
_END = re.compile(rf"\b{_STOP}$", re.IGNORECASE)
_THEN_START = re.compile(rf"{_BETWEEN_LABELS}{_BEGIN}", re.IGNORECASE)
_BARE_BEFORE = re.compile(
    r"(?:^|[\n\[(\"':;,.=<>]|\b(?:from|between|and|or|is|are|be|was|in|at|on|the|so|of|span|segment|range|interval|window|moment|times?|"
    r"timestamps?|during|answer|about|around|approximately)|[从在是为])\s{0,3}[\"'(\[<]{0,3}$",
    re.IGNORECASE,
)
_BARE_AFTER = re.compile(
    r"\s{0,3}(?:$|[\n,;!?)\]}\"'<>]|\.(?![0-9])|\(s\)|\b(?:and|when|where|while|as|because|since|in|of|during|so|which|or)\b|[^\x00-\x7f])"
)
_NEGATED = re.compile(
    r"(?:\bnot|n't|\bnever|rather than|instead of)\s(?:(?!but\b)[a-z']{1,12}\s){0,3}[\"'(\[]{0,2}$",
    re.IGNORECASE,
)
_FINAL = re.compile(
    r"\b(?:answer|final|finally|therefore|thus|so|hence|conclusion|overall)\b|答案|因此|所以|综上", re.IGNORECASE
)
_WINDOW, _MANY = 160, 4_000
"""Characters before a span in which its sentence is looked at; and times from which on a text is a loop that states nothing."""
_INVALID = None
"""An inverted or impossible span: never swapped or mended, and it contradicts any other."""


def find_span(said: str) -> Span | None:
    """The one span that an output states; None if it states none, or several.

    Args:
        said: A cleaned output, without its reasoning.
    """
    said = said.strip()
    whole = parse_span(said) if len(said) < _WINDOW else None
    if whole is not None:
        return whole
    every: set[Span | None] = set()
    final: set[Span | None] = set()
    for span, is_final in _spans(said):
        every.add(span)
        if is_final:
            final.add(span)
        if len(final) > 1:
            return None
    stated = final or every
    return next(iter(stated)) if len(stated) == 1 else None


def find_spans(said: str) -> tuple[Span, ...]:
    """All spans that an output states, in their order and each once.

    Those before the first that the text calls its answer are left out, and so are spans that can't be: beside others they
    contradict nothing.

    Args:
        said: A cleaned output, without its reasoning.
    """
    if next(islice(_TIME.finditer(said), _MANY, None), None) is not None:
        return ()
    # Each line of a list is a line by itself; none is meant more than the others for that.
    found = list(_spans(said.strip(), alone=False))
    begin = next((place for place, (_, is_final) in enumerate(found) if is_final), 0)
    return tuple(dict.fromkeys(span for span, _ in found[begin:] if span is not None))


def _spans(said: str, *, alone: bool = True) -> Iterator[tuple[Span | None, bool]]:
    """The spans of a text, and whether the text calls each its answer, with `alone` also by a last line of its own."""
    chained = False
    last: _Time | None = None
    for count, time in enumerate(_times(said)):
        if count == _MANY:
            yield from ((_INVALID, True), (Span(0, 0), True))
            return
        pair = None if last is None else _paired(said, last, time)
        if pair is not None and last is not None:
            # `3 - 9 - 12` is no span: neither of its pairs is more meant than the other.
            yield (_INVALID if chained else pair[0]), _is_final(said, last.start, time.end, alone)
        chained = pair is not None
        last = time


def _times(said: str) -> Iterator[_Time]:
    end = -1
    for match in _TIME.finditer(said):
        if match["clock"]:
            yield _Time(match.start(), match.end(), _clock(match["clock"]), "clock")
        elif match["m"]:
            seconds = 3600 * float(match["h"] or 0) + 60 * float(match["m"]) + float(match["ms"])
            yield _Time(match.start(), match.end(), seconds, "clock")
        elif match["number"]:
            value = float(match["number"]) + 0.5 * bool(match["half"])
            if _is_negative(said, end, match.start()):
                value = math.nan
            yield _with_unit(match, value, match["unit"])
        else:
            value = _spelled(match["words"]) + 0.5 * bool(match["whalf"])
            yield _with_unit(match, value, match["wunit"], bare="word")
        end = match.end()


def _is_negative(said: str, end: int, start: int) -> bool:
    """Whether a number has a sign: `-3`, `3 to -9`; but `3 -9` and `3-9` are spans."""
    if said[max(0, start - 1) : start] != "-" or (
        start > 1 and not said[start - 2].isspace() and said[start - 2] not in "[(\"'"
    ):
        return False
    return end < 0 or start - end > 4 or said[end:start].strip() != "-"


def _with_unit(match: re.Match[str], value: float, unit: str | None, bare: str = "") -> _Time:
    kind = bare if not unit else "min" if re.search("min|分", unit, re.IGNORECASE) else "s"
    return _Time(match.start(), match.end(), value * (60 if kind == "min" else 1), kind)


def _paired(said: str, a: _Time, b: _Time) -> tuple[Span | None] | None:
    """The span of two neighboring times, in a tuple, as it may be invalid; None if they are no span."""
    gap = said[a.end : b.start]
    before = said[max(0, a.start - 40) : a.start]
    after = said[b.end : b.end + 12]
    if len(gap) > 80 or _NEGATED.search(before):
        return None
    labeled = bool(_START.search(before) and _THEN_END.fullmatch(gap))
    swapped = bool(_END.search(before) and _THEN_START.fullmatch(gap))
    joined = _TO.fullmatch(gap) or (_AND.fullmatch(gap) and _BETWEEN.search(before))
    listed = _COMMA.fullmatch(gap) and _OPEN_BRACKET.search(before) and _SHUT_BRACKET.match(after)
    if not (labeled or swapped or joined or listed):
        return None
    if not (labeled or swapped) and not _is_timed(a, b, before, after):
        return None
    if a.unit == "" and b.unit == "min":
        a = _Time(a.start, a.end, 60 * a.seconds, "min")
    elif a.unit == "min" and b.unit in ("", "word"):
        return (_INVALID,)  # `1 min to 2`: of minutes or seconds?
    start, end = (b.seconds, a.seconds) if swapped else (a.seconds, b.seconds)
    return (Span(start, end) if 0 <= start <= end < math.inf else _INVALID,)


def _is_timed(a: _Time, b: _Time, before: str, after: str) -> bool:
    """Whether two numbers are times: by a unit, a clock, or because nothing else is counted (`3 to 9 people`)."""
    if "word" in (a.unit, b.unit):
        return {a.unit, b.unit} & {"s", "min"} != set()
    if a.unit or b.unit:
        return True
    return _BARE_BEFORE.search(before) is not None and _BARE_AFTER.match(after) is not None


def _is_final(said: str, start: int, end: int, alone: bool) -> bool:
    """Whether the sentence of a span calls it the answer, or, with `alone`, it is the last line by itself."""
    before = said[max(0, start - _WINDOW) : start]
    sentence = before[max(before.rfind("\n"), before.rfind(". ")) + 1 :]
    alone = alone and not sentence.strip(" [(\"'") and len(said) - end < _WINDOW and not said[end:].strip(" \n])\"'.")
    return alone or _FINAL.search(sentence) is not None


def _clock(text: str) -> float:
    """Seconds of a clock time; nan if its minutes or seconds reach 60."""
    parts = [float(part) for part in text.replace(",", ".").split(":")]
    if any(part >= 60 for part in parts[1:]):
        return math.nan
    return sum(part * 60.0**power for power, part in enumerate(reversed(parts)))


def _spelled(words: str) -> float:
    """The value of a number in words, below 400 (`a hundred and twenty`, `twelve point five`)."""
    whole, _, decimals = words.casefold().partition(" point ")
    value = 0
    for word in whole.replace("-", " ").split():
        if word == "hundred":
            value = 100 * max(value, 1)
        elif word not in ("and", "a"):
            value += _BELOW_20[word] if word in _BELOW_20 else _TENS[word]
    digits = "".join(str(_UNITS[word]) for word in decimals.split())
    return float(f"{value}.{digits or 0}")
