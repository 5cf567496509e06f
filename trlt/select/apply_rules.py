"""Applies the rules beyond the paper's to candidates: bounds of samples, thinning, and draws with a target or a balance."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from trlt.errors import DataError, counted
from trlt.recipe import META, ROW_MEASURES, Select
from trlt.select.candidates import Candidate, RowsPass, wanted_classes
from trlt.select.classes import ROUNDING, Class
from trlt.select.diversity import Entry, thin
from trlt.select.draw import Leaf, draw
from trlt.select.measured import binned, edge_bin, edge_names
from trlt.select.measures import SampleFacts, fact_measure, read_facts
from trlt.select.rules_report import Bin, BinsCell, Measured
from trlt.select.shares import apportion
from trlt.select.target import Bins, bins_of, weights
from trlt.task.sample import TASKS, Task

FIRST_WORDS = 12
"""Number of first words of a task's questions that are balanced; all others are one type."""
OTHER, UNKNOWN = "other", "unknown"


class DrawnCell(NamedTuple):
    """What is taken of a task and class."""

    taken: dict[str, list[Candidate]]
    """By source."""
    targets: list[BinsCell]
    balances: list[BinsCell]


@dataclass
class Narrowed:
    """What the rules found, for the draw and the report; the pool itself is narrowed in place."""

    settings: Select
    wanted: Mapping[Task, Collection[Class]]
    facts: Mapping[str, SampleFacts] = field(default_factory=dict)
    """By id; of candidates of the classes that are taken."""
    bins: dict[Task, Bins] = field(default_factory=dict)
    """Of tasks with a target."""
    first_words: dict[Task, set[str]] = field(default_factory=dict)
    sentences: list[str] = field(default_factory=list)
    """On samples that lack a value."""
    durations: dict[Task, list[int]] = field(default_factory=dict)
    """Counts of the bins of durations, before the rules that need samples."""
    tasks: dict[str, Task] = field(default_factory=dict)
    """Of each id with facts."""

    def draws(self, task: Task) -> bool:
        """Whether a task has a target or another balance than that of the paper."""
        return task in self.bins or self.settings.balance != ("source",)

    def leaf(self, task: Task, source: str, candidate: Candidate) -> Leaf:
        """The names that `select.balance` gives a candidate."""
        return tuple(self._name(name, task, source, candidate) for name in self.settings.balance)

    def _name(self, name: str, task: Task, source: str, candidate: Candidate) -> str:
        if name == "source":
            return source
        facts = self.facts[candidate.id]
        if name == "duration":
            names = edge_names(self.settings.duration_bins, "s")
            return UNKNOWN if facts.duration is None else names[edge_bin(facts.duration, self.settings.duration_bins)]
        if name == "first_word":
            word = first_word(facts)
            return word if word in self.first_words[task] else OTHER
        if name == "answer_type":
            return facts.answer_type
        value = facts.meta[self.settings.meta_names().index(name.removeprefix(META))]
        return UNKNOWN if value is None else str(value)

    def in_order(self, name: str, there: Iterable[str]) -> list[str]:
        """Names of a balance in the order in which they are told."""
        if name != "duration":
            return sorted(there)
        names = [*edge_names(self.settings.duration_bins, "s"), UNKNOWN]
        return sorted(there, key=names.index)

    def measured(self, ids: Iterable[str]) -> tuple[Measured, ...]:
        """Histograms of durations before and after, where samples were read and have durations."""
        edges = self.settings.duration_bins
        values: dict[Task, list[float]] = {task: [] for task in TASKS}
        for id in ids if self.facts else ():
            duration = self.facts[id].duration
            if duration is not None:
                values[self.tasks[id]].append(duration)
        names = tuple(edge_names(edges, "s"))
        return tuple(
            Measured(task=task, of="duration", names=names, before=tuple(before), after=tuple(binned(values[task], edges)))
            for task, before in self.durations.items()
            if any(before)
        )


