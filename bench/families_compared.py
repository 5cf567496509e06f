"""What trlt makes of a family against the library itself, by a small random model; for `bench.families`."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench import common, grpo_step
from bench.families_vllm import VllmResult, against_vllm
from bench.library import Library
from trlt.engine.families import Family
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
    """Whether completions of the likeliest tokens alone are those of `generate`."""
    trees = [Tree(clip, (PromptRequest("greedy", common.SYSTEM, user),)) for clip, user in zip(clips, USERS, strict=True)]
    mine = engine.generate(trees, Sampling(temperature=1.0, top_p=1e-9, max_new_tokens=16))
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
