"""Evaluating benchmarks one after the other against all of them together: clips that are encoded, and seconds.

Miniature benchmarks, of which some are about the same videos, as Charades-STA and TimeLens-Charades are. First in this process,
with one engine and without a frame store, by turns: `run_sets` with one benchmark at a time, then with all. Then the
command, `trlt eval --bench all`, from its start to its end, with one process and with two.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

if not __package__:  # run as a file: the folder above holds the package `bench`
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from bench import common  # isort: skip  (first: it quietens the libraries)

from trlt.commands._setup import limit_threads
from trlt.engine.forest import Answered, Engine, Tree
from trlt.engine.model import MINIATURE, load
from trlt.engine.sampling import Sampling
from trlt.evaluate.benchmark import open_bench, question_set
from trlt.evaluate.places import read_questions
from trlt.lab.miniature import layout
from trlt.recipe import Benchmark, Recipe, dump_recipe, load_recipe
from trlt.rollout import QuestionSet, WorkFiles, run_sets
from trlt.video.loaders import ClipLoaders

SOME = ("charades", "timelens_charades", "activitynet", "timelens_activitynet", "nextgqa", "mvbench")
"""Of these, TimeLens-Bench's two ask about the videos of the ones before them."""


class Counting:
    """An engine that counts the clips which it encodes."""

    def __init__(self, engine: Engine) -> None:
        self._engine, self.clips = engine, 0

    parity = None

    def stream(self, trees: Iterable[Tree], sampling: Sampling, **options: Any) -> Iterator[Answered]:
        """As in the engine."""

        def seen() -> Iterator[Tree]:
            for tree in trees:
                self.clips += 1
                yield tree

        return self._engine.stream(seen(), sampling, **options)


def arguments() -> argparse.Namespace:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    made.add_argument("--scale", type=float, default=0.2, help="size of the benchmarks")
    made.add_argument("--tokens", type=int, default=32, help="video tokens of a clip")
    made.add_argument("--all", action="store_true", help="all benchmarks instead of six")
    made.add_argument("--repeats", type=int, default=3, help="times that each side is timed")
    made.add_argument("--device", default="cpu", help="cpu (float32) or cuda")
    made.add_argument("--threads", type=int, default=0, help="CPU threads; 0 leaves it to torch")
    made.add_argument("--json", action="store_true", help="end with one line of JSON")
    return made.parse_args()


def make_recipe(folder: Path, args: argparse.Namespace) -> Recipe:
    """Writes the benchmarks; the recipe that names them, in `recipe.yaml`, too."""
    written = layout.write(folder / "data", scale=0.01, bench_scale=args.scale, newer=True)
    sets = [f"model.path={MINIATURE}", "model.dtype=float32", f"model.device={args.device}", "video.workers=1"]
    sets += [f"video.max_tokens={args.tokens}", "eval.answer_format=open", "eval.max_new_tokens=40", "eval.think=false"]
    recipe = load_recipe(None, sets=sets)
    places = {
        name: Benchmark(annotations=str(place.annotations), videos=str(place.videos))
        for name, place in written.bench.items()
        if args.all or name in SOME
    }
    recipe = recipe.model_copy(update={"eval": recipe.eval.model_copy(update={"benchmarks": places})})
    (folder / "recipe.yaml").write_text(dump_recipe(recipe), encoding="utf-8")
    return recipe


def ask(runs: Sequence[Sequence[QuestionSet]], engine: Engine, out: Path) -> tuple[int, float, dict[str, bytes]]:
    """Asks some runs one after the other: clips encoded, seconds, and the rows."""
    counting, began = Counting(engine), time.perf_counter()
    for sets in runs:
        files = WorkFiles.several(out, {one.name: [sample.id for sample in one.samples] for one in sets})
        with ClipLoaders() as loaders:
            run_sets(sets, engine=counting, loaders=loaders, work=files)
    return counting.clips, time.perf_counter() - began, {path.name: path.read_bytes() for path in out.glob("*.jsonl")}


def main() -> None:
    args = arguments()
    common.prepare(args)
    metrics: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="trlt-bench-") as temporary:
        folder = Path(temporary)
        recipe = make_recipe(folder, args)
        ready = [
            open_bench(read_questions(name, place), recipe, True, False, folder)
            for name, place in recipe.eval.benchmarks.items()
        ]
        sets = [question_set(bench, recipe) for bench in ready]
        loaded = load(recipe.model)
        limit_threads(loaded.model)
        engine = Engine(loaded.model, loaded.processor)
        sides = {"one by one": [[one] for one in sets], "together": [sets]}
        ask(sides["together"], engine, folder / "warm-up")
        seconds: dict[str, list[float]] = {name: [] for name in sides}
        clips, rows = dict[str, int](), dict[str, Any]()
        for turn in range(args.repeats):
            for name, runs in sides.items():
                clips[name], taken, rows[name] = ask(runs, engine, folder / f"{name}{turn}")
                seconds[name].append(taken)
        questions = sum(len(one.samples) for one in sets)
        print(f"{len(sets)} benchmarks, {questions} questions; rows equal: {rows['one by one'] == rows['together']}")
        for name in sides:
            print(f"{name:12}{clips[name]:6} clips encoded{common.summary(seconds[name])}")
            metrics[f"{name.replace(' ', '_')}_s"], metrics[f"{name.replace(' ', '_')}_clips"] = (
                median(seconds[name]),
                clips[name],
            )
        command = [sys.executable, "-m", "trlt", "eval", "-b", "all", "-r", str(folder / "recipe.yaml"), "--no-page", "--json"]
        for count in (1, 2):
            began = time.perf_counter()
            subprocess.run(
                [*command, "--out", str(folder / f"eval{count}"), "--processes", str(count)], check=True, capture_output=True
            )
            metrics[f"command_{count}_s"] = time.perf_counter() - began
            print(f"trlt eval, {count} process{'es' if count > 1 else ''}: {metrics[f'command_{count}_s']:.1f} s in all")
        metrics["rows_equal"] = rows["one by one"] == rows["together"]
        metrics["questions"] = questions
    common.finish(args, metrics)


if __name__ == "__main__":
    main()
