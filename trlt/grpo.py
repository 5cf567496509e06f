"""The GRPO update (2.3 and 4.1 of the paper): TRL's trainer, with videos, the engine's rollouts and a shared prefix.

The only importer of TRL's GRPO. Four methods are overridden: the order of prompts (whose clips are loaded ahead), how a batch
of completions is made and scored, how it is handed out in whole groups, and how its log-probabilities are computed. Loss,
clipping, KL (k3), logging, checkpoints and PEFT stay TRL's.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor
from transformers import PrinterCallback

from trlt import answer as answers
from trlt import prompt as prompts
from trlt.broken import Broken
from trlt.engine.forest import Completion, Engine, Tree
from trlt.engine.forest import Request as Ask
from trlt.engine.sampling import Sampling
from trlt.errors import DataError, VideoError
from trlt.groups import Scored, figures, fill, make_places
from trlt.model import Loaded
from trlt.parity import Parity, check
from trlt.recipe import Recipe
from trlt.reward import advantages, reward
from trlt.score import score
from trlt.sharding import WholeCopy, join
from trlt.shared_prefix import Group, TreeBatch, attach, collate
from trlt.training import Material, Report, ResumableTrainer, Watch, arguments, latest_checkpoint
from trlt.video.clip import Clip

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from trl.trainer.grpo_config import GRPOConfig
    from trl.trainer.grpo_trainer import GRPOTrainer

FIGURES = (
    "reward",
    "reward_spread",
    "zero_spread",
    "reward/format",
    "reward/accuracy",
    "reward/tiou",
    "length",
    "cut_off",
    "video_tokens",
    "rounds",
    "time/video_wait_s",
    "time/rollout_s",
    "time/score_s",
)
"""What is logged of each step's rollouts beside TRL's own figures: means over all processes, of `rounds` the most."""
OVERRIDDEN = (
    "_get_train_sampler",
    "_prepare_inputs",
    "_generate_and_score_completions",
    "_get_per_token_logps_and_entropies",
)


class VideoGRPOTrainer(ResumableTrainer, GRPOTrainer):
    """GRPO on videos.

    Args:
        loaded: The policy, with `shared_prefix.attach` done, and its processor.
        material: Samples and how their clips are had.
        recipe: The resolved recipe.
        folder: The run's folder.
        args: TRL's configuration, made from the recipe.
        **kwargs: Passed to TRL's trainer.
    """

    def __init__(
        self, loaded: Loaded, material: Material, recipe: Recipe, folder: Path, args: GRPOConfig, **kwargs: Any
    ) -> None:
        ids = [sample.id for sample in material.samples]
        dataset = Dataset.from_dict({"prompt": ids, "index": list(range(len(ids)))})
        super().__init__(
            model=loaded.model,
            reward_funcs=_scored_with_the_rollout,
            args=args,
            train_dataset=dataset,
            processing_class=loaded.processor,
            **kwargs,
        )
        if self.ref_model is not None:
            attach(self.accelerator.unwrap_model(self.ref_model))
        self._material, self._recipe, self._folder = material, recipe, folder
        self._rollout_model = self.accelerator.unwrap_model(self.model)
        self._engine = Engine(self._rollout_model, loaded.processor, exact=None if not args.bf16 else False)
        precision = torch.bfloat16 if args.bf16 else torch.float32
        self._whole = WholeCopy(self._rollout_model, precision) if self.is_fsdp_enabled else None
        self._broken = Broken(folder, len(ids), recipe.train.max_broken)
        self._micros: list[dict[str, Any]] = []
        self._figures: dict[str, list[float]] = {name: [] for name in FIGURES}

    # -- overridden ---------------------------------------------------------------------------------------------------

    def _get_train_sampler(self, dataset: Any = None) -> Any:
        """TRL's order, with the clips of coming prompts announced."""
        turns = int(getattr(self.args, "steps_per_generation"))  # noqa: B009  (a field of TRL's configuration)
        rows = self._train_batch_size * turns
        most = 2 * rows // self._recipe.train.group_size
        order = super()._get_train_sampler(dataset)
        return self._announcing(
            order, lambda coming: self._material.announce(coming, most=most), rows, every=turns * self.num_iterations
        )

    def _prepare_inputs(self, generation_batch: Any) -> dict[str, Any]:
        """A micro-batch of whole groups; TRL would shuffle rows, and a shared prefix needs siblings together."""
        turn = self._step % int(getattr(self.args, "steps_per_generation"))  # noqa: B009  (a field of TRL's configuration)
        if turn == 0 or not self._micros:
            self._micros = self._generate_and_score_completions(generation_batch)
        return self._micros[turn]

    def _generate_and_score_completions(self, inputs: Any) -> Any:
        """Rollouts of this process's prompts, scored and cut into micro-batches.

        Args:
            inputs: Rows of the training set, each prompt G times in a row.

        Returns:
            One dictionary a forward pass, as TRL's `_compute_loss` takes it. The groups travel under `pixel_values`,
            which TRL hands to `_get_per_token_logps_and_entropies` untouched.
        """
        wanted = [int(row["index"]) for row in inputs[:: self._recipe.train.group_size]]
        scored = self._rollouts(wanted)
        # Groups of like size share a forward pass, so that little is padded.
        scored.sort(key=lambda s: (s.group.clip.tokens + len(s.group.prompt.suffix), s.index))
        size = self._recipe.train.prompts_per_pass
        total = torch.tensor(sum(len(c.tokens) for s in scored for c in s.completions), device=self.accelerator.device)
        self._record(scored)
        return [
            self._micro(scored[i : i + size], self.accelerator.reduce(total.clone(), "sum").float())
            for i in range(0, len(scored), size)
        ]

    def _get_per_token_logps_and_entropies(
        self,
        model: Any,
        input_ids: Tensor,
        attention_mask: Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        compute_entropy: bool = False,
        compute_aux_loss: bool = False,
        pixel_values: TreeBatch | None = None,
        **unused: Any,
    ) -> tuple[Tensor, Tensor | None, None]:
        """Log-probabilities (rows, T) and entropies of the completions of a tree batch."""
        assert pixel_values is not None, "the groups travel under pixel_values"
        with self.accelerator.autocast():
            out = model(tree=pixel_values, temperature=self.temperature)
        return out.logps, out.entropies if compute_entropy else None, None

    # -- rollouts -----------------------------------------------------------------------------------------------------

    def _rollouts(self, wanted: Sequence[int]) -> list[Scored]:
        """As many scored groups as prompts are wanted.

        Prompts whose video fails, or whose rewards spread by less than `min_spread`, are replaced by fresh ones: see `groups`.

        Raises:
            DataError: not enough videos could be read.
        """
        train, state = self._recipe.train, self.accelerator
        step = state.gather(torch.tensor(wanted, device=state.device)).tolist()
        first = state.process_index * len(wanted)
        samples = len(self._material.samples)
        seed = f"{self.args.seed}:{self.state.global_step}"
        places = make_places(step, range(first, first + len(wanted)), samples, seed)
        with self._whole.filled(self._rollout_model) if self._whole else nullcontext(self._rollout_model) as model:
            self._engine.model = model
            found = fill(places, self._round, min_spread=train.min_spread, max_tries=train.max_tries)
        if len(found) < len(wanted):
            raise DataError(f"only {len(found)} of {len(wanted)} prompts have a video that can be read")
        self._figures["rounds"] += [place.tries for place in places]
        return found

    def _round(self, indices: Sequence[int]) -> list[Scored | None]:
        """A scored group for each sample; None where its video can't be read."""
        train, material = self._recipe.train, self._material
        began = time.perf_counter()
        clips: list[tuple[int, Clip]] = []
        for place, clip in enumerate(material.clips(indices)):
            if isinstance(clip, VideoError):
                self._broken.add(material.samples[indices[place]], clip, self.state.global_step)
            else:
                clips.append((place, clip))
        decoded = time.perf_counter()
        samples = [material.samples[indices[place]] for place, _ in clips]
        words = [prompts.build(sample, think=train.think, answer_format=train.answer_format) for sample in samples]
        # The step is part of the key: a sample that comes again is answered anew.
        trees = [
            Tree(clip, (Ask(f"{sample.id}@{self.state.global_step}", w.system, w.user, train.group_size),))
            for (_, clip), sample, w in zip(clips, samples, words, strict=True)
        ]
        sampling = Sampling(train.temperature, train.top_p, train.max_new_tokens, train.seed)
        with self.accelerator.autocast():
            drawn = self._engine.generate(trees, sampling, max_sequences=train.max_sequences)
        sampled = time.perf_counter()
        scored: list[Scored | None] = [None] * len(indices)
        for (place, clip), prompt, (completions,) in zip(clips, words, drawn, strict=True):
            clip_inputs = material.builder.clip(clip)
            inputs = material.builder.prompt(prompt.system, prompt.user, clip_inputs)
            group = Group(clip_inputs, inputs, tuple(c.tokens for c in completions))
            scored[place] = self._score(indices[place], group, completions)
        self._figures["time/video_wait_s"].append(decoded - began)
        self._figures["time/rollout_s"].append(sampled - decoded)
        self._figures["time/score_s"].append(time.perf_counter() - sampled)
        return scored

    def _score(self, index: int, group: Group, completions: Sequence[Completion]) -> Scored:
        train, sample = self._recipe.train, self._material.samples[index]
        parsed = [
            answers.parse(
                c.text,
                task=sample.task,
                think=train.think,
                options=sample.options,
                answer_format=prompts.asked_format(sample, train.answer_format),
                open_threshold=train.open_threshold,
            )
            for c in completions
        ]
        scores = tuple(score(a, sample, train.open_threshold) for a in parsed)
        weights = self._recipe.reward.weights()
        return Scored(index, group, tuple(completions), scores, tuple(reward(s, sample.task, weights) for s in scores))

    # -- batches ------------------------------------------------------------------------------------------------------

    def _micro(self, scored: Sequence[Scored], total: Tensor) -> dict[str, Any]:
        device = self.accelerator.device
        tree = collate([s.group for s in scored], full=not self._recipe.train.shared_prefix).to(device)
        rows, length = len(scored) * self._recipe.train.group_size, tree.completions.shape[2]
        lengths = torch.tensor([len(c.tokens) for s in scored for c in s.completions], device=device)
        batch: dict[str, Any] = {
            "prompt_ids": torch.zeros(rows, 0, dtype=torch.long, device=device),
            "prompt_mask": torch.zeros(rows, 0, dtype=torch.long, device=device),
            "completion_ids": tree.completions.flatten(0, 1),
            "completion_mask": (torch.arange(length, device=device) < lengths[:, None]).long(),
            "advantages": torch.tensor([a for s in scored for a in advantages(s.rewards)], device=device),
            "num_items_in_batch": total,
            "pixel_values": tree,
        }
        if self.beta:
            with torch.no_grad():
                batch["ref_per_token_logps"] = self._reference(batch)
        return batch

    def _reference(self, batch: dict[str, Any]) -> Tensor:
        rows = (batch["completion_ids"], batch["completion_mask"], batch["completion_ids"].shape[1])
        if self.ref_model is not None:
            return self._get_per_token_logps_and_entropies(self.ref_model, *rows, pixel_values=batch["pixel_values"])[0]
        with self._rollout_model.disable_adapter():
            return self._get_per_token_logps_and_entropies(self.model, *rows, pixel_values=batch["pixel_values"])[0]

    def _record(self, scored: Sequence[Scored]) -> None:
        """Figures of one optimizer step, over all processes."""
        for name, numbers in figures(scored).items():
            self._figures[name] += numbers
        # One exchange in a fixed order: processes differ in how many rounds they took.
        local = [[sum(values), len(values), max(values, default=0)] for values in self._figures.values()]
        table = torch.tensor([local], dtype=torch.float64, device=self.accelerator.device)
        every = self.accelerator.gather(table)
        (totals, counts), most = every[..., :2].sum(dim=0).T.tolist(), every[..., 2].amax(dim=0).tolist()
        for place, (name, values) in enumerate(self._figures.items()):
            if counts[place]:
                self._metrics["train"][name].append(most[place] if name == "rounds" else totals[place] / counts[place])
            values.clear()


