"""The metrics of a run, by dotted names, from the files that its commands left.

`eval.<benchmark>.<metric>` (percent, as `results.json` has them; `eval.<name>.…` for other evaluations than `default`), with
`top_share` and `top_span` beside, the share of the answers that are the most frequent one: near 1, a model says always the
same. `train.…`, `probe.<name>.<task>.…` and `select.…` are what their functions say. Shares are from 0 to 1.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from trlt.files import forms, read_log
from trlt.lab.reproduce.plan_sections import DEFAULT
from trlt.lab.reproduce.recipes import filled
from trlt.lab.reproduce.stages import ArmRun
from trlt.recipe import Select, Train
from trlt.report.page.training import is_number
from trlt.rollout import read_rows
from trlt.select import CLASSES
from trlt.select.probe_shift import Digest, digest
from trlt.task.sample import TASKS

LAST = 10
"""Steps at the end of training whose mean is a metric."""
_LOGGED = ("reward/format", "reward/accuracy", "reward/tiou", "frac_zero_range", "kl", "length")
_SPAN_S = 0.5
"""Seconds to which predicted spans are rounded before they are counted."""

Metrics = dict[str, float]


def metrics_of(run: ArmRun, out: Path) -> Metrics:
    """All metrics of a run whose parts are complete.

    Raises:
        DataError: a file that a command should have left is missing or damaged.
    """
    found: Metrics = {}
    for name, stage in run.parts.items():
        place = Path(filled(stage.place, out))
        kind, _, rest = name.partition(".")
        if kind == "select":
            values = _selection(place)
        elif kind == "train":
            values = _training(place, run.recipe.train)
        elif kind == "probe":
            values = _probe(read_rows(place / "rows" / "probe.jsonl"), run.recipe.select)
        else:
            values = _evaluation(place)
        prefix = kind if rest in ("", DEFAULT) and kind != "probe" else name
        found |= {f"{prefix}.{key}": value for key, value in values.items()}
    return found


def rewards_of(run: ArmRun, out: Path) -> list[float]:
    """Mean reward of each step of training; none for a run without rewards."""
    stage = run.parts.get("train")
    if stage is None:
        return []
    log = read_log(Path(filled(stage.place, out)) / "log.jsonl")
    return [round(float(row["reward"]), 4) for row in log if is_number(row.get("reward"))]


class _SelectedTask(forms.Form):
    task: str
    taken: forms.Count


class _SelectionFile(forms.Form):
    taken: forms.Count
    tasks: list[_SelectedTask]


class _BenchmarkFile(forms.Form):
    n: forms.Count
    unanswered: forms.Count
    paper: dict[str, Any]


class _ResultsFile(forms.Form):
    benchmarks: dict[str, _BenchmarkFile]


def _selection(place: Path) -> Metrics:
    """`taken`, and `taken.<task>`: samples that were selected."""
    report = _json(place.with_suffix(".report.json"), _SelectionFile)
    return {"taken": float(report["taken"])} | {f"taken.{total['task']}": float(total["taken"]) for total in report["tasks"]}


def _training(place: Path, train: Train) -> Metrics:
    """`reward_first`, `reward_last`, `steps`, `seconds`, columns of the log as means over the last steps, and `_drawing`'s.

    What the log doesn't have is no metric; without a clock (`elapsed_s`) there are no `seconds`.
    """
    result = _json(place / "result.json", forms.TrainResultForm)
    found = {key: float(result[key]) for key in ("reward_first", "reward_last", "steps") if is_number(result.get(key))}
    log = read_log(place / "log.jsonl")
    found |= _drawing(log, train)
    if clock := [float(row["elapsed_s"]) for row in log if is_number(row.get("elapsed_s"))]:
        found["seconds"] = _elapsed(clock)
    for key in _LOGGED:  # a step without a sample of the task has no such metric
        values = [float(row[key]) for row in log[-LAST:] if is_number(row.get(key))]
        if values:
            found[key] = fmean(values)
    return found


def _drawing(log: Sequence[Mapping[str, Any]], train: Train) -> Metrics:
    """`completions`: all that were drawn. `reward_equal`: the mean reward of the last steps within a plain run's completions.

    Completions of prompts that were replaced count; a plain run, of as many steps, replaces none. Of steps without rewards
    (SFT) there is neither.
    """
    plain = train.prompts_per_step * train.group_size
    drawn, rewards = [0.0], []
    for row in (row for row in log if is_number(row.get("reward"))):
        each = float(row["asked"]) if is_number(row.get("asked")) else 1.0
        counted = "online/completions"
        drawn.append(drawn[-1] + (float(row[counted]) if is_number(row.get(counted)) else plain * each))
        rewards.append(float(row["reward"]))
    if not rewards:
        return {}
    # A step belongs to the budget if its last completion does; the first step is always taken.
    within = max(1, sum(total <= plain * len(rewards) for total in drawn[1:]))
    return {"completions": drawn[-1], "reward_equal": fmean(rewards[max(0, within - LAST) : within])}


def _elapsed(seconds: Sequence[float]) -> float:
    """Seconds of training by at least one row's clock, which begins anew where a run was resumed."""
    ends = [now for now, after in zip(seconds, [*seconds[1:], -1.0], strict=True) if after < now]
    return math.fsum(ends)


