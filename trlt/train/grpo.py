"""The GRPO update (2.3 and 4.1 of the paper): TRL's trainer, with videos, the engine's rollouts and a shared prefix.

The only importer of TRL's GRPO. Five methods are overridden: the order of prompts (whose clips are loaded ahead), how a batch
of completions is made and scored, how it is handed out in whole groups, how its log-probabilities are computed, and how much a
pass counts that holds more groups than others. Loss, clipping, KL (k3), logging, checkpoints and PEFT stay TRL's.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import fields, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor

from trlt.engine.model import LoadedModel, in_float32
from trlt.engine.sharding import let_go
from trlt.engine.shared_prefix import Group, TreeBatch, attach, collate
from trlt.errors import DataError
from trlt.recipe import Recipe
from trlt.train.advantage_scale import AdvantageScale, GroupRewards
from trlt.train.answers_alike import answers_alike, answers_of
from trlt.train.arguments import for_grpo
from trlt.train.completion_log import Completions
from trlt.train.dynamic_sampling import ScoredGroup, given_metrics, group_metrics, resample
from trlt.train.given_answers import first_given
from trlt.train.metrics import StepMetrics
from trlt.train.offline_answers import offline_answers
from trlt.train.online.exchange import exchanged
from trlt.train.parity import Trainer
from trlt.train.passes import share_passes
from trlt.train.prompt_choice import PromptChoice
from trlt.train.rollout_policy import RolloutPolicy
from trlt.train.rollouts import GroupRollouts
from trlt.train.sharded_loading import load_reference
from trlt.train.token_weights import TokenWeights
from trlt.train.trainer import ResumableTrainer, TrainingData
from trlt.train.trl_fit import require_fit, unknown_settings
from trlt.train.unreadable_videos import BrokenSamples

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from trl.models.utils import prepare_deepspeed
    from trl.trainer.grpo_config import GRPOConfig
    from trl.trainer.grpo_trainer import GRPOTrainer

Example = Callable[[int, str, str, float], None]
OVERRIDDEN = (
    "_get_train_sampler",
    "_prepare_inputs",
    "_generate_and_score_completions",
    "_get_per_token_logps_and_entropies",
    "_compute_loss",
)


class VideoGRPOTrainer(ResumableTrainer, GRPOTrainer):
    """GRPO on videos.

    Args:
        loaded: The policy, with `shared_prefix.attach` done, what is trained of it, and its processor.
        training_data: Samples, and access to their clips.
        recipe: The resolved recipe.
        folder: The run's folder.
        args: TRL's configuration, made from the recipe.
        **kwargs: Passed to TRL's trainer.
    """

    def __init__(
        self, loaded: LoadedModel, training_data: TrainingData, recipe: Recipe, folder: Path, args: GRPOConfig, **kwargs: Any
    ) -> None:
        require_fit(VideoGRPOTrainer, OVERRIDDEN, version("trl"))
        ids = [sample.id for sample in training_data.samples]
        # TRL sees numbers of samples. It can't handle videos: given messages with one, it would train without it.
        dataset = Dataset.from_dict({"prompt": [str(index) for index in range(len(ids))], "index": list(range(len(ids)))})
        # TRL would make a reference model that stands whole and in float32 in each process, and a copy of adapters.
        beta, args.beta = args.beta, 0.0
        super().__init__(
            model=loaded.trained or loaded.model,
            reward_funcs=_scored_with_the_rollout,
            args=args,
            train_dataset=dataset,
            processing_class=loaded.processor,
            **kwargs,
        )
        args.beta = self.beta = beta
        # TRL has rounded the adapters to BF16 by now.
        if recipe.train.lora and recipe.train.lora.quantize:
            in_float32(self.model, args.seed)
        if beta and recipe.train.lora is None:
            self.ref_model = self._make_reference(loaded.path, getattr(torch, recipe.model.dtype))
        self._training_data, self._recipe = training_data, recipe
        main = self.accelerator.is_main_process
        self._rollout_model = self.accelerator.unwrap_model(self.model)
        self.rollout_policy = RolloutPolicy(
            loaded,
            self._rollout_model,
            training_data,
            recipe,
            # Told, because the weights don't tell: they are float32 under autocast, too, where draws can't be exact.
            exact=None if not args.bf16 else False,
            log=folder / f"vllm-{self.accelerator.process_index}.log",
            tells=main,
        )
        broken = BrokenSamples(folder, len(ids), recipe.train.max_broken)
        self.group_rollouts = GroupRollouts(
            self.rollout_policy.engine,
            training_data,
            recipe,
            broken,
            self.accelerator.autocast,
            self.rollout_policy.tower,
            self.rollout_policy.vllm,
            folder / "judge",
        )
        self._choice = PromptChoice(recipe.train, folder, ids, self.accelerator, args.seed, training_data.announce)
        self._completions = Completions(
            folder,
            training_data.samples,
            rank=self.accelerator.process_index,
            every=recipe.train.completions_every,
            scale=recipe.train.scale_rewards == "group",
            parts=self.group_rollouts.parts,
            given=recipe.train.gives_answers,
        )
        self._advantages = AdvantageScale(folder, recipe.train, self._from_all, writes=main)
        self.example: Example | None = None
        """Is told of a completion of each step."""
        self.compare: Callable[[], object] | None = None
        """Is called once when the weights have changed for the first time, and what draws in place of the engine has them."""
        self._filled = 0
        self._micros: list[dict[str, Any]] = []
        self._step_metrics = StepMetrics(self.accelerator.gather, self.accelerator.device, self.group_rollouts.parts)
        form, engine = recipe.form("train"), self.rollout_policy.engine
        offline = offline_answers(recipe.train, training_data.samples, engine, form, self._tell)
        self.group_rollouts.given = first_given(offline, self._choice.replayed)
        self._weights = TokenWeights(recipe.train, self.accelerator.gather, self.accelerator.reduce)
        # TRL's loss weighs tokens where its own vLLM draws. There is none; the weights come with the inputs of a pass.
        self.use_vllm = self._weights.needed
        self._passing: dict[str, Any] = {}
        if new := unknown(recipe):
            self._tell(f"TRL {version('trl')} has settings unknown to trlt that may change the loss: {', '.join(new)}")
        if self._choice.told:
            self._tell(self._choice.told)

    def _tell(self, words: str) -> None:
        """Tells users what they are to know before the first step; once, whatever the number of processes."""
        if self._training_data.on_event and self.accelerator.is_main_process:
            self._training_data.on_event(f"train: {words}")

    def drawing(self) -> AbstractContextManager[None]:
        """What draws has the policy's weights as they are now; see `RolloutPolicy.synced`."""
        return self.rollout_policy.synced(self.state.global_step)

    def trainer_side(self) -> Trainer:
        """How the update computes log-probabilities: with the model as it is sharded, and its groups packed into a row."""
        none = torch.empty(0, dtype=torch.long)

        def score(tree: TreeBatch) -> Tensor:
            logps, *_ = self._get_per_token_logps_and_entropies(self.model_wrapped, none, none, 0, pixel_values=tree)
            # No backward pass follows, which would free what the last layers have gathered.
            let_go(self.model_wrapped)
            return logps

        return Trainer(self.rollout_policy.base, self._tree, score)

    def _make_reference(self, path: str, computed: torch.dtype) -> Any:
        # TRL's own would be sharded as one unit, which its first call
        # gathers and never gives back: 16.6 GB on each GPU for 7B.
        reference = load_reference(path, computed)
        attach(reference)
        return prepare_deepspeed(reference, self.accelerator) if self.is_deepspeed_enabled else reference

    def close(self) -> None:
        """Ends what runs beside this process."""
        self.rollout_policy.close()

    def resumed(self, step: int) -> None:
        """Restores dropped samples, running deviations, and what online selection had learned, as they were after a step."""
        self._choice.resume(step)
        self._advantages.resume(step)

    # -- overridden ---------------------------------------------------------------------------------------------------

    def _get_train_sampler(self, dataset: Any = None) -> Any:
        """TRL's order, with the clips of coming prompts announced."""
        turns = int(getattr(self.args, "steps_per_generation"))  # noqa: B009  (a field of TRL's configuration)
        rows = self._train_batch_size * turns
        # Three batches are under way: the one in use, the one that the dataloader holds ahead, and the one announced.
        # When two of them were kept, clips were dropped just before they were
        # needed: without a frame store, 12 visits took 20 decodes, and 13 now.
        most = 3 * rows // self._recipe.train.group_size
        order = super()._get_train_sampler(dataset)
        announce = partial(self._choice.announce_order, most=most)
        return self.announcing(order, announce, rows, every=turns * self.num_iterations)

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
        scored = self._with_advantages(self._rollouts(wanted))
        masked = self._recipe.train.mask_truncated
        total = torch.tensor(sum(sum(s.counted(mask_truncated=masked)) for s in scored), device=self.accelerator.device)
        # Over all processes and passes: losses that are a sum over tokens (DAPO, CISPO) divide by it.
        total = self.accelerator.reduce(total, "sum").float()
        for name, value in self._choice.learn(self.state.global_step, scored).items():
            self._metrics["train"][name].append(value)
        self._completions.add(self.state.global_step + 1, scored)
        self._show(scored[0])
        self._record(scored)
        micros = [self._micro([scored[i] for i in some], total) for some in self._passes(scored)]
        # The reference has no backward pass, which would free what its last layers have gathered.
        if self.ref_model is not None:
            let_go(self.ref_model)
        # Passes that hold more groups than expected leave turns without any; gradients are exchanged in the last turn.
        return [{}] * (len(scored) // self._recipe.train.prompts_per_pass - len(micros)) + micros

    def _passes(self, scored: Sequence[ScoredGroup]) -> list[list[int]]:
        """Which groups share a forward pass; every process makes equally many."""

        def most(count: int) -> int:
            return int(self.accelerator.gather(torch.tensor([count], device=self.accelerator.device)).max())

        return share_passes([s.group.tokens for s in scored], [s.index for s in scored], self._recipe.train, most)

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Any:
        """TRL's loss of a pass; one that is a mean over its completions counts as often as it has groups."""
        if not inputs:
            # The trainer calls `backward` on the loss of every turn, and this one has nothing behind it.
            return torch.zeros((), device=self.accelerator.device, requires_grad=True)
        # TRL's loss hands on a fixed set of inputs. The log-probabilities of who drew reach the forward pass this way.
        self._passing = inputs
        loss = super()._compute_loss(model, inputs)  # type: ignore[no-untyped-call]
        self._passing = {}
        # TRL's are means over all tokens of the pass.
        for name, mean in self._weights.pass_means().items():
            if self._metrics["train"].get(name):
                self._metrics["train"][name][-1] = mean
        # Once a step, in the last turn, which is the one that every process fills: `exchange` waits for all of them.
        for name, value in self._weights.exchange().items() if inputs is self._micros[-1] else ():
            self._metrics["train"][name].append(value)
        if self.loss_type in ("dapo", "cispo"):  # a sum over the tokens of all passes
            return loss
        return loss * (len(inputs["completion_ids"]) / self._train_batch_size)

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
        if self.use_vllm and self._passing:
            # A step's completions are drawn with the weights that it begins with: these very log-probabilities.
            self._weights.weigh(self._passing, out.logps.detach(), out.entropies)
        return out.logps, out.entropies if compute_entropy else None, None

    # -- rollouts -----------------------------------------------------------------------------------------------------

    def _rollouts(self, wanted: Sequence[int]) -> list[ScoredGroup]:
        """As many scored groups as prompts are wanted.

        Prompts whose video fails, or whose reward range is below `min_reward_range`, are replaced by new ones: see
        `dynamic_sampling`.

        Raises:
            DataError: not enough videos could be read.
        """
        train, done = self._recipe.train, self.state.global_step
        places = self._choice.slots(done, wanted)
        ask = self._choice.asking(done, lambda asked: self.group_rollouts(asked, done))
        with self.drawing():
            self._filled += 1
            # The second filling is the first with weights that an update
            # has changed: it shows that new weights arrive, too.
            if self._filled == 2 and self.compare:
                self.compare()
            found = resample(
                places,
                ask,
                min_reward_range=train.min_reward_range,
                max_tries=train.max_tries,
            )
        if len(found) < len(wanted):
            raise DataError(f"only {len(found)} of {len(wanted)} prompts have a video that can be read")
        tries = [place.tries for place in places]
        self._step_metrics.add({"rounds": tries, "asked": tries if train.min_reward_range else []})
        return found

    def _with_advantages(self, scored: Sequence[ScoredGroup]) -> list[ScoredGroup]:
        """The step's groups with the advantages of their completions."""
        samples = self._training_data.samples
        groups = [GroupRewards(samples[s.index].task, tuple(s.rewards)) for s in scored]
        found = self._advantages(self.state.global_step + 1, groups)
        for task, deviation in self._advantages.deviations.items():
            self._metrics["train"][f"deviation/{task}"].append(deviation)
        return [replace(s, advantages=tuple(gains)) for s, gains in zip(scored, found, strict=True)]

    def _from_all(self, rows: Sequence[Sequence[float]]) -> list[list[float]]:
        """Rows of equal length, of as many as any other process has, from all processes."""
        mine = torch.tensor(rows, dtype=torch.float64, device=self.accelerator.device)
        return self.accelerator.gather(mine).tolist()  # type: ignore[no-any-return]

    def _show(self, scored: ScoredGroup) -> None:
        scored = scored.own
        if self.example and self.accelerator.is_main_process:
            best = max(range(len(scored.rewards)), key=scored.rewards.__getitem__)
            question = self._training_data.samples[scored.index].question
            self.example(self.state.global_step + 1, question, scored.completions[best].text, scored.rewards[best])

    # -- batches ------------------------------------------------------------------------------------------------------

    def _micro(self, scored: Sequence[ScoredGroup], total: Tensor) -> dict[str, Any]:
        device = self.accelerator.device
        train = self._recipe.train
        tree = self._tree([s.group for s in scored])
        rows, length = len(scored) * train.group_size, tree.completions.shape[2]
        lengths = torch.tensor([n for s in scored for n in s.counted(mask_truncated=train.mask_truncated)], device=device)
        batch: dict[str, Any] = {
            # Empty: prompts travel in the tree, and TRL joins these with the completions.
            "prompt_ids": torch.zeros(rows, 0, dtype=torch.long, device=device),
            "prompt_mask": torch.zeros(rows, 0, dtype=torch.long, device=device),
            "completion_ids": tree.completions.flatten(0, 1),
            "completion_mask": (torch.arange(length, device=device) < lengths[:, None]).long(),
            "advantages": torch.tensor([a for s in scored for a in s.advantages], device=device),
            "num_items_in_batch": total,
            "pixel_values": tree,
        }
        batch |= self._weights.columns([c for s in scored for c in s.completions], length, device)
        if self.beta:
            with torch.no_grad():
                batch["ref_per_token_logps"] = self._reference(batch)
        return batch

    def _tree(self, groups: Sequence[Group]) -> TreeBatch:
        """Groups as a forward pass of the update takes them."""
        train = self._recipe.train
        return collate(groups, full=not train.shared_prefix, attention=train.attention).to(self.accelerator.device)

    def _reference(self, batch: dict[str, Any]) -> Tensor:
        rows = (batch["completion_ids"], batch["completion_mask"], batch["completion_ids"].shape[1])
        if self.ref_model is not None:
            return self._get_per_token_logps_and_entropies(self.ref_model, *rows, pixel_values=batch["pixel_values"])[0]
        # Without its adapters the policy is the model that it began as, so no second one is held.
        with self._rollout_model.disable_adapter():
            return self._get_per_token_logps_and_entropies(self.model, *rows, pixel_values=batch["pixel_values"])[0]

    def _record(self, scored: Sequence[ScoredGroup]) -> None:
        """Metrics of one optimizer step, over all processes."""
        self._step_metrics.add(group_metrics(scored))
        said = answers_of(scored)
        every = exchanged(said, self.accelerator.gather, self.accelerator.device)
        self._step_metrics.add({"same_answer": answers_alike(said, every)})
        self._step_metrics.add({"left": [float(self._choice.left)]})
        if self._recipe.train.gives_answers:
            self._step_metrics.add(given_metrics(scored))
        self._step_metrics.add(self.group_rollouts.seconds)
        for seconds in self.group_rollouts.seconds.values():
            seconds.clear()
        for name, value in self._step_metrics.exchange().items():
            self._metrics["train"][name].append(value)


def _scored_with_the_rollout(**unused: Any) -> list[float | None]:
    """Stands in for TRL's reward functions, which it insists on: their place is `_generate_and_score_completions`."""
    raise AssertionError("TRL's reward path must not be taken: rewards come with the rollouts")


def config(recipe: Recipe, folder: Path, *, processes: int) -> GRPOConfig:
    """TRL's configuration for a recipe; see `arguments.for_grpo`."""
    return GRPOConfig(**for_grpo(recipe, folder, processes=processes))


def unknown(recipe: Recipe) -> list[str]:
    """Settings of the TRL that is installed which may change the loss, and which trlt doesn't know."""
    return unknown_settings(fields(GRPOConfig), for_grpo(recipe, Path(), processes=1))
