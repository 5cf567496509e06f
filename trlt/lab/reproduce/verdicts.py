"""Whether a plan's claims hold, by the metrics of its runs, paired by seed (pure)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import linear_regression, stdev
from typing import Any, Literal

from trlt.errors import did_you_mean
from trlt.lab.reproduce.plan_sections import BASE, Claim, EqualClaim, GapClaim, Plan, TrendClaim
from trlt.lab.reproduce.references import metric_parts, needed
from trlt.stats.intervals import SeedMean, estimate

State = Literal["holds", "refuted", "open", "incomplete"]
RunMetrics = Mapping[tuple[str, int], Mapping[str, float]]
"""Arm and seed to metrics, where a run is over."""
_ZERO = 1e-9
"""Bounds nearer to 0 than this are 0: sums round."""
COVERS = (
    "Intervals are two-sided 95% t intervals of the mean over seeds, paired by seed. They cover what a seed decides: which "
    "samples are drawn, their order, and what is sampled in training. They don't cover the drawing of the benchmarks' "
    "questions, another base model, or another world. The claims are judged one by one, without a correction for their number."
)
"""What every report says of its intervals."""


@dataclass(frozen=True, slots=True)
class ClaimVerdict:
    """A claim, and what came of it."""

    id: str
    kind: str
    table: str | None
    text: str
    paper: str
    compared: str
    """What is measured, in symbols."""
    state: State
    mean: float | None
    """Over the seeds; None where there is none yet."""
    low: float | None
    high: float | None
    by_seed: Mapping[int, float]
    seeds: int
    """How many there are."""
    of: int
    """How many the plan has."""
    note: str = ""
    """Why something is missing."""

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self) | {"by_seed": {str(seed): value for seed, value in self.by_seed.items()}}


def judge(plan: Plan, claim: Claim, metrics: RunMetrics) -> ClaimVerdict:
    """The verdict on a claim.

    `holds` when the interval lies wholly on the claimed side of 0, `refuted` when wholly on the other, else `open`; a claim
    of equality holds when the interval lies within the margin, and is refuted when wholly outside. Until every seed of the
    plan is there, it's `incomplete`.
    """
    by_seed: dict[int, float] = {}
    notes: dict[str, None] = {}
    for seed in plan.seeds:
        missing = _missing(plan, claim, metrics, seed)
        if missing is None:
            by_seed[seed] = _value(plan, claim, metrics, seed)
        elif missing:
            notes[missing] = None
    found = estimate(list(by_seed.values())) if by_seed else None
    state: State = "incomplete"
    if found is not None and len(by_seed) == len(plan.seeds):
        state = _equality(found, claim.margin) if isinstance(claim, EqualClaim) else _side(found, claim.less)
    mean, low, high = found[:3] if found else (None, None, None)
    return ClaimVerdict(
        id=claim.id,
        kind=claim.kind,
        table=claim.table,
        text=claim.text,
        paper=claim.paper,
        compared=compared(claim),
        state=state,
        mean=mean,
        low=low,
        high=high,
        by_seed=by_seed,
        seeds=len(by_seed),
        of=len(plan.seeds),
        note="; ".join(notes),
    )


def standing(verdicts: Sequence[ClaimVerdict]) -> frozenset[str]:
    """The claims whose verdict stands when all of them are taken together: chance alone would give one of them in 5% of plans.

    Holm's procedure (Scandinavian Journal of Statistics 6, 1979) on the two-sided p values of the t test that the intervals are
    of, over all complete claims but those of equality, whose verdict is another test.
    """
    from scipy.special import stdtr

    values: list[tuple[float, str]] = []
    for one in verdicts:
        if one.kind == "equal" or one.state == "incomplete" or one.mean is None or one.seeds < 2:
            continue
        spread = stdev(one.by_seed.values())
        t = abs(one.mean) / (spread / math.sqrt(one.seeds)) if spread > _ZERO else math.inf if abs(one.mean) > _ZERO else 0.0
        values.append((2 * float(stdtr(one.seeds - 1, -t)), one.id))
    found: list[str] = []
    for place, (p, id) in enumerate(sorted(values)):
        if p * (len(values) - place) > 0.05:
            break
        found.append(id)
    return frozenset(found)


def value_of(plan: Plan, metric: str, there: Mapping[str, float]) -> float | None:
    """A metric, or the mean that a named one is; None where the run hasn't all of it."""
    values = [there.get(part) for part in metric_parts(plan, metric)]
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if len(known) == len(values) else None