def _scored_with_the_rollout(**unused: Any) -> list[float | None]:
    """Stands in for TRL's reward functions, which it insists on: their place is `_generate_and_score_completions`."""
    raise AssertionError("TRL's reward path must not be taken: rewards come with the rollouts")


def config(recipe: Recipe, folder: Path, *, processes: int) -> GRPOConfig:
    """TRL's configuration for a recipe.

    Args:
        recipe: The resolved recipe.
        folder: Gets the checkpoints.
        processes: Over how many processes a step's prompts are spread.

    Raises:
        DataError: the step's prompts can't be spread evenly.
    """
    train = recipe.train
    each = train.prompts_per_pass * processes
    if train.prompts_per_step % each:
        raise DataError(
            f"train.prompts_per_step ({train.prompts_per_step}) must be a multiple of train.prompts_per_pass x processes "
            f"({train.prompts_per_pass} x {processes})"
        )
    accumulate = train.prompts_per_step // each
    values = arguments(
        recipe, folder, rows=train.prompts_per_pass * train.group_size, accumulate=accumulate, total_steps=train.max_steps
    )
    return GRPOConfig(
        **values,
        num_generations=train.group_size,
        max_completion_length=train.max_new_tokens,
        temperature=train.temperature,
        top_p=train.top_p,
        beta=train.beta,
        epsilon=train.epsilon,
        num_iterations=1,
        loss_type="grpo",
        scale_rewards="group",
        log_completions=False,
    )


