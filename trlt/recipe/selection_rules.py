"""The parts of the section `select` beyond the paper: measures of a sample, bounds and target distributions. Knows no rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, model_validator

from trlt.errors import did_you_mean
from trlt.recipe._base import Outcome, Section
from trlt.task.sample import TASKS

RowMeasure = Literal["pass_rate", "mean_iou", "best_iou", "delta_iou", "mean_reward", "deviation", "format_rate"]
"""What a probe's row tells of a sample; `trlt.select.measures` computes them."""
ROW_MEASURES: tuple[RowMeasure, ...] = get_args(RowMeasure)
MEASURES = (*ROW_MEASURES, "duration")
SHARES: tuple[RowMeasure, ...] = ("pass_rate", "mean_iou", "best_iou", "delta_iou", "format_rate")
"""Measures from 0 to 1, which the defaults of a target are for."""
META = "meta."
"""Before the name of a field of the samples' `meta`."""
UNFIT = {"grounding": ("pass_rate",), "multi_choice": ("mean_iou", "best_iou", "delta_iou")}
"""Measures that a task's samples don't have."""
BALANCES = ("source", "duration", "first_word", "answer_type")
"""What `select.balance` may name, besides fields of `meta`."""

Bounds = Annotated[tuple[float, float], Field(strict=False)]
"""Lowest and highest value, both included."""


class Target(Section):
    """The distribution of a measure that a task's selection shall have."""

    of: Outcome[str] = "mean_iou"
    """The measure: `pass_rate`, `mean_iou`, `best_iou`, `delta_iou`, `mean_reward`, `deviation`, `format_rate`, `duration` or
    `meta.<name>`."""
    shape: Outcome[Literal["gaussian", "uniform"]] = "gaussian"
    """A Gaussian around `mean`, or equal bins."""
    mean: Outcome[float] = 0.05
    """Center of the Gaussian; this and `deviation` are those of TimeLens's released scripts, for the IoU."""
    deviation: Outcome[Annotated[float, Field(gt=0)]] = 0.2
    """Standard deviation of the Gaussian."""
    range: Outcome[Bounds] = (0.0, 1.0)
    """Values that the bins span; samples outside of it are left out. To be said for `mean_reward`, `deviation`, `duration` and
    fields of `meta`, and with it a Gaussian's `mean` and `deviation`."""
    bins: Outcome[Annotated[int, Field(ge=1, le=1000)] | None] = None
    """Number of equal bins; null: 20, and for `pass_rate` one for each number of right answers."""
    fill: Outcome[bool] = True
    """Where a bin holds too few, the others fill in, so that the size is reached; without, only the shape counts."""

    @model_validator(mode="after")
    def _known(self) -> Self:
        if fault := measure_fault(self.of):
            raise ValueError(f"of: {fault}")
        if self.range[0] >= self.range[1]:
            raise ValueError(f"range ({list(self.range)}) must be a lower and a higher value")
        if self.bins is not None and self.of == "pass_rate" and self.range != (0.0, 1.0):
            raise ValueError("range and bins of pass_rate: leave one out")
        needed = ("range", "mean", "deviation") if self.shape == "gaussian" else ("range",)
        if self.of not in SHARES and (missing := [name for name in needed if name not in self.model_fields_set]):
            told = " and ".join([", ".join(missing[:-1]), missing[-1]] if missing[1:] else missing)
            raise ValueError(f"{told}: say {'them' if missing[1:] else 'it'}, since {self.of} isn't from 0 to 1 as an IoU is")
        if self.shape == "gaussian" and not self.range[0] <= self.mean <= self.range[1]:
            raise ValueError(f"mean ({self.mean:g}) lies outside of range ({list(self.range)}), so no sample would be near it")
        return self


def measure_fault(name: str) -> str | None:
    """Why a name is no measure, or None."""
    if name in MEASURES or (name.startswith(META) and len(name) > len(META)):
        return None
    return f"{name!r} is no measure (nor a field of the samples' meta, as meta.<name>); {did_you_mean(name, MEASURES)}"


def task_fault(key: str, tables: Mapping[str, Any]) -> str | None:
    """Why a table by task can't be used, or None: a task that isn't one, or a measure that the task doesn't have."""
    for task, values in tables.items():
        if task not in TASKS:
            return f"{key}: {task!r} is no task; {did_you_mean(task, TASKS)}"
        for name in [values.of] if isinstance(values, Target) else values:
            if fault := measure_fault(name):
                return f"{key}.{task}: {fault}"
            if name in UNFIT.get(task, ()):
                others = [one for one in MEASURES if one not in UNFIT[task]]
                return f"{key}.{task}: {name}: samples of this task have none; they have {', '.join(others)}"
    return None


def bounds_fault(within: Mapping[str, Mapping[str, tuple[float, float]]]) -> str | None:
    """Why bounds can't be used, or None."""
    for task, bounds in within.items():
        for name, (low, high) in bounds.items():
            if low > high:
                return f"within.{task}.{name}: [{low:g}, {high:g}] must be the lowest and the highest value"
    return None


def flat_meta(tables: Any) -> Any:
    """Bounds by task, with `meta: {name: …}` as `meta.name`, which is what `--set select.within.<task>.meta.<name>` gives."""
    if not isinstance(tables, Mapping):
        return tables
    found = {}
    for task, bounds in tables.items():
        if isinstance(bounds, Mapping) and isinstance(bounds.get("meta"), Mapping):
            inner = {f"{META}{name}": value for name, value in bounds["meta"].items()}
            bounds = {name: value for name, value in bounds.items() if name != "meta"} | inner
        found[task] = bounds
    return found


def balance_fault(balance: tuple[str, ...]) -> str | None:
    """Why an order of balancing can't be used, or None."""
    for name in balance:
        if name not in BALANCES and not (name.startswith(META) and len(name) > len(META)):
            choices = did_you_mean(name, BALANCES)
            return f"balance: {name!r} is unknown (nor a field of the samples' meta, as meta.<name>); {choices}"
        if balance.count(name) > 1:
            return f"balance: {name} stands twice"
    return None
