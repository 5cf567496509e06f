"""`trlt demo`: the six commands on the miniature, as a user would type them, and their results."""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from trlt.commands._output import Output
from trlt.engine.model import PLAIN
from trlt.errors import TrltError, UsageError
from trlt.files import write_json, write_text_atomic
from trlt.files.bounded_json import read_json
from trlt.lab.miniature import layout
from trlt.lab.miniature.rebuild import rebuild
from trlt.recipe import load_recipe
from trlt.recipe.names import FOLDER
from trlt.report import gain_table, verdict
from trlt.report.live import sparkline
from trlt.report.plots import shift_png
from trlt.rollout import read_rows
from trlt.select.probe_shift import histograms
from trlt.task.sample import read_samples

HERE = FOLDER
"""Folder of the shipped recipes."""
PLACE = "runs/demo"
"""The demo's folder in the shipped recipes."""
NAMES = ("the base model", "the tuned model")
"""Names of the compared models in the verdict."""


def demo(
    folder: Annotated[Path, typer.Option("--out", help="Folder for everything that the demo makes.")] = Path("runs/demo"),
    *,
    rebuild_model: Annotated[
        bool, typer.Option("--rebuild-model", help="Train the miniature model from scratch first.")
    ] = False,
    output: Output,
) -> dict[str, Any]:
    """Lays out the miniature, runs the commands, and shows what training did; see `trlt demo --help`.

    Raises:
        TrltError: a command failed; its own message is above.
    """
    if any(c.isspace() for c in str(folder)):
        raise UsageError(f"--out {folder}: a folder without spaces is needed, since recipes name it")
    began = time.monotonic()
    recipe = _recipe(folder, "miniature.yaml")
    output.show(Rule("the miniature: synthetic videos, laid out and annotated as the real data is", align="left"))
    with output.progress("render", "videos") as progress:
        layout.write(folder / "data", progress=progress)
    model = PLAIN
    if rebuild_model:
        output.show(Rule("the tiny model, from scratch", align="left"))
        warmup = _recipe(folder, "miniature-warmup.yaml")
        model = str(rebuild(folder, warmup, _Runner(output), output.progress))
    pool, chosen, tuned = folder / "pool", folder / "train.jsonl", folder / "train" / "model"
    common = ["--recipe", str(recipe)]
    run = _Runner(output)
    run("prepare", recipe, "--scan", folder / "video-scan.jsonl", "--out", pool)
    run("probe", "--data", pool, "-n", 8, *common, "--model", model, "--out", folder / "probe")
    run("select", "--probe", folder / "probe", *common, "--out", chosen)
    run("eval", "--bench", "all", *common, "--model", model, "--out", folder / "eval-base")
    run("train", recipe, "--model", model, "--out", folder / "train")
    run("eval", "--bench", "all", *common, "--model", tuned, "--out", folder / "eval-tuned")
    run("compare", folder / "eval-base", folder / "eval-tuned", "--out", folder / "comparison.json")
    run("probe", "--data", chosen, "-n", 8, *common, "--model", tuned, "--out", folder / "probe-tuned")
    video, question = _example(folder)
    run("infer", video, question, "--model", tuned, *common)
    result = _summary(folder, chosen, time.monotonic() - began, run.seconds)
    write_json(folder / "demo.json", result)
    shift_png(result["before"], result["after"], folder / "shift.png")
    _show(folder, result, output)
    return result


def _recipe(folder: Path, name: str) -> Path:
    """The shipped recipe, for this folder."""
    path = folder / name
    write_text_atomic(path, (HERE / name).read_text(encoding="utf-8").replace(PLACE, folder.as_posix()))
    return path


