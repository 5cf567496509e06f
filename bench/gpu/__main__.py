"""All that a GPU is needed for, best first, in one command of at most nine minutes.

    python -m bench.gpu                  # bench/results/gpu-<card>.json
    python -m bench.gpu --tiny           # all parts on the CPU with a model of nothing, in a minute
    python -m bench.gpu --table FILE     # its tables in Markdown, with the memory that `trlt` plans; needs all of trlt

Nothing is downloaded: weights, clips and questions are random. Torch and transformers suffice. The file is written after each
part, so a kill loses no more than the one under way. A part for which too little time is left is skipped with a note; memory
that doesn't suffice is a result; an error is noted with its traceback, the other parts go on, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

from bench import common  # isort: skip  (first: it quietens the libraries)

import torch

from bench.gpu import BEGAN
from bench.gpu.bench import Bench, Out
from bench.gpu.grpo import agreement, grpo
from bench.gpu.inputs import Size
from bench.gpu.parity import parity
from bench.gpu.record import FOLDER, Record, card, hardware
from bench.gpu.rollouts import rollouts
from bench.gpu.vision import vision

LONG = Size((16, 16, 32), 128, 256)
"""2,048 video tokens, questions of 128 tokens, completions of 256."""
SHORT = Size((2, 8, 12), 8, 6)


class Part(NamedTuple):
    """One thing that is measured by itself."""

    name: str
    seconds: float
    """That it needs at least on an H200, by estimate: with less left it is skipped."""
    run: Callable[[Bench, Out], None]


class TimeUp(BaseException):
    """The minutes are over; no `except Exception` on the way may take it for an error of its own."""


def parts(tiny: bool, half: bool) -> list[Part]:
    """All of them, best first."""
    found: list[Part] = []
    precisions = ("bfloat16", "autocast", "float32") if half else ("float32",)
    training = "autocast" if half else "float32"
    exact, shared = ("full", "float32"), ("blocks", training)

    def add(name: str, seconds: float, run: Callable[..., None], *args: Any) -> None:
        found.append(Part(name, 0 if tiny else seconds, lambda bench, out: run(bench, name.partition("/")[0], *args, out)))

    def agree(model: str, precision: str) -> None:
        add(f"{model}/parity/{precision}", 30, parity, precision)

    def passes(model: str, *sizes: int) -> None:
        for groups in sizes:
            add(f"{model}/grpo/{groups}/blocks", 8 + 2 * groups, grpo, groups, "blocks")
            add(f"{model}/grpo/{groups}/full", 10 + 10 * groups, grpo, groups, "full")

    def drawn(model: str, rows: int, rounds: int) -> None:
        add(f"{model}/rollouts/{rows}", 30 + rows / 4, rollouts, rows, rounds)

    first = "tiny" if tiny else "3b"
    for precision in precisions:
        agree(first, precision)
    passes(first, 1, 2)
    ways = dict.fromkeys([("blocks", "float32"), shared, ("full", training)])
    add(f"{first}/gradients", 40, agreement, exact, [way for way in ways if way != exact])
    drawn(first, 8 if tiny else 64, 2)
    add(f"{first}/vision", 15, vision, 2 if tiny else 8)
    if tiny:
        return found
    passes("3b", 4)
    agree("7b", "bfloat16")
    passes("7b", 1)
    drawn("7b", 64, 1)
    add("3b/flex", 60, agreement, shared, [("flex", training)])  # FlexAttention has no backward pass on the CPU
    for groups in (1, 2, 4, 8):
        add(f"3b/grpo/{groups}/flex", 10 + 2 * groups, grpo, groups, "flex")
    passes("3b", 8)
    drawn("3b", 256, 1)
    agree("7b", "autocast")
    passes("7b", 2)
    # In float32, weights and two sets of gradients of it would fill the card.
    add("7b/gradients", 40, agreement, ("full", training), [shared])
    return found


def arguments() -> argparse.Namespace:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--minutes", type=float, default=9.0, help="after which the command ends, imports included (9)")
    made.add_argument("--tiny", action="store_true", help="all parts with a tiny model, on the CPU")
    made.add_argument("--dtype", choices=("bfloat16", "float32"), help="bfloat16, but with --tiny float32")
    made.add_argument("--only", nargs="+", metavar="PART", help="parts whose names begin so; the file's others are kept")
    made.add_argument("--out", type=Path, default=FOLDER, help="folder of the results (bench/results)")
    made.add_argument("--table", type=Path, metavar="FILE", help="measure nothing; show a file of results as tables")
    return made.parse_args()


def attempt(part: Part, bench: Bench) -> Out:
    """What a part found, with the seconds that it took; whatever goes wrong is noted."""
    out: Out = {}
    began, left = time.monotonic(), bench.left
    if left <= part.seconds:
        return {"skipped": f"{max(left, 0):.0f} s were left of the minutes, about {part.seconds:.0f} are needed"}
    try:
        signal.signal(signal.SIGALRM, up)
        signal.setitimer(signal.ITIMER_REAL, left)
        try:
            part.run(bench, out)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except TimeUp:
        out["skipped"] = "the minutes were over midway"
    except torch.OutOfMemoryError:
        out["out_of_memory"] = True
    except Exception:  # whatever it is: the machine is there for minutes, and the other parts may well work
        out["error"] = traceback.format_exc()
    bench.tidy()
    return out | {"part_s": time.monotonic() - began}


def say(text: str) -> None:
    print(f"{time.monotonic() - BEGAN:6.1f} s  {text}", flush=True)


def up(signum: int, frame: FrameType | None) -> None:
    raise TimeUp


def main() -> int:
    args = arguments()
    if args.table:
        from bench.gpu.table import tables

        print(tables(args.table))
        return 0
    common.prepare(argparse.Namespace(threads=int(args.tiny)))
    if not args.tiny and not torch.cuda.is_available():
        sys.exit("torch sees no GPU; --tiny runs all parts on the CPU")
    device = torch.device("cpu") if args.tiny else torch.device("cuda", 0)
    # Convolutions would round to TF32 by default, in the float32 reference, too.
    torch.backends.cudnn.allow_tf32 = False
    dtype = args.dtype or ("float32" if args.tiny else "bfloat16")
    bench = Bench(device, dtype == "bfloat16", BEGAN + 60 * args.minutes, SHORT if args.tiny else LONG)
    head = hardware(device) | {"dtype": dtype, "minutes": args.minutes, "size": bench.size._asdict(), "models": bench.notes}
    path = args.out / f"gpu-{card(device)}{'-tiny' if args.tiny else ''}.json"
    record = Record(path, head, keep=bool(args.only))
    wanted = [part for part in parts(args.tiny, bench.half) if not args.only or part.name.startswith(tuple(args.only))]
    say(f"{card(device)}, {dtype}: {len(wanted)} parts into {path}")
    for part in wanted:
        found = attempt(part, bench)
        record.parts[part.name] = found
        record.save()
        state = next((key for key in ("error", "out_of_memory", "skipped") if key in found), "done")
        say(f"{part.name:<22}{state}{': ' + found[state].splitlines()[-1] if state in ('error', 'skipped') else ''}")
    return int(any("error" in record.parts[part.name] for part in wanted))


if __name__ == "__main__":
    sys.exit(main())
