"""Every family of models: what trlt makes of it against the library itself, and what a shared prefix saves in training.

One table says of each family, by a small random model of its real classes, whether token ids, positions and greedy completions
are the library's, how far log-probabilities and gradients lie apart, whether a saved model is loaded as it was, whether a GRPO
step with a shared prefix is the one with full sequences, and what vLLM itself says, where TRLT_VLLM_PYTHON names its Python.
The other has the time of forward and backward pass over one group, with a shared prefix and with full sequences, by turns.

The default sizes are tiny. `--medium` times models in which arithmetic counts: leave the machine alone meanwhile.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

if not __package__:  # run as a file: the folder above holds the package `bench`
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from bench import common  # isort: skip  (first: it quietens the libraries)

import torch

from bench.families_compared import Compared, compare
from trlt.engine.families import FAMILIES, Family
from trlt.engine.inputs import InputBuilder
from trlt.engine.model import save
from trlt.engine.shared_prefix import Group, attach, collate, forward

SMALL = {"hidden": 128, "layers": 4}
"""Of the models that are compared: as deep as a family needs to show all kinds of its layers."""
SIZES = {
    "tiny": {"hidden": 128, "layers": 4, "tokens": 48, "text": 40, "length": 12, "repeats": 3},
    "medium": {"hidden": 512, "layers": 8, "tokens": 512, "text": 100, "length": 64, "repeats": 5},
}
"""Of what is timed."""


@dataclass(frozen=True)
class Timed:
    """Forward and backward pass over one group."""

    parameters: int
    prompt_tokens: int
    shared_s: list[float]
    full_s: list[float]
    shared_cpu_s: list[float]
    """Of the process, over all its threads: what a busy machine hardly changes."""
    full_cpu_s: list[float]

    @property
    def ratio(self) -> float:
        return statistics.median(self.full_s) / statistics.median(self.shared_s)

    @property
    def cpu_ratio(self) -> float:
        return statistics.median(self.full_cpu_s) / statistics.median(self.shared_cpu_s)


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    size = made.add_mutually_exclusive_group()
    size.add_argument("--tiny", dest="size", action="store_const", const="tiny", default="tiny", help="(default)")
    size.add_argument("--medium", dest="size", action="store_const", const="medium", help="time models of some 30M weights")
    names = [family.name for family in FAMILIES]
    made.add_argument("--only", nargs="+", choices=names, default=names, metavar="FAMILY", help=f"of {', '.join(names)}")
    made.add_argument("--group", type=int, default=8, help="completions of the prompt: G")
    made.add_argument("--repeats", type=int, help="timed runs of each side")
    made.add_argument("--threads", type=int, default=0, help="CPU threads; 0 leaves it to torch")
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--out", type=Path, help="gets the JSON, indented")
    made.add_argument("--json", action="store_true", help="end with one line of JSON")
    args = made.parse_args(argv)
    for name, value in SIZES[args.size].items():
        if getattr(args, name, None) is None:
            setattr(args, name, value)
    args.device = "cpu"
    return args


def written(family: Family, folder: Path, args: argparse.Namespace) -> Path:
    """A folder with a small random model."""
    save(*common.build(argparse.Namespace(**SMALL, seed=args.seed), family), folder)
    return folder


def times(family: Family, args: argparse.Namespace) -> Timed:
    """Forward and backward pass over one group, both ways by turns after a warm-up."""
    model, processor = common.build(args, family)
    attach(model)
    builder = InputBuilder(model, processor)
    clip = builder.clip(common.noise_clip(args.tokens, args.seed, family.geometry))
    prompt = builder.prompt(common.SYSTEM, common.question(builder, args.text, args.seed), clip)
    generator = torch.Generator().manual_seed(args.seed)
    tokens = torch.randint(0, 256, (args.group, args.length), generator=generator).tolist()
    group = Group(clip, prompt, tuple(map(tuple, tokens)))
    model.train()

    def step(full: bool) -> None:
        model.zero_grad()
        forward(model, collate([group], full=full)).logps.sum().backward()

    took: dict[bool, list[float]] = {False: [], True: []}
    spent: dict[bool, list[float]] = {False: [], True: []}
    for repeat in range(args.repeats + 1):
        for full in took:
            began = time.process_time()
            one, _ = common.timed(partial(step, full))
            if repeat:  # the first warms up
                took[full].append(one)
                spent[full].append(time.process_time() - began)
    tokens_before = len(prompt.prefix) + len(prompt.suffix)
    return Timed(common.parameters(model), tokens_before, took[False], took[True], spent[False], spent[True])


def hardware() -> dict[str, Any]:
    """What it was measured on."""
    names = [line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line]
    return {"cpu": names[0] if names else platform.machine(), "cores": os.cpu_count(), "load": round(os.getloadavg()[0], 1)}


def show(compared: dict[str, Compared], timed: dict[str, Timed], args: argparse.Namespace) -> None:
    """Both tables."""
    yes = {True: "equal", False: "DIFFER"}
    print("| family | ids | positions | greedy | log-probabilities | gradients | saved and loaded | GRPO step | vLLM |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name, one in compared.items():
        step = f"loss {one.loss:.2e}, {one.loss_diff:.0e} apart, gradients {one.step_grad_diff:.0e}"
        cells = [
            name,
            yes[one.ids],
            yes[one.positions],
            yes[one.greedy],
            f"{one.logp_max_diff:.1e}",
            f"{one.grad_rel_diff:.1e}",
        ]
        print("| " + " | ".join([*cells, yes[one.saved], step, one.vllm.words]) + " |")
    print(f"\nForward and backward pass, G = {args.group}, {args.tokens} video tokens, completions of {args.length}:\n")
    print("| family | weights | prompt | shared prefix | full sequences | ratio | processor time | ratio |")
    print("|---|---|---|---|---|---|---|---|")
    for name, one in timed.items():
        cells = [name, f"{one.parameters / 1e6:.1f}M", f"{one.prompt_tokens} tokens"]
        cells += [common.summary(one.shared_s).strip(), common.summary(one.full_s).strip(), f"{one.ratio:.2f}x"]
        shared, full = statistics.median(one.shared_cpu_s), statistics.median(one.full_cpu_s)
        cells += [f"{shared:.2f} s, {full:.2f} s", f"{one.cpu_ratio:.2f}x"]
        print("| " + " | ".join(cells) + " |")


def metrics(compared: dict[str, Compared], timed: dict[str, Timed]) -> dict[str, Any]:
    """All of it, by family."""
    found = {}
    for name, one in timed.items():
        found[name] = asdict(compared[name]) | asdict(one) | {"ratio": one.ratio, "cpu_ratio": one.cpu_ratio}
    return {"families": found, "hardware": hardware()}


def keep(out: Path, found: dict[str, Any], args: argparse.Namespace) -> None:
    """Writes what is measured so far, with date and versions."""
    out.parent.mkdir(parents=True, exist_ok=True)
    versions = {name: version(name) for name in ("torch", "transformers", "trl")}
    settings = {key: value for key, value in vars(args).items() if key not in ("json", "out")}
    settings["threads"] = torch.get_num_threads()
    kept = {"date": date.today().isoformat()} | found | {"versions": versions, "settings": settings}
    out.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


def main(argv: Sequence[str] | None = None) -> None:
    args = arguments(argv)
    common.prepare(args)
    compared: dict[str, Compared] = {}
    timed: dict[str, Timed] = {}
    with tempfile.TemporaryDirectory() as folder:
        for family in FAMILIES:
            if family.name not in args.only:
                continue
            model = written(family, Path(folder) / family.model_types[0], args)
            compared[family.name] = compare(family, model, args)
            assert math.isfinite(compared[family.name].loss), f"{family.name}: the loss is {compared[family.name].loss}"
            timed[family.name] = times(family, args)
            if args.out:
                keep(args.out, metrics(compared, timed), args)
    show(compared, timed, args)
    del args.out
    common.finish(args, metrics(compared, timed))


if __name__ == "__main__":
    main()
