"""Seeded scripts of scenes: what is shown when, where and how. Knows no pixels, no questions and no files.

All times are seconds and lie on a grid of 0.5 s (5 s in long scenes). At most two shapes are visible at once, they never
cover each other, and no (colour, kind) pair occurs twice in a scene, so that what is said about a scene can be exact.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random
from typing import Literal, NamedTuple, get_args

from trlt.sample import Span

Colour = Literal["red", "green", "blue", "yellow", "white"]
Kind = Literal["circle", "square", "triangle", "cross"]
Motion = Literal["left", "right", "up", "down", "still"]
Domain = Literal["train", "shifted"]
Style = Literal["gradient", "stripes", "vignette", "checker", "diagonal", "waves"]
COLOURS: tuple[Colour, ...] = get_args(Colour)
KINDS: tuple[Kind, ...] = get_args(Kind)
MOTIONS: tuple[Motion, ...] = get_args(Motion)

SIDE = 112
"""Width and height of a frame in pixels."""

_TICK = 0.5
_CHUNK = 5.0
_MARGIN = 4  # px between a shape and the border


class Path(NamedTuple):
    """A straight way of a shape's centre, in pixels, at even speed over the whole time it is shown."""

    x0: float
    y0: float
    x1: float
    y1: float


@dataclass(frozen=True, slots=True)
class Show:
    """One shape from its appearance to its end."""

    colour: Colour
    kind: Kind
    start: float
    end: float
    motion: Motion
    size: int
    """Width and height in pixels."""
    path: Path
    turns_to: Colour | None = None
    """The colour from `turns_at` on; None keeps `colour`."""
    turns_at: float | None = None

    @property
    def span(self) -> Span:
        """When the shape is visible, half-open."""
        return Span(self.start, self.end)

    @property
    def colours(self) -> tuple[Colour, ...]:
        """Every colour it has, in order."""
        return (self.colour, self.turns_to) if self.turns_to else (self.colour,)

    def colour_at(self, time: float) -> Colour:
        """Its colour at a time, in seconds."""
        return self.turns_to if self.turns_to and self.turns_at is not None and time >= self.turns_at else self.colour

    def centre_at(self, time: float) -> tuple[float, float]:
        """Its centre (x, y) in pixels at a time, in seconds."""
        share = (time - self.start) / (self.end - self.start)
        p = self.path
        return p.x0 + share * (p.x1 - p.x0), p.y0 + share * (p.y1 - p.y0)


class Background(NamedTuple):
    """What lies behind the shapes."""

    style: Style
    shade: int
    """Mean grey level, of 255."""
    depth: int
    """How far the pattern leaves the mean, in grey levels."""
    period: int
    """Pixels of one repetition of the pattern."""
    tint: tuple[int, int, int]
    """Added to red, green and blue."""


class Mark(NamedTuple):
    """A small grey square that stands still throughout: clutter, never asked about."""

    x: int
    y: int
    size: int
    grey: int


@dataclass(frozen=True, slots=True)
class Scene:
    """The whole script of one clip."""

    seed: int
    domain: Domain
    duration: float
    """Whole seconds."""
    shows: tuple[Show, ...]
    """In the order of their starts, which are at least 1 s apart."""
    background: Background
    marks: tuple[Mark, ...]
    contrast: float
    """1 for fully saturated shapes; lower values mix them with grey."""
    noise: int
    """Amplitude of the pixel noise in levels of 255."""


class _Statistics(NamedTuple):
    durations: tuple[int, int]
    counts: tuple[int, ...]  # number of shows, drawn evenly
    lengths: tuple[int, int]  # of a show, in ticks
    kinds: tuple[int, ...]  # weights of KINDS
    motions: tuple[int, ...]  # weights of MOTIONS
    styles: tuple[Style, ...]
    sizes: tuple[int, int]
    contrasts: tuple[float, float]
    pair: float  # chance that a show starts while another one is visible
    turn: float  # chance that one of the shapes turns colour
    marks: int  # at most


