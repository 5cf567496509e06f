"""The layout of a completion: which marks stand around its reasoning, span and answer (pure).

A layout is declared as text with places, such as `<think>{reasoning}</think> <answer>{answer}</answer>`. The prompt shows it,
the strict format and the readers follow it, and SFT's targets are written by it. See docs/own-prompts.md.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal, NamedTuple, get_args

from trlt.errors import did_you_mean
from trlt.task.sample import TASKS, Task

Place = Literal["reasoning", "span", "answer"]
PLACES: tuple[Place, ...] = get_args(Place)
PAPER: Mapping[Task, str] = {
    "multi_choice": "<think> {reasoning} </think> <answer> {answer} </answer>",
    "grounding": "<think> {reasoning} </think> <answer> {span} </answer>",
    "grounded_qa": "<think> {reasoning} </think> <observe> {span} </observe> <answer> {answer} </answer>",
}
"""The tags of the paper (2.1 and 2.3)."""
MOST = 1000
"""Maximum number of characters of a declared layout."""

_PLACE = re.compile(r"\{(\w+)\}")
_CLOSING_TAG = re.compile(r"</[^<>\s]*>|\[/[^\[\]\s]*\]")
_BOUNDARY = re.compile(r"\s+|(?<=[>\])}])(?=[<\[({\\])")
_COMMAND = re.compile(r"\\\w+\Z")


class Part(NamedTuple):
    """One place of a layout, with its marks."""

    place: Place
    apart: str
    """White space between this part and the one before."""
    opens: str
    """The mark before the place; empty: the place begins where the part before ends."""
    before: str
    """White space between the mark and the place."""
    after: str
    closes: str
    """The mark behind the place; empty: it ends where the next part begins, or with the completion."""


class _Divided(NamedTuple):
    after: str
    closes: str
    apart: str
    opens: str
    before: str


def places(task: Task, *, think: bool) -> tuple[Place, ...]:
    """What a completion of a task says."""
    said = {"multi_choice": ("answer",), "grounding": ("span",), "grounded_qa": ("span", "answer")}[task]
    return tuple(place for place in PLACES if place in said or (place == "reasoning" and think))


def read_parts(declared: str) -> tuple[Part, ...]:
    """The parts of a declared layout.

    What stands between two places is divided: a closing tag (`</x>`, `[/x]`), or else a mark that touches the place before,
    closes that place; the rest opens the next one.

    Raises:
        ValueError: it has no place, an unknown one or one twice, or parts that can't be told apart.
    """
    if len(declared) > MOST:
        raise ValueError(f"{len(declared):,} characters; a format has {MOST:,} at most")
    first, *rest = _PLACE.split(declared)
    named, texts = rest[::2], rest[1::2]
    for name in named:
        if name not in PLACES:
            raise ValueError(f"{{{name}}} is no place of a format; {did_you_mean(name, PLACES)}")
        if named.count(name) > 1:
            raise ValueError(f"{{{name}}} stands twice")
    if not named:
        raise ValueError(f"has no place; write {', '.join(f'{{{place}}}' for place in PLACES)} where they belong")
    between = [_divided(text, *pair) for text, *pair in zip(texts[:-1], named, named[1:], strict=False)]
    opening = _Divided("", "", "", first.strip(), _trailing(first))
    closing = _Divided(_leading(texts[-1]), texts[-1].strip(), "", "", "")
    sides = [opening, *between, closing]
    parts = tuple(
        Part(place, left.apart, left.opens, left.before, right.after, right.closes)  # type: ignore[arg-type]
        for place, left, right in zip(named, sides, sides[1:], strict=False)
    )
    _check(parts)
    return parts


def _divided(text: str, left: str, right: str) -> _Divided:
    """What stands between two places, divided into the marks of either.

    Raises:
        ValueError: there is no mark.
    """
    core, leading, trailing = text.strip(), _leading(text), _trailing(text)
    if not core:
        raise ValueError(f"{{{left}}} and {{{right}}} can't be told apart; put a mark between them, such as a tag")
    tag = _CLOSING_TAG.match(core)
    if tag is None and leading:
        return _Divided("", "", leading, core, trailing)
    cut = _BOUNDARY.search(core)
    end = tag.end() if tag else cut.start() if cut else len(core)
    opens = core[end:]
    if not opens:
        return _Divided(leading, core, trailing, "", "")
    return _Divided(leading, core[:end], _leading(opens), opens.strip(), trailing)


def _leading(text: str) -> str:
    return text[: len(text) - len(text.lstrip())] if text.strip() else ""


def _trailing(text: str) -> str:
    return text[len(text.rstrip()) :] if text.strip() else ""


def _check(parts: Sequence[Part]) -> None:
    """Raises ValueError where marks can't be told apart, or from what stands between them."""
    for part in parts:
        if not part.before and _COMMAND.search(part.opens):
            raise ValueError(
                f"{part.opens}{{{part.place}}}: write {part.opens}{{{{{part.place}}}}}, with the command's own braces"
            )
        for mark in (part.opens, part.closes):
            if len(mark) == 1 and mark.isalnum():
                raise ValueError(f"the mark {mark!r} of {{{part.place}}} may be an answer itself; take a longer one")
        for other in parts:
            if other is part:
                continue
            for mark in (part.opens, part.closes if len(part.closes) > 1 else ""):
                if mark and any(mark in theirs for theirs in (other.opens, other.closes)):
                    raise ValueError(
                        f"the mark {mark!r} of {{{part.place}}} is also in a mark of {{{other.place}}}; give each its own"
                    )


