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
from torch import Tensor

from bench import grpo_step
from bench.families_vllm import VllmResult, against_vllm
from bench.library import Library
from trlt.engine.families import FAMILIES, Family
from trlt.engine.forest import Engine, PromptRequest, Tree
from trlt.engine.inputs import InputBuilder
from trlt.engine.library_forward import score
from trlt.engine.model import LoadedModel, load, save
from trlt.engine.sampling import Sampling
from trlt.engine.shared_prefix import Group, attach, collate, forward
from trlt.recipe import Model
from trlt.video.clip import Clip

CLIPS = ((6, 2, 3, 2.0), (40, 1, 2, 0.5), (2, 3, 1, 1.0))
"""(frames, rows, columns, frames a second): short, longer than its sides, and one pair of frames."""
LENGTHS = ((5, 1, 9), (70, 3, 2), (4, 4, 4))
"""Tokens of the completions after each clip."""
USERS = ("what moves left", "Event: a green triangle is shown", "which is first?")
SMALL = {"hidden": 128, "layers": 4}
"""Of the models that are compared: as deep as a family needs to show all kinds of its layers."""
SIZES = {
    "tiny": {"hidden": 128, "layers": 4, "tokens": 48, "text": 40, "length": 12, "repeats": 3},
    "medium": {"hidden": 512, "layers": 8, "tokens": 512, "text": 100, "length": 64, "repeats": 5},
}
"""Of what is timed."""


@dataclass(frozen=True)
class Compared:
    """What trlt makes of a family, against the library."""

    ids: bool
    """Of prompts, equal to the processor's."""
    positions: bool
    """Of prompts and completions, equal to the library's where it follows the published rule, else to that rule."""
    greedy: bool
    """Completions, equal to those of `generate`."""
    logp_max_diff: float
    """Of completions' tokens in a packed row, from the library's full sequences."""
    grad_rel_diff: float
    """Largest difference of a gradient, of the largest gradient."""
    saved: bool
    """Weights and log-probabilities, equal after saving and loading."""
    loss: float
    """Of a GRPO step."""
    loss_diff: float
    """From that of the step in full sequences."""
    step_grad_diff: float
    """Norm of the difference of both steps' gradients, over the norm."""
    vllm: VllmResult
    """What vLLM itself says; see `families_vllm`."""


@dataclass(frozen=True)
class Timed:
    """Forward and backward pass over one group."""

    parameters: int
    prompt_tokens: int
    shared_s: list[float]
    full_s: list[float]

    @property
    def ratio(self) -> float:
        return statistics.median(self.full_s) / statistics.median(self.shared_s)


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


def fresh(folder: Path) -> LoadedModel:
    return load(Model(path=str(folder), dtype="float32", device="cpu"))


def groups(builder: InputBuilder, clips: Sequence[Clip], seed: int) -> list[Group]:
    """A group of random completions for each clip."""
    generator = torch.Generator().manual_seed(seed)
    made = []
    for clip, user, lengths in zip(clips, USERS, LENGTHS, strict=True):
        inputs = builder.clip(clip)
        tokens = tuple(tuple(torch.randint(0, 256, (length,), generator=generator).tolist()) for length in lengths)
        made.append(Group(inputs, builder.prompt(common.SYSTEM, user, inputs), tokens))
    return made


def weights_of(made: Sequence[Group]) -> list[Tensor]:
    """Any numbers, one for each token of each completion: their sum with the log-probabilities is differentiated."""
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(len(tokens), generator=generator) for group in made for tokens in group.completions]


def packed(model: Any, made: Sequence[Group]) -> list[Tensor]:
    """Log-probabilities of each completion, from one packed row."""
    rows = forward(model, collate(made)).logps
    lengths = [len(tokens) for group in made for tokens in group.completions]
    return [row[:length] for row, length in zip(rows, lengths, strict=True)]


def gradients(model: Any, logps: Sequence[Tensor], weights: Sequence[Tensor]) -> dict[str, Tensor]:
    """Of the weighted sum of log-probabilities, by parameter."""
    model.zero_grad()
    sum((one * weight).sum() for one, weight in zip(logps, weights, strict=True)).backward()  # type: ignore[union-attr]
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def compare(family: Family, folder: Path, args: argparse.Namespace) -> Compared:
    """Everything but the times."""
    mine, theirs = fresh(folder), fresh(folder)
    attach(mine.model)
    engine = Engine(mine.model, mine.processor)
    library = Library(theirs.model, theirs.processor, engine.banned.nonzero()[:, 0].tolist())
    clips = [
        common.noise(family.geometry, *shape, seed=args.seed + place)  # type: ignore[misc]
        for place, shape in enumerate(CLIPS)
    ]
    made = groups(engine.builder, clips, args.seed)
    ids = positions = True
    gap = 0.0
    with torch.no_grad():
        found = iter(packed(mine.model, made))
    for clip, user, group in zip(clips, USERS, made, strict=True):
        prompt = torch.cat([group.prompt.prefix, group.prompt.suffix])
        asked = library.inputs(clip, common.SYSTEM, user)
        ids = ids and torch.equal(asked["input_ids"][0], prompt)
        for tokens in group.completions:
            by_library = score(theirs.model, theirs.processor, clip, common.SYSTEM, user, tokens)
            steps = (group.prompt.next_position + torch.arange(len(tokens) - 1)).expand(3, -1)
            positions = positions and torch.equal(
                by_library.entered.positions, torch.cat([group.prompt.positions, steps], dim=1)
            )
            gap = max(gap, float((next(found) - by_library.logps).abs().max()))
    weights = weights_of(made)
    cases = [(clip, user, tokens) for clip, user, group in zip(clips, USERS, made, strict=True) for tokens in group.completions]
    by_library = gradients(
        theirs.model, [library.scores(clip, common.SYSTEM, user, tokens) for clip, user, tokens in cases], weights
    )
    by_tree = gradients(mine.model, packed(mine.model, made), weights)
    assert by_tree.keys() == by_library.keys(), sorted(by_tree.keys() ^ by_library.keys())
    largest = max(float(one.abs().max()) for one in by_library.values())
    apart = max(float((by_tree[name] - by_library[name]).abs().max()) for name in by_library)
    step = trained(folder, args)
    return Compared(
        ids=ids,
        positions=positions,
        greedy=greedy(engine, library, clips),
        logp_max_diff=gap,
        grad_rel_diff=apart / largest,
        saved=comes_back(mine, made, folder.with_name(f"{folder.name}-again")),
        **step,
        vllm=against_vllm(family, folder, engine, clips[0], USERS[0], args),
    )


