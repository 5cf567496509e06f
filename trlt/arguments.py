"""What transformers and TRL are told: of what touches the update, nothing is left to a default of theirs.

Knows recipes and the names of the libraries' settings; imports neither library. `tests/test_arguments.py` says of every
setting there is whether a recipe sets it, one of the tables here does, or it doesn't touch the update.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from trlt.errors import DataError
from trlt.recipe import Recipe, Train

PROJECT = "trlt"
"""What runs are filed under where they are reported to, unless `WANDB_PROJECT` says otherwise."""
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
"""Settings of transformers that touch the update and that no recipe changes. How weights are shared comes from the launcher."""
PINNED_GRPO: dict[str, Any] = {
    "model_init_kwargs": None,
    "disable_dropout": False,
    "cast_lm_head_to_fp32": False,
    "router_aux_loss_coef": None,
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


def shared(recipe: Recipe, folder: Path, *, rows: int, accumulate: int) -> dict[str, Any]:
    """Arguments that `TrainingArguments` and TRL's `GRPOConfig` share.

    Args:
        recipe: The resolved recipe.
        folder: Gets the checkpoints.
        rows: Rows a forward pass of one process.
        accumulate: Forward passes an optimizer step.
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
    """The library's name; its `constant` passes over a warm-up in silence."""
    return "constant_with_warmup" if train.scheduler == "constant" and train.warmup_steps else train.scheduler


def for_grpo(recipe: Recipe, folder: Path, *, processes: int) -> dict[str, Any]:
    """Arguments of TRL's `GRPOConfig`.

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
    return {
        **shared(recipe, folder, rows=train.prompts_per_pass * train.group_size, accumulate=accumulate),
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
        "scale_rewards": train.scale_rewards,
        "mask_truncated_completions": train.mask_truncated,
        "vllm_importance_sampling_correction": train.corrects != "none",
        "vllm_importance_sampling_mode": "token_truncate" if train.corrects == "none" else train.corrects,
        "vllm_importance_sampling_clip_max": train.correction_cap,
        "log_completions": False,
    }


def for_sft(recipe: Recipe, folder: Path, *, processes: int) -> dict[str, Any]:
    """Arguments of transformers' `TrainingArguments` for the supervised baseline.

    Args:
        recipe: The resolved recipe.
        folder: Gets the checkpoints.
        processes: Over how many processes a step's lessons are spread.

    Raises:
        DataError: the step's lessons can't be spread evenly.
    """
    train = recipe.train
    rows = min(train.sft.batch, train.prompts_per_pass)
    if train.sft.batch % (processes * rows):
        raise DataError(
            f"train.sft.batch ({train.sft.batch}) must be a multiple of train.prompts_per_pass x processes "
            f"({processes * rows} in all)"
        )
    return shared(recipe, folder, rows=rows, accumulate=train.sft.batch // (processes * rows))
