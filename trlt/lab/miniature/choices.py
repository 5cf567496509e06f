"""Scene -> questions with one right answer, and wrong ones that are wrong throughout the scene. Knows no pixels and no files.

What could be argued about gives no question.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from random import Random

from trlt.lab.miniature.facts import DOES, AskKind, Fact, label, names_of, turning
from trlt.lab.miniature.world import COLOURS, KINDS, Motion, Scene, Show
from trlt.task.sample import Span

NUMBERS = ("one", "two", "three", "four", "five")
_WHEN = ("at the beginning", "in the middle", "at the end", "all the time", "never")
_WHERE: dict[Motion, str] = {"left": "left", "right": "right", "up": "up", "down": "down", "still": "nowhere"}
_OPPOSITE: dict[Motion, Motion] = {"left": "right", "right": "left", "up": "down", "down": "up", "still": "still"}


def _labels_of_others(scene: Scene, show: Show) -> tuple[str, ...]:
    return tuple(label(s) for s in scene.shows if s is not show)


def _absent_labels(scene: Scene) -> tuple[str, ...]:
    """Labels of what is never seen, those that share colour and kind with what is seen, where there are enough of them."""
    seen = {f"{c} {s.kind}" for s in scene.shows for c in s.colours}
    colours = {c for s in scene.shows for c in s.colours}
    kinds = {s.kind for s in scene.shows}
    absent = [(c, k) for c in COLOURS for k in KINDS if f"{c} {k}" not in seen]
    confusing = tuple(f"{c} {k}" for c, k in absent if c in colours and k in kinds)
    return confusing if len(confusing) >= 4 else tuple(f"{c} {k}" for c, k in absent if c in colours or k in kinds)


def _ordinal(number: int, *texts: str) -> Callable[[Scene], list[Fact]]:
    def facts(scene: Scene) -> list[Fact]:
        if len(scene.shows) < 3 and number == 1:  # with two shapes the second is the last
            return []
        show = scene.shows[number]
        return [Fact(texts, (show.span,), label(show), _labels_of_others(scene, show), _absent_labels(scene))]

    return facts


def _neighbour(step: int, *texts: str) -> Callable[[Scene], list[Fact]]:
    def facts(scene: Scene) -> list[Fact]:
        found = []
        for i, s in enumerate(scene.shows):
            show = scene.shows[i + step] if 0 <= i + step < len(scene.shows) else s
            if show.end <= s.start or s.end <= show.start:  # while both are visible, neither is plainly after the other
                others = tuple(x for x in _labels_of_others(scene, show) if x != label(s))
                found += [
                    Fact(tuple(t.format(n) for t in texts), (show.span,), label(show), others, _absent_labels(scene))
                    for n in names_of(scene, s)
                ]
        return found

    return facts


def _count(scene: Scene) -> list[Fact]:
    return [_number(("how many shapes appear", "how many shapes are shown"), len(scene.shows), ())]


def _count_moving(scene: Scene) -> list[Fact]:
    spans = tuple(s.span for s in scene.shows if s.motion != "still")
    return [_number(("how many shapes move", "how many shapes are moving"), len(spans), spans)] if spans else []


def _number(texts: tuple[str, ...], value: int, spans: tuple[Span, ...]) -> Fact:
    near = tuple(NUMBERS[v - 1] for v in (value - 1, value + 1) if 1 <= v <= len(NUMBERS))
    answer = NUMBERS[value - 1]
    return Fact(texts, spans, answer, near, tuple(n for n in NUMBERS if n != answer and n not in near))


def _colour_fact(scene: Scene, texts: tuple[str, ...], answer: str, show: Show) -> Fact:
    near = tuple(c for c in COLOURS if c != answer and any(c in s.colours for s in scene.shows))
    return Fact(texts, (show.span,), answer, near, tuple(c for c in COLOURS if c != answer and c not in near))


def _colour(scene: Scene) -> list[Fact]:
    return [
        _colour_fact(scene, (f"what colour is the {s.kind}", f"which colour does the {s.kind} have"), s.colour, s)
        for s in scene.shows
        if not s.turns_to and s.kind in names_of(scene, s)
    ]


def _shape(scene: Scene) -> list[Fact]:
    return [
        Fact((f"what is the {s.colour} shape", f"which shape is {s.colour}"), (s.span,), s.kind, _without(KINDS, s.kind))
        for s in scene.shows
        if f"{s.colour} shape" in names_of(scene, s)
    ]


def _direction(scene: Scene) -> list[Fact]:
    return [
        Fact(
            (f"where does the {n} move", f"in which direction does the {n} move"),
            (s.span,),
            _WHERE[s.motion],
            tuple(_WHERE[m] for m in _WHERE if m not in (s.motion, "still")),
            () if s.motion == "still" else (_WHERE["still"],),
        )
        for s in scene.shows
        for n in names_of(scene, s)
    ]


def _action(scene: Scene) -> list[Fact]:
    found = []
    for s in scene.shows:
        near: tuple[Motion, ...] = (_OPPOSITE[s.motion], "still") if s.motion != "still" else ("left", "right")
        far = tuple(DOES[m] for m in DOES if m != s.motion and m not in near)
        found += [
            Fact((f"what does the {n} do",), (s.span,), DOES[s.motion], tuple(DOES[m] for m in near), far)
            for n in names_of(scene, s)
        ]
    return found


def _turn(scene: Scene) -> list[Fact]:
    return [
        _colour_fact(
            scene,
            (f"which colour does the {s.kind} turn", f"to which colour does the {s.kind} turn"),
            str(s.turns_to),
            s,
        )
        for s in turning(scene)
    ]


def _when(scene: Scene) -> list[Fact]:
    found = []
    for s in scene.shows:
        place = _place(s.start / scene.duration, s.end / scene.duration)
        if place:
            found += [
                Fact((f"when is the {n} shown", f"when can the {n} be seen"), (s.span,), place, *_split_when(place))
                for n in names_of(scene, s)
            ]
    return found


def _place(start: float, end: float) -> str | None:
    """Where a span lies, in shares of the duration; None where two answers could be argued for."""
    if start == 0 and end == 1:
        return _WHEN[3]
    if start < 0.25 and end <= 0.5:
        return _WHEN[0]
    if start >= 0.5 and end > 0.75:
        return _WHEN[2]
    return _WHEN[1] if start >= 0.25 and end <= 0.75 and 0.4 <= (start + end) / 2 <= 0.6 else None


def _split_when(place: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return tuple(w for w in _WHEN[:4] if w != place), _WHEN[4:]


def _exists(scene: Scene) -> list[Fact]:
    def draft(label: str, answer: str) -> Fact:
        wrong = "no" if answer == "yes" else "yes"
        return Fact((f"is there a {label}", f"does a {label} appear"), (), answer, (wrong,), ("not sure",))

    present = [draft(label(s), "yes") for s in scene.shows]
    labels = _absent_labels(scene)
    absent = Random(scene.seed).sample(labels, min(len(labels), len(present)))  # as many: either answer is as likely
    return present + [draft(label, "no") for label in absent]


def _mover(scene: Scene) -> list[Fact]:
    return [
        _colour_fact(scene, (f"what colour is the shape that {DOES[s.motion]}",), s.colour, s)
        for s in scene.shows
        if not s.turns_to and sum(o.motion == s.motion for o in scene.shows) == 1
    ]


def _without(items: Sequence[str], item: str) -> tuple[str, ...]:
    return tuple(i for i in items if i != item)


CHOICES: Mapping[AskKind, Callable[[Scene], list[Fact]]] = {
    "first": _ordinal(0, "what appears first", "which shape appears first"),
    "second": _ordinal(1, "what appears second", "which shape appears second"),
    "last": _ordinal(-1, "what appears last", "which shape appears last"),
    "after": _neighbour(1, "what appears right after the {}", "which shape appears right after the {}"),
    "before": _neighbour(-1, "what appears right before the {}", "which shape appears right before the {}"),
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
"""Kind -> every question of that kind that has one right answer in a scene."""
