"""Histograms of probes as pictures (Fig. 4 of the paper). Knows matplotlib, loaded on use; neither rows nor models.

The same counts give the same bytes: no dates, no versions, and none of the user's matplotlib settings.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trlt.errors import counted
from trlt.files import open_atomic

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 150
_COLUMNS = 3
_CELLS = 6
"""Columns of the grid: a row's one, two or three panels share them evenly."""
_PANEL_INCHES = 3.5
_HEIGHTS = (3.9, 6.6)
"""Inches of a picture of one and of two rows of panels: at most 1,575 x 990 pixels."""
_COLOURS = {"hard": "#D55E00", "flat": "#C4C4C4", "medium": "#0072B2", "varied": "#0072B2", "easy": "#56B4E9"}
"""By class, stacked in this order; distinguishable with any color vision. Medium and varied are the ones trained on."""
_NAME = 40
"""Number of characters shown of a probe's name, from its end."""
_BEFORE, _AFTER = "#E69F00", "#0072B2"
TASKS = {"multi_choice": "Multiple choice", "grounding": "Temporal grounding", "grounded_qa": "Grounded QA"}
_KINDS = ("correct", "delta_iou", "mean_iou")
_STYLE = {
    **{"font.size": 9, "axes.titlesize": 10, "axes.labelsize": 9, "legend.fontsize": 9, "figure.titlesize": 12},
    **{"axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "axes.grid.axis": "y", "grid.color": "#E5E5E5"},
    **{"axes.axisbelow": True, "text.parse_math": False, "font.family": "DejaVu Sans"},
}


@dataclass(frozen=True, slots=True)
class _Panel:
    task: str
    kind: str
    """One of `_KINDS`."""


def difficulty_png(histograms: Mapping[str, Any], path: Path) -> None:
    """Plots a probe: right answers, max - mean and mean of the IoUs, colored by class.

    Args:
        histograms: As `trlt.select.probe_shift.histograms` gives them.
        path: The PNG file.
    """
    with styled():
        write_figure(difficulty_figure(histograms), path)


def shift_png(
    before: Mapping[str, Any], after: Mapping[str, Any], path: Path, *, names: tuple[str, str] = ("before", "after")
) -> None:
    """Plots two probes of the same samples side by side.

    Args:
        before: As `trlt.select.probe_shift.histograms` gives them.
        after: The same of the other probe.
        path: The PNG file.
        names: Names of the two.
    """
    with styled():
        write_figure(shift_figure(before, after, names=names), path)


def difficulty_figure(histograms: Mapping[str, Any]) -> Figure:
    """The picture of `difficulty_png`, not yet written."""
    from matplotlib.patches import Patch

    tasks = histograms["tasks"]
    count = histograms["rows"] - histograms["errors"]
    left_out = f" ({histograms['errors']:,} more left out: video unreadable)" if histograms["errors"] else ""
    figure, axes = _panels(tasks, f"Difficulty of {counted(count, 'probed sample')}{left_out}")
    there: set[str] = set()
    for panel, ax in axes:
        found = tasks[panel.task]
        parts = _parts(found, panel.kind)
        middles, width = _places(panel.kind, len(next(iter(parts.values()))))
        below = [0] * len(middles)
        for klass, counts in parts.items():
            ax.bar(middles, counts, width, bottom=below, color=_COLOURS[klass], edgecolor="white", linewidth=0.4)
            below = [low + more for low, more in zip(below, counts, strict=True)]
            there |= {klass} if any(counts) else set()
        _dress(ax, panel, found["n"], f"{TASKS[panel.task]} (n = {found['rows']:,})", "samples", max(below))
    by_colour: dict[str, list[str]] = {}
    for klass, colour in _COLOURS.items():
        if klass in there:
            by_colour.setdefault(colour, []).append(klass)
    if by_colour:
        handles = [Patch(facecolor=colour, label=", ".join(classes)) for colour, classes in by_colour.items()]
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
    return figure


def shift_figure(
    before: Mapping[str, Any], after: Mapping[str, Any], *, names: tuple[str, str] = ("before", "after")
) -> Figure:
    """The picture of `shift_png`, not yet written; in percent if the two have different numbers of samples."""
    from matplotlib.patches import Patch

    tasks = {task: found for task, found in before["tasks"].items() if task in after["tasks"]}
    a, b = (sum(side["tasks"][task]["rows"] for task in tasks) for side in (before, after))
    figure, axes = _panels(tasks, f"{counted(a, 'sample')}, probed twice" if a == b else f"Two probes: {a:,} and {b:,} samples")
    for panel, ax in axes:
        sides = [side["tasks"][panel.task] for side in (before, after)]
        rows = [side["rows"] for side in sides]
        same = rows[0] == rows[1]
        counts = [merged(side, panel.kind) for side in sides]
        bars = max(len(one) for one in counts)
        middles, width = _places(panel.kind, bars)
        tallest = 0.0
        for one, whole, offset, colour in zip(counts, rows, (-0.25, 0.25), (_BEFORE, _AFTER), strict=True):
            heights = [value if same else 100 * value / whole for value in [*one, *[0] * (bars - len(one))]]
            ax.bar([x + offset * width for x in middles], heights, width / 2, color=colour, edgecolor="white", linewidth=0.4)
            tallest = max(tallest, *heights)
        n = f"n = {rows[0]:,}" if same else f"n = {rows[0]:,} and {rows[1]:,}"
        answers = max(side["n"] for side in sides)
        _dress(ax, panel, answers, f"{TASKS[panel.task]} ({n})", "samples" if same else "share of samples, %", tallest)
    short = [name if len(name) <= _NAME else f"…{name[1 - _NAME :]}" for name in names]
    handles = [Patch(facecolor=colour, label=name) for colour, name in zip((_BEFORE, _AFTER), short, strict=True)]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False)
    return figure


