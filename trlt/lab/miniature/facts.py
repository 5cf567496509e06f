"""Scene -> names and queries, in a small controlled English. Knows no pixels and no files.

Every fact follows from the script alone, and shapes are named so that the name fits one shape of the scene.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple, get_args

from trlt.lab.miniature.world import Motion, Scene, Show
from trlt.task.sample import Span

QueryKind = Literal["shown", "moves", "turns", "is"]
AnswerKind = Literal[
    "first",
    "second",
    "last",
    "after",
    "before",
    "count",
    "count_moving",
    "colour",
    "shape",
    "direction",
    "action",
    "turn",
    "when",
    "exists",
    "mover",
]
AskKind = QueryKind | AnswerKind
QUERY_KINDS: tuple[QueryKind, ...] = get_args(QueryKind)
ANSWER_KINDS: tuple[AnswerKind, ...] = get_args(AnswerKind)
GROUNDED_KINDS: tuple[AnswerKind, ...] = tuple(k for k in ANSWER_KINDS if k not in ("count", "shape", "when", "exists"))
"""Kinds of questions whose evidence is a stretch of time."""
FIVE_OPTION_KINDS: tuple[AnswerKind, ...] = tuple(k for k in ANSWER_KINDS if k not in ("shape", "exists"))
"""Kinds that always have five options to choose from."""

DOES: dict[Motion, str] = {
    "left": "moves left",
    "right": "moves right",
    "up": "moves up",
    "down": "moves down",
    "still": "stays still",
}


class Fact(NamedTuple):
    """Something about a scene that can be asked."""

    texts: tuple[str, ...]
    """Ways to ask it."""
    spans: tuple[Span, ...]
    """When it can be seen."""
    answer: str = ""
    """Empty for a query."""
    near: tuple[str, ...] = ()
    """Wrong answers that are taken first."""
    far: tuple[str, ...] = ()
    """Wrong answers that fill up."""


def label(show: Show) -> str:
    """What appears: a show's colour at its start, and its kind."""
    return f"{show.colour} {show.kind}"


def names_of(scene: Scene, show: Show) -> list[str]:
    """Noun phrases that fit this show for as long as it is visible, and no other one at any time."""
    names = [] if show.turns_to else [label(show)]
    others = [s for s in scene.shows if s is not show]
    if all(s.kind != show.kind for s in others):
        names.append(show.kind)
    if not show.turns_to and all(show.colour not in s.colours for s in others):
        names.append(f"{show.colour} shape")
    return names


def _shown(scene: Scene) -> list[Fact]:
    return [
        Fact((f"a {n} is shown", f"a {n} is visible", f"the {n} can be seen"), (s.span,))
        for s in scene.shows
        for n in names_of(scene, s)
    ]


def _moves(scene: Scene) -> list[Fact]:
    found = []
    for s in scene.shows:
        names = [f"the {n}" for n in names_of(scene, s)]
        if s.motion != "still" and sum(o.motion == s.motion for o in scene.shows) == 1:
            names.append("a shape")
        found += [Fact((f"{n} {DOES[s.motion]}",), (s.span,)) for n in names]
    return found


def turning(scene: Scene) -> list[Show]:
    """Shows that turn colour and can be named throughout."""
    return [s for s in scene.shows if s.turns_to and s.kind in names_of(scene, s)]


def _turns(scene: Scene) -> list[Fact]:
    return [
        Fact((f"the {s.kind} turns from {s.colour} to {s.turns_to}", f"the {s.kind} turns {s.turns_to}"), (s.span,))
        for s in turning(scene)
    ]


def _is(scene: Scene) -> list[Fact]:
    found = []
    for s in turning(scene):
        assert s.turns_at is not None
        found.append(Fact((f"the {s.kind} is {s.colour}",), (Span(s.start, s.turns_at),)))
        found.append(Fact((f"the {s.kind} is {s.turns_to}",), (Span(s.turns_at, s.end),)))
    return found


QUERIES: Mapping[AskKind, Callable[[Scene], list[Fact]]] = {"shown": _shown, "moves": _moves, "turns": _turns, "is": _is}
"""Kind -> every query of that kind that fits one stretch of a scene."""
