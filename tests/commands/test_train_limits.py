"""`train.max_sequences` and passes are fitted to the GPUs before a run starts, and nothing else is."""

from __future__ import annotations

import pytest
from test_train import RECIPE
from typer.testing import CliRunner

from trlt.cli import app
from trlt.recipe import load_recipe
from trlt.train import run_plan
from trlt.train.memory_plan import GB, PUBLISHED, estimate, find_architecture, vllm_least

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")


def flags(*sets):
    return [text for one in sets for text in ("--set", one)]


def noted(*words):
    """What a command notes, and its exit code."""
    result = CliRunner().invoke(app, [str(word) for word in words])
    return " ".join(result.stderr.split()), result.exit_code


def test_a_dry_run_says_from_what_to_what(trlt):
    command = ["train", "3b-lora-24gb", "--dry-run", *flags("train.launch.gpu_gb=20")]
    found = trlt(*command, "--json")
    taken = found["recipe"]["train"]["max_sequences"]
    assert 8 <= taken < 64 and taken % 8 == 0 and found["plan"]["memory"]["fits"] is True
    said = f"train.max_sequences 64 -> {taken}, to fit GPUs of 20 GB by the plan; it takes longer, and what is drawn stays the "
    said += "same"
    assert found["plan"]["limits"] == said
    assert f"train: {said}" in noted(*command)[0]
    assert f"{taken} completions" in trlt(*command)


def test_what_fits_and_what_runs_on_the_cpu_stays_as_it_is(trlt):
    for sets in (["train.launch.gpu_gb=80"], ["train.launch.gpu_gb=8", "model.device=cpu"]):
        found = trlt("train", "3b-lora-24gb", "--dry-run", "--json", *flags(*sets))
        assert found["recipe"]["train"]["max_sequences"] == 64 and found["plan"]["limits"] == "as the recipe says"


def test_what_no_limit_helps_is_refused_with_lines_that_are_enough(trlt):
    command = ["train", "3b-lora-24gb", "--dry-run", *flags("train.launch.gpu_gb=16")]
    message = trlt(*command, code=2)
    assert "it doesn't fit GPUs of 16 GB by the plan, not even with train.max_sequences 64 -> 1" in noted(*command)[0]
    lines = [line.split() for line in message.splitlines() if line.startswith("  --set")]
    assert ["--set", "train.lora.quantize=nf4"] in lines
    for line in lines:
        found = trlt(*command, *(word.strip("'") for word in line), "--json")
        assert found["plan"]["memory"]["fits"] is True


def test_processes_that_are_started_are_given_what_was_taken(trlt):
    launcher = trlt("train", "32k", "--dry-run", "--json", *flags("train.launch.gpu_gb=48"))["plan"]["launcher"]
    assert launcher.startswith("8 x ") and launcher.endswith("--set train.launch.gpu_gb=48 --set train.max_sequences=32")


def test_vllms_share_has_to_hold_what_it_samples_with(trlt):
    """7B in BF16 are 16.6 GB, more than 15% of 80; states of linear layers count, too."""
    command = ["train", "32k", "--dry-run", *flags("train.rollouts=vllm")]
    message = trlt(*command, *flags("train.vllm.memory=0.15"), code=2)
    assert "train.vllm.memory: 0.15 of 80 GB is less than the 16.8 GB that vLLM needs" in message
    assert message.rstrip().endswith("raise train.vllm.memory to 0.30")
    assert "It fits 80 GB" in trlt(*command, *flags("train.vllm.memory=0.3"))
    message = trlt(*command, *flags("model.path=Qwen/Qwen2.5-VL-72B-Instruct"), code=2)
    assert "take larger GPUs, or train.rollouts: engine" in message
    shape = PUBLISHED["Qwen3.5-9B"]
    asked = load_recipe(None, sets=["train.rollouts=vllm"])
    tokens = 2048 + 384 * shape.time_tokens + 512 + 768
    weights_and_cache = 2 * shape.parameters + tokens * 2 * 2 * shape.attention_layers * shape.kv_width
    assert vllm_least(shape, asked, 8) - weights_and_cache == shape.state(2) > 0


@pytest.fixture
def recipe(tmp_path, tiny_path, clips_and_samples):
    """As it would be for a GPU: the device is left to trlt."""
    text = RECIPE.format(model=tiny_path, videos=clips_and_samples.videos, data=clips_and_samples.samples)
    path = tmp_path / "small.yaml"
    text = text.replace("device: cpu", "device: auto").replace("prompts_per_step: 2", "prompts_per_step: 16")
    path.write_text(text.replace("gradient_checkpointing: false", "launch: {processes: 1, gpu_gb: 80}"))
    return path


def test_more_processes_than_gpus_are_refused_before_anything_starts(trlt, recipe, tmp_path, monkeypatch):
    monkeypatch.setattr("trlt.commands.train.has_gpu", lambda recipe: True)
    monkeypatch.setattr(run_plan, "smallest_gpu", lambda: (80.0, 1))
    message = trlt("train", recipe, "--out", "run", *flags("train.launch.processes=2"), code=2)
    assert "2 processes need a GPU each, and 1 GPU is here; --set train.launch.processes=1 takes what there is" in message
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_run_takes_what_its_gpu_allows_and_goes_on_with_another(trlt, recipe, tiny_path, tmp_path, monkeypatch):
    """Steps of 16 prompts with four completions each: all at once, or fewer. The tests' GPU is one in name alone."""
    shape, asked = find_architecture(str(tiny_path)), load_recipe(recipe)

    def peak(at_once):
        train = asked.train.model_copy(update={"max_sequences": at_once})
        return estimate(shape, asked.model_copy(update={"train": train}), 1, 0).peak / GB

    assert peak(64) > peak(48) > peak(32)
    monkeypatch.setattr("trlt.commands.train.has_gpu", lambda recipe: True)
    command = ["train", recipe, "--out", "run", *flags("train.max_sequences=64")]
    for gpu, taken in ((peak(64), 64), (peak(48), 48), (peak(32), 32)):
        monkeypatch.setattr(run_plan, "smallest_gpu", lambda gpu=gpu: (gpu, 1))
        said, code = noted(*command)
        assert code == 0, said
        assert load_recipe(tmp_path / "run/recipe.yaml").train.max_sequences == taken, "the run's recipe has what was taken"
        assert (f"train.max_sequences 64 -> {taken}, to fit" in said) is (taken < 64)
        (tmp_path / "run/result.json").unlink()  # as if the last model was still to be written
    # 80 GB is what the recipe is for, not what is here; what is typed counts.
    assert "doesn't fit" in noted(*command, *flags("train.max_new_tokens=100000"))[0]
    said, code = noted(*command, *flags("train.launch.gpu_gb=80"))
    assert code == 0 and "to fit" not in said
    assert load_recipe(tmp_path / "run/recipe.yaml").train.max_sequences == 64