_STATISTICS: dict[Domain, _Statistics] = {
    "train": _Statistics(
        durations=(6, 10),
        counts=(2, 2, 3, 3, 3, 4),
        lengths=(3, 7),
        kinds=(4, 4, 3, 2),
        motions=(2, 2, 1, 1, 3),
        styles=("gradient", "stripes", "vignette"),
        sizes=(36, 48),
        contrasts=(0.75, 1.0),
        pair=0.2,
        turn=0.45,
        marks=4,
    ),
    "shifted": _Statistics(
        durations=(10, 14),
        counts=(3, 3, 4, 4, 5),
        lengths=(3, 9),
        kinds=(2, 2, 4, 4),
        motions=(1, 1, 2, 2, 2),
        styles=("checker", "diagonal", "waves"),
        sizes=(30, 42),
        contrasts=(0.65, 0.95),
        pair=0.45,
        turn=0.6,
        marks=7,
    ),
}


def make_scene(seed: int, domain: Domain, *, long: bool = False) -> Scene:
    """The scene of a seed: always the same one.

    Args:
        seed: Any integer.
        domain: Which statistics it is drawn from.
        long: 10 to 20 s, with every boundary on a grid of 5 s.
    """
    rng = Random(f"{domain}:{long}:{seed}")
    stats = _STATISTICS[domain]
    if long:
        duration, times = _long_times(rng)
    else:
        duration = rng.randint(*stats.durations)
        times = _times(rng, stats, duration)
    pairs = _overlapping(times)
    placed: list[Show] = []
    for index, span in enumerate(times):
        placed.append(_show(rng, stats, span, pairs[index], placed))
    return Scene(
        seed=seed,
        domain=domain,
        duration=float(duration),
        shows=tuple(_with_turn(rng, placed, _CHUNK if long else _TICK) if rng.random() < stats.turn else placed),
        background=_background(rng, stats),
        marks=tuple(
            Mark(rng.randrange(SIDE - 6), rng.randrange(SIDE - 6), rng.randint(3, 5), rng.randint(20, 150))
            for _ in range(rng.randint(0, stats.marks))
        ),
        contrast=round(rng.uniform(*stats.contrasts), 3),
        noise=rng.randint(3, 9),
    )


def window(scene: Scene, start: float, end: float) -> Scene | None:
    """The part of a scene from `start` to `end` as a scene of its own, or None when a bound cuts through a show."""
    inside = [s for s in scene.shows if s.start < end and s.end > start]
    if any(s.start < start or s.end > end for s in inside):
        return None
    moved = (
        replace(s, start=s.start - start, end=s.end - start, turns_at=None if s.turns_at is None else s.turns_at - start)
        for s in inside
    )
    return replace(scene, duration=end - start, shows=tuple(moved))


def _times(rng: Random, stats: _Statistics, duration: int) -> list[Span]:
    """Spans of the shows: mostly one after another, sometimes two at once, never three."""
    ticks = round(duration / _TICK)
    while True:
        spans: list[tuple[int, int]] = []
        free = rng.randint(0, 4)  # first tick at which nothing is visible any more
        paired = True  # the first show has nothing to pair with
        for _ in range(rng.choice(stats.counts)):
            length = rng.randint(*stats.lengths)
            before = spans[-1] if spans else (0, 0)
            paired = not paired and before[1] - before[0] >= 3 and rng.random() < stats.pair
            start = rng.randint(before[0] + 2, before[1] - 1) if paired else free + rng.randint(0, 2)
            spans.append((start, start + length))
            free = max(free, start + length)
        if free <= ticks:
            return [Span(a * _TICK, b * _TICK) for a, b in spans]


