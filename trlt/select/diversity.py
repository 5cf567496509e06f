"""Thins a pool: near-duplicate questions, and at most k samples of a clip or video, those that are farthest apart (pure)."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import NamedTuple, TypeVar

from trlt.recipe import Select
from trlt.select.measures import SampleFacts

Group = TypeVar("Group", bound=Hashable)


class Entry(NamedTuple):
    """A sample that may be taken; entries sort by preference."""

    order: float
    rank: bytes
    """Chance: a hash of seed and id."""
    id: str
    task: str
    facts: SampleFacts


class Thinned(NamedTuple):
    """One step of thinning."""

    key: str
    """The recipe's key."""
    left_out: frozenset[str]
    """Ids."""


def thin(entries: Iterable[Entry], settings: Select) -> list[Thinned]:
    """The steps that the settings name, each on what the one before it left.

    1. `question_overlap`: of a clip's samples of a task, one is left out if its question shares enough words with that of
       one that is preferred to it.
    2. `per_question`: the k preferred samples of a task with the same normalized question stay.
    3. `per_clip`, 4. `per_video`: the first k of `farthest_first` stay; where tasks share a video, they take turns.
    """
    pool = sorted(entries)
    steps: list[Thinned] = []

    def step(key: str, left_out: Iterable[str]) -> None:
        nonlocal pool
        steps.append(Thinned(key, frozenset(left_out)))
        pool = [entry for entry in pool if entry.id not in steps[-1].left_out]

    if settings.question_overlap is not None:
        same_clip = _grouped(pool, lambda entry: (entry.facts.clip or entry.facts.video, entry.task))
        step("question_overlap", _overlapping(same_clip.values(), settings.question_overlap))
    if settings.per_question is not None:
        same = _grouped(pool, lambda entry: (entry.facts.question, entry.task))
        step("per_question", (entry.id for group in same.values() for entry in group[settings.per_question :]))
    limits: tuple[tuple[str, int | None, Callable[[Entry], Hashable]], ...] = (
        ("per_clip", settings.per_clip, lambda entry: entry.facts.clip or entry.facts.video),
        ("per_video", settings.per_video, lambda entry: entry.facts.video),
    )
    for key, limit, group_of in limits:
        if limit is not None:
            groups = _grouped(pool, group_of)
            step(key, (entry.id for group in groups.values() for entry in in_turns(group, limit)[limit:]))
    return steps


def in_turns(group: Sequence[Entry], limit: int) -> list[Entry]:
    """A group's entries in the order in which they stay: each task's farthest first, and the tasks by turns.

    The tasks' order is that of their preferred entries. Only the first `limit` are in order.
    """
    if len(group) <= limit:
        return list(group)
    by_task = _grouped(sorted(group), lambda entry: entry.task)
    orders = [farthest_first(of_task, limit) for of_task in by_task.values()]
    return [entry for turn in zip_longest(*orders) for entry in turn if entry is not None]


def farthest_first(entries: Sequence[Entry], most: int) -> list[Entry]:
    """Farthest-first traversal (Gonzalez 1985): the preferred entry, then each time that whose nearest neighbor is farthest.

    Args:
        entries: Sorted by preference, which decides between equal distances.
        most: Number of entries to bring into this order; the rest follow as they are.
    """
    rest = list(entries)
    found = [rest.pop(0)] if rest else []
    nearest = [distance(entry.facts, found[0].facts) for entry in rest]
    while rest and len(found) < most:
        place = max(range(len(rest)), key=lambda one: (nearest[one], -one))
        found.append(rest.pop(place))
        nearest.pop(place)
        nearest = [min(near, distance(entry.facts, found[-1].facts)) for near, entry in zip(nearest, rest, strict=True)]
    return found + rest


def distance(a: SampleFacts, b: SampleFacts) -> float:
    """How far apart two samples of a video are, from 0 to 1.

    The words of their questions that aren't shared (1 - `overlap`); where both have a gold span, the mean of this and of the
    distance of the spans' middles, as a share of the duration (of the later middle, where the duration isn't known).
    """
    words = 1 - overlap(a.question, b.question)
    if a.middle is None or b.middle is None:
        return words
    length = max(a.duration or 0.0, b.duration or 0.0, a.middle, b.middle)
    return (words + min(1.0, abs(a.middle - b.middle) / length)) / 2 if length else words


_UNSPACED = "\u0e00-\u0eff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\s{_UNSPACED}]+")


def overlap(a: str, b: str) -> float:
    """Jaccard index of the words of two normalized questions; 1 for two without any.

    Chinese, Japanese and Thai are written without blanks between words; there, each character counts as one.
    """
    left, right = set(_WORD.findall(a)), set(_WORD.findall(b))
    return len(left & right) / len(left | right) if left or right else 1.0


def _overlapping(groups: Iterable[Sequence[Entry]], share: float) -> Iterable[str]:
    for group in groups:
        kept: list[Entry] = []
        for entry in group:
            if any(overlap(entry.facts.question, other.facts.question) >= share for other in kept):
                yield entry.id
            else:
                kept.append(entry)


def _grouped(entries: Iterable[Entry], key: Callable[[Entry], Group]) -> Mapping[Group, list[Entry]]:
    groups: dict[Group, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(key(entry), []).append(entry)
    return groups
