"""What further parts of a reward would have paid on a probe's rows, and what that changes within groups.

Knows rows, samples and graders; neither files nor models.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from trlt.errors import DataError, OwnCodeError, shown
from trlt.task.grade import Grader, total_reward
from trlt.task.parts import Read, RewardPart
from trlt.task.sample import Sample

TOGETHER = 32
"""Samples whose completions are given to a function at once."""
CHANGED = 5
"""Number of samples that are listed."""


@dataclass(slots=True)
class PartTrial:
    """What one part gave."""

    name: str
    weight: float
    values: list[float] = field(default_factory=list)
    """Where it applies."""
    beside: list[float] = field(default_factory=list)
    """The reward without further parts of the same completions."""
    none: int = 0
    """Completions that it doesn't apply to."""
    errors: int = 0
    """Samples for which it raised."""
    faults: dict[str, OwnCodeError] = field(default_factory=dict)
    """The first of each kind."""

    def add(self, given: Sequence[float | None] | OwnCodeError, base: Sequence[float]) -> None:
        """Takes what it gave for a sample's completions, whose rewards without it are `base`."""
        if isinstance(given, OwnCodeError):
            self.errors += 1
            self.faults.setdefault(given.kind, given)
            return
        for value, reward in zip(given, base, strict=True):
            if value is None:
                self.none += 1
            else:
                self.values.append(value)
                self.beside.append(reward)

    @property
    def correlation(self) -> float | None:
        """Pearson's, with the reward without further parts; None where one of them is always the same."""
        try:
            return statistics.correlation(self.values, self.beside)
        except statistics.StatisticsError:
            return None

    def to_json(self) -> dict[str, Any]:
        """Its numbers."""
        values = self.values
        return {
            "name": self.name,
            "weight": self.weight,
            "values": len(values),
            "mean": statistics.fmean(values) if values else None,
            "min": min(values, default=None),
            "max": max(values, default=None),
            "none": self.none,
            "errors": self.errors,
            "faults": [str(fault) for fault in self.faults.values()],
            "correlation": self.correlation,
        }


@dataclass(frozen=True, slots=True)
class TriedGroup:
    """A sample's completions, with their rewards before and after."""

    id: str
    question: str
    texts: Sequence[str]
    before: Sequence[float]
    """Without further parts."""
    after: Sequence[float]
    parts: Mapping[str, Sequence[float | None]]

    @property
    def moved(self) -> float:
        """Change of the ranking, from 0 to 1: pairs whose order turns around, and half of those that tie in one alone."""
        pairs = list(itertools.combinations(range(len(self.before)), 2))
        changed = sum(abs(_sign(self.before, *pair) - _sign(self.after, *pair)) for pair in pairs)
        return changed / (2 * len(pairs)) if pairs else 0.0


@dataclass(slots=True)
class RewardTrial:
    """The outcome over all rows."""

    parts: list[PartTrial]
    samples: int = 0
    """Those with answers for which no part raised: the groups below."""
    row_errors: int = 0
    """Rows without answers."""
    zero_before: int = 0
    """Groups whose rewards are all the same, without further parts."""
    zero_after: int = 0
    gained: int = 0
    """Groups whose rewards differ only with the parts."""
    lost: int = 0
    """Groups whose rewards differ only without them."""
    reordered: int = 0
    """Groups whose ranking changes."""
    changed: list[TriedGroup] = field(default_factory=list)
    """Those whose ranking changes most, first."""

    def add(self, group: TriedGroup) -> None:
        """Takes a group."""
        before, after = (min(some) == max(some) for some in (group.before, group.after))
        self.samples += 1
        self.zero_before += before
        self.zero_after += after
        self.gained += before and not after
        self.lost += after and not before
        if group.moved:
            self.reordered += 1
            # Of equal ones, the first stays.
            self.changed = sorted([*self.changed, group], key=lambda one: -one.moved)[:CHANGED]

    def to_json(self) -> dict[str, Any]:
        """As `trlt reward try --json` gives it."""
        numbers = ("samples", "row_errors", "zero_before", "zero_after", "gained", "lost", "reordered")
        return {
            **{name: getattr(self, name) for name in numbers},
            "parts": [part.to_json() for part in self.parts],
            "changed": [{**asdict(group), "moved": group.moved} for group in self.changed],
        }


def try_parts(
    rows: Iterable[Mapping[str, Any]], samples: Mapping[str, Sample], grader: Grader, parts: Sequence[RewardPart]
) -> RewardTrial:
    """Pays parts on top of a grader's reward.

    Args:
        rows: Of a probe.
        samples: Those that were probed, by id.
        grader: Reads the rows' texts, and gives the reward without the parts.
        parts: To try.

    Raises:
        DataError: a row of an unknown sample.
        RewardError: a part gave what is no reward.
    """
    trial = RewardTrial([PartTrial(part.name, part.weight) for part in parts])
    # Of the parts to try, too: one may divide by the clip's length.
    times = replace(grader, parts=tuple(parts))
    for some in _chunks(_answered(rows, samples, trial, times)):
        graded = grader.grade(some)
        read = [
            Read(sample, texts, [one.answer for one in grades], [one.scores for one in grades])
            for (sample, texts), grades in zip(some, graded, strict=True)
        ]
        base = [[one.reward for one in grades] for grades in graded]
        given = [part.values(read) for part in parts]
        for i, one in enumerate(read):
            mine = {part.name: values[i] for part, values in zip(parts, given, strict=True)}
            for part in trial.parts:
                part.add(mine[part.name], base[i])
            paid = {name: values for name, values in mine.items() if not isinstance(values, OwnCodeError)}
            if len(paid) == len(mine):
                after = [
                    total_reward(
                        one.sample,
                        one.texts[j],
                        one.answers[j],
                        one.scores[j],
                        grader,
                        parts,
                        {name: some[j] for name, some in paid.items()},
                    )
                    for j in range(len(one.texts))
                ]
                trial.add(TriedGroup(one.sample.id, one.sample.question, one.texts, base[i], after, paid))
    return trial


def _answered(
    rows: Iterable[Mapping[str, Any]], samples: Mapping[str, Sample], trial: RewardTrial, grader: Grader
) -> Iterator[tuple[Sample, list[str]]]:
    for row in rows:
        # Where a function raised in the probe, the answers are kept ungraded.
        ungraded = row.get("ungraded") or {}
        texts = row["texts"] or [one["text"] for one in ungraded.get("said", ())]
        if not texts:
            trial.row_errors += 1
        elif row["id"] not in samples:
            raise DataError(
                f"{shown(row['id'])}: is a row's, and no sample has that id; give the samples that were probed (--data)"
            )
        else:
            yield grader.timed(samples[row["id"]], row.get("length_s", ungraded.get("length_s"))), texts


def _chunks(items: Iterator[tuple[Sample, list[str]]]) -> Iterator[list[tuple[Sample, list[str]]]]:
    while some := list(itertools.islice(items, TOGETHER)):
        yield some


def _sign(values: Sequence[float], i: int, j: int) -> int:
    return (values[i] > values[j]) - (values[i] < values[j])
