"""Probing with the engine against a plain loop with the library's `generate`: the same clips, questions and model.

The miniature model answers questions about scenes of its own world, shown large: each clip has the video tokens of a real one.
Both sides start from decoded frames and text, draw at temperature 1 and top-p 0.99, and end where the model ends, so that
completions differ in length. The samples are one a clip, as most of a pool's are.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

if not __package__:  # run as a file: the folder above holds the package `bench`
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from bench import common  # isort: skip  (first: it quietens the libraries)

import numpy as np
import torch

from bench.library import Library
from trlt.commands._setup import limit_threads
from trlt.engine.forest import Completion, Engine, PromptRequest, Tree
from trlt.engine.model import MINIATURE, load
from trlt.engine.sampling import Sampling
from trlt.lab.miniature.questions import ask
from trlt.lab.miniature.render import FPS, render_frames
from trlt.lab.miniature.script import make_scene
from trlt.lab.miniature.world import SIDE
from trlt.recipe import Model, Probe
from trlt.task.prompt import build
from trlt.task.sample import Sample
from trlt.video.clip import Clip

TASKS = ("grounding", "multi_choice", "grounded_qa")


@dataclass(frozen=True)
class Asked:
    """One sample, ready to be asked."""

    clip: Clip
    system: str
    user: str
    key: str


def arguments() -> argparse.Namespace:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    made.add_argument("--samples", type=int, default=12, help="samples, each about a clip of its own")
    made.add_argument("-n", type=int, default=8, help="completions a sample")
    made.add_argument("--tokens", type=int, default=2048, help="video tokens of a clip, a multiple of 128")
    made.add_argument("--length", type=int, default=64, help="most new tokens of a completion")
    made.add_argument("--max-sequences", type=int, default=64, help="completions that the engine grows side by side")
    made.add_argument("--repeats", type=int, default=3, help="timed runs of each side")
    made.add_argument("--think", action="store_true", help="ask for reasoning, which makes completions long and uneven")
    made.add_argument("--device", default="cpu", help="cpu (float32) or cuda (bfloat16)")
    made.add_argument("--threads", type=int, default=0, help="CPU threads; 0 leaves it to trlt: one for a model this small")
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--json", action="store_true", help="end with one line of JSON")
    return made.parse_args()


def samples(args: argparse.Namespace) -> list[Asked]:
    """Questions of all tasks about scenes of the miniature's world; a scene's pixels are repeated until it has its tokens."""
    settings, made = Probe(think=args.think), list[Asked]()
    for index in count():
        scene, rng = make_scene(args.seed * 100_000 + index, "train"), Random(index)
        task: Any = TASKS[len(made) % len(TASKS)]
        question = ask(scene, rng, task)
        if question is None:
            continue
        sample = Sample(
            id=f"bench:{index}",
            source="bench",
            split="train",
            task=task,
            video="bench.mp4",
            question=question.text,
            options=question.options,
            answer=question.answer,
            answer_index=question.answer_index,
            spans=question.spans,
        )
        words = build(sample, think=args.think, answer_format=settings.answer_format)
        made.append(Asked(large(render_frames(scene), scene.duration, args.tokens), words.system, words.user, sample.id))
        if len(made) == args.samples:
            return made
    raise AssertionError


def large(frames: Any, duration: float, tokens: int) -> Clip:
    """A clip of `tokens` tokens: two frames for every 128 of them, evenly spread, of 224 x 448 pixels."""
    shown = 2 * (tokens // 128)
    times = (np.arange(shown) + 0.5) * duration / shown
    few = frames[np.minimum((times * FPS).astype(int), len(frames) - 1)].transpose(0, 3, 1, 2)
    clip = Clip.of(
        few.repeat(224 // SIDE, axis=2).repeat(448 // SIDE, axis=3), times, sample_fps=shown / duration, duration=duration
    )
    assert clip.tokens == tokens, f"{clip.tokens} tokens; --tokens must be a multiple of 128"
    return clip


def settings(args: argparse.Namespace) -> Model:
    return Model(path=MINIATURE, dtype="float32" if args.device == "cpu" else "bfloat16", device=args.device)


def engine_side(engine: Engine, asked: list[Asked], args: argparse.Namespace, sampling: Sampling) -> list[list[Completion]]:
    trees = (Tree(one.clip, (PromptRequest(one.key, one.system, one.user, args.n),)) for one in asked)
    done = {answer.tree: answer.completions for answer in engine.stream(trees, sampling, max_sequences=args.max_sequences)}
    return [done[place] for place in range(len(asked))]


def library_side(library: Library, asked: list[Asked], args: argparse.Namespace, sampling: Sampling) -> list[list[list[int]]]:
    return [library.sample(one.clip, one.system, one.user, args.n, sampling) for one in asked]


def main() -> None:
    args = arguments()
    common.prepare(args)
    asked, sampling = samples(args), Sampling(1.0, 0.99, args.length, args.seed)
    loaded, peer = load(settings(args)), load(settings(args))
    if not args.threads:
        limit_threads(loaded.model)
    engine = Engine(loaded.model, loaded.processor)
    banned = engine.banned.nonzero()[:, 0].tolist()
    library = Library(peer.model.eval(), peer.processor, banned)
    short = Sampling(1.0, 0.99, 2, args.seed)
    engine_side(engine, asked[:1], args, short)  # warms up
    library_side(library, asked[:1], args, short)
    seconds: dict[str, list[float]] = {"engine": [], "library": []}
    tokens: dict[str, list[int]] = {"engine": [], "library": []}
    settled, gap = engine.settled, 0.0
    for repeat in range(args.repeats):
        torch.manual_seed(args.seed + repeat)
        took, written = common.timed(partial(engine_side, engine, asked, args, sampling))
        seconds["engine"].append(took)
        tokens["engine"].append(sum(len(c.tokens) for some in written for c in some))
        took, rows = common.timed(partial(library_side, library, asked, args, sampling))
        seconds["library"].append(took)
        tokens["library"].append(sum(len(row) for some in rows for row in some))
        if not repeat:
            for one, (*_, last) in list(zip(asked, written, strict=True))[:2]:
                theirs = library.logps(one.clip, one.system, one.user, last.tokens)
                gap = max(gap, float((theirs - torch.tensor(last.logps)).abs().max()))
    lengths = sorted(len(c.tokens) for some in written for c in some)
    drawn = sum(tokens["engine"])
    metrics: dict[str, Any] = {}
    weights = common.parameters(loaded.model) / 1e6
    print(f"{args.samples} samples of {args.tokens} video tokens, {args.n} completions each of up to {args.length} tokens,")
    print(f"the miniature model ({weights:.1f}M weights) in {loaded.model.dtype} on {args.device}:")
    for side, name in (("engine", "engine"), ("library", "plain loop")):
        middle = statistics.median(seconds[side])
        rate = statistics.median(t / s for t, s in zip(tokens[side], seconds[side], strict=True))
        metrics |= {f"{side}_s": middle, f"{side}_samples_per_s": args.samples / middle, f"{side}_tokens_per_s": rate}
        print(f"  {name:<12}{common.summary(seconds[side])}  {args.samples / middle:6.2f} samples/s  {rate:8.1f} tokens/s")
    metrics["speedup"] = metrics["engine_samples_per_s"] / metrics["library_samples_per_s"]
    metrics["tokens_speedup"] = metrics["engine_tokens_per_s"] / metrics["library_tokens_per_s"]
    print(f"  speedup     {metrics['speedup']:6.2f} x in samples, {metrics['tokens_speedup']:.2f} x in tokens")
    print(f"  completions have {lengths[0]} to {lengths[-1]} tokens, {lengths[len(lengths) // 2]} in the middle")
    print(f"  draws settled alone: {engine.settled - settled} of {drawn}")
    print(f"  agreement: log-probabilities differ by at most {gap:.2e} from the library's")
    metrics |= {"settled": engine.settled - settled, "drawn": drawn, "logp_max_diff": gap}
    common.finish(args, metrics)


if __name__ == "__main__":
    main()
