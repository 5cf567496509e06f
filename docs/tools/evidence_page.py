"""Parts of `docs/evidence.md` and `docs/choosing.md`: the claims of the plans, and what their runs say of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from trlt.lab.reproduce import Plan, RunRecord, judge, load_plan, markdown, read_records
from trlt.lab.reproduce.claims_plan import SHIPPED, arms_of, asked_arms
from trlt.lab.reproduce.plan_sections import Claim, DifferenceClaim, EqualClaim, GapClaim, TrendClaim
from trlt.lab.reproduce.records import counted, spent
from trlt.lab.reproduce.stages import runs
from trlt.lab.reproduce.verdicts import COVERS, ClaimVerdict, fill, standing

FOLLOW_UP = Path(__file__).resolve().parents[2] / "recipes" / "ablations" / "plans" / "follow-up.yaml"
"""What was asked after the runs of the shipped plan were known."""
CHOOSING = FOLLOW_UP.with_name("choosing.yaml")
"""Which reward, loss, selection and order of samples is better: `docs/choosing.md`."""
RECORDS = Path(__file__).resolve().parents[1] / "evidence" / "runs.jsonl"
"""Every run that was made for either plan, as `trlt reproduce` wrote it."""
CHOSEN = RECORDS.with_name("choosing.jsonl")
"""The same of the plan `CHOOSING`."""
OTHER = RECORDS.with_name("other-questions.jsonl")
"""Metrics of the same models on other questions, as such lines."""
AGAIN = (
    *("tvg-id", "again-tvg-ood", "again-sft-ood", "tvg-gqa", "tvg-qa", "vqa-qa", "ood-rlt", "id-rlt", "ood-gap", "ood-reason"),
    *("rlt-all", "join-trade", "join-gqa", "join-ood", "medium-easy", "spread-none", "random-1", "random-4", "dynamic"),
    *("why-shifted", "why-wide", "why-wide-gain"),
)
"""Claims that are tested on other questions."""
MAIN = (
    "rlt-all",
    "tvg-id",
    "tvg-gqa",
    "vqa-qa",
    "join-gqa",
    "medium-easy",
    "spread-none",
    "id-rlt",
    "ood-rlt",
    "ood-gap",
    "shift-medium",
    "random-1",
)
"""The main claims."""


def claims(path: Path = SHIPPED) -> str:
    """A table for each of the plan's: every claim with its measure, what the paper reports, and what would refute it."""
    plan = load_plan(path)
    parts = [
        f"{len(plan.claims)} claims, {len(plan.arms)} arms, seeds {', '.join(map(str, plan.seeds))}. `tvg`, `qa`, `everything` "
        "and the like are means of metrics, which the plan lists under `metrics`. Differences are in percentage points; those "
        "of shares and rewards are in their own unit.",
    ]
    for name, table in plan.tables.items():
        rows = [
            f"| `{claim.id}` | {claim.text} | {measure(claim)} | {claim.paper or '-'} | {refuted(claim)} |"
            for claim in plan.claims
            if claim.table == name
        ]
        if rows:
            head = ["| | claim | measure | paper | refuted by |", "|---|---|---|---|---|"]
            parts.append("\n".join([f"### {_heading(name)}: {table.title}", "", *head, *rows]))
    return "\n\n".join(parts)


def measure(claim: Claim) -> str:
    """What is computed for each seed."""
    match claim:
        case TrendClaim():
            arms = ", ".join(f"`{arm}` at {x:g}" for arm, x in zip(claim.arms, claim.x, strict=True))
            return f"slope of {_code(claim.metric)} over {arms}"
        case GapClaim():
            return f"`{claim.a}` - `{claim.b}` in {_code(claim.metric)}, minus the same in {_code(claim.than)}"
        case DifferenceClaim() | EqualClaim():
            if claim.a == claim.b:
                return f"`{claim.a}`: {_code(claim.metric)} - {_code(claim.than or claim.metric)}"
            return f"`{claim.a}` - `{claim.b}` in {_code(claim.metric)}"


def refuted(claim: Claim) -> str:
    """The interval that would say that the claim is wrong."""
    if isinstance(claim, EqualClaim):
        return f"all of it beyond ±{claim.margin:g}"
    return "all of it above 0" if claim.less else "all of it below 0"


def _heading(table: str) -> str:
    return f"Table {table}" if table[0].isdigit() else {"fig4": "Figure 4"}.get(table, table.capitalize())


def _code(metric: str) -> str:
    return f"`{metric}`"


@dataclass(frozen=True, slots=True)
class _Made:
    """What came of a plan."""

    path: Path
    plan: Plan
    failed: int
    """Runs of the plan that failed, whether or not a later one didn't."""
    counted: Mapping[tuple[str, int], RunRecord]
    """Those that count, by arm and seed."""
    metrics: Mapping[tuple[str, int], Mapping[str, float]]
    verdicts: Sequence[ClaimVerdict]


