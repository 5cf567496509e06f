"""One optimizer step of GRPO: a shared prefix against the same trainer with full sequences.

The product's own trainer runs; its steps take turns. A step is what follows the rollouts: collating, the reference
model's log-probabilities where beta is not 0, forward, loss, backward, clipping and AdamW.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

if not __package__:  # run as a file: the folder above holds the package `bench`
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from bench import common  # isort: skip  (first: it quietens the libraries)

import torch
from torch import Tensor
from transformers import PrinterCallback, TrainerCallback

from trlt.engine.families import family_of
from trlt.engine.forest import Completion
from trlt.engine.inputs import InputBuilder
from trlt.engine.model import LoadedModel, load, save
from trlt.engine.shared_prefix import Group, attach, collate
from trlt.recipe import Recipe, load_recipe
from trlt.task.reward import advantages
from trlt.task.sample import Sample, Span
from trlt.train import grpo
from trlt.train.trainer import TrainingData

SIDES = ("shared", "full")


def arguments() -> argparse.Namespace:
    made = common.parser("One optimizer step of GRPO: shared prefix against full sequences.")
    made.add_argument("--steps", type=int, default=5, help="timed steps of each side")
    made.add_argument("--group", type=int, default=8, help="completions of the prompt: G")
    made.add_argument("--length", type=int, default=128, help="tokens of each completion")
    made.add_argument("--beta", type=float, default=0.01, help="weight of the KL term; 0 has no reference model")
    made.add_argument("--checkpointing", action="store_true", help="gradient checkpointing on both sides")
    return made.parse_args()


def make_recipe(args: argparse.Namespace, model: Path) -> Recipe:
    """The product's defaults, with one prompt a step."""
    values = {
        "model.path": model,
        "model.dtype": common.dtype(args),
        "model.device": args.device,
        "train.prompts_per_step": 1,
        "train.prompts_per_pass": 1,
        "train.group_size": args.group,
        "train.max_new_tokens": args.length,
        "train.max_steps": 2 * (args.steps + 1),
        "train.beta": args.beta,
        "train.gradient_checkpointing": str(args.checkpointing).lower(),
    }
    return load_recipe(None, sets=[f"{key}={value}" for key, value in values.items()])


def make_scored(args: argparse.Namespace, loaded: LoadedModel) -> grpo.ScoredGroup:
    """A group of random completions with random rewards, in place of a rollout."""
    builder = InputBuilder(loaded.model, loaded.processor)
    clip = builder.clip(common.noise_clip(args.tokens, args.seed, family_of(loaded.model).geometry))
    prompt = builder.prompt(common.SYSTEM, common.question(builder, args.text, args.seed), clip)
    generator = torch.Generator().manual_seed(args.seed)
    tokens = torch.randint(0, 256, (args.group, args.length), generator=generator).tolist()
    rewards = torch.rand(args.group, generator=generator).tolist()
    completions = tuple(Completion("", tuple(row), True) for row in tokens)
    group = Group(clip, prompt, tuple(c.tokens for c in completions))
    return grpo.ScoredGroup(0, group, completions, (), tuple(rewards), advantages=tuple(advantages(rewards)))


class Alternating(grpo.VideoGRPOTrainer):
    """The product's trainer on one prepared group, every other step in full sequences."""

    scored: grpo.ScoredGroup
    recipes: dict[str, Recipe]

    def _prepare_inputs(self, generation_batch: Any) -> dict[str, Any]:
        self._recipe = self.recipes[SIDES[self.state.global_step % 2]]
        total = sum(len(c.tokens) for c in self.scored.completions)
        self._micros = [self._micro([self.scored], torch.tensor(float(total), device=self.accelerator.device))]
        return self._micros[0]


class Clock(TrainerCallback):
    """Gradients of the first step of each side, which warms up; seconds and peak memory of the others."""

    def __init__(self, device: str) -> None:
        self.seconds: dict[str, list[float]] = {side: [] for side in SIDES}
        self.mib: dict[str, list[float]] = {side: [] for side in SIDES}
        self.gradients: dict[str, dict[str, Tensor]] = {}
        self._device = device
        self._began = 0.0

    def on_step_begin(self, args: Any, state: Any, control: Any, **unused: Any) -> None:
        common.peak_mib(self._device)
        common.synchronize()
        self._began = time.perf_counter()

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, model: Any = None, **unused: Any) -> None:
        if state.global_step < 2:
            self.gradients[SIDES[state.global_step]] = {n: p.grad.double() for n, p in model.named_parameters()}

    def on_step_end(self, args: Any, state: Any, control: Any, **unused: Any) -> None:
        common.synchronize()
        seconds, mib = time.perf_counter() - self._began, common.peak_mib(self._device)
        if state.global_step > 2:
            side = SIDES[(state.global_step - 1) % 2]
            self.seconds[side].append(seconds)
            self.mib[side] += [] if mib is None else [mib]


