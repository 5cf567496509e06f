"""A GRPO run from its base to the tuned weights: rollout and trainer are compared, then trained from the last checkpoint on."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from trlt.engine.agreement import Agreement
from trlt.engine.inputs import ClipInputs, PromptInputs
from trlt.engine.model import LoadedModel, with_adapters
from trlt.engine.sampling import Sampling
from trlt.engine.sharding import join
from trlt.engine.shared_prefix import attach
from trlt.errors import DataError, VideoError
from trlt.errors.interruption import Interruption
from trlt.recipe import Recipe
from trlt.task.prompt import Prompt
from trlt.train.grpo import Example, VideoGRPOTrainer, config
from trlt.train.parity import Parity, check
from trlt.train.trainer import Report, RunCallback, TrainingData
from trlt.train.vllm_parity import check as check_vllm
from trlt.video.clip import Clip


def train(
    loaded: LoadedModel,
    training_data: TrainingData,
    recipe: Recipe,
    folder: Path,
    report: Report | None = None,
    example: Example | None = None,
    interruption: Interruption | None = None,
    told: Callable[[int, int], None] | None = None,
) -> tuple[int, Parity]:
    """Trains `loaded.model` in place, from the last checkpoint where there is one.

    Args:
        loaded: The policy and its processor; adapters are added where it has none yet.
        training_data: Samples, and access to their clips.
        recipe: As resolved.
        folder: The run's folder.
        report: Gets each step's metrics.
        example: Gets, of each step, a step's number, a question, what was answered and the reward.
        interruption: After which the step in progress is saved, and the run left.
        told: Called with the number of completions of a pass and the total, for this process.

    Returns:
        Optimizer steps done in all, and what the parity check at the start measured.

    Raises:
        ParityError: rollout and trainer disagree.
        DataError: batch arithmetic that doesn't fit, or videos that can't be read.
        ModelError: vLLM is requested but not available, or fails.
        Interrupted: the run was left early.
    """
    processes = join(recipe.model.device)
    attach(loaded.model)
    if recipe.train.tower_is_frozen:
        loaded.model.model.visual.requires_grad_(False)
    args = config(recipe, folder / "checkpoints", processes=processes)
    watch = RunCallback(folder, keep=recipe.train.keep_checkpoints, limit=recipe.train.max_new_tokens, report=report)
    if loaded.trained is None:
        loaded = replace(loaded, trained=with_adapters(loaded.model, recipe.train.lora, recipe.train.seed))
    trainer = VideoGRPOTrainer(loaded, training_data, recipe, folder, args, callbacks=[watch])
    trainer.example = example
    trainer.group_rollouts.told = told
    start = _Start(lambda: _parity(trainer, loaded, training_data, recipe))
    trainer.add_callback(start)
    with contextlib.closing(trainer):
        steps = trainer.train_run(recipe, loaded.path, folder, interruption)
    assert start.parity
    return steps, start.parity


class _Start(TrainerCallback):
    """Checks when all is ready: the weights are sharded as they will be, and those of the checkpoint are there."""

    def __init__(self, check: Callable[[], Parity]) -> None:
        self._check = check
        self.parity: Parity | None = None

    def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
        """Called by the trainer, on all processes, before the first step."""
        self.parity = self._check()


def _parity(
    trainer: VideoGRPOTrainer, loaded: LoadedModel, training_data: TrainingData, recipe: Recipe, count: int = 2
) -> Parity:
    """Checks the first samples whose videos can be read: what draws, what learns, and the library's own forward.

    What draws are the very weights of rollouts (`drawing`), under the same autocast; what learns is the forward pass of the
    update, through the slices of FSDP2 or ZeRO-3 where there are any.
    """
    settings, form = recipe.train, recipe.form("train")
    clips: list[tuple[str, Clip, Prompt]] = []
    called: list[str] = []
    for index, sample in enumerate(training_data.samples):
        if len(clips) == count:
            break
        with contextlib.suppress(VideoError):  # one that can't be used is told when its turn comes
            training_data.inputs(index, form)
            clips.append((sample.id, training_data.clip(index), form.prompt(sample)))
            called.append(f"{sample.id!r} ({sample.video})")
    if not clips:
        raise DataError("none of the samples can be used; `video.root` may be wrong")
    engine, vllm = trainer.group_rollouts.engine, trainer.group_rollouts.vllm

    def made(clip: Clip, words: Prompt) -> tuple[ClipInputs, PromptInputs]:
        inputs = trainer.group_rollouts.inputs(clip)
        return inputs, training_data.builder.prompt(words.system, words.user, inputs, think=words.think)

    def seen(clip: Clip, words: Prompt) -> tuple[ClipInputs, PromptInputs]:
        inputs = training_data.builder.clip(clip)
        return inputs, training_data.builder.prompt(words.system, words.user, inputs, think=words.think)

    sampling = Sampling(settings.temperature, settings.top_p, min(64, settings.max_new_tokens), settings.seed)
    named = [(name, clip, words) for name, (_, clip, words) in zip(called, clips, strict=True)]

    def tell(found: Agreement) -> None:
        if training_data.on_event and trainer.accelerator.is_main_process:
            when = f"after step {trainer.state.global_step}" if trainer.state.global_step else "before the first step"
            training_data.on_event(f"train: {when}, {found.words}")

    def compare(count: int = 1) -> Agreement:
        assert vllm
        with trainer.accelerator.autocast():
            found = check_vllm(vllm, engine, named[:count], seen, sampling)
        tell(found)
        return found

    with trainer.drawing(), trainer.accelerator.autocast():
        parity = check(engine, loaded.processor, clips, made, trainer.trainer_side(), sampling)
        tell(parity)
        if vllm is None:
            return parity
        trainer.compare = compare
        return replace(parity, vllm=compare(count))
