"""Choosing prompts from a large pool: what a step spends on it, and what the rest of the step takes.

    python -m bench.online                          # 500,000 invented samples, and 8 steps of the miniature with 100,000
    python -m bench.online --samples 100000 --steps 0 --json

Two parts, each with both sides in one run. First, choosing alone: the prompts of a step with one replacement per slot, by a
shuffle of the whole pool (without `train.online`) and by `train.online` in each of its orders, and what a step's groups cost to
note and to learn. Then steps of `trlt train` itself on a pool of many samples over a few clips, without and with everything on
(with re-probing in every step, and samples that retire), by phase: choosing, waiting for videos, rollout, scoring, noting, and
the update.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

PROMPTS = 48
"""Per step, as the paper has."""
PHASES = ("choose", "video_wait", "rollout", "score", "state", "update")


def main() -> None:
    """Measures both parts and prints them."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--samples", type=int, default=500_000, help="of which prompts are chosen, in the first part")
    made.add_argument("--repeat", type=int, default=7, help="steps of the first part")
    made.add_argument("--pool", type=int, default=100_000, help="samples of the second part")
    made.add_argument("--steps", type=int, default=8, help="of the second part; 0 leaves it out")
    made.add_argument("--json", action="store_true", help="end with one line of JSON")
    args = made.parse_args()
    found: dict[str, Any] = {"choosing_ms": choosing(args.samples, args.repeat), "samples": args.samples}
    print(f"choosing {PROMPTS} prompts of {args.samples:,} samples, and a replacement for each")
    for name, times in found["choosing_ms"].items():
        print(f"  {name:<36} {statistics.median(times):>9.2f} ms ({min(times):.2f} to {max(times):.2f})")
    if args.steps:
        found |= {"phases_s": phases(args.pool, args.steps), "pool": args.pool}
        print(f"a step of the miniature, pool of {args.pool:,} samples: medians in s")
        print("  " + " " * 10 + "".join(f"{phase:>12}" for phase in (*PHASES, "whole step")))
        for name, some in found["phases_s"].items():
            print(f"  {name:<10}" + "".join(f"{some[phase]:>12.4f}" for phase in (*PHASES, "step")))
    if args.json:
        print(json.dumps(found))


def timed(repeat: int, work: Callable[[int], object]) -> list[float]:
    """Milliseconds of each call, with its number, after one that isn't counted."""
    times = []
    for number in range(repeat + 1):
        began = time.perf_counter()
        work(number)
        times.append(1000 * (time.perf_counter() - began))
    return times[1:]


def choosing(samples: int, repeat: int) -> dict[str, list[float]]:
    """Milliseconds of each way to choose a step's prompts with a replacement per slot, and of learning from the groups."""
    import torch

    from trlt.recipe import Curriculum, Near, Online, Reprobe, Skip, Train
    from trlt.train.dynamic_sampling import PromptSlot, make_slots
    from trlt.train.online.history import AskedGroup
    from trlt.train.online.selection import OnlineSelection
    from trlt.train.retirement import Retirement

    ids = [f"s{i}" for i in range(samples)]
    random = Random(0)

    def taken(slots: Sequence[PromptSlot]) -> list[int]:
        return [next(slot.prompts) for slot in slots for _ in range(2)]

    def shuffled(step: int) -> object:
        return taken(make_slots(random.sample(range(samples), PROMPTS), range(PROMPTS), samples, f"0:{step}", set()))

    found = {"shuffling the pool": timed(repeat, shuffled)}
    ways = {
        "in order, skipping": Online(skip=Skip()),
        "near a rate": Online(skip=Skip(), near=Near(), reprobe=Reprobe(every=1)),
        "near a rate, of the whole pool": Online(near=Near(candidates=None)),
        "curriculum": Online(curriculum=Curriculum(difficulty="estimate")),
        "curriculum, of the whole pool": Online(curriculum=Curriculum(difficulty="estimate", candidates=None)),
    }
    with tempfile.TemporaryDirectory() as folder:
        for number, (name, online) in enumerate(ways.items()):
            place = Path(folder) / str(number)
            place.mkdir()
            retirement = Retirement(place, ids, None, writes=True)
            made = OnlineSelection(online, Train(prompts_per_step=PROMPTS), place, ids, retirement)
            learning: list[float] = []

            def step(number: int, made: OnlineSelection = made, learning: list[float] = learning) -> object:
                asked = taken(made.slots(number, range(PROMPTS)))
                groups = [AskedGroup(sample, "tried", 8, random.random(), 1.0, 0.5) for sample in asked]
                for slot, some in zip(
                    made.slots(number, range(PROMPTS)), zip(groups[::2], groups[1::2], strict=True), strict=True
                ):
                    slot.notes.extend(some)  # type: ignore[attr-defined]
                metrics = made.learn(number, lambda tensor: tensor, torch.device("cpu"))
                learning.append(1000 * metrics["time/state_s"])
                return metrics

            found[name] = [whole - noted for whole, noted in zip(timed(repeat, step), learning[1:], strict=True)]
            if number == 0:
                found["noting and learning"] = learning[1:]
    return found


def phases(pool: int, steps: int) -> dict[str, dict[str, float]]:
    """Medians of a step's phases without and with online selection, by the real trainer."""
    from trlt.commands._output import Output
    from trlt.commands.train import train
    from trlt.files import read_jsonl, read_log, write_jsonl
    from trlt.lab.miniature import warmup

    sets = ["model.path=miniature", "model.dtype=float32", "model.device=cpu", "video.max_tokens=32", "video.workers=1"]
    sets += ["train.prompts_per_step=8", "train.group_size=8", "train.think=false", "train.max_new_tokens=16"]
    sets += [
        "train.min_reward_range=0.1",
        "train.retire_after=2",
        "train.gradient_checkpointing=false",
        f"train.max_steps={steps}",
    ]
    all_on = "train.online={skip: {}, near: {}, replay: {}, reprobe: {every: 1, samples: 2}}"
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        written = warmup.write(root, 32, seed=1)
        few = read_jsonl(root / "samples.jsonl")
        write_jsonl(root / "pool.jsonl", ({**few[i % len(few)], "id": f"p{i}"} for i in range(pool)))
        (root / "recipe.yaml").write_text("{}")
        found = {}
        for side, more in (("without", []), ("with", [all_on]), ("without", []), ("with", [all_on])):
            out = root / f"{side}-{len(found)}"
            told = Output(json_mode=True)
            train(
                root / "recipe.yaml",
                sets=[*sets, *more],
                data=str(root / "pool.jsonl"),
                videos=written.videos,
                out=out,
                output=told,
            )
            found[out.name] = read_log(out / "log.jsonl")[2:]
    return {
        side: _medians([row for name, rows in found.items() for row in rows if name.startswith(f"{side}-")])
        for side in ("without", "with")
    }


def _medians(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    named = ("choose", "video_wait", "rollout", "score", "state")
    split = [{phase: row.get(f"time/{phase}_s", 0.0) for phase in named} | {"step": row["step_time"]} for row in rows]
    split = [{**row, "update": row["step"] - sum(row[phase] for phase in named)} for row in split]
    return {phase: statistics.median(row[phase] for row in split) for phase in (*PHASES, "step")}


if __name__ == "__main__":
    main()
