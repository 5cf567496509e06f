from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")

RECIPE = """
name: small
model: {{path: {model}, dtype: float32, device: cpu}}
video: {{root: {videos}, max_tokens: 32, workers: 1}}
train:
  data: {data}
  prompts_per_step: 2
  prompts_per_pass: 1
  group_size: 4
  max_new_tokens: 8
  max_steps: 2
  save_steps: 1
  gradient_checkpointing: false
  learning_rate: 1e-3
  sft: {{batch: 4}}
"""


@pytest.fixture
def recipe(tmp_path, tiny_path, clips_and_samples):
    path = tmp_path / "small.yaml"
    path.write_text(RECIPE.format(model=tiny_path, videos=clips_and_samples.videos, data=clips_and_samples.samples))
    return path


def test_grpo_from_a_recipe_to_a_model_that_loads(trlt, recipe, tmp_path):
    found = trlt("train", recipe, "--out", "run", "--json")
    assert found["steps"] == 2 and found["method"] == "grpo" and found["parity"]["largest"] < 1e-4
    run = tmp_path / "run"
    assert {path.name for path in run.iterdir()} >= {"recipe.yaml", "manifest.json", "log.jsonl", "result.json", "model"}
    from transformers import AutoProcessor, Qwen2_5_VLForConditionalGeneration

    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(run / "model")
    assert model.config.model_type == "qwen2_5_vl" and AutoProcessor.from_pretrained(run / "model").video_token_id
    again = trlt("train", recipe, "--out", "run", "--json")
    assert again == found, "a complete run is not run again"


def test_another_recipe_is_refused_and_names_what_differs(trlt, recipe):
    trlt("train", recipe, "--out", "run")
    message = trlt("train", recipe, "--out", "run", "--set", "train.beta=0.5", code=7)
    assert "train.beta: 0.01 -> 0.5" in message and "--fresh" in message


def test_sft_from_a_recipe(trlt, recipe, tmp_path):
    found = trlt("train", recipe, "--set", "train.method=sft", "--out", "run", "--json")
    assert found["steps"] == 2 and found["parity"] is None and found["reward_first"] is None
    losses = [json.loads(line)["loss"] for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert len(losses) == 2 and losses[1] < losses[0]


def test_dry_run_shows_the_plan_and_loads_no_model(trlt, recipe, tmp_path):
    found = trlt("train", recipe, "--dry-run", "--set", "train.launch.processes=2", "--out", "run", "--json")
    plan = found["plan"]
    assert plan["processes"] == 2 and plan["strategy"] == "fsdp2" and plan["prompts_per_process_and_step"] == 1
    assert "--use_fsdp" in plan["launcher"] and "--num_processes 2" in plan["launcher"]
    assert found["recipe"]["train"]["group_size"] == 4
    assert not (tmp_path / "run").exists()


def test_faults_are_told_before_any_work(trlt, recipe, tmp_path):
    assert "train.data" in trlt("train", recipe, "--set", "train.data=null", code=2)
    assert "nowhere.jsonl" in trlt("train", recipe, "--data", "nowhere.jsonl", code=3)
    message = trlt("train", recipe, "--model", "some/model-that-is-not-there", code=5)
    assert "some/model-that-is-not-there" in message and "--model miniature" in message
    message = trlt("train", recipe, "--dry-run", "--set", "train.launch.processes=3", code=2)
    assert "train.prompts_per_step" in message and "3 processes" in message
    assert "did you mean beta" in trlt("train", recipe, "--set", "train.betta=1", code=2)
    (tmp_path / "empty").mkdir()
    message = trlt("train", recipe, "--set", "video.root=empty", "--out", "run", code=3)
    assert "samples have no video" in message and "video.root" in message
