"""The rules of a selection on a page: a funnel of what each left, targets and balances as charts, measures before and after."""

from __future__ import annotations

from trlt.report.page.charts import Bars, histogram, legend
from trlt.report.page.markup import Markup, element, join, table
from trlt.report.plots import TASKS
from trlt.report.rules_table import funnel_head, funnel_rows, named
from trlt.select import BinsCell, Measured, RulesReport

WIDTH, STEP = 640, 30
"""Of the funnel, in units of the view box: its width, and the height of a line."""


def rules_part(report: RulesReport) -> Markup:
    """The part of a selection's section that shows its rules."""
    parts = [element("h4", "What each rule left"), funnel(report)]
    rows = funnel_rows(report)
    head = [TASKS.get(name, name) for name in funnel_head(report)]
    parts.append(table(head, rows, text_columns=2, caption="Samples that each rule left out"))
    if report.targets or report.balances:
        parts.append(element("h4", "Targets and balances"))
        parts.append(legend([("left by the rules, as a share", "before"), ("wanted", "wanted"), ("taken", "after")]))
        cells = [_bins_panel("target", one) for one in report.targets]
        cells += [_bins_panel("balance", one) for one in report.balances]
        parts.append(element("div", *cells, class_="panels"))
    if report.measures:
        parts.append(element("h4", "Before and after, in percent of the samples"))
        parts.append(legend([("probed", "before"), ("taken", "after")]))
        shown = [one for one in report.measures if any(one.after)]
        parts.append(element("div", *map(_measured_panel, shown), class_="panels"))
    return join(parts)


def funnel(report: RulesReport) -> Markup:
    """Bars of what is left after each rule, by task, one below the other."""
    lines: list[tuple[str, dict[str, int]]] = []
    for step in report.steps:
        out = {task: sum(sources.values()) for task, sources in step.left_out.items()}
        if not lines:
            lines.append(("probed", {task: count + out.get(task, 0) for task, count in step.left.items()}))
        if any(out.values()):
            lines.append((step.rule, dict(step.left)))
    most = max((sum(left.values()) for _, left in lines), default=0) or 1
    parts, start, room = [], 150.0, WIDTH - 150.0 - 70.0
    tasks = list(report.steps[0].left) if report.steps else []
    for place, (rule, left) in enumerate(lines):
        y, x = place * STEP + 4, start
        label = "taken" if rule == "drawn" else rule
        parts.append(element("text", label, x=start - 8, y=y + 15, class_="tick end"))
        for task in tasks:
            wide = room * left[task] / most
            told = element("title", f"{label}: {left[task]:,} of {TASKS.get(task, task)}")
            if wide:
                parts.append(
                    element("rect", told, x=f"{x:.1f}", y=y, width=f"{wide:.1f}", height=20, class_=f"bar task-{task}")
                )
            x += wide
        parts.append(element("text", f"{sum(left.values()):,}", x=f"{x + 6:.1f}", y=y + 15, class_="tick"))
    said = "; ".join(f"{rule}: {sum(left.values()):,}" for rule, left in lines)
    box = f"0 0 {WIDTH} {len(lines) * STEP + 4}"
    drawing = element("svg", *parts, role="img", aria_label=f"Samples left after each rule. {said}", viewBox=box)
    keys = legend([(TASKS.get(task, task), f"task-{task}") for task in tasks])
    return join([keys, element("figure", drawing, class_="funnel")])


def _bins_panel(kind: str, cell: BinsCell) -> Markup:
    """Three bars per bin: what was there (scaled to the taken), wanted and taken."""
    there, taken = sum(one.available for one in cell.bins) or 1, sum(one.taken for one in cell.bins)
    bins = [one for one in cell.bins if one.available or one.wanted]
    bars = [
        Bars("left by the rules, as a share", "before", [round(one.available * taken / there, 1) for one in bins]),
        Bars("wanted", "wanted", [one.wanted for one in bins]),
        Bars("taken", "after", [one.taken for one in bins]),
    ]
    apart = cell.apart()
    tail = f" ({apart:.1%} in other bins than wanted)" if apart else ""
    title = f"{TASKS[cell.task]}, {kind}: {named(cell.by)}{tail}"
    return histogram(title, [_short(one.name) for one in bins], bars, x_name=named(cell.by), stacked=False, unit="samples")


def _measured_panel(one: Measured) -> Markup:
    sides = [
        (name, style, counts, sum(counts) or 1)
        for name, style, counts in (("probed", "before", one.before), ("taken", "after", one.after))
    ]
    bars = [Bars(name, style, [round(100 * count / whole, 2) for count in counts]) for name, style, counts, whole in sides]
    title = f"{TASKS[one.task]}: {named(one.of)} ({sum(one.before):,} → {sum(one.after):,})"
    return histogram(title, [_short(name) for name in one.names], bars, x_name=named(one.of), stacked=False, unit="%")


def _short(name: str) -> str:
    """The lower edge of a stretch, other names as they are up to 8 characters."""
    low, middle, _ = name.partition(" to ")
    short = low if middle else name.partition(" of ")[0] if name[:1].isdigit() else name
    short = f">{short.removeprefix('over ').removesuffix(' s')}" if name.startswith("over ") else short
    return short if len(short) <= 8 else f"{short[:7]}…"
