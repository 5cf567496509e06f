"""Every setting of TRL and transformers has its place: from the recipe, pinned, or without effect on the update."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from transformers import TrainingArguments

from trlt.errors import RecipeError
from trlt.recipe import load_recipe
from trlt.train import grpo
from trlt.train.arguments import PINNED, PINNED_GRPO, Batch, count_steps, fit, for_grpo, for_sft
from trlt.train.trl_fit import LEFT, default

# The library's own advice about its next versions is none of a run's faults.
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")

FROM_RECIPE = {
    # setting: (in a recipe, its value there, its own value)
    "per_device_train_batch_size": ("train.prompts_per_pass", 3, 12),  # x group_size
    "gradient_accumulation_steps": ("train.prompts_per_step", 12, 4),
    "steps_per_generation": ("train.prompts_per_step", 12, 4),
    "num_generations": ("train.group_size", 4, 4),
    "learning_rate": ("train.learning_rate", 3e-4, 3e-4),
    "lr_scheduler_type": ("train.scheduler", "cosine", "cosine"),
    "warmup_steps": ("train.warmup_steps", 0.1, 0.1),
    "weight_decay": ("train.weight_decay", 0.3, 0.3),
    "max_grad_norm": ("train.max_grad_norm", 0.7, 0.7),
    "num_train_epochs": ("train.epochs", 2.5, 2.5),
    "max_steps": ("train.max_steps", 77, 77),
    "bf16": ("model.dtype", "float32", False),
    "gradient_checkpointing": ("train.gradient_checkpointing", False, False),
    "gradient_checkpointing_kwargs": ("train.gradient_checkpointing", False, None),
    "seed": ("train.seed", 5, 5),
    "data_seed": ("train.seed", 5, 5),
    "use_cpu": ("model.device", "cpu", True),
    "max_completion_length": ("train.max_new_tokens", 99, 99),
    "temperature": ("train.temperature", 0.8, 0.8),
    "top_p": ("train.top_p", 0.6, 0.6),
    "beta": ("train.beta", 0.5, 0.5),
    "use_bias_correction_kl": ("train.kl", "k3_corrected", True),
    "epsilon": ("train.epsilon", 0.1, 0.1),
    "epsilon_high": ("train.epsilon_high", 0.4, 0.4),
    "loss_type": ("train.loss", "dr_grpo", "dr_grpo"),
    "scale_rewards": ("train.scale_rewards", "none", "none"),
    "importance_sampling_level": ("train.ratio_level", "token", "token"),
    "mask_truncated_completions": ("train.mask_truncated", True, True),
    "vllm_importance_sampling_correction": ("train.correction", "sequence_mask", True),
    "vllm_importance_sampling_mode": ("train.correction", "sequence_mask", "sequence_mask"),
    "vllm_importance_sampling_clip_max": ("train.correction_cap", 2.5, 2.5),
}
"""What a recipe decides of the update."""
BESIDE = {
    *("output_dir", "save_strategy", "save_steps", "logging_steps", "logging_nan_inf_filter", "report_to", "run_name"),
    *("project", "dataloader_pin_memory", "disable_tqdm", "log_completions"),
}
"""Given too, and without effect on the update."""
PINNED_VALUES = {
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
    "model_init_kwargs": None,
    "disable_dropout": False,
    "cast_lm_head_to_fp32": False,
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
COMPUTED = {
    *("accelerator_config", "fsdp", "fsdp_config"),  # objects that hold the library's defaults
    *("activation_checkpointing", "activation_checkpointing_kwargs"),  # other names of what `gradient_checkpointing` says
    "generation_batch_size",  # the product of others
}
"""What the library puts in place of None."""


@pytest.fixture(scope="module")
def changed():
    sets = {key: value for key, value, _ in FROM_RECIPE.values()}
    return load_recipe(None, sets=[f"{key}={value}" for key, value in sets.items()])


def test_every_setting_of_trl_and_transformers_has_one_place() -> None:
    there = {field.name: field for field in dataclasses.fields(grpo.GRPOConfig)}
    places = [set(FROM_RECIPE), BESIDE, set(PINNED_VALUES), set(LEFT)]
    assert sum(map(len, places)) == len(set.union(*places)), "one place each"
    assert there.keys() - set.union(*places) == set(), "new in the library: does it touch the update?"
    assert set.union(*places) - there.keys() == set(), "gone from the library: what has become of it?"
    assert {name: default(there[name]) for name in LEFT} == LEFT, "another default: does it touch the update?"


def test_what_touches_the_update_is_given() -> None:
    given = for_grpo(load_recipe(None), Path("x"), processes=1)
    assert given.keys() == set(FROM_RECIPE) | BESIDE | set(PINNED_VALUES)
    assert PINNED | PINNED_GRPO == PINNED_VALUES and {name: given[name] for name in PINNED_VALUES} == PINNED_VALUES
    supervised = for_sft(load_recipe(None), Path("x"), processes=1, batch=Batch(48, 1, 48))
    theirs = {field.name for field in dataclasses.fields(TrainingArguments)}
    assert supervised.keys() == (set(FROM_RECIPE) | BESIDE | set(PINNED_VALUES)) & theirs


def test_the_libraries_take_it_as_it_is_given(changed) -> None:
    made = grpo.config(changed, Path("x"), processes=1)
    for name, value in PINNED_VALUES.items():
        if name not in COMPUTED:
            assert getattr(made, name) == value, name
    for name, (_, _, value) in FROM_RECIPE.items():
        assert getattr(made, name) == value, name
    assert made.generation_batch_size == 12 * 4


def test_the_level_of_ratios_is_given_too() -> None:
    sets = ["train.ratio_level=sequence", "model.dtype=float32", "model.device=cpu"]
    made = grpo.config(load_recipe(None, sets=sets), Path("x"), processes=1)
    assert made.importance_sampling_level == "sequence"


def test_completions_are_of_the_policy_that_is_updated(changed) -> None:
    """TRL then takes the log-probabilities of a pass for those that its completions were drawn with."""
    for processes in (1, 2):
        made = grpo.config(changed, Path("x"), processes=processes)
        assert made.gradient_accumulation_steps % (made.steps_per_generation * made.num_iterations) == 0


def test_batch_arithmetic_that_does_not_fit_is_refused() -> None:
    recipe = load_recipe(None, sets=["train.prompts_per_step=4", "train.sft.batch=4"])
    with pytest.raises(
        RecipeError, match=r"train\.prompts_per_step: 4 can't be spread evenly over 3 processes .*multiple of 3"
    ):
        for_grpo(recipe, Path("x"), processes=3)
    supervised = load_recipe(None, sets=["train.method=sft", "train.sft.batch=4"]).train
    with pytest.raises(RecipeError, match=r"train\.sft\.batch: 4 can't be spread evenly over 3 processes"):
        fit(supervised, 4, 3)


@pytest.mark.parametrize(
    ("method", "samples", "processes", "passes", "made", "steps"),
    [  # (places, rows of a pass, prompts) of a step; steps of two epochs
        ("grpo", 48, 1, 1, (48, 1, 48), 2),
        ("grpo", 50, 2, 3, (48, 3, 48), 2),  # two samples of each epoch make no whole step
        ("grpo", 8, 1, 1, (8, 1, 8), 2),
        ("grpo", 8, 1, 3, (8, 2, 8), 2),
        ("grpo", 7, 2, 1, (6, 1, 6), 2),
        ("grpo", 1, 1, 6, (1, 1, 1), 2),
        ("sft", 50, 1, 1, (48, 1, 48), 4),  # the second step of an epoch has two examples
        ("sft", 8, 1, 3, (9, 3, 8), 2),
        ("sft", 7, 2, 1, (8, 1, 7), 2),
        ("sft", 1, 3, 6, (3, 1, 1), 2),
    ],
)
def test_few_samples_make_smaller_steps(method, samples, processes, passes, made, steps) -> None:
    train = load_recipe(None, sets=[f"train.method={method}", f"train.prompts_per_pass={passes}", "train.epochs=2"]).train
    assert fit(train, samples, processes) == made
    assert count_steps(train, samples, fit(train, samples, processes)) == steps


def test_two_forms_of_each_sample_count_twice() -> None:
    train = load_recipe(None, sets=["train.method=sft", "train.sft={targets: mixed, batch: 10}"]).train
    assert count_steps(train, 16, fit(train, 16, 1)) == 4  # 32 examples
    assert fit(train, 4, 1) == (8, 1, 8)


def test_fewer_samples_than_processes_are_told_with_what_to_set() -> None:
    train = load_recipe(None).train
    with pytest.raises(RecipeError, match=r"8 processes need at least 8 samples, and there are 5; .*launch\.processes=5"):
        fit(train, 5, 8)
