"""Arguments for transformers and TRL: no setting that affects the update is left to their defaults.

Knows recipes and the names of the libraries' settings; imports neither library. `tests/train/test_arguments.py` says of every
setting there is whether a recipe sets it, one of the tables here does, or it doesn't touch the update.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any, NamedTuple

from trlt.errors import RecipeError
from trlt.recipe import Recipe, Train, advice

PROJECT = "trlt"
"""Default project name of experiment trackers, without `WANDB_PROJECT`."""
PINNED: dict[str, Any] = {
    "lr_scheduler_kwargs": None,
    "optim": "adamw_torch_fused",
    "optim_args": None,
    "optim_target_modules": None,
    "adam_beta1": 0.9,
    "adam_beta2": 0.999,
    "adam_epsilon": 1e-8,
    "average_tokens_across_devices": True,
    "label_smoothing_factor": 0.0,
    "neftune_noise_alpha": None,
    "fp16": False,
    "tf32": None,
    "activation_checkpointing": None,
    "activation_checkpointing_kwargs": None,
    "torch_compile": False,
    "torch_compile_backend": None,
    "torch_compile_mode": None,
    "use_liger_kernel": False,
    "liger_kernel_config": None,
    "auto_find_batch_size": False,
    "load_best_model_at_end": False,
    "save_only_model": False,
    "ignore_data_skip": False,
    "full_determinism": False,
    "accelerator_config": None,
    "parallelism_config": None,
    "fsdp": None,
    "fsdp_config": None,
    "deepspeed": None,
    "dataloader_drop_last": False,
    "dataloader_num_workers": 0,
    "remove_unused_columns": False,
    "label_names": None,
    "train_sampling_strategy": "random",
    "ddp_find_unused_parameters": False,
    "ddp_static_graph": None,
}
"""Settings of transformers that affect the update and that no recipe changes. The launcher decides how weights are sharded."""
PINNED_GRPO: dict[str, Any] = {
    "model_init_kwargs": None,
    "disable_dropout": False,
    "cast_lm_head_to_fp32": False,
    # None: what a mixture of experts says of itself, of router outputs that a tree has none of.
    "router_aux_loss_coef": 0.0,
    "shuffle_dataset": True,
    "generation_batch_size": None,
    "num_iterations": 1,
    "delta": None,
    "sync_ref_model": False,
    "top_entropy_quantile": 1.0,
    "entropy_coef": 0.0,
    "use_adaptive_entropy": False,
    "off_policy_mask_threshold": None,
    "use_vllm": False,
    "vllm_importance_sampling_clip_min": None,
    "vllm_importance_sampling_cap": None,
}
"""The same of TRL's own settings for GRPO."""


class Batch(NamedTuple):
    """The rows of an optimizer step, over all processes."""

    step: int
    """Prompts of GRPO; slots for SFT's examples, some of which may stay empty."""
    rows: int
    """Rows per forward pass of one process."""
    examples: int
    """Maximum number of prompts or examples per step."""


