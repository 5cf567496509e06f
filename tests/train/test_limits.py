"""Limits that change no outcome are lowered until a recipe fits: as little as that needs, alike in all processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from trlt.recipe import Recipe, load_recipe
from trlt.train.memory_plan import GB, PUBLISHED, can_fit, estimate, least, limits_of, lower_limits, lowered

SIZES = {size: PUBLISHED[f"Qwen2.5-VL-{size}"] for size in ("3B", "7B")}


def recipe(*sets: str) -> Recipe:
    return load_recipe(None, sets=sets)


LORA, QLORA = "train.lora={}", "train.lora={quantize: nf4}"


@pytest.mark.parametrize(
    ("size", "sets", "processes", "gpu", "taken"),
    [
        ("3B", [LORA], 1, 24, 64),
        ("3B", [QLORA], 1, 24, 96),
        ("7B", [LORA], 1, 80, 256),
        ("7B", [LORA], 1, 48, 120),
        ("7B", [QLORA], 1, 24, 56),
        ("7B", [], 8, 48, 32),
        ("7B", [QLORA, "train.max_sequences=30"], 1, 24, 30),
        ("7B", [QLORA, "train.group_size=3"], 1, 24, 27),
    ],
)
def test_as_many_completions_as_fit_and_never_more_than_was_asked_for(size, sets, processes, gpu, taken):
    asked, model = recipe(*sets), SIZES[size]
    found = lower_limits(model, asked, processes, gpu * GB)
    assert found.train.max_sequences == taken <= asked.train.max_sequences
    assert estimate(model, found, processes, gpu * GB).fits
    group = asked.train.group_size
    fitting = [
        many
        for many in range(1, asked.train.max_sequences + 1)
        if many % group == 0 or many in (asked.train.max_sequences, *range(group))
        if estimate(model, recipe(*sets, f"train.max_sequences={many}"), processes, gpu * GB).fits
    ]
    assert taken == max(fitting), "by trying every number"
    assert (found == asked) is (taken == asked.train.max_sequences)


def test_passes_are_lowered_to_what_a_step_can_be_spread_by():
    found = lower_limits(SIZES["7B"], recipe("train.prompts_per_pass=6"), 8, 64 * GB)
    assert [str(one) for one in lowered(recipe("train.prompts_per_pass=6"), found)] == ["train.prompts_per_pass 6 -> 3"]
    assert not estimate(SIZES["7B"], recipe("train.prompts_per_pass=6"), 8, 64 * GB).fits
    # 4 and 5 would fit, but 48 prompts on 8 processes make no whole passes of these.
    sft = ["train.method=sft", "train.sft.batch=48", "train.prompts_per_pass=6"]
    gpu = estimate(SIZES["7B"], recipe(*sft[:2], "train.prompts_per_pass=2"), 8, 0).peak
    found = lower_limits(SIZES["7B"], recipe(*sft), 8, gpu)
    assert found.train.prompts_per_pass == 2 and found.train.max_sequences == 256, "SFT draws nothing"


def test_packed_passes_are_lowered_by_whole_groups():
    asked = recipe("train.tokens_per_pass=100000")
    one = 2048 + 512 + 8 * 768  # a video, the words of a prompt, and its completions
    gpu = estimate(SIZES["7B"], recipe(f"train.tokens_per_pass={4 * one}"), 8, 0).peak
    found = lower_limits(SIZES["7B"], asked, 8, gpu)
    assert found.train.tokens_per_pass == 4 * one and found.train.prompts_per_pass == 1


def test_a_loss_that_averages_over_passes_keeps_them():
    asked = recipe("train.prompts_per_pass=6", "train.loss=bnpo")
    found = lower_limits(SIZES["7B"], asked, 8, 64 * GB)
    assert found.train.prompts_per_pass == 6 and not estimate(SIZES["7B"], found, 8, 64 * GB).fits
    assert not can_fit(SIZES["7B"], asked, 8, 64 * GB)


def test_each_limit_is_lowered_only_for_its_own_part():
    asked = recipe(LORA, "train.prompts_per_pass=2")
    found = lower_limits(SIZES["3B"], asked, 1, 24 * GB)
    assert [one.key for one in lowered(asked, found)] == ["train.max_sequences"], "passes fit as they are"


def test_vllm_is_left_its_own_number():
    asked = recipe("train.rollouts=vllm")
    assert lower_limits(SIZES["7B"], asked, 8, 24 * GB).train.max_sequences == 256


def test_processes_take_the_lowest_that_any_of_them_chose():
    asked = recipe("train.prompts_per_pass=6")
    others = [limits_of(asked), {"max_sequences": 64, "prompts_per_pass": 6}, {"max_sequences": 128, "prompts_per_pass": 3}]
    found = least(asked, others)
    assert limits_of(found) == {"max_sequences": 64, "prompts_per_pass": 3}
    assert least(asked, [limits_of(asked)] * 2) == asked


@pytest.mark.slow
def test_processes_of_a_launcher_tell_each_other(tmp_path: Path):
    """As of machines with other GPUs."""
    code = "import os; from trlt.engine.sharding import gathered, join, leave; from trlt.recipe import load_recipe\n"
    code += "from trlt.train.memory_plan import least, limits_of; rank = int(os.environ['RANK']); join('cpu')\n"
    code += "own = load_recipe(None, sets=[f'train.max_sequences={[64, 32][rank]}'])\n"
    code += f"open(f'{tmp_path}/{{rank}}', 'w').write(str(least(own, gathered(limits_of(own))).train.max_sequences)); leave()"
    env = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29731", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    started = [
        subprocess.Popen([sys.executable, "-c", code], env={**env, "RANK": str(rank), "LOCAL_RANK": str(rank)})
        for rank in (0, 1)
    ]
    assert [process.wait(timeout=120) for process in started] == [0, 0]
    assert [(tmp_path / str(rank)).read_text() for rank in (0, 1)] == ["32", "32"]
