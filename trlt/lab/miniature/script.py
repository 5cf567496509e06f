"""Seed -> scene. Holds the statistics of the two domains; knows no pixels, no questions and no files."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import NamedTuple

from trlt.lab.miniature.world import (
    COLOURS,
    KINDS,
    MOTIONS,
    SIDE,
    Background,
    Clutter,
    Decoy,
    Domain,
    Motion,
    Path,
    Scene,
    Show,
    Style,
)
from trlt.task.sample import Span

TICK_S = 0.5
"""Every boundary in a scene lies on this grid."""
CHUNK_S = 5.0
"""The same, in long scenes."""

_MARGIN = 4  # px between a shape and the border


class _SceneStatistics(NamedTuple):
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
    noises: tuple[int, int] = (3, 9)
    decoys: int = 0  # at most


_STATISTICS: dict[Domain, _SceneStatistics] = {
    "train": _SceneStatistics(
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
    "shifted": _SceneStatistics(
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


def make_scene(seed: int, domain: Domain, *, long: bool = False, graded: bool = False) -> Scene:
    """The scene of a seed: always the same one.

    Args:
        seed: Any integer.
        domain: Which statistics it is drawn from.
        long: 10 to 20 s, with every boundary on a grid of 5 s.
        graded: The scene gets a grade of difficulty, drawn evenly from 0 to 1. The higher it is, the paler the shapes, the
            shorter they are shown (and so the faster they move), the more of them there are, and the more clutter, noise
            and drifting grey shapes.
    """
    rng = Random(f"{domain}:{long}:{seed}:graded" if graded else f"{domain}:{long}:{seed}")
    stats = _STATISTICS[domain]
    grade = round(rng.random(), 3) if graded else None
    if grade is not None:
        stats = _graded(stats, grade)
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
        shows=tuple(_with_turn(rng, placed, CHUNK_S if long else TICK_S) if rng.random() < stats.turn else placed),
        background=_background(rng, stats),
        marks=tuple(
            Clutter(rng.randrange(SIDE - 6), rng.randrange(SIDE - 6), rng.randint(3, 5), rng.randint(20, 150))
            for _ in range(rng.randint(0, stats.marks))
        ),
        contrast=round(rng.uniform(*stats.contrasts), 3),
        noise=rng.randint(*stats.noises),
        decoys=tuple(_decoy(rng) for _ in range(rng.randint(0, stats.decoys) if stats.decoys else 0)),
        grade=grade,
    )


def _graded(stats: _SceneStatistics, grade: float) -> _SceneStatistics:
    """A domain's statistics at a grade from 0 (plain) to 1 (hardly visible)."""
    palest = 1 - 0.8 * grade
    fewer, more = sorted(set(stats.counts))[:2], sorted(set(stats.counts))[-2:]
    longest = round(stats.lengths[1] - (stats.lengths[1] - 4) * grade)
    return stats._replace(
        contrasts=(max(0.12, palest - 0.1), palest),
        counts=tuple(fewer if grade < 1 / 3 else more if grade > 2 / 3 else stats.counts),
        lengths=(4 if grade < 1 / 3 else 3 if grade < 2 / 3 else 2, max(4, longest)),
        pair=stats.pair * 2 * grade,
        marks=round(4 + 12 * grade),
        noises=(3, round(6 + 34 * grade)),
        decoys=round(4 * grade),
    )


def _decoy(rng: Random) -> Decoy:
    size = rng.randint(20, 40)
    low, high = _MARGIN + size / 2, SIDE - _MARGIN - size / 2
    way = Path(*(rng.uniform(low, high) for _ in range(4)))
    return Decoy(rng.choice(KINDS), size, rng.randint(60, 170), way)


def _times(rng: Random, stats: _SceneStatistics, duration: int) -> list[Span]:
    """Spans of the shows: mostly one after another, sometimes two at once, never three."""
    ticks = round(duration / TICK_S)
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
            return [Span(a * TICK_S, b * TICK_S) for a, b in spans]


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
            return round(chunks * CHUNK_S), [Span(a * CHUNK_S, b * CHUNK_S) for a, b in spans]


def _overlapping(times: list[Span]) -> list[int | None]:
    """For each span the index of the one that it shares time with; at most one by construction."""
    return [
        next((j for j, b in enumerate(times) if i != j and a.start < b.end and b.start < a.end), None)
        for i, a in enumerate(times)
    ]


def _show(rng: Random, stats: _SceneStatistics, span: Span, partner: int | None, placed: list[Show]) -> Show:
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


def _background(rng: Random, stats: _SceneStatistics) -> Background:
    return Background(
        style=rng.choice(stats.styles),
        shade=rng.randint(45, 95),
        depth=rng.randint(8, 25),
        period=rng.randint(14, 40),
        tint=(rng.randint(-10, 10), rng.randint(-10, 10), rng.randint(-10, 10)),
    )
