"""What each rule of a selection took and left: the funnel, measures before and after, targets and balances."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Annotated

from pydantic import Field

from trlt.files.forms import Count, Form
from trlt.recipe import Select
from trlt.select.classes import Class
from trlt.task.sample import TASKS, Task


class RuleStep(Form):
    """What one rule left out of what the rules before it had left."""

    rule: str
    """The recipe's key (without `select.`), or `error`."""
    said: str
    """The rule in words."""
    left_out: dict[str, dict[str, Count]]
    """By task and source."""
    left: dict[str, Count]
    """What stayed, by task."""


class Bin(Form):
    """A bin of a target or of a balance."""

    name: str
    available: Count
    """What the rules left."""
    wanted: Count
    """What the target, or an even share, asks for."""
    taken: Count


class BinsCell(Form):
    """The bins of one task and class: of a target, or of what is balanced."""

    task: Task
    klass: Class
    by: str
    """The measure, or the name in `select.balance`."""
    bins: Annotated[tuple[Bin, ...], Field(strict=False)]

    def apart(self) -> float | None:
        """Total variation distance of what was taken from what was wanted, 0 to 1: the part that stands in other bins."""
        wanted, taken = sum(one.wanted for one in self.bins), sum(one.taken for one in self.bins)
        if not wanted or not taken:
            return None
        return sum(abs(one.taken / taken - one.wanted / wanted) for one in self.bins) / 2


class Measured(Form):
    """A measure of a task's samples, before and after."""

    task: Task
    of: str
    names: tuple[str, ...] = Field(strict=False)
    """One per bar."""
    before: tuple[Count, ...] = Field(strict=False)
    """All rows with a value (of what needs the samples: those that the rules by rows left)."""
    after: tuple[Count, ...] = Field(strict=False)


class RulesReport(Form):
    """The part of a report that tells of the rules."""

    steps: Annotated[tuple[RuleStep, ...], Field(strict=False)]
    targets: Annotated[tuple[BinsCell, ...], Field(strict=False)] = ()
    balances: Annotated[tuple[BinsCell, ...], Field(strict=False)] = ()
    measures: Annotated[tuple[Measured, ...], Field(strict=False)] = ()


class Funnel:
    """Counts what each rule leaves out, in the order of the rules."""

    def __init__(self, settings: Select) -> None:
        self._said = dict(_steps(settings))
        self._out: dict[str, Counter[tuple[Task, str]]] = {rule: Counter() for rule in self._said}
        self._rows: Counter[Task] = Counter()

    def row(self, task: Task) -> None:
        """Counts a row."""
        self._rows[task] += 1

    def leave_out(self, rule: str, task: Task, source: str, count: int = 1) -> None:
        """Counts samples that a rule leaves out."""
        self._out[rule][task, source] += count

    def steps(self) -> tuple[RuleStep, ...]:
        """All steps, with what stayed after each."""
        left = dict(self._rows)
        found = []
        for rule, said in self._said.items():
            out: dict[str, dict[str, int]] = {}
            for (task, source), count in sorted((key, count) for key, count in self._out[rule].items() if count):
                out.setdefault(task, {})[source] = count
                left[task] -= count
            found.append(
                RuleStep(rule=rule, said=said, left_out=out, left={task: left[task] for task in TASKS if task in left})
            )
        return tuple(found)


def _steps(settings: Select) -> Iterable[tuple[str, str]]:
    """The rules in the order in which they apply, each in words."""
    yield "error", "the probe failed"
    if settings.by in ("rules", "variance"):
        yield "by", "of another class than those taken" if settings.by == "rules" else "all rewards are the same"
    yield "sizes", "none of its task are wanted (select.sizes)"
    bounds: dict[str, list[str]] = {}
    for task, of_task in settings.within.items():
        for name, (low, high) in of_task.items():
            bounds.setdefault(name, []).append(f"{task} {low:g} to {high:g}")
    for name, texts in sorted(bounds.items()):
        yield f"within.{name}", f"{name} not within {', '.join(texts)}"
    for key, said in (
        ("question_overlap", "{:.0%} of the question's words or more are those of another sample of its clip"),
        ("per_question", "more than {} of the same question"),
        ("per_clip", "more than {} of a clip"),
        ("per_video", "more than {} of a video"),
    ):
        limit = getattr(settings, key)
        if limit is not None:
            yield key, said.format(limit)
    if settings.target:
        yield "target", f"outside of the target's range ({', '.join(f'{t}: {one.of}' for t, one in settings.target.items())})"
    yield "drawn", "not drawn: there are more than the sizes take"


def bins_sentences(cells: Iterable[BinsCell], *, kind: str) -> Iterable[str]:
    """Says where a target or an even share wasn't reached, and why."""
    for cell in cells:
        apart = cell.apart()
        short = [one for one in cell.bins if one.taken < one.wanted and one.taken == one.available]
        if not short and (apart is None or apart < NOTABLE):
            continue
        listed = ", ".join(f"{one.name} has {one.taken:,} of {one.wanted:,}" for one in short[:MOST])
        more = f" and {len(short) - MOST} more" if len(short) > MOST else ""
        why = (
            f"{listed}{more}: the rules leave no more there"
            if short
            else "what is shared evenly first (select.balance) has no more"
        )
        tail = f"; {apart:.1%} of what was taken stands in other bins than wanted" if apart is not None else ""
        yield f"{cell.task} ({cell.klass}): {kind} {cell.by}: {why}{tail}"


NOTABLE = 0.01
"""Part in other bins than wanted from which a sentence says so, even if no bin ran dry."""
MOST = 4
"""Number of bins that a sentence lists."""