def _panels(tasks: Mapping[str, Any], title: str) -> tuple[Figure, list[tuple[_Panel, Axes]]]:
    """A figure with one panel per histogram, three side by side; a task's panels stay in one row."""
    lines: list[list[_Panel]] = []
    for task, found in tasks.items():
        panels = [_Panel(task, kind) for kind in _KINDS if merged(found, kind)]
        if lines and len(lines[-1]) + len(panels) <= _COLUMNS:
            lines[-1] += panels
        else:
            lines.append(panels)
    height = _HEIGHTS[max(len(lines), 1) - 1]
    # A lone panel gets more width, for its title.
    width = max(_PANEL_INCHES * max((len(line) for line in lines), default=1), 5.0)
    figure = new_figure(width, height, hspace=0.03)
    figure.suptitle(title, fontweight="bold")
    grid = figure.add_gridspec(max(len(lines), 1), _CELLS)
    axes = []
    for row, line in enumerate(lines):
        span = _CELLS // len(line)
        axes += [(panel, figure.add_subplot(grid[row, span * place : span * (place + 1)])) for place, panel in enumerate(line)]
    return figure, axes


def _parts(found: Mapping[str, Any], kind: str) -> dict[str, list[int]]:
    """Counts by class, in the order of stacking."""
    by_class = found["by_class"][kind]
    return {klass: by_class[klass] for klass in _COLOURS if klass in by_class}


def merged(found: Mapping[str, Any], kind: str) -> list[int]:
    """Counts of all classes; empty if the task has no such histogram."""
    return [sum(column) for column in zip(*found["by_class"].get(kind, {}).values(), strict=True)]


def _places(kind: str, bars: int) -> tuple[list[float], float]:
    """Middle of each bar on the axis, and the bars' width."""
    if kind == "correct":
        return [float(c) for c in range(bars)], 0.86
    return [(place + 0.5) / bars for place in range(bars)], 0.9 / bars


def _dress(ax: Axes, panel: _Panel, n: int, title: str, unit: str, tallest: float) -> None:
    """Title, labels and ticks of a panel."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    labels = {
        "correct": f"right answers of {n}",
        "delta_iou": f"IoU of {n} answers, max - mean",
        "mean_iou": f"IoU of {n} answers, mean",
    }
    ax.set_title(title)
    ax.set_xlabel(labels[panel.kind])
    ax.set_ylabel(unit)
    ax.tick_params(length=2)
    if panel.kind == "correct":
        ax.set_xlim(-0.7, n + 0.7)
        if n <= 16:
            ax.set_xticks(range(n + 1))
        else:
            ax.xaxis.set_major_locator(MaxNLocator(nbins=9, integer=True, steps=[1, 2, 4, 5, 8, 10]))
    else:
        ax.set_xlim(-0.02, 1.02)
        ax.set_xticks([0, 0.2, 0.4, 0.6, 0.8, 1])
    ax.set_ylim(0, 1.06 * tallest or 1)
    ax.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def new_figure(width: float, height: float, *, hspace: float = 0.02) -> Figure:
    """An empty figure of a size in inches; `hspace` is the share of its height between rows of panels."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08, wspace=0.02, hspace=hspace)
    figure = Figure(figsize=(width, height), dpi=DPI, layout=layout, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


@contextmanager
def styled(changes: Mapping[str, Any] | None = None) -> Iterator[None]:
    """Our settings over matplotlib's own, whatever the user's are; `changes` over both."""
    import matplotlib
    import matplotlib.style

    with matplotlib.style.context(["default", {**_STYLE, **(changes or {})}]):
        yield


def write_figure(figure: Figure, path: Path) -> None:
    """Writes a PNG file in one step; without date and version."""
    with warnings.catch_warnings(), open_atomic(path, "wb") as out:
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # in a run's name: a box is drawn
        figure.savefig(out, format="png", dpi=DPI, facecolor="white", metadata={"Software": None})
