"""Verdicts and tables as Markdown, for a repository's page. Knows neither files nor runs' folders."""

from __future__ import annotations

from collections.abc import Sequence

from trlt.lab.reproduce.verdicts import COVERS, ClaimVerdict, FilledTable, TableCell
from trlt.report.markdown_latex import markdown_text

SIGNS = {"holds": "✓ holds", "refuted": "✗ refuted", "open": "○ open", "incomplete": "… incomplete"}
"""How a verdict is written: never by colour alone."""


def evidence(title: str, facts: Sequence[str], verdicts: Sequence[ClaimVerdict], tables: Sequence[FilledTable]) -> str:
    """The whole report: facts, the verdicts, and table by table its numbers.

    Args:
        title: Of the page.
        facts: What was done, a line each.
        verdicts: In the plan's order.
        tables: The same.
    """
    parts = [f"# {markdown_text(title)}", "\n".join(f"- {markdown_text(fact)}" for fact in facts), COVERS]
    parts += ["## Claims", counts(verdicts), _verdicts(verdicts)]
    for one in tables:
        if one.rows and one.columns:
            parts += [f"## Table {one.name}: {markdown_text(one.title)}", table(one)]
    return "\n\n".join(part for part in parts if part) + "\n"


def counts(verdicts: Sequence[ClaimVerdict]) -> str:
    """How many claims came to what."""
    if not verdicts:
        return ""
    there = [(state, sum(one.state == state for one in verdicts)) for state in SIGNS]
    noun = "claim" if len(verdicts) == 1 else "claims"
    return f"{len(verdicts)} {noun}: " + ", ".join(f"{count} {state}" for state, count in there if count) + "."


def number(value: float | None, *, signed: bool = False) -> str:
    """A number with as many digits as tell something."""
    if value is None:
        return "–"
    digits = 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3
    return f"{value:{'+' if signed else ''}.{digits}f}"


def interval(low: float | None, high: float | None, *, signed: bool = False) -> str:
    """An interval in words; nothing where there is none."""
    return "" if low is None or high is None else f"{number(low, signed=signed)} to {number(high, signed=signed)}"


def seeds(one: ClaimVerdict) -> str:
    """How many seeds a verdict stands on."""
    return f"{one.seeds} of {one.of}" if one.seeds < one.of else str(one.of)


def state(one: ClaimVerdict) -> str:
    """The verdict in a word."""
    return SIGNS[one.state]


def cell(found: TableCell) -> tuple[str, str]:
    """A table's cell: the mean, and its interval or what stands in its place."""
    if found.mean is None:
        return "–", ""
    if found.once:
        return number(found.mean), "asked once"
    return number(found.mean), interval(found.low, found.high) or f"n = {found.n}"


def _verdicts(verdicts: Sequence[ClaimVerdict]) -> str:
    lines = ["| claim | the paper | ours | 95% interval | verdict | seeds |", "|---|---|---:|---:|---|---|"]
    for one in verdicts:
        words = f"**{markdown_text(one.id)}** {markdown_text(one.text)}<br>`{one.compared.replace('|', chr(92) + '|')}`"
        note = f"<br>{markdown_text(one.note)}" if one.note else ""
        ours = (number(one.mean, signed=True), interval(one.low, one.high, signed=True))
        lines.append(f"| {words}{note} | {markdown_text(one.paper)} | {' | '.join(ours)} | {state(one)} | {seeds(one)} |")
    return "\n".join(lines) if verdicts else "None."


def table(filled: FilledTable) -> str:
    """A table's means, each with its interval."""
    lines = [f"| arm | {' | '.join(f'`{name}`' for name in filled.columns)} |", "|---|" + "---:|" * len(filled.columns)]
    for arm, cells in filled.rows:
        shown = " | ".join(f"{mean} ({more})" if more else mean for mean, more in map(cell, cells))
        lines.append(f"| {markdown_text(arm)} | {shown} |")
    return "\n".join(lines)
