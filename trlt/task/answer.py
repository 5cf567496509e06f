"""Parses a completion's text into an `Answer`: the one parser for probe, train, eval and infer.

Knows tags, letters, texts and times; never the gold answer, rewards or tokens. No text makes it raise: unreadable parts are
None, and callers count them.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from trlt.task.layout import Layout, layout
from trlt.task.numbers import parse_number
from trlt.task.sample import Span, Task

AnswerFormat = Literal["letter", "text", "open"]
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True, slots=True)
class Answer:
    """The content of a completion."""

    payload: str | None
    """Stripped text of the last complete answer (`<answer>`), for grounding of the span; None without one."""
    option: int | None
    """Index of the chosen option, from 0."""
    span: Span | None
    """From the span's place (`<answer>` for grounding, `<observe>` for grounded QA); seconds. Of several, the first."""
    reasoning: str | None
    """Stripped text of the last complete reasoning (`<think>`)."""
    well_formed: bool
    """Whether the whole completion strictly has the task's layout: R_format."""
    observed: str | None = field(default=None, compare=False)
    """Stripped text of the last complete span, whether or not it states one; None without one, and for multi-choice."""
    further: tuple[Span, ...] = ()
    """The spans after the first, in their order, where the question asked for several."""
    choices: tuple[int, ...] = ()
    """Indices of the chosen options, ascending, where the question asked for all that apply; `option` is None then."""

    @property
    def spans(self) -> tuple[Span, ...]:
        """All spans, the first one first; empty without a readable one."""
        return (self.span, *self.further) if self.span is not None else ()


def parse(
    text: str,
    *,
    task: Task,
    think: bool,
    options: Sequence[str] | None,
    answer_format: AnswerFormat,
    open_threshold: float = 0.5,
    laid_out: Layout | None = None,
    several: bool = False,
    numeric: bool = False,
    choose: Callable[[str, Sequence[str]], tuple[int, ...]] | None = None,
) -> Answer:
    """Reads a completion: only inside the marks of its layout, and of each kind the last complete pair.

    Args:
        text: The raw completion.
        task: The prompt's template (`grounded_qa` for multi-choice questions asked "as GQA").
        think: Whether the prompt asked for `<think>`; without it the strict template has none.
        options: Option texts, even if the prompt hid them (`open`); None for a question without options.
        answer_format: The answer format of the prompt.
        open_threshold: Minimum token F1 of an `open` answer.
        laid_out: The layout that the prompt asked for; None is the paper's.
        several: Whether the prompt asked for all spans.
        numeric: Whether it asked for a number.
        choose: Reads an answer that names all options that apply (`trlt.task.choices`); None where one is asked for.
    """
    laid_out = laid_out or layout((), task, think)
    observed = laid_out.inside("span", text)
    payload = observed if task == "grounding" else laid_out.inside("answer", text)
    spans = parse_spans(observed) if several and observed is not None else ()
    span = next(iter(spans), None) if several else parse_span(observed) if observed is not None else None
    option: int | None = None
    choices: tuple[int, ...] = ()
    if choose is not None and options is not None:
        choices = choose(payload, options) if payload is not None else ()
    elif task != "grounding" and options is not None and payload is not None:
        option = _choose(payload, options, answer_format, open_threshold)
    # Where no list of answers was shown, any words are an answer: whether it's the right one is the score's business.
    free = answer_format == "open" or options is None
    answered = payload is not None and (bool(normalise(payload)) if free else option is not None)
    if choose is not None:
        answered = bool(choices)
    if numeric and payload is not None:
        answered = parse_number(payload) is not None
    readable = span is not None if task == "grounding" else answered and (task == "multi_choice" or span is not None)
    well_formed = laid_out.matches(text) and readable
    return Answer(payload, option, span, laid_out.inside("reasoning", text), well_formed, observed, spans[1:], choices)


def _choose(payload: str, options: Sequence[str], answer_format: AnswerFormat, threshold: float) -> int | None:
    if answer_format == "open":
        return match_open(payload, options, threshold)
    if answer_format == "text":
        found = match_text(payload, options)
        return parse_option(payload, options) if found is None else found
    return parse_option(payload, options)