class _Runner:
    """Runs `trlt` commands in separate processes, each shown as it would be typed."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self.seconds: dict[str, float] = {}

    def __call__(self, command: str, *arguments: object) -> None:
        words = [command, *map(str, arguments)]
        self._output.show("", Rule(f"trlt {shlex.join(words)}", align="left"))
        began = time.monotonic()
        sys.stdout.flush()
        quiet = subprocess.DEVNULL if self._output.json_mode else None
        code = subprocess.run([sys.executable, "-m", "trlt", *words], check=False, stdout=quiet).returncode
        self.seconds[f"{len(self.seconds) + 1} {command}"] = round(time.monotonic() - began, 1)
        if code == 130:
            raise KeyboardInterrupt
        if code:
            raise TrltError(f"demo: `trlt {shlex.join(words)}` ended with exit code {code}; its own words stand above")


def _example(folder: Path) -> tuple[Path, str]:
    """A clip and a query of the in-domain benchmark, unseen in training."""
    place = layout.layout(folder / "data").bench["charades"]
    line = (place.annotations / "charades_sta_test.txt").read_text(encoding="utf-8").splitlines()[0]
    head, _, query = line.partition("##")
    return next(place.videos.rglob(f"{head.split()[0]}.mp4")), query


def _summary(folder: Path, chosen: Path, seconds: float, steps: dict[str, float]) -> dict[str, Any]:
    """The data of the demo's tables, from the commands' files."""
    read = partial(read_json, remedy="run the demo again")
    settings = load_recipe(folder / "miniature.yaml").select
    ids = {sample.id for sample in read_samples(chosen)}
    probed = list(read_rows(folder / "probe" / "rows" / "probe.jsonl"))
    again = list(read_rows(folder / "probe-tuned" / "rows" / "probe.jsonl"))
    report = read(chosen.with_suffix(".report.json"))
    return {
        "seconds": round(seconds, 1),
        "commands": steps,
        "base": read(folder / "eval-base" / "results.json"),
        "tuned": read(folder / "eval-tuned" / "results.json"),
        "comparison": read(folder / "comparison.json"),
        "training": read(folder / "train" / "result.json"),
        "selection": {key: report[key] for key in ("rows", "taken", "shortfalls")},
        "pool": histograms(probed, settings),
        "before": histograms([row for row in probed if row["id"] in ids], settings),
        "after": histograms(again, settings),
    }


def _show(folder: Path, result: dict[str, Any], output: Output) -> None:
    output.show("", Rule("what came of it", align="left"))
    output.show(gain_table(result["base"], result["tuned"]))
    output.show(_shift_table(result["before"], result["after"]))
    chosen = result["selection"]
    output.show(f"Selected: {chosen['taken']} of {chosen['rows']} probed samples")
    output.show(*(f"  {line}" for line in chosen["shortfalls"]))
    training = result["training"]
    output.show(
        f"Reward in training: {training['reward_first']:.3f} over the first fifth of {training['steps']} steps, "
        f"{training['reward_last']:.3f} over the last"
    )
    output.show(verdict(result["comparison"], NAMES).text)
    places = {
        "videos and annotation": folder / "data",
        "recipe": folder / "miniature.yaml",
        "probe rows": folder / "probe",
        "selected samples, and why": folder / "train.jsonl",
        "training log, tuned model": folder / "train",
        "results": folder / "eval-tuned" / "results.json",
        "difficulty before and after, as a picture": folder / "shift.png",
        "all of this as JSON": folder / "demo.json",
    }
    table = Table(title="Where everything lies", title_justify="left", show_header=False)
    for what, where in places.items():
        table.add_row(what, Text(str(where)))
    output.show(table, f"{result['seconds']:.0f} s in all")


def _shift_table(before: dict[str, Any], after: dict[str, Any]) -> Table:
    """How the selected samples' difficulty changed (Fig. 4 of the paper).

    They were chosen by the first of these answers, so part of the change is regression to the mean: a second probe of the same
    model would show some of it, too.
    """
    table = Table("task", "", title="Selected samples, probed before and after training", title_justify="left")
    for name in ("before", "after"):
        table.add_column(name, justify="right")
    for task, old in before["tasks"].items():
        new = after["tasks"].get(task)
        if new is None:
            continue
        table.add_row(task, "mean reward", f"{old['mean_reward']:.3f}", f"{new['mean_reward']:.3f}")
        for name in _names(old["classes"], new["classes"]):
            cells = (
                f"{side['classes'].get(name, 0)} ({side['classes'].get(name, 0) / side['rows']:.0%})" for side in (old, new)
            )
            table.add_row("", name, *cells)
        for label, key in (("right answers of 8", "correct"), ("IoU, max - mean", "delta_iou"), ("IoU, mean", "mean_iou")):
            if old[key] or new[key]:
                table.add_row("", label, *(_histogram(side[key]) for side in (old, new)))
        table.add_section()
    return table


def _names(*counts: dict[str, int]) -> Sequence[str]:
    return list(dict.fromkeys(name for side in counts for name in side))


def _histogram(counts: dict[str, int] | list[int]) -> str:
    """The histogram in one line, lowest value first."""
    values = list(counts.values()) if isinstance(counts, dict) else counts
    return sparkline(values, len(values), low=0)