def first_word(facts: SampleFacts) -> str:
    """The first word of a question."""
    return facts.question.partition(" ")[0] or UNKNOWN


def narrow(found: RowsPass, samples: Iterable[Mapping[str, Any]] | None, settings: Select) -> Narrowed:
    """Takes out of the pool what the rules leave out, and counts it.

    Raises:
        DataError: a rule needs samples, or values, that aren't there.
    """
    result = Narrowed(settings, wanted_classes(settings))
    if settings.needs_samples():
        ids = {one.id: task for task, _, one in _candidates(found, result)}
        result.facts = read_facts(samples, ids, settings)
        result.tasks = ids
        for task in TASKS:
            durations = [result.facts[id].duration for id, of in ids.items() if of == task]
            result.durations[task] = binned((value for value in durations if value is not None), settings.duration_bins)
        _bound(found, result)
        _thin(found, result)
    _aim(found, result)
    for task in TASKS:
        words = Counter(
            first_word(result.facts[one.id]) for of, _, one in _candidates(found, result) if of == task and result.facts
        )
        common = sorted(words, key=lambda word: (-words[word], word))[:FIRST_WORDS]
        result.first_words[task] = set(common)
        if (
            "duration" in settings.balance
            and words
            and not any(result.facts[one.id].duration for of, _, one in _candidates(found, result) if of == task)
        ):
            raise DataError(_lacking(f"select.balance: duration ({task})", "duration"))
    return result


def draw_cell(
    by_source: Mapping[str, list[Candidate]], size: int, task: Task, klass: Class, narrowed: Narrowed, settings: Select
) -> DrawnCell:
    """Takes the candidates of a task and class by its target and balance (`trlt.select.draw`)."""
    taken: dict[str, list[Candidate]] = {source: [] for source in sorted(by_source)}
    if klass not in narrowed.wanted[task]:
        return DrawnCell(taken, [], [])
    target = settings.target.get(task)
    bins = narrowed.bins.get(task)
    shares = weights(target, bins) if target and bins else [1.0]
    leaves: dict[Leaf, list[list[tuple[Candidate, str]]]] = {}
    for source, candidates in by_source.items():
        for candidate in candidates:
            place = bins.place(candidate.value) if bins else 0
            assert place is not None, "`_aim` left out what is in no bin"
            of_leaf = leaves.setdefault(narrowed.leaf(task, source, candidate), [[] for _ in shares])
            of_leaf[place].append((candidate, source))
    available = {leaf: [len(one) for one in by_bin] for leaf, by_bin in leaves.items()}
    drawn = draw(available, shares, size, filled=target.fill if target else True)
    for leaf, by_bin in leaves.items():
        for place, candidates_of in enumerate(by_bin):
            for candidate, source in sorted(candidates_of)[: drawn.taken[leaf][place]]:
                taken[source].append(candidate)
    targets = []
    if target and bins and leaves:
        there, got = (
            [sum(one[place] for one in side.values()) for place in range(len(shares))] for side in (available, drawn.taken)
        )
        each = zip(there, drawn.wanted, got, strict=True)
        found = tuple(Bin(name=bins.label(p), available=a, wanted=w, taken=t) for p, (a, w, t) in enumerate(each))
        targets.append(BinsCell(task=task, klass=klass, by=target.of, bins=found))
    balances = []
    for place, name in enumerate(settings.balance if leaves else ()):
        if name == "source" and place == 0:
            continue  # the cells of the report tell it
        sides = []
        for side in (available, drawn.taken):
            counts: Counter[str] = Counter()
            for names, by_place in side.items():
                counts[names[place]] += sum(by_place)
            sides.append(counts)
        ordered = narrowed.in_order(name, sides[0])
        even = apportion(size, dict.fromkeys(ordered, 1))
        cells = tuple(Bin(name=one, available=sides[0][one], wanted=even[one], taken=sides[1][one]) for one in ordered)
        balances.append(BinsCell(task=task, klass=klass, by=name, bins=cells))
    return DrawnCell(taken, targets, balances)


