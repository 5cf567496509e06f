"""How harnesses read a span or a number from a whole output. Pure."""

from __future__ import annotations

import re

from trlt.data.protocols._letters import chosen
from trlt.task.answer import LETTERS, Answer
from trlt.task.sample import Sample, Span

_CLOCK = r"\b\d{1,2}:\d{2}(?::\d{2})?(?:\.\d+)?\b"
_DASH = r"(\d+(?:\.\d+)?)\s*[–-]\s*(\d+(?:\.\d+)?)"
_WORDS = ("start", "end", "happen")


def _spanned(times: list[float], text: str, *, ordered: bool = False) -> Answer:
    if len(times) < 2:
        return Answer(text.strip(), None, None, None, False)
    first, second = (sorted(times[:2])) if ordered else times[:2]
    return Answer(text.strip(), None, Span(first, second), None, True, text.strip())


def _seconds(clock: str) -> float:
    total = 0.0
    for part in clock.split(":"):
        total = 60 * total + float(part)
    return total


def timelens(_: Sample, text: str) -> Answer:
    """TimeLens's parser as lmms-eval has it, without rounding: clock times in pairs, `a - b`, `a to b`, all numbers in pairs.

    An inverted pair stays inverted, and its IoU is 0.
    """
    said = text.lower()
    if len(clocks := re.findall(_CLOCK, said)) >= 2:
        return _spanned([_seconds(clock) for clock in clocks], text)
    for pattern in (r"(\d+\.?\d*)\s*-\s*(\d+\.?\d*)", r"(\d+\.?\d*)\s+to\s+(\d+\.?\d*)"):
        if pair := re.search(pattern, said):
            return _spanned([float(pair[1]), float(pair[2])], text)
    return _spanned([float(number) for number in re.findall(r"\b\d+\.?\d*\b", said)], text)


def charades(_: Sample, text: str) -> Answer:
    """lmms-eval on Charades-STA: lines with `start`, `end` or `happen`, or all where none has one.

    In them the first of clock times `a - b`, numbers `a - b` (`to` is a dash), single clock times, and the first number of
    each. Ends are put in order.
    """
    said = text.lower().replace("a specific example is : 20.8 - 30.0 seconds", "").replace("to", "-")
    parts = re.split(r"[!?\n]", said)
    parts = [part for part in parts if any(word in part for word in _WORDS)] or parts
    clock = r"\b(\d{1,2}:\d{2}(?::\d{2})?)"
    for part in parts:
        if pair := re.search(rf"{clock}\s*[–-]\s*(\d{{1,2}}:\d{{2}}(?::\d{{2}})?)\b", part):
            return _spanned([_seconds(pair[1]), _seconds(pair[2])], text, ordered=True)
    for part in parts:
        if pair := re.search(_DASH, part):
            return _spanned([float(pair[1]), float(pair[2])], text, ordered=True)
    clocks = [_seconds(found) for part in parts for found in re.findall(rf"{clock}\b", part)]
    if len(clocks) >= 2:
        return _spanned(clocks, text, ordered=True)
    firsts = [re.search(r"\b\d+(?:\.\d+)?\b", part) for part in parts]
    return _spanned([float(found[0]) for found in firsts if found], text, ordered=True)


_UNITS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen"
)
_NUMBERS = {word: float(place) for place, word in enumerate(f"{_UNITS} nineteen".split())}
_NUMBERS |= {
    word: 10.0 * place for place, word in enumerate("twenty thirty forty fifty sixty seventy eighty ninety".split(), 2)
}
_NUMBERS |= {"hundred": 100.0, "thousand": 1000.0}


def number(text: str) -> float | None:
    """lmms-eval's number: the first in the output, in digits or in English words (`three hundred and two`)."""
    said = text.strip().lower()
    digits = re.search(r"-?\d+(?:\.\d+)?", said)
    words = list(re.finditer("[a-z]+", said))
    first = next((place for place, word in enumerate(words) if word[0] in _NUMBERS), None)
    if digits and (first is None or digits.start() < words[first].start()):
        return float(digits[0])
    if first is None:
        return None
    total = current = 0.0
    for word in words[first:]:
        if word[0] == "and":
            continue
        if word[0] not in _NUMBERS:
            break
        value = _NUMBERS[word[0]]
        if value == 100:
            current = max(current, 1) * 100
        elif value == 1000:
            total, current = total + max(current, 1) * 1000, 0.0
        else:
            current += value
    return total + current


def vsibench(sample: Sample, text: str) -> Answer:
    """lmms-eval on VSI-Bench: the first blank-separated word must be the letter, in either case; numbers by `number`."""
    if sample.options is None:
        found = number(text)
        return Answer(None if found is None else f"{found:g}", None, None, None, found is not None)
    word = text.split(" ")[0].rstrip(".").strip().upper()
    place = LETTERS.index(word) if len(word) == 1 and word in LETTERS else None
    return chosen(place if place is not None and place < len(sample.options) else None, text)