def train(loaded: Loaded, material: Material, recipe: Recipe, folder: Path, report: Report | None = None) -> tuple[int, Parity]:
    """Trains `loaded.model` in place, from the last checkpoint where there is one.

    Returns:
        Optimizer steps done in all, and what the parity check at the start measured.

    Raises:
        ParityError: rollout and trainer disagree.
        DataError: batch arithmetic that doesn't fit, or videos that can't be read.
    """
    processes = join(recipe.model.device)
    attach(loaded.model)
    if recipe.train.freeze_vision:
        loaded.model.model.visual.requires_grad_(False)
    args = config(recipe, folder / "checkpoints", processes=processes)
    watch = Watch(folder, keep=recipe.train.keep_checkpoints, report=report)
    trainer = VideoGRPOTrainer(loaded, material, recipe, folder, args, callbacks=[watch])
    trainer.remove_callback(PrinterCallback)
    parity = _parity(trainer, loaded, material, recipe)
    checkpoint = latest_checkpoint(folder / "checkpoints")
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    return int(trainer.state.global_step), parity


def _parity(trainer: VideoGRPOTrainer, loaded: Loaded, material: Material, recipe: Recipe, count: int = 2) -> Parity:
    """Checks the first samples whose videos can be read."""
    settings = recipe.train
    clips: list[tuple[str, Clip, prompts.Prompt]] = []
    first = material.samples[:8]
    for sample, clip in zip(first, material.clips(range(len(first))), strict=True):
        if not isinstance(clip, VideoError) and len(clips) < count:
            words = prompts.build(sample, think=settings.think, answer_format=settings.answer_format)
            clips.append((sample.id, clip, words))
    if not clips:
        raise DataError("none of the first videos can be read; `video.root` may be wrong")

    def make(clip: Clip, words: prompts.Prompt) -> Any:
        inputs = material.builder.clip(clip)
        return inputs, material.builder.prompt(words.system, words.user, inputs)

    sampling = Sampling(settings.temperature, settings.top_p, min(64, settings.max_new_tokens), settings.seed)
    with trainer.accelerator.autocast():
        return check(trainer._engine, loaded.processor, clips, make, sampling)
