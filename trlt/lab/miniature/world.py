"""Scenes: what is shown when, where and how. Knows no chance, no pixels, no questions and no files.

All times are seconds and lie on a grid of 0.5 s (5 s in long scenes). At most two shapes are visible at once, they never
cover each other, and no (colour, kind) pair occurs twice in a scene, so that what is said about a scene can be exact.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, get_args

from trlt.task.sample import Span

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


class Path(NamedTuple):
    """A straight way of a shape's centre, in pixels, at even speed over the whole time it is shown."""

    x0: float
    y0: float
    x1: float
    y1: float


def along(path: Path, share: float) -> tuple[float, float]:
    """The place (x, y) in pixels after a share of the way, from 0 to 1."""
    return path.x0 + share * (path.x1 - path.x0), path.y0 + share * (path.y1 - path.y0)


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
        return along(self.path, (time - self.start) / (self.end - self.start))


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


class Clutter(NamedTuple):
    """A small grey square that stands still throughout: clutter, never asked about."""

    x: int
    y: int
    size: int
    grey: int


class Decoy(NamedTuple):
    """A grey shape that drifts from one place to another throughout, behind the others: never named or asked about."""

    kind: Kind
    size: int
    grey: int
    path: Path


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
    marks: tuple[Clutter, ...]
    contrast: float
    """1 for fully saturated shapes; lower values mix them with grey."""
    noise: int
    """Amplitude of the pixel noise in levels of 255."""
    decoys: tuple[Decoy, ...] = ()
    grade: float | None = None
    """Difficulty from 0 to 1 where the world is graded; what it does to a clip is in `trlt.lab.miniature.script`."""


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