def greedy(engine: Engine, library: Library, clips: Sequence[Clip]) -> bool:
    """Whether completions at a temperature near 0 are those of `generate`."""
    trees = [Tree(clip, (PromptRequest("greedy", common.SYSTEM, user),)) for clip, user in zip(clips, USERS, strict=True)]
    mine = engine.generate(trees, Sampling(temperature=1e-3, top_p=1.0, max_new_tokens=16))
    theirs = [library.greedy(clip, common.SYSTEM, user, 16) for clip, user in zip(clips, USERS, strict=True)]
    return [list(completion.tokens) for [[completion]] in mine] == theirs


@torch.no_grad()
def comes_back(loaded: LoadedModel, made: Sequence[Group], folder: Path) -> bool:
    """Whether a model is the same after it was saved and loaded."""
    save(loaded.model, loaded.processor, folder)
    again = fresh(folder)
    attach(again.model)
    before, after = loaded.model.state_dict(), again.model.state_dict()
    same = before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    return same and all(torch.equal(*pair) for pair in zip(packed(loaded.model, made), packed(again.model, made), strict=True))


def trained(folder: Path, args: argparse.Namespace) -> dict[str, float]:
    """One GRPO step of the product's trainer on a prepared group, with a shared prefix, and one in full sequences."""
    told = argparse.Namespace(
        device="cpu", dtype="float32", steps=0, group=args.group, length=12, beta=0.01, checkpointing=False
    )
    told.seed, told.tokens, told.text = args.seed, 48, 40
    with tempfile.TemporaryDirectory() as name:
        recipe = grpo_step.make_recipe(told, folder)
        loaded, clock = load(recipe.model), grpo_step.Clock("cpu")
        trainer = grpo_step.make_trainer(loaded, recipe, grpo_step.make_scored(told, loaded), Path(name), clock)
        trainer.train()
    shared, full = (row["loss"] for row in trainer.state.log_history if "loss" in row)
    apart = grpo_step.gradient_difference(clock.gradients["shared"], clock.gradients["full"])
    return {"loss": shared, "loss_diff": abs(shared - full), "step_grad_diff": apart}


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
    for repeat in range(args.repeats + 1):
        for full, seconds in took.items():
            one, _ = common.timed(partial(step, full))
            if repeat:  # the first warms up
                seconds.append(one)
    return Timed(common.parameters(model), len(prompt.prefix) + len(prompt.suffix), took[False], took[True])


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
    print("| family | weights | prompt | shared prefix | full sequences | ratio |")
    print("|---|---|---|---|---|---|")
    for name, one in timed.items():
        cells = [name, f"{one.parameters / 1e6:.1f}M", f"{one.prompt_tokens} tokens"]
        cells += [common.summary(one.shared_s).strip(), common.summary(one.full_s).strip(), f"{one.ratio:.2f}x"]
        print("| " + " | ".join(cells) + " |")


def main(argv: Sequence[str] | None = None) -> None:
    args = arguments(argv)
    common.prepare(args)
    compared, timed = {}, {}
    with tempfile.TemporaryDirectory() as name:
        for family in FAMILIES:
            if family.name not in args.only:
                continue
            folder = written(family, Path(name) / family.model_types[0], args)
            compared[family.name] = compare(family, folder, args)
            assert math.isfinite(compared[family.name].loss), f"{family.name}: the loss is {compared[family.name].loss}"
            timed[family.name] = times(family, args)
    show(compared, timed, args)
    metrics: dict[str, Any] = {
        "families": {name: asdict(compared[name]) | asdict(timed[name]) | {"ratio": timed[name].ratio} for name in compared},
        "hardware": hardware(),
    }
    if out := args.__dict__.pop("out"):
        out.parent.mkdir(parents=True, exist_ok=True)
        versions = {name: version(name) for name in ("torch", "transformers", "trl")}
        settings = {key: value for key, value in vars(args).items() if key != "json"} | {"threads": torch.get_num_threads()}
        kept = {"date": date.today().isoformat()} | metrics | {"versions": versions, "settings": settings}
        out.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    common.finish(args, metrics)


if __name__ == "__main__":
    main()