def _candidates(found: RowsPass, narrowed: Narrowed) -> Iterable[tuple[Task, str, Candidate]]:
    """Candidates of the classes that are taken, with task and source."""
    for (task, klass), by_source in found.pool.items():
        if klass in narrowed.wanted[task]:
            for source, candidates in by_source.items():
                for candidate in candidates:
                    yield task, source, candidate


def _keep(found: RowsPass, narrowed: Narrowed, rules: Mapping[str, str]) -> None:
    """Takes out the candidates of the given ids, each counted for its rule."""
    for (task, klass), by_source in found.pool.items():
        for source, candidates in by_source.items() if klass in narrowed.wanted[task] else ():
            kept = []
            for candidate in candidates:
                rule = rules.get(candidate.id)
                if rule is None:
                    kept.append(candidate)
                else:
                    found.funnel.leave_out(rule, task, source)
            by_source[source] = kept


def _bound(found: RowsPass, narrowed: Narrowed) -> None:
    """Bounds of durations and `meta`."""
    settings = narrowed.settings
    rules: dict[str, str] = {}
    for task, bounds in settings.within.items():
        for name, (low, high) in sorted(bounds.items()):
            if name in ROW_MEASURES:
                continue
            there = [one.id for of, _, one in _candidates(found, narrowed) if of == task and one.id not in rules]
            values = {id: fact_measure(narrowed.facts[id], name, settings, id) for id in there}
            _note_missing(narrowed, f"select.within.{task}.{name}", name, values)
            for id, value in values.items():
                if value is None or not low - ROUNDING <= value <= high + ROUNDING:
                    rules[id] = f"within.{name}"
    _keep(found, narrowed, rules)


def _thin(found: RowsPass, narrowed: Narrowed) -> None:
    """Near-duplicates, and samples of a clip or video."""
    settings = narrowed.settings
    if not any((settings.per_video, settings.per_clip, settings.per_question, settings.question_overlap)):
        return
    entries = (
        Entry(one.order, one.rank, one.id, task, narrowed.facts[one.id]) for task, _, one in _candidates(found, narrowed)
    )
    _keep(found, narrowed, {id: step.key for step in thin(entries, settings) for id in step.left_out})


def _aim(found: RowsPass, narrowed: Narrowed) -> None:
    """Bins of targets, and the candidates that are in none of them."""
    settings = narrowed.settings
    for name, target in settings.target.items():
        task = next(one for one in TASKS if one == name)
        bins = bins_of(target, found.most.get(task, 1), settings.within.get(task, {}).get(target.of))
        narrowed.bins[task] = bins
        shares = weights(target, bins)
        if target.of not in ROW_MEASURES:
            ids = [one.id for of, _, one in _candidates(found, narrowed) if of == task]
            values = {id: fact_measure(narrowed.facts[id], target.of, settings, id) for id in ids}
            _note_missing(narrowed, f"select.target.{task}", target.of, values)
            for klass in narrowed.wanted[task]:
                for source, there in found.pool[task, klass].items():
                    known = [one._replace(value=math.nan if (v := values[one.id]) is None else v) for one in there]
                    found.pool[task, klass][source] = known
        outside = {}
        for of, _, one in _candidates(found, narrowed):
            place = bins.place(one.value) if of == task else 0
            if place is None or (of == task and not shares[place]):
                outside[one.id] = "target"
        _keep(found, narrowed, outside)


def _note_missing(narrowed: Narrowed, key: str, name: str, values: Mapping[str, float | None]) -> None:
    missing = sum(value is None for value in values.values())
    if values and missing == len(values):
        raise DataError(_lacking(key, name))
    if missing:
        narrowed.sentences.append(f"{key}: {counted(missing, 'sample')} without {name} left out")


def _lacking(key: str, name: str) -> str:
    remedy = "set `duration` in the samples (seconds), or leave the rule out" if name == "duration" else "leave the rule out"
    return f"{key}: no sample has {name}; {remedy}"
