"""The outcome of `trlt reward try` in the terminal: a table of the parts, groups in words, and the samples that change most."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from trlt.errors import counted
from trlt.report.answers import visible
from trlt.select.reward_trial import PartTrial, RewardTrial, TriedGroup

_TEXT = 90
"""Characters of a completion that are shown."""


def parts_table(parts: Sequence[PartTrial]) -> Table:
    """One line per part; `r` is the correlation with the reward without further parts."""
    table = Table(show_edge=False, box=None, pad_edge=False, header_style="dim")
    table.add_column("part")
    for name in ("weight", "values", "mean", "min", "max", "None", "errors", "r"):
        table.add_column(name, justify="right")
    for part in parts:
        found = part.to_json()
        numbers = ["-" if found[key] is None else f"{found[key]:.3f}" for key in ("mean", "min", "max")]
        r = "-" if found["correlation"] is None else f"{found['correlation']:+.2f}"
        counts = [f"{found[key]:,}" for key in ("none", "errors")]
        table.add_row(Text(visible(part.name)), f"{part.weight:g}", f"{found['values']:,}", *numbers, *counts, r)
    return table


def groups_text(trial: RewardTrial) -> str:
    """What the parts change within groups, in words."""
    lines = [
        f"Groups whose answers all earn the same: {trial.zero_before:,} of {trial.samples:,} without the parts, "
        f"{trial.zero_after:,} with them ({trial.gained:,} gain a difference, {trial.lost:,} lose it)",
        f"Groups whose ranking changes: {trial.reordered:,}",
    ]
    if trial.row_errors:
        lines.append(f"{counted(trial.row_errors, 'row')} left out, since nothing was answered")
    return "\n".join(lines)


def changed_groups(groups: Sequence[TriedGroup]) -> list[Text | Table]:
    """The groups whose ranking changes most, with their completions from the best to the worst."""
    found: list[Text | Table] = []
    for group in groups:
        found.append(Text(f"\n{visible(group.id)}: {visible(group.question, 120)}", style="bold"))
        table = Table(show_edge=False, box=None, pad_edge=False, header_style="dim")
        for name in ("before", "after", *group.parts):
            table.add_column(visible(name), justify="right")
        table.add_column("text", overflow="fold")
        for i in sorted(range(len(group.texts)), key=lambda i: -group.after[i]):
            values = ["None" if some[i] is None else f"{some[i]:.3f}" for some in group.parts.values()]
            table.add_row(f"{group.before[i]:.3f}", f"{group.after[i]:.3f}", *values, Text(visible(group.texts[i], _TEXT)))
        found.append(table)
    return found