@cache
def _made(path: Path) -> _Made:
    plan = load_plan(path)
    file = CHOSEN if path == CHOOSING else RECORDS
    records = [record for record in read_records(file) if record.plan == plan.name] if file.is_file() else []
    there = counted(records, runs(plan, str(path), list(plan.arms), plan.seeds))
    metrics = {key: record.metrics for key, record in there.items()}
    verdicts = [judge(plan, claim, metrics) for claim in plan.claims]
    return _Made(path, plan, sum(record.error is not None for record in records), there, metrics, verdicts)


def verdicts(path: Path = SHIPPED) -> str:
    """The verdict on every claim, the tables behind them, and how long it took."""
    made = _made(path)
    planned = len(made.plan.arms) * len(made.plan.seeds)
    hours = spent(made.counted.values()) / 3600
    parts = [
        f"{len(made.counted)} of {planned} runs are complete, {made.failed} failed; {hours:.1f} hours of one core. "
        f"{markdown.counts(made.verdicts)}",
        *([COVERS] if path == SHIPPED else []),
        _verdicts(made.verdicts),
        _costs(made),
    ]
    for name in made.plan.tables:
        table = fill(made.plan, name, made.metrics)
        if table.rows:
            parts += [f"### {_heading(name)}: {table.title}", markdown.table(table)]
    return "\n\n".join(parts)


def choices() -> str:
    """What came of the plan `CHOOSING`: each claim with its interval, and which verdicts stand when all are taken together."""
    made = _made(CHOOSING)
    planned = len(made.plan.arms) * len(made.plan.seeds)
    found = f"{len(made.counted)} of {planned} runs are complete, {made.failed} failed"
    if not made.counted:
        return f"{found}."
    together = standing(made.verdicts)
    lines = ["| claim | here | 95% interval | verdict | with the others |", "|---|---:|---:|---|---|"]
    for one in made.verdicts:
        numbers = (markdown.number(one.mean, signed=True), markdown.interval(one.low, one.high, signed=True))
        said = markdown.state(one) + (f" ({markdown.seeds(one)} seeds)" if one.seeds < one.of else "")
        tested = one.kind != "equal" and one.state != "incomplete"
        stands = "-" if not tested else "stands" if one.id in together else "doesn't stand"
        lines.append(f"| {one.text} (`{one.id}`) | {' | '.join(numbers)} | {said} | {stands} |")
    tables = [(name, fill(made.plan, name, made.metrics)) for name in made.plan.tables]
    return "\n\n".join(
        [
            f"{found}; {spent(made.counted.values()) / 3600:.1f} hours of one core. {markdown.counts(made.verdicts)}",
            "\n".join(lines),
            *(f"### {table.title}\n\n{markdown.table(table)}" for _, table in tables if table.rows),
        ]
    )


def _costs(made: _Made) -> str:
    """What repeats each table, and how long that took here."""
    given = "" if made.path == SHIPPED else f"--plan {made.path.relative_to(RECORDS.parents[2])} "
    lines = ["| table | command | runs | one core |", "|---|---|---:|---:|"]
    for name in made.plan.tables:
        arms = asked_arms(made.plan, [name])
        there = [record for (arm, _), record in made.counted.items() if arm in arms]
        lines.append(f"| {name} | `trlt reproduce {given}--table {name}` | {len(there)} | {spent(there) / 60:.0f} min |")
    return "\n".join(lines)


def other_questions() -> str:
    """Claims of either plan over the seeds of both, on the questions of the plans and on other ones."""
    plans = [_made(path) for path in (SHIPPED, FOLLOW_UP)]
    first = {key: metrics for made in plans for key, metrics in made.metrics.items()}
    second = {(record.arm, record.seed): record.metrics for record in read_records(OTHER)}
    seeds = sorted({seed for made in plans for seed in made.plan.seeds})
    lines = ["| claim | seeds | registered questions | other questions |", "|---|---:|---:|---:|"]
    for plan, claim in ((made.plan, claim) for made in plans for claim in made.plan.claims if claim.id in AGAIN):
        there = [seed for seed in seeds if all((arm, seed) in second for arm in arms_of(claim))]
        over = plan.model_copy(update={"seeds": there})
        cells = []
        for one in (judge(over, claim, metrics) for metrics in (first, second)):
            interval = markdown.interval(one.low, one.high, signed=True)
            cells.append(f"{markdown.number(one.mean, signed=True)} ({interval}) {markdown.state(one)}")
        lines.append(f"| {claim.text} (`{claim.id}`) | {len(there)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main_verdicts() -> str:
    """The main claims: those of the plan, and those that were tested once more."""
    again = [verdict for verdict in _made(FOLLOW_UP).verdicts if verdict.table == "again"]
    return _verdicts([verdict for verdict in _made(SHIPPED).verdicts if verdict.id in MAIN] + again)


def _verdicts(found: Sequence[ClaimVerdict]) -> str:
    lines = ["| claim | the paper | here | 95% interval | verdict |", "|---|---:|---:|---:|---|"]
    for one in found:
        numbers = (markdown.number(one.mean, signed=True), markdown.interval(one.low, one.high, signed=True))
        said = markdown.state(one) + (f" ({markdown.seeds(one)} seeds)" if one.seeds < one.of else "")
        lines.append(f"| {one.text} (`{one.id}`) | {one.paper or '-'} | {' | '.join(numbers)} | {said} |")
    return "\n".join(lines)
