"""Learning curves and claims as pictures. Knows matplotlib, loaded on use; neither runs' folders nor plans' files.

The same numbers give the same bytes: no dates, no versions, and no settings of the user's matplotlib.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from trlt.lab.reproduce.plan_sections import BASE, Claim, EqualClaim, Plan, TrendClaim
from trlt.lab.reproduce.references import metric_parts, needed
from trlt.lab.reproduce.verdicts import ClaimVerdict
from trlt.report.page.charts import running_mean
from trlt.report.plots import new_figure, styled, write_figure
from trlt.stats.intervals import SeedMean, estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_LINES = ("-", "--", ":")
"""Of the second and third round of colours."""
_STATES = {"holds": ("#009E73", "o"), "refuted": ("#D55E00", "X"), "open": ("#7A7A7A", "D"), "incomplete": ("#B8B8B8", "s")}
"""Colour and mark of a verdict: told apart without colour as well."""
_SMOOTH = 0.05
"""Half width of the running mean, as a share of the curve."""
_COLUMNS = 3
_STYLE = {"legend.fontsize": 7.5, "axes.grid.axis": "both"}

Unit = Literal["percentage points", "share", "IoU", "reward", "slope", "in the metric's own unit"]
Rewards = Mapping[tuple[str, int], Sequence[float]]
"""Arm and seed to the mean reward of each step."""


class RewardCurve(NamedTuple):
    """One arm's reward over the steps that all of its seeds have made."""

    arm: str
    steps: Sequence[SeedMean]


def curves(plan: Plan, arms: Sequence[str], rewards: Rewards) -> list[RewardCurve]:
    """The arms' learning curves: the running means of their seeds, averaged, with a 95% t interval a step."""
    found = []
    for arm in arms:
        runs = [rewards[arm, seed] for seed in plan.seeds if rewards.get((arm, seed))]
        if arm == BASE or not runs:
            continue
        smooth = [running_mean(run, max(1, round(_SMOOTH * len(run)))) for run in runs]
        found.append(RewardCurve(arm, [estimate(values) for values in zip(*smooth, strict=False)]))
    return found


def curves_png(plan: Plan, tables: Sequence[str], rewards: Rewards, path: Path) -> bool:
    """Writes one panel per table with one curve per trained arm; gives whether there was anything to draw."""
    by_arms: dict[tuple[str, ...], list[str]] = {}
    for name in tables:  # tables of the same arms share a panel
        by_arms.setdefault(tuple(arm for arm in plan.tables[name].arms if arm != BASE), []).append(name)
    found = [(names, curves(plan, arms, rewards)) for arms, names in by_arms.items()]
    panels = [(f"Table{'s' * (len(names) > 1)} {', '.join(names)}", drawn) for names, drawn in found if drawn]
    if not panels:
        return False
    with styled(_STYLE):
        lines = -(-len(panels) // _COLUMNS)
        across = min(len(panels), _COLUMNS)
        figure = new_figure(max(4.2 * across, 5.0), 3.3 * lines + 0.4)
        figure.suptitle("Reward in training:\nmean over seeds, with its 95% interval", fontweight="bold")
        grid = figure.add_gridspec(lines, across)
        for place, (title, drawn) in enumerate(panels):
            _draw_curves(figure.add_subplot(grid[place // across, place % across]), title, drawn)
        write_figure(figure, path)
    return True


def claims_png(plan: Plan, claims: Sequence[Claim], verdicts: Sequence[ClaimVerdict], path: Path) -> bool:
    """Writes each claim's mean and interval as a dot and a line, one panel per unit; gives whether there was any to draw."""
    groups: dict[Unit, list[tuple[Claim, ClaimVerdict]]] = {}
    for claim, verdict in zip(claims, verdicts, strict=True):
        if verdict.mean is not None:
            groups.setdefault(unit(plan, claim), []).append((claim, verdict))
    if not groups:
        return False
    with styled(_STYLE):
        heights = [len(group) + 1.6 for group in groups.values()]
        figure = new_figure(8.0, 0.24 * sum(heights) + 0.9)
        figure.suptitle("Claims: mean over seeds, with its 95% interval", fontweight="bold")
        grid = figure.add_gridspec(len(groups), 1, height_ratios=heights)
        for place, (name, group) in enumerate(groups.items()):
            _draw_claims(figure.add_subplot(grid[place, 0]), name, group)
        _legend(figure, {verdict.state for group in groups.values() for _, verdict in group})
        write_figure(figure, path)
    return True


def unit(plan: Plan, claim: Claim) -> Unit:
    """What a claim's number is in, so that numbers of one unit share an axis."""
    if isinstance(claim, TrendClaim):
        return "slope"
    kinds = {_unit(part) for _, _, metric in needed(claim) for part in metric_parts(plan, metric)}
    return kinds.pop() if len(kinds) == 1 else "in the metric's own unit"


def _unit(metric: str) -> Unit:
    last = metric.rpartition(".")[2]
    if last in ("unanswered", "top_share", "top_span", "easy", "medium", "hard", "varied", "flat", "right", "frac_zero_range"):
        return "share"
    if last in ("mean_iou", "delta_iou"):
        return "IoU"
    if metric.startswith("eval."):
        return "percentage points"
    return "reward" if "reward" in last else "in the metric's own unit"


def _draw_curves(ax: Axes, title: str, found: Sequence[RewardCurve]) -> None:
    for place, curve in enumerate(found):
        colour, line = _COLOURS[place % len(_COLOURS)], _LINES[place // len(_COLOURS) % len(_LINES)]
        x = range(1, len(curve.steps) + 1)
        ax.plot(x, [one.mean for one in curve.steps], line, color=colour, linewidth=1.4, label=curve.arm)
        bounds = [(one.low, one.high) for one in curve.steps if one.low is not None and one.high is not None]
        if len(bounds) == len(curve.steps):
            ax.fill_between(x, [low for low, _ in bounds], [high for _, high in bounds], color=colour, alpha=0.15, linewidth=0)
    ax.set_title(title)
    ax.set_xlabel("step")
    ax.set_ylabel("reward")
    ax.legend(frameon=False, loc="best", ncols=1 + (len(found) > 5))


def _draw_claims(ax: Axes, name: Unit, group: Sequence[tuple[Claim, ClaimVerdict]]) -> None:
    ax.axvline(0, color="#333333", linewidth=1)
    for place, (claim, verdict) in enumerate(group):
        colour, mark = _STATES[verdict.state]
        if isinstance(claim, EqualClaim):
            ax.fill_betweenx([place - 0.4, place + 0.4], -claim.margin, claim.margin, color="#DDE8F0", linewidth=0)
        if verdict.low is not None and verdict.high is not None:
            ax.plot([verdict.low, verdict.high], [place, place], color=colour, linewidth=2)
        ax.plot([verdict.mean or 0.0], [place], mark, color=colour, markersize=6)
    ax.set_yticks(range(len(group)), [_side(claim) for claim, _ in group])
    ax.set_ylim(len(group) - 0.4, -0.6)
    ax.set_xlabel(name)


def _side(claim: Claim) -> str:
    """A claim's name, with the side of 0 that it claims."""
    if isinstance(claim, EqualClaim):
        return f"{claim.id} (±{claim.margin:g})"
    return f"{claim.id} (< 0)" if claim.less else f"{claim.id} (> 0)"


def _legend(figure: Figure, states: set[str]) -> None:
    from matplotlib.lines import Line2D

    there = [(state, *look) for state, look in _STATES.items() if state in states]
    handles = [Line2D([], [], color=colour, marker=mark, linestyle="-", label=state) for state, colour, mark in there]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