def _probe(rows: Iterable[Mapping[str, Any]], settings: Select) -> Metrics:
    """By task: the share of each class (`easy`, ...), `mean_reward`, `right`, `mean_iou`, `delta_iou` (max - mean), `n`."""
    by_task: dict[str, list[Digest]] = {}
    for row in rows:
        if (one := digest(row, settings)) is not None:
            by_task.setdefault(one.task, []).append(one)
    found: Metrics = {}
    for task in TASKS:
        there = by_task.get(task)
        if not there:
            continue
        values = {"n": float(len(there)), "mean_reward": fmean([one.mean for one in there])}
        values |= {klass: fmean([float(one.klass == klass) for one in there]) for klass in CLASSES[task]}
        if there[0].correct is not None:
            values["right"] = fmean([(one.correct or 0) / one.n for one in there])
        if there[0].mean_iou is not None:
            values["mean_iou"] = fmean([one.mean_iou or 0.0 for one in there])
            values["delta_iou"] = fmean([one.delta_iou or 0.0 for one in there])
        found |= {f"{task}.{key}": value for key, value in values.items()}
    return found


def _evaluation(place: Path) -> Metrics:
    """By benchmark: the paper's metrics in percent, `unanswered` (share), `top_share` and `top_span`."""
    found: Metrics = {}
    for bench, entry in _json(place / "results.json", _ResultsFile)["benchmarks"].items():
        values = {key: float(value) for key, value in entry["paper"].items() if is_number(value)}
        if entry["n"]:
            values["unanswered"] = entry["unanswered"] / entry["n"]
        values |= _most_frequent(read_rows(place / "rows" / f"{bench}.jsonl"))
        found |= {f"{bench}.{key}": value for key, value in values.items()}
    return found


def _most_frequent(rows: Iterable[Mapping[str, Any]]) -> Metrics:
    """How often the most frequent option, and the most frequent span, was answered; of all rows that ask for one."""
    options: list[int | None] = []
    spans: list[tuple[int, int] | None] = []
    for row in rows:
        if row["error"] is not None:
            continue
        answer = row["answers"][0]
        if row["task"] != "grounding":
            options.append(answer["option"])
        if row["task"] != "multi_choice":
            spans.append(_rounded(answer["span"]))
    return dict(_share("top_share", options)) | dict(_share("top_span", spans))


def _share(name: str, said: Sequence[Any]) -> Iterator[tuple[str, float]]:
    counts = Counter(one for one in said if one is not None)
    if counts:
        yield name, max(counts.values()) / len(said)


def _rounded(span: Sequence[float] | None) -> tuple[int, int] | None:
    return None if span is None else (round(span[0] / _SPAN_S), round(span[1] / _SPAN_S))


def _json(path: Path, form: type[forms.Form]) -> dict[str, Any]:
    return forms.read_form(path, form, "remove its folder, and the same command makes it anew")
