"""Live view of a training run in the terminal: progress, metrics as sparklines, seconds by phase, findings, an example.

Fed with the rows of `log.jsonl`. If nothing can be redrawn (a file, a pipe), it prints a plain line every few steps instead.
Knows rich and metrics by name; neither models nor files.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, NamedTuple, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from trlt.report.answers import said, visible
from trlt.report.bars import bar
from trlt.report.progress import redraws, start_live
from trlt.stats.pace import Rhythm, clock_words
from trlt.train.diagnostics import WINDOW, Finding

Row = Mapping[str, Any]
"""A row of `log.jsonl`: `step`, `of`, `elapsed_s`, metrics by name, and under `findings` texts of new findings."""


class MetricLine(NamedTuple):
    """A line of the table."""

    name: str
    label: str
    form: str = "{:.3f}"
    share: bool = False
    """Ranges from 0 to 1, and so does its sparkline; others range from their minimum to their maximum."""


METRICS = (
    MetricLine("reward", "reward"),
    MetricLine("reward/format", "· format", share=True),
    MetricLine("reward/accuracy", "· accuracy", share=True),
    MetricLine("reward/tiou", "· tIoU", share=True),
    MetricLine("reward_range", "range"),
    MetricLine("frac_zero_range", "zero range", "{:.0%}", share=True),
    MetricLine("kl", "KL", "{:.4f}"),
    MetricLine("length", "length", "{:.0f}"),
    MetricLine("truncated_frac", "truncated", "{:.0%}", share=True),
    MetricLine("same_answer", "one answer", "{:.0%}", share=True),
    MetricLine("loss", "loss", "{:.4f}"),
    MetricLine("grad_norm", "grad norm", "{:.2f}"),
    MetricLine("clip_ratio/region_mean", "clipped", "{:.1%}", share=True),
)
"""In order of importance: a low terminal drops the last ones."""
PHASES = (
    ("time/video_wait_s", "decode wait", "yellow"),
    ("time/rollout_s", "rollout", "cyan"),
    ("time/score_s", "score", "magenta"),
)
UPDATE = ("update", "green")
"""The rest of a step."""
LEAST_METRICS, FINDINGS = 3, 3
_LEVELS = "▁▂▃▄▅▆▇█"
_LABEL, _NUMBER = 10, 8


def sparkline(values: Sequence[float], width: int, low: float | None = None, high: float | None = None) -> str:
    """Values as columns of eight heights, from oldest to newest; means of stretches if there are more than `width`.

    Args:
        values: Finite numbers.
        width: Characters at most.
        low: Value of the lowest column; None uses the minimum.
        high: Value of the highest; None uses the maximum.
    """
    if not values or width < 1:
        return ""
    columns = min(width, len(values))
    edges = [place * len(values) // columns for place in range(columns + 1)]
    means = [math.fsum(values[a:b]) / (b - a) for a, b in zip(edges, edges[1:], strict=False)]
    low, high = min(means) if low is None else low, max(means) if high is None else high
    shares = [(mean - low) / (high - low) if high > low else 0.0 for mean in means]
    return "".join(_LEVELS[round(max(0.0, min(1.0, share)) * (len(_LEVELS) - 1))] for share in shares)


class LiveView:
    """The view of one run; a context manager. A terminal that can't redraw gets a line now and then.

    Args:
        console: Where it is shown; a `quiet` one shows nothing.
        name: Of the run.
        rows: Rows logged before this process began, so that a resumed run shows its past.
        every: Steps between examples.
        terse: If nothing can be redrawn, only report what takes long.
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        console: Console,
        name: str,
        *,
        rows: Sequence[Row] = (),
        every: int = 10,
        terse: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console, self._name, self._every, self._clock = console, visible(name), every, clock
        self._redraws, self._terse = redraws(console), terse
        self._rhythm = Rhythm(clock=clock)
        # rich draws from a thread of its own.
        self._lock = threading.RLock()
        self._metrics: tuple[MetricLine, ...] = METRICS
        self._values: dict[str, list[float]] = {metric.name: [] for metric in METRICS}
        self._wholes: list[float] = []
        """Seconds of each of the last steps, from one row to the next: with checkpoints, unlike `step_time`."""
        self._seconds: list[dict[str, float]] = []
        """The same steps by phase."""
        self._findings: list[tuple[int, str]] = []
        self._example: tuple[int, str, str, float] | None = None
        self._answers: tuple[int, int] | None = None
        self._row: Row = {}
        self._before_s = 0.0
        """Seconds of earlier processes."""
        self._last_s: float | None = None
        """Time of the previous step of the same process: the first counts from its start."""
        for row in rows:
            if self._last_s is not None and row["elapsed_s"] < self._last_s:
                self._before_s += self._last_s
            self._take(row)
        self._before_s, self._last_s = self._before_s + (self._last_s or 0.0), None
        self._began = clock()
        self._live: Live | None = None

    def __enter__(self) -> Self:
        self._live = start_live(self._console, self.view, at_once=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._live:
            self._live.stop()
            self._live = None

    def step(self, row: Row) -> None:
        """Takes the row of a finished step."""
        with self._lock:
            first = not self._row
            self._take(row)
            self._answers = None
            if self._redraws:
                return
            ends = (first or row["step"] == row["of"]) and not self._terse
            if self._rhythm.due() or ends:
                self._console.print(Text(self._line()), soft_wrap=True)
            if not self._terse:
                for text in row.get("findings", ()):
                    self._print_finding(row["step"], text)

    def finding(self, finding: Finding) -> None:
        """Takes a new finding that is in no row."""
        with self._lock:
            self._findings.append((finding.step, finding.text))
            if not self._redraws and not self._terse:
                self._print_finding(finding.step, finding.text)

    def answers(self, done: int, total: int) -> None:
        """Takes the number of completions of the current step that are done, and the total."""
        with self._lock:
            self._answers = (done, total) if done < total else None
            if not self._redraws and self._rhythm.due():
                self._console.print(Text(f"{self._name} step {self._step()}: {done:,} of {total:,} answers"), soft_wrap=True)

    def example(self, step: int, question: str, text: str, reward: float) -> None:
        """Takes a completion of a step; it is shown once the current example is `every` steps old."""
        with self._lock:
            if self._example is None or step >= self._example[0] + self._every:
                self._example = (step, question, text, reward)

    def view(self) -> RenderableType:
        """The whole view, fitted to the terminal's current size."""
        with self._lock:
            width, height = self._console.size
            below = [*self._phases(width), *self._troubles()]
            example = self._shown_example()
            metrics = [metric for metric in self._metrics if self._values[metric.name]]
            room = height - 2 - self._height(below)
            if room - self._height(example) >= len(metrics):
                below += example
            return Group(self._progress(width), self._table(metrics[: max(LEAST_METRICS, room)], width), *below)

    # -- what is known ------------------------------------------------------------------------------------------------

    def _take(self, row: Row) -> None:
        for name in row:
            if name.startswith("reward/") and name not in self._values and name != "reward/overlong":
                # A part that the recipe adds; behind the parts that every reward has.
                place = max(place for place, metric in enumerate(self._metrics) if metric.name.startswith("reward/")) + 1
                line = MetricLine(name, f"· {visible(name.removeprefix('reward/'))}")
                self._metrics = (*self._metrics[:place], line, *self._metrics[place:])
                self._values[name] = []
        for name, values in self._values.items():
            if isinstance(value := row.get(name), (int, float)) and math.isfinite(value):
                values.append(float(value))
        if self._last_s is not None and row["elapsed_s"] > self._last_s:
            self._wholes = [*self._wholes, row["elapsed_s"] - self._last_s][-WINDOW:]
        self._last_s = row["elapsed_s"]
        self._seconds = [*self._seconds, _phases(row)][-WINDOW:]
        self._findings += [(row["step"], text) for text in row.get("findings", ())]
        self._row = row

    def _elapsed_s(self) -> float:
        return self._before_s + self._clock() - self._began

    def _step(self) -> int:
        """The current step."""
        return int(self._row.get("step", 0)) + 1

    def _step_s(self) -> float | None:
        """Seconds per step, over the last ones."""
        return math.fsum(self._wholes) / len(self._wholes) if self._wholes else self._row.get("step_time")

    def _left_s(self) -> float | None:
        each = self._step_s()
        return None if each is None else each * (self._row["of"] - self._row["step"])

    # -- what is shown ------------------------------------------------------------------------------------------------

    def _print_finding(self, step: int, text: str) -> None:
        self._console.print(Text(f"step {step}: {visible(text)}"), soft_wrap=True)

    def _line(self) -> str:
        """A step in one line, in ASCII except for the run's name."""
        parts = [f"{self._name} {self._row['step']}/{self._row['of']} steps"]
        for name, label, form, _ in self._metrics:
            if isinstance(value := self._row.get(name), (int, float)):
                parts.append(f"{label.removeprefix('· ')} {form.format(value)}")
        each, left = self._step_s(), self._left_s()
        if each is not None and left is not None:
            parts += [f"{each:.1f} s/step", f"{clock_words(left)} left"]
        return ", ".join(parts)

    def _progress(self, width: int) -> Text:
        drawn = f", step {self._step()}: {self._answers[0]:,}/{self._answers[1]:,} answers" if self._answers else ""
        if not self._row:
            words = f"{self._name}  {clock_words(self._elapsed_s())}, no step is done yet{drawn}"
            return Text(words, no_wrap=True, overflow="ellipsis")
        step, of, left = self._row["step"], self._row["of"], self._left_s()
        tail = f" {step}/{of} steps  {clock_words(self._elapsed_s())}"
        if left is not None:
            tail += f", {self._step_s():.1f} s/step, {clock_words(left)} left"
        tail += drawn
        room = min(40, width - len(self._name) - len(tail) - 1)
        line = Text(no_wrap=True, overflow="ellipsis")
        if room >= 8:
            filled = bar(step / of, room)
            line.append(f"{self._name} ").append(filled, "green").append("─" * (room - len(filled)), "dim")
            return line.append(tail)
        return line.append(tail.strip())

    def _table(self, metrics: Sequence[MetricLine], width: int) -> Table:
        table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim")
        spark = min(60, width - _LABEL - 2 * _NUMBER - 3)
        table.add_column("", width=min(_LABEL, max(1, width - _NUMBER - 1)), no_wrap=True)
        if spark >= 8:
            table.add_column("", width=spark, no_wrap=True)
        table.add_column("last", width=_NUMBER, justify="right", no_wrap=True)
        means = width >= _LABEL + 2 * _NUMBER + 2
        if means:
            table.add_column(f"last {WINDOW}", width=_NUMBER, justify="right", no_wrap=True)
        for name, label, form, share in metrics:
            values = self._values[name]
            cells = [Text(label)]
            if spark >= 8:
                cells.append(Text(sparkline(values, spark, *((0.0, 1.0) if share else ())), "cyan"))
            cells.append(Text(form.format(values[-1])))
            if means:
                last = values[-WINDOW:]
                cells.append(Text(form.format(math.fsum(last) / len(last)), "bold"))
            table.add_row(*cells)
        return table

    def _phases(self, width: int) -> list[Text]:
        """Mean seconds of the last steps by phase: a bar, and its legend."""
        some = [one for one in self._seconds if one]
        if not some:
            return []
        styles = {label: style for _, label, style in PHASES} | {UPDATE[0]: UPDATE[1]}
        means = {label: math.fsum(one.get(label, 0.0) for one in some) / len(some) for label in some[-1]}
        total = sum(means.values()) or 1.0
        line, words, reached = Text(no_wrap=True), Text(), 0.0
        for label, seconds in means.items():
            begin, reached = round(reached / total * min(60, width)), reached + seconds
            line.append("█" * (round(reached / total * min(60, width)) - begin), styles[label])
            words.append("■\u00a0", styles[label]).append(f"{label} {seconds:.2f} s".replace(" ", "\u00a0") + "  ")
        words.rstrip()
        return [line, words]

    def _troubles(self) -> list[Text]:
        earlier = len(self._findings) - FINDINGS
        lines = [Text(f"{earlier} earlier warnings", "dim")] if earlier > 0 else []
        return [*lines, *(Text(f"step {step}: {visible(text)}", "yellow") for step, text in self._findings[-FINDINGS:])]

    def _shown_example(self) -> list[Text]:
        if self._example is None:
            return []
        step, question, text, reward = self._example
        return [Text(f"step {step}, reward {reward:.2f}: {visible(question, 160)}", "dim"), Text(f"  {said(text)}")]

    def _height(self, what: Sequence[RenderableType]) -> int:
        return len(self._console.render_lines(Group(*what))) if what else 0


def _phases(row: Row) -> dict[str, float]:
    """Seconds of a step by phase; empty if it has no phases."""
    # Logged are means over the rounds of replacing prompts.
    rounds = max(1.0, row.get("rounds", 1.0))
    parts = {label: rounds * row[name] for name, label, _ in PHASES if name in row}
    return parts | {UPDATE[0]: max(0.0, row.get("step_time", 0.0) - sum(parts.values()))} if parts else {}
