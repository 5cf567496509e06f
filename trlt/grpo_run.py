"""A GRPO run from its base to the tuned weights: rollout and trainer are compared, then trained from the last checkpoint on."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import Any

from transformers import PrinterCallback

from trlt import prompt as prompts
from trlt.engine.sampling import Sampling
from trlt.errors import DataError, VideoError
from trlt.grpo import Example, VideoGRPOTrainer, config
from trlt.model import Loaded, adapters, save_adapter
from trlt.parity import Parity, check
from trlt.recipe import Recipe
from trlt.sharding import join
from trlt.shared_prefix import attach
from trlt.training import Material, Report, Watch, latest_checkpoint
from trlt.video.clip import Clip
from trlt.vllm_rollouts import check as check_vllm


def train(
    loaded: Loaded,
    material: Material,
    recipe: Recipe,
    folder: Path,
    report: Report | None = None,
    example: Example | None = None,
) -> tuple[int, Parity]:
    """Trains `loaded.model` in place, from the last checkpoint where there is one.

    Args:
        loaded: The policy and its processor.
        material: Samples and how their clips are had.
        recipe: As resolved.
        folder: The run's folder.
        report: Gets each step's figures.
        example: Gets, of each step, a step's number, a question, what was answered and the reward.

    Returns:
        Optimizer steps done in all, and what the parity check at the start measured.

    Raises:
        ParityError: rollout and trainer disagree.
        DataError: batch arithmetic that doesn't fit, or videos that can't be read.
        ModelError: vLLM was asked for, and can't be had or fails.
    """
    processes = join(recipe.model.device)
    attach(loaded.model)
    if recipe.train.tower_is_frozen:
        loaded.model.model.visual.requires_grad_(False)
    args = config(recipe, folder / "checkpoints", processes=processes)
    watch = Watch(folder, keep=recipe.train.keep_checkpoints, limit=recipe.train.max_new_tokens, report=report)
    trainer = VideoGRPOTrainer(
        loaded, material, recipe, folder, args, callbacks=[watch], peft_config=adapters(recipe.train.lora)
    )
    trainer.remove_callback(PrinterCallback)
    trainer.example = example
    with contextlib.closing(trainer):
        parity = _parity(trainer, loaded, material, recipe)
        checkpoint = latest_checkpoint(folder / "checkpoints")
        if checkpoint:
            trainer.resume_difficulty(int(checkpoint.name.rpartition("-")[2]))
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    if recipe.train.lora:
        save_adapter(trainer.accelerator.unwrap_model(trainer.model), loaded.path, folder / "adapter")
    return int(trainer.state.global_step), parity


def _parity(trainer: VideoGRPOTrainer, loaded: Loaded, material: Material, recipe: Recipe, count: int = 2) -> Parity:
    """Checks the first samples whose videos can be read."""
    settings = recipe.train
    clips: list[tuple[str, Clip, prompts.Prompt]] = []
    called: list[str] = []
    for index, sample in enumerate(material.samples[:8]):
        if len(clips) < count:
            with contextlib.suppress(VideoError):
                words = prompts.build(sample, think=settings.think, answer_format=settings.answer_format)
                clips.append((sample.id, material.clip(index), words))
                called.append(f"{sample.id!r} ({sample.video})")
    if not clips:
        raise DataError("none of the first videos can be read; `video.root` may be wrong")

    def make(clip: Clip, words: prompts.Prompt) -> Any:
        inputs = material.builder.clip(clip)
        return inputs, material.builder.prompt(words.system, words.user, inputs)

    sampling = Sampling(settings.temperature, settings.top_p, min(64, settings.max_new_tokens), settings.seed)
    engine, vllm = trainer.group_rollouts.engine, trainer.group_rollouts.vllm
    with trainer.accelerator.autocast():
        parity = check(engine, loaded.processor, clips, make, sampling)
        if vllm is None:
            return parity
        named = [(name, clip, words) for name, (_, clip, words) in zip(called, clips, strict=True)]

        def compare(count: int = 1) -> Parity:
            with trainer.accelerator.autocast():
                return check_vllm(vllm, engine, named[:count], make, sampling)

        trainer.compare = compare
        with vllm.awake(engine.model):
            return replace(parity, vllm=compare(count))
