"""Runs `trlt eval` of two benchmarks in two processes and kills some or all of them, again and again, until it has ended.

`killed_eval.py <folder> <seed> <kills>` prints how many were killed, and whether all files are those of an undisturbed
evaluation in one process. The two benchmarks ask the same questions about the same videos: a miniature Charades-STA, and its
questions as a user's own. The libraries are loaded once: each attempt is a fork of this process, which starts two more.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from random import Random

from trlt.commands._output import Output
from trlt.commands.eval import evaluate
from trlt.data.datasets import read_source
from trlt.lab.miniature import layout
from trlt.task.sample import write_samples

RECIPE = """
model: {{path: miniature, dtype: float32, device: cpu}}
video: {{max_tokens: 32, workers: 0}}
eval:
  think: false
  answer_format: open
  max_new_tokens: 24
  max_sequences: 2
  bootstrap: 100
  benchmarks:
    charades: {{annotations: {charades}/annotations, videos: {charades}/videos}}
    mine: {{data: {folder}/mine.jsonl, videos: {charades}/videos}}
"""


def lay_out(folder: Path) -> Path:
    """Videos, annotation, own questions; the recipe that names them."""
    charades = folder / "charades"
    part = layout.parts(bench_scale=0.1)["bench/charades"]
    for name, text in part.annotations.items():
        (charades / "annotations" / name).parent.mkdir(parents=True, exist_ok=True)
        (charades / "annotations" / name).write_text(str(text), encoding="utf-8")
    layout.render_all((charades / "videos" / path, scene) for path, scene in part.videos.items())
    write_samples(folder / "mine.jsonl", read_source("charades", charades / "annotations", purpose="bench").samples)
    recipe = folder / "recipe.yaml"
    recipe.write_text(RECIPE.format(charades=charades, folder=folder), encoding="utf-8")
    return recipe


def ask(recipe: Path, out: Path, processes: int) -> None:
    """Evaluates, resuming what is there."""
    output = Output(json_mode=True)
    evaluate(["all"], recipe_path=recipe, out=out, processes=processes, no_page=True, output=output)


def outcome(out: Path) -> dict[str, bytes]:
    """All that an evaluation wrote, but for its manifest, which has times; and what is left of shared work."""
    files = [path for path in out.rglob("*") if path.is_file() and path.name != "manifest.json"]
    return {str(path.relative_to(out)): path.read_bytes() for path in files}


def rows_there(out: Path) -> int:
    """Rows in all files, merged or not."""
    found = 0
    for path in [*out.glob("rows/*.jsonl"), *out.glob("rows/.all.work/parts/*.jsonl")]:
        try:
            found += path.read_bytes().count(b"\n")
        except FileNotFoundError:  # merged just now
            continue
    return found


def attempt(recipe: Path, out: Path, log: Path) -> int:
    """Starts an evaluation in a child; its process id."""
    if child := os.fork():
        return child
    code = 1
    try:
        with log.open("a") as file:
            os.dup2(file.fileno(), 2)
        ask(recipe, out, 2)
        code = 0
    finally:
        os._exit(code)


def started(process: int) -> list[int]:
    """Processes that a process has started."""
    try:
        return [int(word) for word in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    except FileNotFoundError:
        return []


def kill(process: int) -> int:
    """Kills a process if it is there; 1 if it was."""
    try:
        os.kill(process, signal.SIGKILL)
    except ProcessLookupError:
        return 0
    return 1


def run(folder: Path, seed: int, kills: int) -> dict[str, object]:
    """Kills processes until `kills` of them have been, then lets the evaluation end; what was counted, and what differs."""
    recipe, rng = lay_out(folder), Random(seed)
    ask(recipe, folder / "whole", 1)
    whole = outcome(folder / "whole")
    total = sum(text.count(b"\n") for name, text in whole.items() if name.startswith("rows/"))
    out = folder / "killed"
    count: dict[str, int] = {"killed": 0, "launchers": 0, "while asking": 0, "attempts": 0}
    for _ in range(3 * kills):
        if count["killed"] >= kills:
            break
        count["attempts"] += 1
        if rows_there(out) >= total:  # nothing is left to be killed in: from the beginning
            for path in sorted(out.rglob("*"), reverse=True):
                path.rmdir() if path.is_dir() else path.unlink()
        there = rows_there(out)
        wanted, child = rng.randint(there, min(total, there + total // 4)), attempt(recipe, out, folder / "log")
        ranks: list[int] = []
        deadline = time.monotonic() + 240
        while os.waitpid(child, os.WNOHANG) == (0, 0):
            ranks = started(child)
            if ranks and rows_there(out) >= wanted and time.monotonic() < deadline:
                time.sleep(rng.uniform(0, 2.0 if wanted == there else 0.05))
                victims = rng.choice([[child], ranks[:1], ranks[1:], [child, *ranks]])
                count["while asking"] += there < rows_there(out) < total
                count["launchers"] += child in victims
                count["killed"] += sum(map(kill, victims))
                os.waitpid(child, 0)  # where only a rank was killed, the other does its work
                break
            time.sleep(0.002)
        while any(Path(f"/proc/{rank}").exists() for rank in ranks):  # they end with their launcher
            time.sleep(0.05)
    child = attempt(recipe, out, folder / "log")
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    found = outcome(out)
    differ = sorted(name for name in whole.keys() | found.keys() if whole.get(name) != found.get(name))
    return {**count, "rows": total, "code": code, "files": len(whole), "differ": differ}


if __name__ == "__main__":
    print(json.dumps(run(Path(sys.argv[1]).resolve(), int(sys.argv[2]), int(sys.argv[3]))))  # noqa: T201
