"""Whether the TRL that is installed still fits: what is overridden of its trainer is there, and its settings are known.

A method that TRL has renamed would be left out without a word, and so would a new setting whose default changes the loss. Knows
names, signatures and defaults; imports neither library.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from trlt.errors import TrltError

LEFT: Mapping[str, object] = {
    # Evaluation, which is trlt's own.
    "bf16_full_eval": False,
    "fp16_full_eval": False,
    "eval_strategy": "no",
    "eval_steps": None,
    "eval_delay": 0,
    "per_device_eval_batch_size": 8,
    "prediction_loss_only": False,
    "eval_on_start": False,
    "eval_do_concat_batches": True,
    "eval_use_gather_object": False,
    "eval_accumulation_steps": None,
    "include_for_metrics": [],
    "batch_eval_metrics": False,
    "metric_for_best_model": None,
    "greater_is_better": None,
    "num_generations_eval": None,
    "do_train": False,
    "do_eval": False,
    "do_predict": False,
    # Logs, files and the hub.
    "logging_strategy": "steps",
    "logging_first_step": False,
    "log_on_each_node": True,
    "include_num_input_tokens_seen": "no",
    "log_level": "passive",
    "log_level_replica": "warning",
    "trackio_space_id": None,
    "trackio_bucket_id": None,
    "trackio_static_space_id": None,
    "save_on_each_node": False,
    "save_total_limit": None,
    "enable_jit_checkpoint": False,
    "restore_callback_states_from_checkpoint": False,
    "push_to_hub": False,
    "hub_token": None,
    "hub_private_repo": None,
    "hub_model_id": None,
    "hub_strategy": "every_save",
    "hub_always_push": False,
    "hub_revision": None,
    "resume_from_checkpoint": None,
    "debug": "",
    "skip_memory_metrics": True,
    "log_multimodal": True,
    "num_completions_to_print": None,
    "log_unique_prompts": False,
    "log_completions_hub_repo": None,
    # How processes talk, and how rows are read without workers.
    "ddp_bucket_cap_mb": None,
    "ddp_broadcast_buffers": None,
    "ddp_backend": None,
    "ddp_timeout": 1800,
    "local_rank": -1,
    "dataloader_persistent_workers": False,
    "dataloader_prefetch_factor": None,
    "dataloader_multiprocessing_context": None,
    "dataloader_in_order": True,
    "length_column_name": "length",
    "use_cache": False,
    "torch_empty_cache_steps": None,
    "trust_remote_code": False,
    "ds3_gather_for_generation": True,
    # Sampling, batches and rewards, which are trlt's own.
    "pad_to_multiple_of": "auto",
    "top_k": 0,
    "min_p": None,
    "generation_kwargs": None,
    "chat_template_kwargs": None,
    "repetition_penalty": 1.0,
    "cache_implementation": None,
    "max_tool_calling_iterations": None,
    "reward_weights": None,
    "multi_objective_aggregation": "sum_then_normalize",
    "use_transformers_continuous_batching": False,
    "transformers_continuous_batching_config": None,
    "use_transformers_paged": False,
    "vllm_mode": "colocate",
    "vllm_model_impl": "vllm",
    "vllm_enable_sleep_mode": False,
    "vllm_structured_outputs_regex": None,
    "vllm_server_base_url": None,
    "vllm_server_host": "0.0.0.0",
    "vllm_server_port": 8000,
    "vllm_server_timeout": 240.0,
    "vllm_group_port": 51216,
    "vllm_gpu_memory_utilization": 0.3,
    "vllm_max_model_length": None,
    "vllm_tensor_parallel_size": 1,
    # Of losses that a recipe can't name, and of what is pinned off.
    "sapo_temperature_neg": 1.05,
    "sapo_temperature_pos": 1.0,
    "vespo_k_pos": 2.0,
    "vespo_lambda_pos": 3.0,
    "vespo_k_neg": 3.0,
    "vespo_lambda_neg": 2.0,
    "ref_model_mixup_alpha": 0.6,
    "ref_model_sync_steps": 512,
    "entropy_coef_min": 0.0,
    "entropy_coef_max": 1.0,
    "entropy_coef_delta": 0.005,
    "entropy_target": 0.2,
}
"""Settings of TRL and transformers that are left at their defaults, with these: none touches the update."""


def misfits(trainer: type, overridden: Sequence[str]) -> list[str]:
    """What TRL's trainer has otherwise than it is overridden; one text each.

    Args:
        trainer: Ours, derived from TRL's.
        overridden: Names of the methods.
    """
    found = []
    # Transformers' own trainer has some of the same names: its method would take the place of one that TRL has lost.
    theirs = [base for base in trainer.__mro__ if base.__module__.startswith("trl.")]
    for name in overridden:
        method = next((vars(base)[name] for base in theirs if name in vars(base)), None)
        if not callable(method):
            found.append(f"{name} isn't there")
        elif (reason := _differs(getattr(trainer, name), method)) is not None:
            found.append(f"{name} {reason}")
    return found


def _differs(ours: Any, theirs: Any) -> str | None:
    """How a method's parameters differ from those of the one that it overrides; None where ours takes what theirs does."""
    own, other = (inspect.signature(method).parameters for method in (ours, theirs))
    named = [name for name, parameter in own.items() if parameter.kind is not inspect.Parameter.VAR_KEYWORD]
    # What comes after ours is passed by name, and ends in `**unused` where there is one.
    if [*other][: len(named)] != named:
        return f"takes ({', '.join(other)}), not ({', '.join(named)})"
    more = [*other][len(named) :]
    return f"also takes {', '.join(more)}" if more and len(named) == len(own) else None


def require_fit(trainer: type, overridden: Sequence[str], version: str) -> None:
    """Ends a run whose TRL would leave out what is overridden.

    Raises:
        TrltError: names the methods and the remedy.
    """
    if found := misfits(trainer, overridden):
        raise TrltError(
            f"TRL {version}: its GRPO trainer isn't the one that trlt builds on: {'; '.join(found)}; `trlt doctor` says which "
            "versions were tried"
        )


def unknown_settings(fields: Iterable[dataclasses.Field[Any]], given: Iterable[str]) -> list[str]:
    """Settings of an installed TRL that no recipe decides, and that aren't known to leave the update alone.

    Args:
        fields: Of its `GRPOConfig`.
        given: Names that trlt gives a value itself, so that their defaults don't matter.
    """
    theirs = {field.name: default(field) for field in fields}
    mine = set(given)
    return [name for name, value in theirs.items() if name not in mine and (name not in LEFT or LEFT[name] != value)]


def default(field: dataclasses.Field[Any]) -> object:
    """The value that a setting has where none is given."""
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default