def free_answer(text: str) -> Answer:
    """A completion of a question that was asked as it stands: what follows the reasoning, where it begins with some.

    Args:
        text: The raw completion.
    """
    if not text.lstrip().startswith("<think>"):
        return Answer(text, None, None, None, False)
    reasoning, closed, rest = text.lstrip().removeprefix("<think>").partition("</think>")
    return Answer(rest.strip() if closed else None, None, None, reasoning.strip(), False)


_PREFIX = re.compile(r"(?:the )?(?:final |correct )?answer(?: is:?| ?:) ?", re.IGNORECASE)
_LONE = re.compile(r"(?:\(([A-Za-z])\)|([A-Za-z])\)?)[.:]?")
_MORE = re.compile(r"\s*[,;/&]\s*(?:(?:and|or)\s+)?|\s*\b(?:and|or)\s+|\s+", re.IGNORECASE)
"""Stands between letters of a text that names several options."""
_LED = re.compile(r"(?:\(([A-Za-z])\)[.:]? ?|([A-Za-z])(?:\) ?|[.:] ))(.+)")


def parse_option(text: str, options: Sequence[str]) -> int | None:
    """Index of the option that a text names: `B`, `(B)`, `B.`, `B) text`, `Answer: B`, or an option's exact text.

    Letters may be lower-case. A letter outside the options is no answer. `B) text` is B whatever the text is, unless the text
    is another option's, or names another letter, as in `(A), (C)`: that is contradictory, and no answer.
    """
    said = " ".join(text.split())
    prefix = _PREFIX.match(said)
    for words in (said, said[prefix.end() :]) if prefix else (said,):
        found = _option(words, options)
        if found is not None:
            return found
    return None


def _option(said: str, options: Sequence[str]) -> int | None:
    lone = _letter(_LONE.fullmatch(said), options)
    if lone is not None:
        return lone
    texts = [plain(option) for option in options]
    if plain(said) in texts:
        return texts.index(plain(said))
    led = _LED.fullmatch(said)
    index = _letter(led, options)
    if led is None or index is None:
        return None
    rest = led[3]
    letters = {_letter(_LONE.fullmatch(part), options) for part in _MORE.split(rest) if part}
    contradicts = plain(rest) in texts or (None not in letters and letters - {index})
    agrees = plain(rest) == texts[index] or not contradicts
    return index if agrees else None


def _letter(match: re.Match[str] | None, options: Sequence[str]) -> int | None:
    if match is None:
        return None
    index = LETTERS.index((match[1] or match[2]).upper())
    return index if index < len(options) else None


def match_text(text: str, options: Sequence[str]) -> int | None:
    """Index of the option with this text: exactly, or after `normalise` if only one option matches then."""
    exact = [plain(option) for option in options]
    if plain(text) in exact:
        return exact.index(plain(text))
    said = normalise(text)
    found = [index for index, option in enumerate(options) if said and normalise(option) == said]
    return found[0] if len({exact[index] for index in found}) == 1 else None


def match_open(text: str, options: Sequence[str], threshold: float) -> int | None:
    """Index of the option that a free answer means, without a judge model.

    An option's exact text wins; else the unique best token F1 after `normalise`, if it reaches `threshold`. Options of equal
    text count as one, named by the first.
    """
    exact = [plain(option) for option in options]
    if plain(text) in exact:
        return exact.index(plain(text))
    values = [token_f1(text, option) for option in options]
    best = max(values, default=0.0)
    if best <= 0 or best < threshold:
        return None
    found = [index for index, value in enumerate(values) if value == best]
    return found[0] if len({exact[index] for index in found}) == 1 else None


def token_f1(text: str, gold: str) -> float:
    """F1 of two texts as bags of normalised words, from 0 to 1."""
    said, wanted = Counter(normalise(text)), Counter(normalise(gold))
    common = (said & wanted).total()
    return 2 * common / (said.total() + wanted.total()) if common else 0.0


def plain(text: str) -> str:
    """A text in lower case, without outer or repeated white space or a final full stop."""
    return " ".join(text.split()).removesuffix(".").rstrip().casefold()