def compared(claim: Claim) -> str:
    """What a claim measures, and what it says of that, in symbols."""
    if isinstance(claim, TrendClaim):
        arms = ", ".join(f"{arm} at {x:g}" for arm, x in zip(claim.arms, claim.x, strict=True))
        return f"slope of {claim.metric} over {arms} {'<' if claim.less else '>'} 0"
    if isinstance(claim, GapClaim):
        side = "<" if claim.less else ">"
        return f"({claim.a} - {claim.b} in {claim.metric}) - ({claim.a} - {claim.b} in {claim.than}) {side} 0"
    if claim.than is None:
        what = f"{claim.a} - {claim.b} in {claim.metric}"
    else:
        what = f"{claim.metric} of {claim.a} - {claim.than} of {claim.b}"
    if isinstance(claim, EqualClaim):
        return f"|{what}| < {claim.margin:g}"
    return f"{what} {'<' if claim.less else '>'} 0"


def _missing(plan: Plan, claim: Claim, metrics: RunMetrics, seed: int) -> str | None:
    """None where all is there; an empty text where a run is still to come; else which metric a run that is over hasn't."""
    lacking = None
    for _, arm, metric in needed(claim):
        there = metrics.get((arm, seed))
        if there is None:
            return ""
        for part in metric_parts(plan, metric):
            if part not in there and lacking is None:
                near = did_you_mean(part, [name for name in there if name.split(".")[:2] == part.split(".")[:2]] or there)
                lacking = f"{arm} has no metric {part}; {near}"
    return lacking


def _value(plan: Plan, claim: Claim, metrics: RunMetrics, seed: int) -> float:
    """What a claim measures, in one seed whose metrics are all there."""

    def of(arm: str, metric: str) -> float:
        value = value_of(plan, metric, metrics[arm, seed])
        return math.nan if value is None else value

    if isinstance(claim, TrendClaim):
        return linear_regression(claim.x, [of(arm, claim.metric) for arm in claim.arms]).slope
    if isinstance(claim, GapClaim):
        there, here = (of(claim.a, metric) - of(claim.b, metric) for metric in (claim.metric, claim.than))
        return there - here
    return of(claim.a, claim.metric) - of(claim.b, claim.than or claim.metric)


def _side(found: SeedMean, less: bool) -> State:
    if found.low is None or found.high is None:
        return "open"
    above, below = found.low > _ZERO, found.high < -_ZERO
    if less:
        above, below = below, above
    return "holds" if above else "refuted" if below else "open"


def _equality(found: SeedMean, margin: float) -> State:
    if found.low is None or found.high is None:
        return "open"
    if -margin < found.low and found.high < margin:
        return "holds"
    return "refuted" if found.low > margin or found.high < -margin else "open"


@dataclass(frozen=True, slots=True)
class TableCell:
    """One metric of one arm over the seeds that are there."""

    mean: float | None
    low: float | None
    high: float | None
    n: int
    once: bool
    """The base model was asked once, and its metric counts for every seed."""


@dataclass(frozen=True, slots=True)
class FilledTable:
    """A table of the plan with its numbers."""

    name: str
    title: str
    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[TableCell]]]
    """Arm, and a cell a column."""

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        rows = {arm: {name: asdict(cell) for name, cell in zip(self.columns, cells, strict=True)} for arm, cells in self.rows}
        return {"title": self.title, "arms": rows}


def fill(plan: Plan, name: str, metrics: RunMetrics) -> FilledTable:
    """A table's means and intervals."""
    table = plan.tables[name]
    rows = [(arm, [_cell(plan, arm, column, metrics) for column in table.columns]) for arm in table.arms]
    return FilledTable(name, table.title, table.columns, rows)


def _cell(plan: Plan, arm: str, metric: str, metrics: RunMetrics) -> TableCell:
    found = [value_of(plan, metric, metrics[arm, seed]) for seed in plan.seeds if (arm, seed) in metrics]
    values = [value for value in found if value is not None]
    if not values:
        return TableCell(None, None, None, 0, False)
    mean, low, high, n = estimate(values)
    once = arm == BASE and all(part.startswith("eval.") for part in metric_parts(plan, metric))
    return TableCell(mean, None, None, n, True) if once else TableCell(mean, low, high, n, False)