@dataclass(frozen=True)
class Layout:
    """The layout of a task's completions, with or without reasoning."""

    declared: tuple[Part, ...]
    """All parts that are declared."""
    parts: tuple[Part, ...]
    """Those that completions of this task have, in order."""
    others: tuple[str, ...] = ()
    """Marks of other tasks' layouts, which can't stand inside of a part either."""

    def written(self, bodies: Mapping[Place, str]) -> str:
        """A completion; a part whose body is empty has its marks alone."""
        text = ""
        for index, part in enumerate(self.parts):
            body = bodies[part.place].strip()
            inside = f"{part.before}{body}{part.after}" if body else part.before or part.after
            text += f"{part.apart if index else ''}{part.opens}{inside}{part.closes}"
        return text

    def matches(self, text: str) -> bool:
        """Whether a whole completion strictly has this layout."""
        return self._strict.fullmatch(text) is not None

    def inside(self, place: Place, text: str) -> str | None:
        """Stripped text of the last complete part of a kind; None without one.

        Reasoning is read where it is declared, even if it wasn't asked for.
        """
        pattern = self._readers.get(place)
        bodies = pattern.findall(text) if pattern else ()
        return bodies[-1].strip() if bodies else None

    def held_mark(self, place: Place, body: str) -> str | None:
        """The first mark in a body that can't hold one, as written there."""
        part = next(part for part in self.parts if part.place == place)
        found = re.search(self._forbidden(part), body)
        return found[0] if found else None

    @property
    def marks(self) -> tuple[str, ...]:
        """The marks of completions, in order."""
        return tuple(mark for part in self.parts for mark in (part.opens, part.closes) if mark)

    @property
    def ends(self) -> dict[Place, tuple[str, str]]:
        """Of each part the marks that it lies between, its own or its neighbours'; empty: the beginning or end."""
        return {part.place: _ends(part, self.parts) for part in self.parts}

    def _forbidden(self, part: Part) -> str:
        r"""Pattern of what ends a part's body: its own marks, the next one's, and each mark of two characters or more.

        So `}` of `\boxed{...}` may stand in reasoning, and a tag that stands twice, nested or out of order never matches.
        """
        following = self.parts[self.parts.index(part) + 1 :][:1]
        ends = [part.opens, part.closes, *(one.opens for one in following)]
        long = [mark for one in self.declared for mark in (one.opens, one.closes)]
        marks = [*ends, *(mark for mark in (*long, *self.others) if len(mark) > 1)]
        return "|".join(_literal(mark) for mark in dict.fromkeys(marks) if mark) or r"(?!)"

    @cached_property
    def _strict(self) -> re.Pattern[str]:
        # White space beside a mark; beside a body, it is the body's: two patterns that take the same would try every division.
        pattern, left = "", True
        for part in self.parts:
            gap = r"\s*" if left and part.opens else ""
            body = rf"(?:(?!{self._forbidden(part)}).)*"
            pattern += f"{gap}{_literal(part.opens)}{body}{_literal(part.closes)}"
            left = bool(part.closes)
        return re.compile(pattern + (r"\s*" if left else ""), re.DOTALL)

    @cached_property
    def _readers(self) -> dict[Place, re.Pattern[str]]:
        with_reasoning = [part for part in self.declared if part.place == "reasoning" or part in self.parts]
        readers = {part.place: _reader(part, self.parts) for part in self.parts}
        return {part.place: _reader(part, with_reasoning) for part in with_reasoning} | readers


def _reader(part: Part, among: Sequence[Part]) -> re.Pattern[str]:
    """Pattern of one complete part, wherever it stands; its group is the body."""
    start, end = _ends(part, among)
    ends = "|".join(_literal(mark) for mark in (start, end) if mark) or r"(?!)"
    begins, finishes = _literal(start) or r"\A", _literal(end) or r"\Z"
    return re.compile(rf"{begins}((?:(?!{ends}).)*){finishes}", re.DOTALL)


def _ends(part: Part, among: Sequence[Part]) -> tuple[str, str]:
    index = among.index(part)
    start = part.opens or (among[index - 1].closes if index else "")
    return start, part.closes or (among[index + 1].opens if index + 1 < len(among) else "")


def _literal(mark: str) -> str:
    """Pattern of a mark; any white space stands for white space."""
    return r"\s+".join(map(re.escape, mark.split()))


Declared = tuple[tuple[Task, str], ...]
"""Layouts by task; tasks without one have the paper's."""


@lru_cache(maxsize=64)
def layout(declared: Declared, task: Task, think: bool) -> Layout:
    """The layout of a task's completions.

    Args:
        declared: By task.
        task: The prompt's.
        think: With reasoning.

    Raises:
        ValueError: it lacks a place that the task needs, or `read_parts` refuses it.
    """
    formats = {**PAPER, **dict(declared)}
    parts = read_parts(formats[task])
    needed, there = places(task, think=think), [part.place for part in parts]
    if lacking := [place for place in needed if place not in there]:
        asks = "asks for reasoning (think: true)" if lacking[0] == "reasoning" else f"is about {task} questions"
        raise ValueError(
            f"{formats[task]!r} has no {{{lacking[0]}}}, and the prompt {asks}; write where it stands, or a format by task"
        )
    others = [part for other in TASKS if other != task for part in read_parts(formats[other])]
    marks = tuple(mark for part in others for mark in (part.opens, part.closes))
    return Layout(parts, tuple(part for part in parts if part.place in needed), marks)
