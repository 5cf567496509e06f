"""Parts of `docs/evidence.md`: the claims from the shipped plan."""

from __future__ import annotations

from trlt.reproduce.plan import SHIPPED, load_plan
from trlt.reproduce.sections import Claim, Difference, Equal, Gap, Trend


def claims() -> str:
    """A table for each of the plan's: every claim with its measure, what the paper reports, and what would refute it."""
    plan = load_plan(SHIPPED)
    parts = [
        f"{len(plan.claims)} claims, {len(plan.arms)} arms, seeds {', '.join(map(str, plan.seeds))}. `tvg`, `qa`, `everything` "
        "and the like are means of figures, which the plan lists under `figures`. Differences are in percentage points, shares "
        "and rewards in their own unit.",
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
        case Trend():
            arms = ", ".join(f"`{arm}` at {x:g}" for arm, x in zip(claim.arms, claim.x, strict=True))
            return f"slope of {_code(claim.figure)} over {arms}"
        case Gap():
            return f"`{claim.a}` - `{claim.b}` in {_code(claim.figure)}, minus the same in {_code(claim.than)}"
        case Difference() | Equal():
            if claim.a == claim.b:
                return f"`{claim.a}`: {_code(claim.figure)} - {_code(claim.than or claim.figure)}"
            return f"`{claim.a}` - `{claim.b}` in {_code(claim.figure)}"


def refuted(claim: Claim) -> str:
    """The interval that would say that the claim is wrong."""
    if isinstance(claim, Equal):
        return f"all of it beyond ±{claim.margin:g}"
    return "all of it above 0" if claim.less else "all of it below 0"


def _heading(table: str) -> str:
    return f"Table {table}" if table[0].isdigit() else {"fig4": "Figure 4"}.get(table, table.capitalize())


def _code(figure: str) -> str:
    return f"`{figure}`"