_WORD = re.compile(r"(?<!\w)-?\d+(?:[.:]\d+)*\w*|\w+")
_ARTICLES = frozenset({"a", "an", "the"})
_UNITS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
).split()
_NUMBERS = {word: value for value, word in enumerate(_UNITS)} | {
    word: 10 * value for value, word in enumerate("twenty thirty forty fifty sixty seventy eighty ninety".split(), 2)
}


def normalise(text: str) -> tuple[str, ...]:
    """The words of a text: case, articles and punctuation dropped, number words up to 99 as digits.

    Signs and decimal points of numbers stay (`-5` isn't `5`), and so do articles if there is nothing else.
    """
    folded = unicodedata.normalize("NFKC", text).casefold().replace("'", "").replace("\N{RIGHT SINGLE QUOTATION MARK}", "")
    words = _WORD.findall(re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", folded))
    kept = [word for word in words if word not in _ARTICLES] or words
    out: list[str] = []
    tens = False
    for word in kept:
        value = _NUMBERS.get(word)
        if value is not None and tens and 0 < value < 10:
            out[-1] = str(int(out[-1]) + value)
        else:
            out.append(word if value is None else str(value))
        tens = value is not None and value >= 20
    return tuple(out)


_TIME = r"(?:[0-9]+:)?[0-9]+:[0-9]{1,2}(?:\.[0-9]+)?|[0-9]+(?:\.[0-9]+)?|\.[0-9]+"
_UNIT = r"(?: ?(?:s|secs?|seconds?)\b)?"
_PAIR = re.compile(rf"(?:from |between )?({_TIME}){_UNIT}(?: ?(?:-|–|—|,) ?| (?:to|and|until) )({_TIME}){_UNIT}", re.IGNORECASE)
_JSON = re.compile(
    rf"""\{{ ?["'](start|end)_time["'] ?: ?["']?({_TIME}){_UNIT}["']? ?, ?"""
    rf"""["'](start|end)_time["'] ?: ?["']?({_TIME}){_UNIT}["']? ?\}}"""
)
_BRACKETS = {"[": "]", "(": ")"}


def parse_span(text: str) -> Span | None:
    """The one time span that a text states, in seconds.

    Reads `12 to 20.5`, `12.0s - 20.5s`, `12 and 20.5`, `[12, 20.5]`, clock times such as `0:12 to 0:20.5` and
    `1:02:03`, and `{"start_time": "12.3", "end_time": "20.0"}`. A missing, negative, inverted or non-finite span gives None,
    and so does more than one: never swapped, never guessed. A span of zero length is a span (of IoU 0).
    """
    said = " ".join(text.split())
    table = _JSON.fullmatch(said)
    if table:
        if table[1] == table[3]:
            return None
        start, end = (table[2], table[4]) if table[1] == "start" else (table[4], table[2])
        return _span(start, end)
    said = said.removesuffix(".").rstrip()
    if said[:1] in _BRACKETS and said.endswith(_BRACKETS[said[0]]):
        said = said[1:-1].strip()
    pair = _PAIR.fullmatch(said)
    return _span(pair[1], pair[2]) if pair else None


BETWEEN = ";"
"""Stands between the spans of an answer to a question that asks for several."""


def parse_spans(text: str) -> tuple[Span, ...]:
    """The time spans that a text lists, in its order: `12.0 to 20.5; 30.0 to 41.0`, each as `parse_span` reads one.

    Empty where a part of the list is no span: a list is read as a whole or not at all.
    """
    parts = text.strip().removesuffix(BETWEEN).split(BETWEEN)
    spans = [span for part in parts if (span := parse_span(part)) is not None]
    return tuple(spans) if len(spans) == len(parts) else ()


def _span(start: str, end: str) -> Span | None:
    span = Span(_seconds(start), _seconds(end))
    # nan compares false, so it falls out here too.
    return span if 0 <= span.start <= span.end < math.inf else None


def _seconds(time: str) -> float:
    """Seconds of a time; nan if a clock's minutes or seconds reach 60."""
    parts = [float(part) for part in time.split(":")]
    if any(part >= 60 for part in parts[1:]):
        return math.nan
    return sum(part * 60.0**power for power, part in enumerate(reversed(parts)))
