"""Scene -> questions with one right answer each, in a small controlled English. Knows no pixels and no files.

Every question follows from the script alone, and a question is only asked where exactly one answer is right: shapes are
named so that the name fits one shape of the scene, and wrong options are wrong throughout the scene.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal, NamedTuple, get_args

from trlt.miniature.world import COLOURS, KINDS, Motion, Scene, Show
from trlt.sample import Span, Task

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
GROUNDED_KINDS: tuple[AnswerKind, ...] = (
    "first",
    "second",
    "last",
    "after",
    "before",
    "count_moving",
    "colour",
    "direction",
    "action",
    "turn",
    "mover",
)
"""Kinds of questions whose evidence is a stretch of time."""
FIVE_OPTION_KINDS: tuple[AnswerKind, ...] = tuple(k for k in ANSWER_KINDS if k not in ("shape", "exists"))
"""Kinds that always have five options to choose from."""

NUMBERS = ("one", "two", "three", "four", "five")
_WHEN = ("at the beginning", "in the middle", "at the end", "all the time", "never")
_DOES: dict[Motion, str] = {
    "left": "moves left",
    "right": "moves right",
    "up": "moves up",
    "down": "moves down",
    "still": "stays still",
}
_WHERE: dict[Motion, str] = {"left": "left", "right": "right", "up": "up", "down": "down", "still": "nowhere"}
_OPPOSITE: dict[Motion, Motion] = {"left": "right", "right": "left", "up": "down", "down": "up", "still": "still"}


@dataclass(frozen=True, slots=True)
class Question:
    """One question about a scene and everything that is right about it."""

    task: Task
    kind: AskKind
    text: str
    """The question, or for grounding the query."""
    options: tuple[str, ...] | None
    answer_index: int | None
    spans: tuple[Span, ...] | None
    """Gold spans of a query, or the evidence of a grounded question; None for multi_choice."""
    reasoning: str
    """What is seen, in order, with times."""

    @property
    def answer(self) -> str | None:
        """The right option."""
        return self.options[self.answer_index] if self.options and self.answer_index is not None else None


class _Draft(NamedTuple):
    """A fact of a scene that can be asked about."""

    texts: tuple[str, ...]  # ways to say it
    spans: tuple[Span, ...]
    answer: str = ""
    near: tuple[str, ...] = ()  # wrong answers that are taken first
    far: tuple[str, ...] = ()  # wrong answers that fill up


def ask(scene: Scene, rng: Random, task: Task, kind: AskKind | None = None, *, options: int = 5) -> Question | None:
    """One question about a scene, or None when nothing of that kind can be asked without ambiguity.

    Args:
        scene: The script.
        rng: Decides what is asked, how it is said, and where the right option stands (evenly).
        task: One of the three tasks.
        kind: What is asked for; None draws one of the task's kinds.
        options: How many options there are at most; fewer where fewer make sense.
    """
    found = ask_several(scene, rng, task, 1, kinds=[kind] if kind else None, options=options)
    return found[0] if found else None


def ask_several(
    scene: Scene, rng: Random, task: Task, count: int, *, kinds: Sequence[AskKind] | None = None, options: int = 5
) -> list[Question]:
    """Up to `count` questions of different kinds (for grounding: of different facts) in random order; see `ask`."""
    default: dict[Task, Sequence[AskKind]] = {
        "grounding": QUERY_KINDS,
        "multi_choice": ANSWER_KINDS,
        "grounded_qa": GROUNDED_KINDS,
    }
    order = list(kinds or default[task])
    rng.shuffle(order)
    found: list[Question] = []
    for kind in order * (2 if task == "grounding" else 1):
        drafts = [d for d in _DRAFTS[kind](scene) if all(q.text not in d.texts for q in found)]
        if drafts and len(found) < count:
            found.append(_question(scene, rng, task, kind, rng.choice(drafts), options))
    return found


def reasoning(scene: Scene) -> str:
    """What is seen in a scene, in order, with times: `red circle 1.0 to 3.5 moves left . ...`."""
    return " ".join(_observation(s) for s in scene.shows)


def _observation(show: Show) -> str:
    turn = f" turns {show.turns_to} at {show.turns_at:.1f}" if show.turns_to else ""
    move = f" moves {show.motion}" if show.motion != "still" else ""
    return f"{_label(show)} {show.start:.1f} to {show.end:.1f}{move}{turn} ."


def _question(scene: Scene, rng: Random, task: Task, kind: AskKind, draft: _Draft, options: int) -> Question:
    chosen: tuple[str, ...] | None = None
    index: int | None = None
    if task != "grounding":
        near, far = list(draft.near), list(draft.far)
        rng.shuffle(near)
        rng.shuffle(far)
        wrong = [*near, *far][: options - 1]
        index = rng.randint(0, len(wrong))
        chosen = (*wrong[:index], draft.answer, *wrong[index:])
        assert len(set(chosen)) == len(chosen) >= 2
    return Question(
        task, kind, rng.choice(draft.texts), chosen, index, None if task == "multi_choice" else draft.spans, reasoning(scene)
    )


# ---- names -------------------------------------------------------------------------------------------------------


def _label(show: Show) -> str:
    """What appears: colour and kind at the start."""
    return f"{show.colour} {show.kind}"


def _names(scene: Scene, show: Show) -> list[str]:
    """Noun phrases that fit this show for as long as it is visible, and no other one at any time."""
    names = [] if show.turns_to else [_label(show)]
    others = [s for s in scene.shows if s is not show]
    if all(s.kind != show.kind for s in others):
        names.append(show.kind)
    if not show.turns_to and all(show.colour not in s.colours for s in others):
        names.append(f"{show.colour} shape")
    return names


def _labels_of_others(scene: Scene, show: Show) -> tuple[str, ...]:
    return tuple(_label(s) for s in scene.shows if s is not show)


def _absent_labels(scene: Scene) -> tuple[str, ...]:
    """Labels of what is never seen, those that share colour and kind with what is seen, where there are enough of them."""
    seen = {f"{c} {s.kind}" for s in scene.shows for c in s.colours}
    colours = {c for s in scene.shows for c in s.colours}
    kinds = {s.kind for s in scene.shows}
    absent = [(c, k) for c in COLOURS for k in KINDS if f"{c} {k}" not in seen]
    confusing = tuple(f"{c} {k}" for c, k in absent if c in colours and k in kinds)
    return confusing if len(confusing) >= 4 else tuple(f"{c} {k}" for c, k in absent if c in colours or k in kinds)


# ---- grounding queries -------------------------------------------------------------------------------------------


def _shown(scene: Scene) -> list[_Draft]:
    return [
        _Draft((f"a {n} is shown", f"a {n} is visible", f"the {n} can be seen"), (s.span,))
        for s in scene.shows
        for n in _names(scene, s)
    ]


def _moves(scene: Scene) -> list[_Draft]:
    drafts = []
    for s in scene.shows:
        names = [f"the {n}" for n in _names(scene, s)]
        if s.motion != "still" and sum(o.motion == s.motion for o in scene.shows) == 1:
            names.append("a shape")
        drafts += [_Draft((f"{n} {_DOES[s.motion]}",), (s.span,)) for n in names]
    return drafts


def _turning(scene: Scene) -> list[Show]:
    return [s for s in scene.shows if s.turns_to and s.kind in _names(scene, s)]


def _turns(scene: Scene) -> list[_Draft]:
    return [
        _Draft((f"the {s.kind} turns from {s.colour} to {s.turns_to}", f"the {s.kind} turns {s.turns_to}"), (s.span,))
        for s in _turning(scene)
    ]


def _is(scene: Scene) -> list[_Draft]:
    drafts = []
    for s in _turning(scene):
        assert s.turns_at is not None
        drafts.append(_Draft((f"the {s.kind} is {s.colour}",), (Span(s.start, s.turns_at),)))
        drafts.append(_Draft((f"the {s.kind} is {s.turns_to}",), (Span(s.turns_at, s.end),)))
    return drafts


# ---- questions with options --------------------------------------------------------------------------------------


def _ordinal(number: int, *texts: str) -> Callable[[Scene], list[_Draft]]:
    def drafts(scene: Scene) -> list[_Draft]:
        if len(scene.shows) < 3 and number == 1:  # with two shapes the second is the last
            return []
        show = scene.shows[number]
        return [_Draft(texts, (show.span,), _label(show), _labels_of_others(scene, show), _absent_labels(scene))]

    return drafts


def _neighbour(step: int, *texts: str) -> Callable[[Scene], list[_Draft]]:
    def drafts(scene: Scene) -> list[_Draft]:
        found = []
        for i, s in enumerate(scene.shows):
            if 0 <= i + step < len(scene.shows):
                show = scene.shows[i + step]
                others = tuple(x for x in _labels_of_others(scene, show) if x != _label(s))
                found += [
                    _Draft(tuple(t.format(n) for t in texts), (show.span,), _label(show), others, _absent_labels(scene))
                    for n in _names(scene, s)
                ]
        return found

    return drafts


def _count(scene: Scene) -> list[_Draft]:
    return [_number(("how many shapes appear", "how many shapes are shown"), len(scene.shows), ())]


def _count_moving(scene: Scene) -> list[_Draft]:
    spans = tuple(s.span for s in scene.shows if s.motion != "still")
    return [_number(("how many shapes move", "how many shapes are moving"), len(spans), spans)] if spans else []


def _number(texts: tuple[str, ...], value: int, spans: tuple[Span, ...]) -> _Draft:
    near = tuple(NUMBERS[v - 1] for v in (value - 1, value + 1) if 1 <= v <= len(NUMBERS))
    answer = NUMBERS[value - 1]
    return _Draft(texts, spans, answer, near, tuple(n for n in NUMBERS if n != answer and n not in near))


def _colour_draft(scene: Scene, texts: tuple[str, ...], answer: str, show: Show) -> _Draft:
    near = tuple(c for c in COLOURS if c != answer and any(c in s.colours for s in scene.shows))
    return _Draft(texts, (show.span,), answer, near, tuple(c for c in COLOURS if c != answer and c not in near))


def _colour(scene: Scene) -> list[_Draft]:
    return [
        _colour_draft(scene, (f"what colour is the {s.kind}", f"which colour does the {s.kind} have"), s.colour, s)
        for s in scene.shows
        if not s.turns_to and s.kind in _names(scene, s)
    ]


def _shape(scene: Scene) -> list[_Draft]:
    return [
        _Draft((f"what is the {s.colour} shape", f"which shape is {s.colour}"), (s.span,), s.kind, _without(KINDS, s.kind))
        for s in scene.shows
        if f"{s.colour} shape" in _names(scene, s)
    ]


def _direction(scene: Scene) -> list[_Draft]:
    return [
        _Draft(
            (f"where does the {n} move", f"in which direction does the {n} move"),
            (s.span,),
            _WHERE[s.motion],
            tuple(_WHERE[m] for m in _WHERE if m not in (s.motion, "still")),
            () if s.motion == "still" else (_WHERE["still"],),
        )
        for s in scene.shows
        for n in _names(scene, s)
    ]


def _action(scene: Scene) -> list[_Draft]:
    drafts = []
    for s in scene.shows:
        near: tuple[Motion, ...] = (_OPPOSITE[s.motion], "still") if s.motion != "still" else ("left", "right")
        far = tuple(_DOES[m] for m in _DOES if m != s.motion and m not in near)
        drafts += [
            _Draft((f"what does the {n} do",), (s.span,), _DOES[s.motion], tuple(_DOES[m] for m in near), far)
            for n in _names(scene, s)
        ]
    return drafts


def _turn(scene: Scene) -> list[_Draft]:
    return [
        _colour_draft(
            scene,
            (f"which colour does the {s.kind} turn", f"to which colour does the {s.kind} turn"),
            str(s.turns_to),
            s,
        )
        for s in _turning(scene)
    ]


def _when(scene: Scene) -> list[_Draft]:
    drafts = []
    for s in scene.shows:
        place = _place(s.start / scene.duration, s.end / scene.duration)
        if place:
            drafts += [
                _Draft((f"when is the {n} shown", f"when can the {n} be seen"), (s.span,), place, *_split_when(place))
                for n in _names(scene, s)
            ]
    return drafts


def _place(start: float, end: float) -> str | None:
    """Where a span lies, in shares of the duration; None where two answers could be argued for."""
    if start <= 0.05 and end >= 0.95:
        return _WHEN[3]
    if end <= 0.45:
        return _WHEN[0]
    if start >= 0.55:
        return _WHEN[2]
    return _WHEN[1] if start >= 0.25 and end <= 0.75 else None


def _split_when(place: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return tuple(w for w in _WHEN[:4] if w != place), _WHEN[4:]


def _exists(scene: Scene) -> list[_Draft]:
    def draft(label: str, answer: str) -> _Draft:
        wrong = "no" if answer == "yes" else "yes"
        return _Draft((f"is there a {label}", f"does a {label} appear"), (), answer, (wrong,), ("not sure",))

    present = [draft(_label(s), "yes") for s in scene.shows]
    labels = _absent_labels(scene)
    absent = Random(scene.seed).sample(labels, min(len(labels), len(present)))  # as many: either answer is as likely
    return present + [draft(label, "no") for label in absent]


def _mover(scene: Scene) -> list[_Draft]:
    return [
        _colour_draft(scene, (f"what colour is the shape that {_DOES[s.motion]}",), s.colour, s)
        for s in scene.shows
        if not s.turns_to and sum(o.motion == s.motion for o in scene.shows) == 1
    ]


def _without(items: Sequence[str], item: str) -> tuple[str, ...]:
    return tuple(i for i in items if i != item)


_DRAFTS: Mapping[AskKind, Callable[[Scene], list[_Draft]]] = {
    "shown": _shown,
    "moves": _moves,
    "turns": _turns,
    "is": _is,
    "first": _ordinal(0, "what appears first", "which shape is shown first"),
    "second": _ordinal(1, "what appears second", "which shape is shown second"),
    "last": _ordinal(-1, "what appears last", "which shape is shown last"),
    "after": _neighbour(1, "what appears right after the {}", "what comes right after the {}"),
    "before": _neighbour(-1, "what appears right before the {}", "what comes right before the {}"),
    "count": _count,
    "count_moving": _count_moving,
    "colour": _colour,
    "shape": _shape,
    "direction": _direction,
    "action": _action,
    "turn": _turn,
    "when": _when,
    "exists": _exists,
    "mover": _mover,
}
