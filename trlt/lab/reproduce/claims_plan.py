"""Loads a plan and says all of its faults at once, each with file and key; and which arms a table needs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from trlt.errors import RecipeError, UsageError, did_you_mean
from trlt.errors import shown as quoted
from trlt.files.renamed import CLAIM, RUN, renew
from trlt.lab.reproduce.plan_sections import (
    Arm,
    Claim,
    DifferenceClaim,
    EqualClaim,
    Evaluation,
    GapClaim,
    Plan,
    Probing,
    Table,
    TrendClaim,
    World,
)
from trlt.lab.reproduce.recipes import merged
from trlt.lab.reproduce.references import faults_of
from trlt.recipe import Recipe, Section, fault_message, read_yaml, recipe_file, shipped

SHIPPED = shipped()["ablations/plans/evidence"]
"""The plan that ships with trlt: the paper's claims in the miniature world."""
_SECTIONS: dict[str, type[Section]] = {"world": World, "evals": Evaluation, "probes": Probing, "arms": Arm, "tables": Table}
_KINDS: dict[str, type[Section]] = {"difference": DifferenceClaim, "gap": GapClaim, "trend": TrendClaim, "equal": EqualClaim}


def load_plan(path: Path) -> Plan:
    """The plan of a YAML file, or of one that ships with trlt by its name (`ablations/plans/follow-up`).

    Raises:
        RecipeError: it can't be read, or has faults; all of them are listed, each with file and key.
    """
    values = read_yaml(recipe_file(path), "give a plan's path with --plan")
    if not isinstance(values, dict):
        raise RecipeError(f"{path}: a plan is a mapping of sections, got {type(values).__name__}")
    if "arms" not in values and values.keys() <= {*Recipe.model_fields}:
        raise RecipeError(f"{path}: this is a recipe, not a plan; `trlt recipe list` shows the plans that ship with trlt")
    values = renew(values, RUN, path)
    if isinstance(values.get("claims"), list):
        values["claims"] = [renew(claim, CLAIM, path) for claim in values["claims"]]
    try:
        plan = Plan.model_validate(values)
    except ValidationError as error:
        raise RecipeError("\n".join(f"{path}: {_told(fault)}" for fault in error.errors(include_url=False))) from None
    if faults := faults_of(plan):
        raise RecipeError("\n".join(f"{path}: {fault}" for fault in faults))
    return plan


def with_model(plan: Plan, path: str) -> Plan:
    """The same plan for another base model: its runs are others, and lie beside those of the plan's own."""
    return plan.model_copy(update={"recipe": merged(plan.recipe, {"model": {"path": path}})})


def _told(fault: Any) -> str:
    """One fault of pydantic's, with its key and what to do."""
    location = ".".join(str(part) for part in fault["loc"])
    return f"{location}: {_message(fault)}" if location else _message(fault)


def _message(fault: Any) -> str:
    kind, text, value = fault["type"], fault["msg"], fault["input"]
    if kind == "extra_forbidden":
        return f"unknown key; {did_you_mean(str(fault['loc'][-1]), _keys(fault['loc'][:-1]))}"
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        given = value.get("kind") if isinstance(value, dict) else value
        return f"kind: {quoted(given)} is unknown; {did_you_mean(str(given), _KINDS)}"
    if kind == "string_type" and isinstance(value, (int, float)):
        return f"a name is text; write it in quotes ('{value}')"
    return fault_message(kind, text, value)


def _keys(location: Sequence[str | int]) -> list[str]:
    """The keys that the section at a place knows."""
    section: type[Section] = Plan
    if location:
        section = _KINDS[str(location[2])] if location[0] == "claims" else _SECTIONS.get(str(location[0]), Plan)
    return list(section.model_fields)


def arms_of(claim: Claim) -> tuple[str, ...]:
    """The arms that a claim compares, each once."""
    return tuple(dict.fromkeys(claim.arms if isinstance(claim, TrendClaim) else (claim.a, claim.b)))


def asked_tables(plan: Plan, wanted: Sequence[str]) -> list[str]:
    """The tables that are asked for, in the plan's order; `all`, or none, stands for all.

    Raises:
        UsageError: one that the plan hasn't.
    """
    for name in wanted:
        if name != "all" and name not in plan.tables:
            raise UsageError(f"--table {name}: the plan has no such table; {did_you_mean(name, [*plan.tables, 'all'])}")
    return [name for name in plan.tables if not wanted or "all" in wanted or name in wanted]


def asked_claims(plan: Plan, tables: Sequence[str]) -> list[Claim]:
    """The claims of these tables; those without a table stand with all of them."""
    whole = set(tables) == set(plan.tables)
    return [claim for claim in plan.claims if (claim.table in tables if claim.table else whole)]


def asked_arms(plan: Plan, tables: Sequence[str]) -> list[str]:
    """The arms of these tables and of their claims, in the tables' order; with all tables, the plan's other arms after them."""
    needed = [arm for table in tables for arm in plan.tables[table].arms]
    needed += [arm for claim in asked_claims(plan, tables) for arm in arms_of(claim)]
    if set(tables) == set(plan.tables):
        needed += plan.arms
    return list(dict.fromkeys(needed))