def fit(train: Train, samples: int, processes: int) -> Batch:
    """How a step is split, possibly with fewer samples than it should have.

    GRPO then takes as many as the processes can share evenly, and SFT all, with empty places behind them.

    Args:
        train: The recipe's section.
        samples: Number of samples.
        processes: Number of processes that share a step.

    Raises:
        RecipeError: it can't be spread evenly, or there are fewer samples than processes.
    """
    grpo = train.method == "grpo"
    asked, most = (train.prompts_per_step if grpo else train.sft.batch), count_examples(train, samples)
    rows = min(asked, train.prompts_per_pass)
    if most >= asked:
        key = "prompts_per_step" if grpo else "sft.batch"
        if asked % (rows * processes):
            raise RecipeError(
                f"train.{key}: {asked} can't be spread evenly over {processes} {'process' if processes == 1 else 'processes'} "
                f"with train.prompts_per_pass {rows}; take other "
                f"train.launch.processes, or {advice(f'a multiple of {rows * processes} as train.{key}')}"
            )
        return Batch(asked, rows, asked)
    each = most // processes if grpo else -(-most // processes)
    if not each:
        raise RecipeError(
            f"{processes} processes need at least {processes} samples, and there {'is' if most == 1 else 'are'} {most}; take "
            f"--set train.launch.processes={most}"
        )
    if grpo:  # the most that go into a pass so that all passes are full
        rows = max(n for n in range(1, min(rows, each) + 1) if each % n == 0)
        return Batch(each * processes, rows, each * processes)
    rows = min(rows, each)
    return Batch(-(-each // rows) * rows * processes, rows, most)


def count_examples(train: Train, samples: int) -> int:
    """Number of examples in an epoch: samples, or with `train.sft.targets: mixed` two forms of each."""
    return 2 * samples if train.method == "sft" and train.sft.targets == "mixed" else samples


def count_steps(train: Train, samples: int, batch: Batch) -> int:
    """Optimizer steps of a run: GRPO drops an epoch's incomplete last step, SFT keeps it as a smaller one."""
    if train.max_steps is not None:
        return train.max_steps
    examples = count_examples(train, samples)
    each = examples // batch.step if train.method == "grpo" else -(-examples // batch.step)
    return math.ceil(train.epochs * each)


def shared(recipe: Recipe, folder: Path, *, rows: int, accumulate: int) -> dict[str, Any]:
    """Arguments that `TrainingArguments` and TRL's `GRPOConfig` share.

    Args:
        recipe: The resolved recipe.
        folder: Gets the checkpoints.
        rows: Rows per forward pass of one process.
        accumulate: Forward passes per optimizer step.
    """
    train = recipe.train
    os.environ.setdefault("WANDB_PROJECT", PROJECT)
    return {
        **PINNED,
        "output_dir": str(folder),
        "per_device_train_batch_size": rows,
        "gradient_accumulation_steps": accumulate,
        "learning_rate": train.learning_rate,
        "weight_decay": train.weight_decay,
        "max_grad_norm": train.max_grad_norm,
        "lr_scheduler_type": _scheduler(train),
        "warmup_steps": train.warmup_steps,
        "num_train_epochs": train.epochs,
        "max_steps": train.max_steps if train.max_steps is not None else -1,
        "bf16": recipe.model.dtype == "bfloat16",
        "gradient_checkpointing": train.gradient_checkpointing,
        "gradient_checkpointing_kwargs": {"use_reentrant": False} if train.gradient_checkpointing else None,
        "save_strategy": "steps",
        "save_steps": train.save_steps,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "report_to": list(train.report_to) or "none",
        "run_name": recipe.name,
        "project": PROJECT,
        "seed": train.seed,
        "data_seed": train.seed,
        "dataloader_pin_memory": False,
        "disable_tqdm": True,
        "use_cpu": recipe.model.device == "cpu",
    }


def _scheduler(train: Train) -> str:
    """The library's name; its `constant` silently ignores a warm-up."""
    return "constant_with_warmup" if train.scheduler == "constant" and train.warmup_steps else train.scheduler


def for_grpo(recipe: Recipe, folder: Path, *, processes: int) -> dict[str, Any]:
    """Arguments of TRL's `GRPOConfig`.

    Args:
        recipe: The resolved recipe, cut to its samples (`fit`).
        folder: Gets the checkpoints.
        processes: Number of processes that share a step's prompts.

    Raises:
        RecipeError: the step's prompts can't be spread evenly.
    """
    train = recipe.train
    batch = fit(train, train.prompts_per_step, processes)
    accumulate = batch.step // (batch.rows * processes)
    return {
        **shared(recipe, folder, rows=batch.rows * train.group_size, accumulate=accumulate),
        **PINNED_GRPO,
        # Completions are drawn once a step, and used in that step alone.
        "steps_per_generation": accumulate,
        "num_generations": train.group_size,
        "max_completion_length": train.max_new_tokens,
        "temperature": train.temperature,
        "top_p": train.top_p,
        "beta": train.beta,
        "use_bias_correction_kl": train.kl == "k3_corrected",
        "epsilon": train.epsilon,
        "epsilon_high": train.epsilon_high,
        "importance_sampling_level": train.ratio_level,
        "loss_type": train.loss,
        # Advantages are trlt's own (`advantage_scale`); TRL only has to know the name.
        "scale_rewards": "batch" if train.scale_rewards == "task" else train.scale_rewards,
        "mask_truncated_completions": train.mask_truncated,
        "vllm_importance_sampling_correction": train.corrects != "none" or train.gives_answers,
        "vllm_importance_sampling_mode": "token_truncate" if train.corrects == "none" else train.corrects,
        "vllm_importance_sampling_clip_max": train.correction_cap,
        "log_completions": False,
    }


def for_sft(recipe: Recipe, folder: Path, *, processes: int, batch: Batch) -> dict[str, Any]:
    """Arguments of transformers' `TrainingArguments` for the supervised baseline.

    Args:
        recipe: The resolved recipe.
        folder: Gets the checkpoints.
        processes: Number of processes that share a step's examples.
        batch: How (`fit`).
    """
    return shared(recipe, folder, rows=batch.rows, accumulate=batch.step // (processes * batch.rows))
