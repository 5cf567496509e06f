"""The whole GRPO step, decoding included, against ms-swift: the same random model, video files and sizes.

    python -m bench.peers --script PATH/peer_msswift.sh --cache DIR [--rounds 3] [--json]

The script installs ms-swift into DIR and runs it. Each side is a process of its own; sides take turns. A side's metric in
a round is its wall time over its timed steps, first step left out. Ours has the frame store cold (empty) in its first epoch
and warm in its second.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

if not __package__:  # run as a file: the folder above holds the package `bench`
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from bench import common  # isort: skip  (first: it quietens the libraries)

from bench.peer_sides import AHEAD, Run, ours, set_up, theirs

NAMES = {"cold": "trlt, store cold", "warm": "trlt, store warm", "theirs": "ms-swift"}
COUNTS = ("decodes", "passes", "clips")


def arguments() -> argparse.Namespace:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--script", help="peer_msswift.sh")
    made.add_argument("--cache", help="folder that holds ms-swift, or will: 6 GB")
    made.add_argument("--ours-only", action="store_true", help="without the peer")
    made.add_argument("--files", default=str(Path(tempfile.gettempdir()) / "trlt-bench"), help="keeps the made videos")
    made.add_argument("--rounds", type=int, default=3, help="runs of each side (3)")
    made.add_argument("--clips", type=int, default=8, help="clips, one a step; ours sees each twice (8)")
    made.add_argument("--steps", type=int, default=4, help="steps of a run of theirs, of which the first isn't timed (4)")
    made.add_argument("--seconds", type=int, default=30, help="length of a clip, even (30)")
    made.add_argument("--size", type=int, nargs=2, default=(640, 360), help="width and height of a clip (640 360)")
    made.add_argument("--pair", type=int, default=70, help="most video tokens of two frames (70)")
    made.add_argument("--group", type=int, default=8, help="completions of the prompt: G (8)")
    made.add_argument("--length", type=int, default=64, help="tokens of each completion (64)")
    made.add_argument("--hidden", type=int, default=128, help="width of the language model, a multiple of 64 (128)")
    made.add_argument("--layers", type=int, default=4, help="depth of the language model (4)")
    made.add_argument("--threads", type=int, default=os.cpu_count(), help="CPU threads of a side (one a core)")
    made.add_argument("--workers", type=int, default=2, help="processes of ours that decode ahead, at least 1 (2)")
    made.add_argument("--features", action="store_true", help="ours keeps the vision tower's features, too (train.features)")
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--json", action="store_true", help="end with one line of JSON")
    made.set_defaults(device="cpu")
    args = made.parse_args()
    if args.clips < AHEAD + 2:
        made.error(f"--clips {args.clips}: at least {AHEAD + 2}, for the first step and the last {AHEAD} aren't timed")
    if args.steps < 2:
        made.error(f"--steps {args.steps}: at least 2, for the first isn't timed")
    if args.workers < 1:
        made.error(f"--workers {args.workers}: at least 1, for decodes are counted in these processes")
    if not args.ours_only:
        if not args.script or not Path(args.script).is_file():
            made.error(f"--script {args.script}: no such file; give the script that runs ms-swift, or --ours-only")
        if not args.cache:
            made.error("--cache: give the folder that ms-swift is installed in (6 GB), or --ours-only")
    return args


def summarize(runs: dict[str, list[Run]]) -> dict[str, Any]:
    """The metrics of all rounds: medians over the rounds."""
    metrics: dict[str, Any] = {}
    for side, some in runs.items():
        for name in ("step_s", *COUNTS, "video_tokens", "prompt_tokens", "threads"):
            metrics[f"{side}_{name}"] = statistics.median(getattr(run, name) for run in some)
        metrics[f"{side}_rounds_s"] = [round(run.step_s, 3) for run in some]
        metrics[f"{side}_steps_s"] = [[round(seconds, 3) for seconds in run.steps] for run in some]
        metrics[f"{side}_parts_s"] = {part: round(statistics.median(r.parts[part] for r in some), 3) for part in some[0].parts}
    for side in ("cold", "warm"):
        if "theirs" in runs:
            ratios = [other.step_s / run.step_s for run, other in zip(runs[side], runs["theirs"], strict=True)]
            metrics[f"{side}_speedup"] = statistics.median(ratios)
            metrics[f"{side}_speedups"] = [round(ratio, 3) for ratio in ratios]
    return metrics


def show(metrics: dict[str, Any], sides: list[str]) -> None:
    """The metrics in words."""
    for side in sides:
        steps = [seconds for some in metrics[f"{side}_steps_s"] for seconds in some]
        decodes, passes, clips = (metrics[f"{side}_{name}"] for name in COUNTS)
        prompt, video = metrics[f"{side}_prompt_tokens"], metrics[f"{side}_video_tokens"]
        print(f"  {NAMES[side]:<17}{common.summary(metrics[f'{side}_rounds_s'])} a step; single steps {span(steps)}")
        print(f"    each step: {decodes:g} decodes, {passes:g} vision passes over {clips:g} clips in all")
        threads = metrics[f"{side}_threads"]
        print(f"    prompt:    {prompt:.0f} tokens, {video:.0f} of them video; the model has {threads:.0f} threads")
        print("    seconds:   " + ", ".join(f"{part} {seconds:.2f}" for part, seconds in metrics[f"{side}_parts_s"].items()))
    for side in ("cold", "warm"):
        if f"{side}_speedup" in metrics:
            print(f"  speedup, store {side}  {metrics[f'{side}_speedup']:6.2f} x   ({span(metrics[f'{side}_speedups'])})")


def span(values: list[float]) -> str:
    return f"{min(values):.2f} to {max(values):.2f}"


def main() -> None:
    args = arguments()
    common.prepare(args)
    runs: dict[str, list[Run]] = {side: [] for side in NAMES if side != "theirs" or not args.ours_only}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        setup = set_up(args, folder)
        for turn in range(args.rounds):
            for side, run in ours(args, setup, folder / f"ours-{turn}").items():
                runs[side].append(run)
            if not args.ours_only:
                runs["theirs"].append(theirs(args, setup, folder / f"theirs-{turn}"))
    tokens = {run.video_tokens for some in runs.values() for run in some}
    if len(tokens) > 1:
        raise SystemExit(f"the sides see clips of different numbers of video tokens, {sorted(tokens)}: nothing is compared")
    metrics, (width, height) = summarize(runs), args.size
    weights = common.parameters(common.build(args)[0])
    print(f"One GRPO step: one prompt x {args.group} completions of {args.length} tokens, a clip of {args.seconds} s in H.264,")
    print(f"{width}x{height}; a model of {weights / 1e6:.1f}M weights in float32, vision tower frozen:")
    show(metrics, list(runs))
    common.finish(args, metrics | {"parameters": weights})


if __name__ == "__main__":
    main()
