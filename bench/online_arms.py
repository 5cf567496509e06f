"""Online selection on the miniature: completions drawn and reward reached, arm by arm, at the same number of steps.

    python -m bench.online_arms --demo runs/demo --out runs/online-arms
    python -m bench.online_arms --demo runs/demo --out runs/online-arms --arms plain skip --seeds 0 1 --steps 48 --json

`--demo` is a folder of `trlt demo` (its pool, probe and recipe are used). A pool is drawn from all its samples, easy and hard
ones too. Each arm and seed trains by the real command and is then probed on the whole pool, so that what it reached
doesn't depend on what it chose to ask. A run that is there isn't made again.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from random import Random
from typing import Any

NEVER = "train.online.skip={easy: 1.0, hard: 1.0, step: 0}"
"""Skips nothing: the groups of a run without skipping are counted by the same code."""
DYNAMIC = "train.min_reward_range=0.1"
PROBE = "train.online.probe={probe}"
ARMS = {
    "plain": [NEVER],
    "dynamic": [NEVER, DYNAMIC],
    "skip": ["train.online.skip={}", DYNAMIC],
    "skip-alone": ["train.online.skip={}"],
    "near": ["train.online.near={candidates: 4}", PROBE, DYNAMIC],
    "near-alone": ["train.online.near={candidates: 4}", PROBE],
    "curriculum": ["train.online.curriculum={candidates: 4, start: 0.5}", PROBE, DYNAMIC],
    "replay": ["train.online.replay={}", DYNAMIC],
    "all": ["train.online.skip={}", "train.online.near={candidates: 4}", "train.online.reprobe={}", PROBE, DYNAMIC],
}
"""Name -> settings beside those that all have."""


def main() -> None:
    """Runs what is missing, and prints the table."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--demo", type=Path, required=True, help="folder of `trlt demo`")
    made.add_argument("--out", type=Path, required=True, help="folder of the runs")
    made.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(ARMS))
    made.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    made.add_argument("--steps", type=int, default=48)
    made.add_argument("--prompts", type=int, default=12, help="per step")
    made.add_argument("--pool", type=int, default=96, help="samples to train on")
    made.add_argument("--json", action="store_true", help="end with one line of JSON")
    args = made.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    pool = write_pool(args.demo, args.out / "pool.jsonl", args.pool)
    rows = [run(arm, seed, pool, args) for seed in args.seeds for arm in args.arms]
    print(f"{'arm':<12} {'runs':>4} {'groups':>8} {'completions':>12} {'zero-variance':>14} {'reward on the pool':>19}")
    for arm in args.arms:
        some = [row for row in rows if row["arm"] == arm]
        rewards = [row["reward"] for row in some]
        spread = f" ±{statistics.stdev(rewards):.3f}" if len(rewards) > 1 else ""
        means = {key: statistics.fmean(row[key] for row in some) for key in ("groups", "completions", "zero")}
        print(
            f"{arm:<12} {len(some):>4} {means['groups']:>8.0f} {means['completions']:>12.0f} {means['zero']:>14.3f} "
            f"{statistics.fmean(rewards):>12.3f}{spread}"
        )
    if args.json:
        print(json.dumps({"rows": rows, "steps": args.steps, "prompts": args.prompts, "pool": args.pool}))


def write_pool(demo: Path, path: Path, count: int) -> Path:
    """Samples drawn from all that the demo has prepared and could ask."""
    from trlt.files import write_jsonl
    from trlt.files.jsonl import iter_jsonl
    from trlt.rollout.rows_file import read_rows

    asked = {row["id"] for row in read_rows(demo / "probe" / "rows" / "probe.jsonl") if not row["error"]}
    files = sorted(file for file in (demo / "pool").glob("*.jsonl"))
    samples = [sample for file in files for _, sample in iter_jsonl(file) if sample["id"] in asked]
    write_jsonl(path, Random(0).sample(samples, count))
    return path


def run(arm: str, seed: int, pool: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Trains and probes one arm with one seed; gives its metrics."""
    from trlt.commands._output import Output
    from trlt.commands.probe import probe
    from trlt.commands.train import train
    from trlt.files import read_log
    from trlt.rollout.rows_file import read_rows

    folder = args.out / f"{arm}-{seed}"
    recipe, videos = args.demo / "miniature.yaml", args.demo / "data" / "train"
    sets = [f"train.seed={seed}", f"train.max_steps={args.steps}", f"train.prompts_per_step={args.prompts}"]
    sets += [one.format(probe=args.demo / "probe") if one is PROBE else one for one in ARMS[arm]]
    if not (folder / "train" / "result.json").is_file():
        train(
            recipe, sets=sets, data=str(pool), videos=videos, out=folder / "train", no_page=True, output=Output(json_mode=True)
        )
    probed = folder / "probe" / "rows" / "probe.jsonl"
    if not probed.is_file():
        quiet = Output(json_mode=True)
        probe(
            str(pool),
            n=8,
            recipe_path=recipe,
            model=str(folder / "train" / "model"),
            videos=videos,
            out=folder / "probe",
            output=quiet,
        )
    log = read_log(folder / "train" / "log.jsonl")
    rows = [row for row in read_rows(probed) if row["mean"] is not None]
    return {
        "arm": arm,
        "seed": seed,
        "groups": sum(row["online/groups"] for row in log),
        "completions": sum(row["online/completions"] for row in log),
        "zero": statistics.fmean(row["frac_zero_range"] for row in log),
        "reward": statistics.fmean(row["mean"] for row in rows),
    }


if __name__ == "__main__":
    main()
