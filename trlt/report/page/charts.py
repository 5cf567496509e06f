"""Charts as SVG: curves, histograms, values with intervals. Colors are classes of the page's style, so both themes work.

Numbers in, markup out; knows neither runs nor benchmarks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from trlt.report.page.markup import Markup, element

WIDTH, HEIGHT = 340, 190
"""Of a panel, in units of the view box; about pixels on a phone."""
_LEFT, _RIGHT, _TOP, _BOTTOM = 54, 10, 18, 34
_POINTS = 400
"""Maximum number of points of a curve; longer ones become means over even stretches."""
_SMOOTH = 0.08
"""Half width of the running mean, as a share of the curve."""


@dataclass(frozen=True, slots=True)
class StepCurve:
    """One run's metric over its steps."""

    name: str
    style: str
    """Class of the page's style (`run-0`)."""
    x: Sequence[float]
    y: Sequence[float]


@dataclass(frozen=True, slots=True)
class Bars:
    """Counts of one kind, one entry per bar."""

    name: str
    style: str
    counts: Sequence[float]


@dataclass(frozen=True, slots=True)
class IntervalMark:
    """A value with its interval on a percent scale; without an interval, a reference value."""

    name: str
    style: str
    value: float
    low: float | None = None
    high: float | None = None


def ticks(low: float, high: float) -> list[float]:
    """Round numbers within [low, high], about four of them."""
    if not high > low:
        return [low]
    rough = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * nice for nice in (1, 2, 2.5, 5, 10) if power * nice >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [step * place for place in range(first, math.floor(high / step + 1e-9) + 1)]


def running_mean(values: Sequence[float], half: int) -> list[float]:
    """Mean over up to `half` values on either side."""
    sums = [0.0]
    for value in values:
        sums.append(sums[-1] + value)
    bounds = [(max(0, place - half), min(len(values), place + half + 1)) for place in range(len(values))]
    return [(sums[last] - sums[first]) / (last - first) for first, last in bounds]


