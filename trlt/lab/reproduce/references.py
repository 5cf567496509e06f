"""What the names in a plan refer to: arms, evaluations, probes and metrics; a fault for each that isn't there (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from trlt.errors import did_you_mean
from trlt.lab.reproduce.plan_sections import BASE, DEFAULT, Claim, DifferenceClaim, EqualClaim, GapClaim, Plan, TrendClaim
from trlt.task.sample import TASKS

KINDS = ("eval", "train", "probe", "select")
"""What metrics begin with."""


class NeededMetric(NamedTuple):
    """A metric that something needs of an arm."""

    where: str
    """The key in the plan."""
    arm: str
    metric: str


def faults_of(plan: Plan) -> list[str]:
    """Every name that leads nowhere, with its key and the nearest that is known."""
    faults = [*_names(plan), *_arms(plan), *_tables(plan), *_claims(plan)]
    if faults:  # metrics are looked for in arms, which then aren't sound
        return faults
    found = [f"{one.where}: {fault}" for one in _metrics(plan) if (fault := metric_fault(plan, one.arm, one.metric))]
    return list(dict.fromkeys(found))


def metric_parts(plan: Plan, metric: str) -> tuple[str, ...]:
    """The metrics whose mean a metric is: those of a named one, else itself."""
    return plan.metrics.get(metric, (metric,))


def metric_fault(plan: Plan, arm: str, metric: str) -> str | None:
    """Why an arm's runs can't have a metric, or None; the last part of its name is known to the runs alone."""
    if "." not in metric and metric not in plan.metrics:
        return f"{metric!r} is no metric; {did_you_mean(metric, plan.metrics) if plan.metrics else 'metrics is empty'}"
    for part in metric_parts(plan, metric):
        if fault := _part_fault(plan, arm, part):
            return fault if part == metric else f"metrics.{metric}: {fault}"
    return None


def _part_fault(plan: Plan, arm: str, metric: str) -> str | None:
    kind, *parts = metric.split(".")
    if kind not in KINDS or not parts or not all(parts):
        return f"{metric!r} is no metric of a run; they begin with {', '.join(f'{kind}.' for kind in KINDS)}"
    of = plan.arms[arm]
    if kind == "train" and arm == BASE:
        return f"{metric!r}: arm {BASE!r} isn't trained"
    if kind == "select" and arm == BASE and not any(plan.probes[name].data == "selected" for name in of.probes):
        return f"{metric!r}: arm {BASE!r} selects nothing"
    if kind == "probe":
        if parts[0] not in of.probes:
            return f"{metric!r}: {_lacks(arm, 'probes', parts[0], of.probes)}"
        if len(parts) < 3 or parts[1] not in TASKS:
            return f"{metric!r}: probe.{parts[0]} is followed by a task and a metric; {did_you_mean(parts[1:2][0], TASKS)}"
    if kind == "eval":
        name, rest = (parts[0], parts[1:]) if parts[0] in plan.evals else (DEFAULT, parts)
        if name not in of.evals:
            return f"{metric!r}: {_lacks(arm, 'evals', name, of.evals)}"
        benches = plan.evals[name].benchmarks
        if len(rest) < 2 or rest[0] not in benches:
            return f"{metric!r}: evals.{name} asks {', '.join(benches)}; name one of them, then its metric"
    return None


def _lacks(arm: str, key: str, name: str, there: Iterable[str]) -> str:
    return f"arms.{arm}.{key} is [{', '.join(there)}]; add {name} there"


def _unknown(where: str, name: str, known: Iterable[str]) -> str:
    choices = list(known)
    return f"{where}: {name!r} isn't in the plan; {did_you_mean(name, choices) if choices else 'there is none'}"


def _names(plan: Plan) -> Iterator[str]:
    if len(set(plan.seeds)) < len(plan.seeds):
        yield f"seeds: {list(plan.seeds)} holds a seed twice, which is no further run"
    for evaluation in plan.evals.values():
        for bench in evaluation.benchmarks:
            if bench in plan.evals:
                yield f"evals.{bench}: is a benchmark's name as well, so that eval.{bench} could be either; take another name"
    for name, parts in plan.metrics.items():
        for part in parts:
            if "." not in part:
                yield f"metrics.{name}: {part!r} is no metric of a run; a mean is made of such, not of other means"
    ids = [claim.id for claim in plan.claims]
    for id in dict.fromkeys(id for id in ids if ids.count(id) > 1):
        yield f"claims: {id!r} stands twice; ids are unique"


def _arms(plan: Plan) -> Iterator[str]:
    for name, arm in plan.arms.items():
        yield from (_unknown(f"arms.{name}.evals", one, plan.evals) for one in arm.evals if one not in plan.evals)
        yield from (_unknown(f"arms.{name}.probes", one, plan.probes) for one in arm.probes if one not in plan.probes)
        yield from _start(plan, name, arm.start)
        if arm.data is None:
            continue
        if arm.data not in plan.arms:
            yield _unknown(f"arms.{name}.data", arm.data, plan.arms)
        elif plan.arms[arm.data].data is not None or arm.data == name:
            yield f"arms.{name}.data: {arm.data!r} doesn't select by its own recipe; name the arm that does"


def _start(plan: Plan, name: str, start: str | None) -> Iterator[str]:
    if start is None:
        return
    if start not in plan.arms:
        yield _unknown(f"arms.{name}.start", start, plan.arms)
    elif start in (name, BASE) or name == BASE or plan.arms[start].start is not None:
        yield f"arms.{name}.start: {start!r} isn't an arm that is trained from the recipe's model; name one that is"


def _tables(plan: Plan) -> Iterator[str]:
    for name, table in plan.tables.items():
        yield from (_unknown(f"tables.{name}.arms", arm, plan.arms) for arm in table.arms if arm not in plan.arms)


def _claims(plan: Plan) -> Iterator[str]:
    for claim in plan.claims:
        where = f"claims.{claim.id}"
        if claim.table is not None and claim.table not in plan.tables:
            yield _unknown(f"{where}.table", claim.table, plan.tables)
        arms = {"arms": claim.arms} if isinstance(claim, TrendClaim) else {"a": (claim.a,), "b": (claim.b,)}
        for key, names in arms.items():
            yield from (_unknown(f"{where}.{key}", arm, plan.arms) for arm in names if arm not in plan.arms)


def _metrics(plan: Plan) -> Iterator[NeededMetric]:
    for name, table in plan.tables.items():
        yield from (NeededMetric(f"tables.{name}.columns", arm, column) for column in table.columns for arm in table.arms)
    for claim in plan.claims:
        yield from (NeededMetric(f"claims.{claim.id}.{key}", arm, metric) for key, arm, metric in needed(claim))


def needed(claim: Claim) -> Iterator[tuple[str, str, str]]:
    """Key, arm and metric of everything that a claim looks at."""
    match claim:
        case TrendClaim():
            yield from (("metric", arm, claim.metric) for arm in claim.arms)
        case GapClaim():
            for arm in (claim.a, claim.b):
                yield "metric", arm, claim.metric
                yield "than", arm, claim.than
        case DifferenceClaim() | EqualClaim():
            yield "metric", claim.a, claim.metric
            yield ("metric", claim.b, claim.metric) if claim.than is None else ("than", claim.b, claim.than)
