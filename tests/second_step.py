"""The second step of GRPO runs, laid open: what it was learned from, by which weights, and its gradient.

`record` does it in this process; as a program, `second_step.py SETTINGS.json`, in one of several that a launcher has started.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from trlt.engine.forest import Completion
from trlt.engine.inputs import InputBuilder
from trlt.engine.model import load
from trlt.engine.sharding import join
from trlt.engine.shared_prefix import Group, TreeBatch, attach
from trlt.recipe import Model, Recipe, Video, load_recipe
from trlt.task.sample import read_samples
from trlt.train import grpo
from trlt.train.dynamic_sampling import ScoredGroup
from trlt.train.given_answers import GivenAnswer
from trlt.train.rollouts import GroupRollouts
from trlt.train.trainer import TrainingData
from trlt.video.resolve import VideoIndex
from trlt.video.workers import ClipLoader

BASIS = (
    *("model.dtype=float32", "model.device=cpu", "video.max_tokens=32", "train.prompts_per_step=4", "train.group_size=4"),
    *("train.max_steps=2", "train.max_new_tokens=10", "train.save_steps=9", "train.learning_rate=1e-3", "train.beta=0.5"),
    *("train.gradient_checkpointing=false", "train.max_grad_norm=1e9"),
)
"""Of every run; the norm leaves gradients as they are, and the KL term counts as much as the rest."""


def recipe_of(sets: list[str]) -> Recipe:
    """A run's recipe."""
    return load_recipe(None, sets=[*BASIS, *sets])


def invented(index: int, c: Completion) -> tuple[Completion, float]:
    """A completion and its reward: a random model hardly ever ends, and earns nothing.

    It has another length, may count as finished, and comes with log-probabilities as if another policy had drawn it.
    """
    total = sum(c.tokens)
    tokens = c.tokens[: 3 + total % (len(c.tokens) - 2)]
    logps = tuple(logp + 0.4 * math.sin(token) for token, logp in zip(tokens, c.logps, strict=False))
    return replace(c, tokens=tokens, logps=logps, finished=total % 3 != 0), (total + 7 * index) % 11 / 10


class _Second(TrainerCallback):
    """Keeps the weights that the second step begins with, and the gradient that its optimizer is given."""

    def __init__(self) -> None:
        self.weights: dict[str, torch.Tensor] = {}
        self.gradient: dict[str, torch.Tensor] = {}

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == 1:
            self.weights = {name: weight.detach().clone() for name, weight in kwargs["model"].named_parameters()}

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == 1:
            self.gradient = {
                name: weight.grad.detach().clone()
                for name, weight in kwargs["model"].named_parameters()
                if weight.requires_grad
            }


def record(tiny: Path, samples: Path, videos: Path, sets: list[str], out: Path, *, old: bool = False) -> dict[str, Any]:
    """Trains two steps.

    Args:
        tiny: The model's folder.
        samples: As JSONL.
        videos: Their folder.
        sets: Of the recipe, beside `BASIS`.
        out: The run's folder.
        old: Take the log-probabilities that completions come with for those of the policy that drew them.

    Returns:
        `groups`, one a prompt of this process, and `passes`, which of them went together; `weights` and `gradient` of the step;
        `earlier`, the groups that the first step was learned from.
    """
    recipe = recipe_of(sets)
    join("cpu")
    loaded = load(Model(path=str(tiny), dtype="float32", device="cpu"))
    attach(loaded.model)
    loader = ClipLoader(Video(max_tokens=32, workers=0))
    builder = InputBuilder(loaded.model, loaded.processor)
    training_data = TrainingData(read_samples(samples), VideoIndex(videos), loader, builder)
    out.mkdir(parents=True, exist_ok=True)
    processes = torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1
    second, honest, collate = _Second(), GroupRollouts.score, grpo.collate
    drawn: list[ScoredGroup] = []
    passes: list[list[Group]] = []
    earlier: list[dict[str, Any]] = []

    def score(self: Any, index: int, group: Group, completions: Sequence[Completion], grades: Any, step: int) -> ScoredGroup:
        changed, rewards = zip(*(invented(index, c) for c in completions), strict=True)
        group = replace(group, completions=tuple(c.tokens for c in changed))
        drawn.append(replace(honest(self, index, group, changed, grades, step), rewards=rewards))
        return drawn[-1]

    def collated(groups: Sequence[Group], **more: Any) -> TreeBatch:
        passes.append(list(groups))
        return collate(groups, **more)

    class Watched(grpo.VideoGRPOTrainer):
        def _generate_and_score_completions(self, inputs: Any) -> Any:
            told = {id(one.group): one for one in drawn}
            earlier[:] = [plain(told[id(group)]) for groups in passes for group in groups]
            drawn.clear()
            passes.clear()
            micros = super()._generate_and_score_completions(inputs)
            if old:
                told = {id(one.group): one.completions for one in drawn}
                for batch, groups in zip(filter(None, micros), passes, strict=True):
                    length = batch["completion_ids"].shape[1]
                    rows = [c.logps + (0.0,) * (length - len(c.logps)) for group in groups for c in told[id(group)]]
                    batch["old_per_token_logps"] = torch.tensor(rows)
            return micros

    GroupRollouts.score, grpo.collate = score, collated  # type: ignore[method-assign]
    try:
        args = grpo.config(recipe, out / "checkpoints", processes=processes)
        trainer = Watched(loaded, training_data, recipe, out, args, callbacks=[second])
        trainer.train()
    finally:
        GroupRollouts.score, grpo.collate = honest, collate  # type: ignore[method-assign]
        loader.close()
    place = {id(one.group): number for number, one in enumerate(drawn)}
    return {
        "weights": second.weights,
        "groups": [plain(one) for one in drawn],
        "earlier": earlier,
        "passes": [[place[id(group)] for group in groups] for groups in passes],
        "gradient": second.gradient,
    }


def plain(one: ScoredGroup) -> dict[str, Any]:
    """What counts of a group, as values that `torch.save` takes."""
    return {
        "index": one.index,
        "rewards": one.rewards,
        "completions": [(c.tokens, c.logps, c.finished) for c in one.completions],
        "given": [isinstance(c, GivenAnswer) for c in one.completions],
    }


def main() -> None:
    """Records all runs that the settings name, in one of several processes."""
    told = json.loads(Path(sys.argv[1]).read_text())
    for name, sets in told["runs"].items():
        out = Path(told["out"]) / name
        paths = [Path(told[key]) for key in ("tiny", "samples", "videos")]
        found = record(*paths, sets, out)
        torch.save(found, out / f"rank{torch.distributed.get_rank()}.pt")


if __name__ == "__main__":
    main()