def thinned(values: Sequence[float], most: int = _POINTS) -> list[float]:
    """At most `most` values, each the mean of a stretch."""
    if len(values) <= most:
        return list(values)
    edges = [len(values) * place // most for place in range(most + 1)]
    return [math.fsum(values[first:last]) / (last - first) for first, last in zip(edges, edges[1:], strict=False)]


def line_chart(title: str, curves: Sequence[StepCurve]) -> Markup:
    """Curves over steps: measured values as a thin line, their running mean as a thick one."""
    thin = [StepCurve(one.name, one.style, thinned(one.x), thinned(one.y)) for one in curves if one.y]
    low, high = min(min(one.y) for one in thin), max(max(one.y) for one in thin)
    if high - low < 1e-9:
        low, high = low - (abs(low) * 0.1 or 0.5), high + (abs(high) * 0.1 or 0.5)
    else:
        low, high = low - 0.04 * (high - low), high + 0.04 * (high - low)
    left, right = min(one.x[0] for one in thin), max(one.x[-1] for one in thin)
    plot = _Plot(left, right if right > left else left + 1, low, high)
    parts = plot.frame(ticks(low, high), ticks(left, right), "step")
    for one in thin:
        points = " ".join(f"{plot.x(x):.1f},{plot.y(y):.1f}" for x, y in zip(one.x, one.y, strict=True))
        mean = running_mean(one.y, max(1, round(_SMOOTH * len(one.y))))
        smooth = " ".join(f"{plot.x(x):.1f},{plot.y(y):.1f}" for x, y in zip(one.x, mean, strict=True))
        parts.append(element("polyline", points=points, class_=f"curve raw {one.style}"))
        parts.append(element("polyline", element("title", one.name), points=smooth, class_=f"curve {one.style}"))
    said = "; ".join(f"{one.name}: from {_short(one.y[0])} to {_short(one.y[-1])}" for one in thin)
    return _figure(title, f"{title} by step. {said}", parts)


def histogram(title: str, labels: Sequence[str], bars: Sequence[Bars], *, x_name: str, stacked: bool, unit: str) -> Markup:
    """Bars of counts: classes stacked, or runs side by side.

    Args:
        title: Of the panel.
        labels: One per bar; or for the bars' edges, one more.
        bars: Each with one count per bar.
        x_name: What the labels are.
        stacked: Whether they are stacked.
        unit: What is counted.
    """
    edges = len(labels) > len(bars[0].counts)
    middle = 0.0 if edges else 0.5
    totals = [sum(column) if stacked else max(column) for column in zip(*(one.counts for one in bars), strict=True)]
    plot = _Plot(0, len(totals), 0, max(totals, default=0) * 1.05 or 1)
    every = math.ceil(len(labels) / 11)
    parts = plot.frame([t for t in ticks(0, plot.high) if t == int(t)] or [0], [], x_name)
    parts.append(element("text", unit, x=_LEFT - 5, y=9, class_="axis end"))
    parts += [
        element("text", label, x=f"{plot.x(place + middle):.1f}", y=HEIGHT - _BOTTOM + 15, class_="tick middle")
        for place, label in enumerate(labels)
        if place % every == 0
    ]
    below = [0.0] * len(totals)
    wide = 0.84 if stacked else 0.84 / len(bars)
    for number, one in enumerate(bars):
        for place, count in enumerate(one.counts):
            if count:
                x = plot.x(place + 0.08 + (0 if stacked else number * wide))
                top, bottom = plot.y(below[place] + count), plot.y(below[place])
                where = f"{labels[place]} to {labels[place + 1]}" if edges else labels[place]
                told = element("title", f"{where}: {_short(count)} {unit}, {one.name}")
                sizes = {"x": f"{x:.1f}", "y": f"{top:.1f}", "width": f"{plot.x(wide) - plot.x(0):.1f}"}
                parts.append(element("rect", told, **sizes, height=f"{bottom - top:.1f}", class_=f"bar {one.style}"))
            below[place] += count if stacked else 0
    said = "; ".join(f"{one.name}: {', '.join(_short(count) for count in one.counts)}" for one in bars)
    return _figure(title, f"{title}, {unit} by {x_name}. {said}", parts)


def interval_chart(marks: Sequence[IntervalMark], low: float, high: float) -> Markup:
    """Values with intervals, one below the other on a common scale; reference values share the last line."""
    width, step = 200, 13
    inner = [mark for mark in marks if mark.low is not None]
    height = step * (len(inner) + (len(inner) < len(marks))) + 4

    def place(value: float) -> str:
        return f"{6 + (min(max(value, low), high) - low) / (high - low) * (width - 12):.1f}"

    parts = []
    for tick in ticks(low, high):
        parts.append(element("line", x1=place(tick), x2=place(tick), y1=0, y2=height, class_="grid"))
    line = 0
    for mark in marks:
        y = step * (line if mark.low is not None else len(inner)) + step / 2 + 2
        told = element("title", f"{mark.name}: {mark.value:.1f}")
        if mark.low is not None and mark.high is not None:
            parts.append(element("line", x1=place(mark.low), x2=place(mark.high), y1=y, y2=y, class_=f"whisker {mark.style}"))
            parts.append(element("circle", told, cx=place(mark.value), cy=y, r=4, class_=f"dot {mark.style}"))
            line += 1
        else:
            parts.append(element("circle", told, cx=place(mark.value), cy=y, r=3.5, class_=f"ring {mark.style}"))
    said = "; ".join(
        f"{mark.name} {mark.value:.1f}" + (f" ({mark.low:.1f} to {mark.high:.1f})" if mark.low is not None else "")
        for mark in marks
    )
    box = f"0 0 {width} {height}"
    return element("svg", *parts, role="img", aria_label=said, class_="intervals", viewBox=box, width=width, height=height)


def legend(entries: Sequence[tuple[str, str]]) -> Markup:
    """The legend of colors: names with the class of the page's style."""
    return element("p", *(element("span", name, class_=f"key {style}") for name, style in entries), class_="legend")


@dataclass(frozen=True, slots=True)
class _Plot:
    """Maps values to positions in a panel."""

    left: float
    right: float
    low: float
    high: float

    def x(self, value: float) -> float:
        return _LEFT + (value - self.left) / (self.right - self.left) * (WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        return HEIGHT - _BOTTOM - (value - self.low) / (self.high - self.low) * (HEIGHT - _TOP - _BOTTOM)

    def frame(self, y_ticks: Sequence[float], x_ticks: Sequence[float], x_name: str) -> list[Markup]:
        """Grid, labels, and the name of the x axis."""
        parts = []
        for tick in y_ticks:
            y = f"{self.y(tick):.1f}"
            parts.append(element("line", x1=_LEFT, x2=WIDTH - _RIGHT, y1=y, y2=y, class_="grid"))
            parts.append(element("text", _short(tick), x=_LEFT - 5, y=f"{self.y(tick) + 3.5:.1f}", class_="tick end"))
        for tick in x_ticks:
            x = f"{self.x(tick):.1f}"
            parts.append(element("text", _short(tick), x=x, y=HEIGHT - _BOTTOM + 15, class_="tick middle"))
        parts.append(element("text", x_name, x=(_LEFT + WIDTH - _RIGHT) / 2, y=HEIGHT - 5, class_="axis middle"))
        return parts


def _figure(title: str, said: str, parts: Sequence[Markup]) -> Markup:
    drawing = element("svg", *parts, role="img", aria_label=said, viewBox=f"0 0 {WIDTH} {HEIGHT}")
    return element("figure", element("figcaption", title), drawing)


def _short(value: float) -> str:
    """A number in few characters."""
    if value == int(value) and abs(value) < 1e6:
        return f"{int(value):,}"
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