def _long_times(rng: Random) -> tuple[int, list[Span]]:
    chunks = rng.randint(2, 4)
    while True:
        spans: list[tuple[int, int]] = []
        free = 0
        for _ in range(rng.randint(2, 3)):
            start = free + rng.choice((0, 0, 1))
            free = start + rng.choice((1, 1, 2))
            spans.append((start, free))
        if free <= chunks:
            return round(chunks * _CHUNK), [Span(a * _CHUNK, b * _CHUNK) for a, b in spans]


def _overlapping(times: list[Span]) -> list[int | None]:
    """For each span the index of the one that it shares time with; at most one by construction."""
    return [
        next((j for j, b in enumerate(times) if i != j and a.start < b.end and b.start < a.end), None)
        for i, a in enumerate(times)
    ]


def _show(rng: Random, stats: _Statistics, span: Span, partner: int | None, placed: list[Show]) -> Show:
    taken = {(s.colour, s.kind) for s in placed}
    while True:
        colour = rng.choice(COLOURS)
        kind = rng.choices(KINDS, stats.kinds)[0]
        if (colour, kind) not in taken:
            break
    motion = rng.choices(MOTIONS, stats.motions)[0]
    size = rng.randint(*stats.sizes)
    if partner is None:
        return Show(colour, kind, span.start, span.end, motion, size, _way(rng, motion, size, None))
    # Two at once get a lane each, along the first one's way, so that they never cover each other.
    first = partner > len(placed)
    if first:
        other_motion, lane = motion, 0 if rng.random() < 0.5 else 1
    else:
        other = placed[partner]
        other_motion = other.motion
        in_rows = other_motion in ("left", "right")
        motion = rng.choice(("left", "right", "still") if in_rows else ("up", "down", "still"))
        lane = 0 if (other.path.y0 if in_rows else other.path.x0) > SIDE / 2 else 1
    size = min(size, SIDE // 2 - 2 * _MARGIN)
    rows = other_motion in ("left", "right")
    return Show(colour, kind, span.start, span.end, motion, size, _way(rng, motion, size, (rows, lane)))


def _way(rng: Random, motion: Motion, size: int, lane: tuple[bool, int] | None) -> Path:
    """A straight way inside the frame; `lane` is (rows?, 0 or 1) for shapes that share the frame."""
    low, high = _MARGIN + size / 2, SIDE - _MARGIN - size / 2
    x, y = rng.uniform(low, high), rng.uniform(low, high)
    if lane:
        rows, number = lane
        middle = SIDE / 4 + number * SIDE / 2
        x, y = (x, middle) if rows else (middle, y)
    slack = (high - low) * 0.25
    near, far = low + rng.uniform(0, slack), high - rng.uniform(0, slack)
    ways = {
        "left": Path(far, y, near, y),
        "right": Path(near, y, far, y),
        "up": Path(x, far, x, near),
        "down": Path(x, near, x, far),
        "still": Path(x, y, x, y),
    }
    return ways[motion]


def _with_turn(rng: Random, shows: list[Show], tick: float) -> list[Show]:
    """Lets one shape turn colour half-way, where that leaves every (colour, kind) of the scene distinct."""
    taken = {(s.colour, s.kind) for s in shows}
    least = max(tick, 1.0)
    able = [i for i, s in enumerate(shows) if s.end - s.start >= 2 * least]
    if not able:
        return shows
    index = rng.choice(able)
    show = shows[index]
    colours = [c for c in COLOURS if (c, show.kind) not in taken]
    steps = round((show.end - show.start - 2 * least) / tick)
    at = show.start + least + tick * rng.randint(0, steps)
    if colours:
        shows = [*shows[:index], replace(show, turns_to=rng.choice(colours), turns_at=at), *shows[index + 1 :]]
    return shows


def _background(rng: Random, stats: _Statistics) -> Background:
    return Background(
        style=rng.choice(stats.styles),
        shade=rng.randint(45, 95),
        depth=rng.randint(8, 25),
        period=rng.randint(14, 40),
        tint=(rng.randint(-10, 10), rng.randint(-10, 10), rng.randint(-10, 10)),
    )
