"""`trlt demo`: the six commands on the miniature, as a user would type them, and their results."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from trlt.commands._demo_stages import demo_stages
from trlt.commands._output import Output
from trlt.commands._page import write_page
from trlt.engine.model import PLAIN
from trlt.errors import Interrupted, UsageError
from trlt.files import write_json, write_text_atomic
from trlt.files.bounded_json import read_json
from trlt.lab.miniature import layout
from trlt.lab.miniature.rebuild import rebuild
from trlt.recipe import load_recipe
from trlt.recipe.names import FOLDER
from trlt.report import brief, gain_table, verdict
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


LOG = "demo.log"
"""What the commands say."""
STAGES = (
    "render videos",
    "prepare: annotation becomes samples",
    "probe: 8 answers of the base model a question",
    "select: questions that it can learn from",
    "eval: the base model on all benchmarks",
    "train: GRPO on the selected questions",
    "eval: the tuned model on all benchmarks",
    "compare: both, question by question",
    "probe: the tuned model on the selected questions",
    "infer: one question about one video",
    "report: all of it as one page",
)
FRAMES_MB = 20.0
"""Frames in the page: about as many as all clips of the questions have."""
REBUILT = "train: the tiny models, from nothing"
"""The stage of `--rebuild-model`, after the first one."""


def demo(
    folder: Annotated[Path, typer.Option("--out", help="Folder for everything that the demo makes.")] = Path("runs/demo"),
    *,
    rebuild_model: Annotated[
        bool, typer.Option("--rebuild-model", help="Train the miniature model from scratch first.")
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Show what the commands say, instead of keeping it in a log.")
    ] = False,
    output: Output,
) -> dict[str, Any]:
    """Lays out the miniature, runs the commands, and says what training did; see `trlt demo --help`.

    Raises:
        TrltError: a command failed; with the end of what it said.
    """
    if any(c.isspace() for c in str(folder)):
        raise UsageError(f"--out {folder}: a folder without spaces is needed, since recipes name it")
    began = time.monotonic()
    recipe = _recipe(folder, "miniature.yaml")
    model = PLAIN
    pool, chosen, tuned = folder / "pool", folder / "train.jsonl", folder / "train" / "model"
    common = ["--recipe", str(recipe)]
    names = [STAGES[0], *([REBUILT] if rebuild_model else []), *STAGES[1:]]
    log = None if verbose else folder / LOG
    output.note(f"demo: {len(names)} stages, about five minutes" + (f"; what the commands say goes to {log}" if log else ""))
    try:
        with demo_stages(output, names, log) as stages:
            with stages.next(), stages.progress("render", "videos") as progress:
                layout.write(folder / "data", progress=progress)
            if rebuild_model:
                warmup = _recipe(folder, "miniature-warmup.yaml")
                with stages.next():
                    model = str(rebuild(folder, warmup, stages.run, stages.progress))
            evaluated = ["eval", "--bench", "all", *common, "--no-page"]
            for words in (
                ["prepare", recipe, "--scan", folder / "video-scan.jsonl", "--out", pool],
                ["probe", "--data", pool, "-n", 8, *common, "--model", model, "--out", folder / "probe"],
                ["select", "--probe", folder / "probe", *common, "--out", chosen],
                [*evaluated, "--model", model, "--out", folder / "eval-base"],
                ["train", recipe, "--model", model, "--out", folder / "train", "--no-page"],
                [*evaluated, "--model", tuned, "--out", folder / "eval-tuned"],
                ["compare", folder / "eval-base", folder / "eval-tuned", "--out", folder / "comparison.json"],
                ["probe", "--data", chosen, "-n", 8, *common, "--model", tuned, "--out", folder / "probe-tuned"],
            ):
                with stages.next():
                    stages.run(*map(str, words))
            with stages.next():
                stages.run("infer", *_example(folder), "--model", tuned, *common)
            with stages.next():
                page, said = write_page(folder, frames_mb=FRAMES_MB)
                stages.show(said)
            result = _summary(folder, chosen, time.monotonic() - began, stages.seconds)
            result |= {"page": page and str(page), "log": log and str(log)}
            write_json(folder / "demo.json", result)
            shift_png(result["before"], result["after"], folder / "shift.png")
            _show(folder, result, stages.show)
    except Interrupted as interrupted:
        interrupted.kept = (
            f"the same command goes on from what is there{f'; {log} has the words of its commands' if log else ''}"
        )
        raise
    output.show(*([""] if verbose else []), *_told(folder, result, said))
    return result


def _recipe(folder: Path, name: str) -> Path:
    """The shipped recipe, for this folder."""
    path = folder / name
    write_text_atomic(path, (HERE / name).read_text(encoding="utf-8").replace(PLACE, folder.as_posix()))
    return path


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


def _show(folder: Path, result: dict[str, Any], show: Callable[..., None]) -> None:
    show("", Rule("what came of it", align="left"))
    show(gain_table(result["base"], result["tuned"]))
    show(_shift_table(result["before"], result["after"]))
    chosen = result["selection"]
    show(f"Selected: {chosen['taken']} of {chosen['rows']} probed samples")
    show(*(f"  {line}" for line in chosen["shortfalls"]))
    training = result["training"]
    show(
        f"Reward in training: {training['reward_first']:.3f} over the first fifth of {training['steps']} steps, "
        f"{training['reward_last']:.3f} over the last"
    )
    show(verdict(result["comparison"], NAMES).text)
    places = {
        "videos and annotation": folder / "data",
        "recipe": folder / "miniature.yaml",
        "probe rows": folder / "probe",
        "selected samples, and why": folder / "train.jsonl",
        "training log, tuned model": folder / "train",
        "results": folder / "eval-tuned" / "results.json",
        "difficulty before and after, as a picture": folder / "shift.png",
        "all of this as one page": folder / "report.html",
        "all of this as JSON": folder / "demo.json",
    }
    table = Table(title="Where everything lies", title_justify="left", show_header=False)
    for what, where in places.items():
        table.add_row(what, Text(str(where)))
    show(table, f"{result['seconds']:.0f} s in all")


def _told(folder: Path, result: dict[str, Any], page: str) -> list[str]:
    """What was done, the verdict, where to look, and what comes next: a line each."""
    chosen, training, log = result["selection"], result["training"], result["log"]
    browse = " (open it in a browser: both models side by side, the training, the questions with frames and answers)"
    command = f"trlt serve --model {training['model']} --recipe {folder / 'miniature.yaml'}"
    return [
        f"Done in {result['seconds']:.0f} s: a tiny model answered {chosen['rows']:,} questions on synthetic videos, was tuned "
        f"with GRPO ({training['steps']} steps) on {chosen['taken']:,} of them, and was evaluated before and after on "
        f"{len(result['tuned']['benchmarks'])} benchmarks.{f' Log: {log}' if log else ''}",
        f"Verdict: {brief(result['comparison'], NAMES)}",
        f"{page}{browse if result['page'] else ''}",
        f"What next: `trlt prepare QUESTIONS.jsonl --videos DIR` for your own; or ask the tuned model in a browser: {command}",
    ]


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
