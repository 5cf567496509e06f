"""Sampling with the engine against the library's `generate`: samples of one prompt, and questions on one clip.

Both sides start from decoded frames and text, draw at temperature 1 and top-p 0.99 with the same tokens banned, and
write the same number of tokens. Each has its own copy of the same weights: the library's keeps its own attention.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from functools import partial
from pathlib import Path

if not __package__:  # run as a file: the folder above holds the package `bench`
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from bench import common  # isort: skip  (first: it quietens the libraries)

import torch

from bench.library import Library
from trlt.engine.forest import Completion, Engine, PromptRequest, Tree
from trlt.engine.sampling import Sampling
from trlt.video.clip import Clip

TOP_P = 0.99


def arguments() -> argparse.Namespace:
    made = common.parser("Sampling: the engine against the library's generate.")
    made.add_argument("--repeats", type=int, default=3, help="timed runs of each side")
    made.add_argument("--group", type=int, default=8, help="samples of one prompt")
    made.add_argument("--questions", type=int, default=16, help="questions on one clip")
    made.add_argument("--length", type=int, default=64, help="new tokens of each completion")
    return made.parse_args()


class Mine:
    """The engine."""

    def __init__(self, args: argparse.Namespace, clip: Clip) -> None:
        model, self.processor = common.build(args)
        model = model.to(args.device, getattr(torch, common.dtype(args))).eval()
        self.engine = Engine(model, self.processor)
        # The library is told the same through `suppress_tokens`: without an end mark all completions are equally long.
        self.engine.banned[self.engine.builder.end_tokens] = True
        self._clip, self._args = clip, args

    @property
    def banned(self) -> list[int]:
        """Ids that are never drawn."""
        ids: list[int] = self.engine.banned.nonzero()[:, 0].tolist()
        return ids

    def __call__(self, users: list[str], n: int, length: int) -> list[list[Completion]]:
        requests = tuple(PromptRequest(str(i), common.SYSTEM, user, n) for i, user in enumerate(users))
        sampling = Sampling(1.0, TOP_P, length, self._args.seed)
        return self.engine.generate([Tree(self._clip, requests)], sampling)[0]


def difference(theirs: Library, clip: Clip, users: list[str], written: list[list[Completion]]) -> float:
    """Largest difference of the log-probabilities that the engine reports from the library's, over last samples."""
    gaps = [
        (theirs.logps(clip, common.SYSTEM, user, some[-1].tokens) - torch.tensor(some[-1].logps)).abs().max()
        for user, some in zip(users, written, strict=True)
    ]
    return float(max(gaps))


def main() -> None:
    args = arguments()
    common.prepare(args)
    clip = common.noise_clip(args.tokens, args.seed)
    mine = Mine(args, clip)
    model, processor = common.build(args)
    theirs = Library(model.to(args.device, getattr(torch, common.dtype(args))).eval(), processor, mine.banned)

    def library(users: list[str], n: int, length: int) -> list[list[list[int]]]:
        sampling = Sampling(1.0, TOP_P, length, args.seed)
        return [theirs.sample(clip, common.SYSTEM, user, n, sampling) for user in users]

    users = [common.question(mine.engine.builder, args.text, seed) for seed in range(args.questions)]
    tasks = {"samples": (users[:1], args.group), "questions": (users, 1)}
    seconds: dict[str, list[float]] = {f"{name}_{side}_s": [] for name in tasks for side in ("engine", "library")}
    settled, drawn, gap = dict.fromkeys(tasks, 0), dict.fromkeys(tasks, 0), 0.0
    for asked, n in tasks.values():  # warms up
        mine(asked, n, 2)
        library(asked[:1], n, 2)
    for repeat in range(args.repeats):
        for name, (asked, n) in tasks.items():
            before = mine.engine.settled
            took, written = common.timed(partial(mine, asked, n, args.length))
            seconds[f"{name}_engine_s"].append(took)
            settled[name] += mine.engine.settled - before
            drawn[name] += sum(len(c.tokens) for some in written for c in some)
            took, rows = common.timed(partial(library, asked, n, args.length))
            seconds[f"{name}_library_s"].append(took)
            lengths = {len(c.tokens) for some in written for c in some} | {len(row) for some in rows for row in some}
            assert lengths == {args.length}, f"completions of unequal length: {sorted(lengths)}"
            if not repeat:
                gap = max(gap, difference(theirs, clip, asked[:2], written[:2]))
    middle = {name: statistics.median(values) for name, values in seconds.items()}
    speedups = {f"{name}_speedup": middle[f"{name}_library_s"] / middle[f"{name}_engine_s"] for name in tasks}
    weights = common.parameters(mine.engine.model)
    print(f"{args.length} new tokens after a clip of {args.tokens} tokens and about {args.text} of text,")
    print(f"a model of {weights / 1e6:.1f}M weights in {common.dtype(args)} on {args.device}:")
    titles = {
        "samples": (f"{args.group} samples of one prompt", "num_return_sequences"),
        "questions": (f"{args.questions} questions on one clip", "one by one"),
    }
    for name, (title, how) in titles.items():
        print(f"  {title}")
        print(f"    engine                       {common.summary(seconds[f'{name}_engine_s'])}")
        print(f"    library, {how:<20}{common.summary(seconds[f'{name}_library_s'])}")
        print(f"    speedup                      {speedups[f'{name}_speedup']:8.2f} x")
        if mine.engine.exact:
            print(f"    draws settled alone          {settled[name]} of {drawn[name]}")
    print(f"  agreement: log-probabilities differ by at most {gap:.2e} from the library's")
    counts = {f"{name}_settled": settled[name] for name in tasks} | {f"{name}_drawn": drawn[name] for name in tasks}
    exact = {"exact": mine.engine.exact, "settled": sum(settled.values())}
    common.finish(args, speedups | middle | exact | counts | {"logp_max_diff": gap, "parameters": weights})


if __name__ == "__main__":
    main()