class WithoutVideos(TrainingData):
    """No video is read."""

    def announce(self, indices: Any, most: int) -> None:
        pass


def make_trainer(loaded: LoadedModel, recipe: Recipe, scored: grpo.ScoredGroup, folder: Path, clock: Clock) -> Alternating:
    """The trainer as `trlt train` makes it, but for the rollouts."""
    attach(loaded.model)
    settings = grpo.config(recipe, folder, processes=1)
    # At rate 0 AdamW does all of its work and every step sees the same weights: the gradients can be compared.
    settings.learning_rate = 0.0
    settings.save_strategy = "no"
    sample = Sample("bench", "bench", "train", "grounding", "bench.mp4", "bench", spans=(Span(0.0, 1.0),))
    training_data: Any = WithoutVideos([sample], None, None, None)  # type: ignore[arg-type]
    trainer = Alternating(loaded, training_data, recipe, folder, settings, callbacks=[clock])
    trainer.remove_callback(PrinterCallback)
    trainer.scored = scored
    full = recipe.model_copy(update={"train": recipe.train.model_copy(update={"shared_prefix": False})})
    trainer.recipes = {"shared": recipe, "full": full}
    return trainer


@torch.no_grad()
def logps(model: Any, scored: grpo.ScoredGroup, *, full: bool) -> Tensor:
    """(G, T) log-probabilities of the completions."""
    out: Tensor = model(tree=collate([scored.group], full=full).to(model.device)).logps
    return out


def gradient_difference(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """Norm of the difference over the norm of `other`, over all parameters together."""
    gap = sum(float((one[name] - other[name]).square().sum()) for name in other)
    return float((gap / sum(float(g.square().sum()) for g in other.values())) ** 0.5)


def main() -> None:
    args = arguments()
    common.prepare(args)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save(*common.build(args), folder / "model")
        recipe = make_recipe(args, folder / "model")
        loaded, clock = load(recipe.model), Clock(args.device)
        scored = make_scored(args, loaded)
        trainer = make_trainer(loaded, recipe, scored, folder, clock)
        gap = float((logps(loaded.model, scored, full=False) - logps(loaded.model, scored, full=True)).abs().max())
        trainer.train()
    seconds = {side: statistics.median(clock.seconds[side]) for side in SIDES}
    difference = gradient_difference(clock.gradients["shared"], clock.gradients["full"])
    speedup = seconds["full"] / seconds["shared"]
    prompt = len(scored.group.prompt.prefix) + len(scored.group.prompt.suffix)
    weights = common.parameters(loaded.model)
    print(f"One optimizer step, {args.group} completions of {args.length} tokens after a prompt of {prompt} tokens")
    print(f"({args.tokens} of them video), a model of {weights / 1e6:.1f}M weights in {common.dtype(args)} on {args.device}:")
    for side, words in (("shared", "shared prefix"), ("full", "full sequences")):
        memory = f", peak {max(clock.mib[side]):.0f} MiB of tensors" if clock.mib[side] else ""
        print(f"  {words:<15} {common.summary(clock.seconds[side])}{memory}")
    print(f"  speedup         {speedup:8.2f} x")
    print(f"  agreement       log-probabilities differ by at most {gap:.2e}, gradients by {difference:.2e} relative")
    common.finish(
        args,
        {
            "speedup": speedup,
            "shared_s": seconds["shared"],
            "full_s": seconds["full"],
            "shared_peak_mib": max(clock.mib["shared"], default=None),
            "full_peak_mib": max(clock.mib["full"], default=None),
            "logp_max_diff": gap,
            "grad_rel_diff": difference,
            "prompt_tokens": prompt,
            "parameters": weights,
        },
    )


if __name__ == "__main__":
    main()
