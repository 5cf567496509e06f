"""`trlt train` of a recipe with stages: one after the other, interrupted in each, and by two processes."""

from __future__ import annotations

import json
import os
import re
import signal

import pytest
import torch
from safetensors.torch import load_file
from test_train_interrupted import interrupt  # noqa: F401  (a fixture)
from typer.testing import CliRunner

from trlt.cli import app
from trlt.errors import RecipeError
from trlt.files import read_log
from trlt.recipe import Recipe, load_recipe, save_recipe

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")

RECIPE = """
name: small
model: {{path: {model}, dtype: float32, device: cpu}}
video: {{root: {videos}, max_tokens: 32, workers: 0}}
train:
  data: {data}
  prompts_per_step: 4
  group_size: 4
  think: false
  max_new_tokens: 8
  max_steps: 3
  save_steps: 2
  gradient_checkpointing: false
  learning_rate: 1e-3
  stages:
    - {{method: sft, sft: {{batch: 4}}}}
    - {{method: grpo, scale_rewards: task, overlong_tokens: 6, beta: 0.05}}
"""


@pytest.fixture
def recipe(tmp_path, tiny_path, clips_and_samples):
    path = tmp_path / "staged.yaml"
    path.write_text(RECIPE.format(model=tiny_path, videos=clips_and_samples.videos, data=clips_and_samples.samples))
    return path


def weights(folder):
    return load_file(folder / "model/model.safetensors")


def test_each_begins_where_the_one_before_it_ended_and_goes_on_where_it_was_left(trlt, recipe, tiny_path, tmp_path, interrupt):  # noqa: F811
    found = trlt("train", recipe, "--out", "run", "--json")
    run, first = tmp_path / "run", tmp_path / "run/stage-1-sft"
    assert [one["method"] for one in found["stages"]] == ["sft", "grpo"] and found["model"] == "run/model"
    assert [len(read_log(folder / "log.jsonl")) for folder in (first, run)] == [3, 3]
    assert load_recipe(run / "recipe.yaml").model.path == "run/stage-1-sft/model"
    assert read_log(run / "log.jsonl")[0]["kl"] == 0, "its reference is the first stage's model"
    page = (run / "report.html").read_text(encoding="utf-8")
    models = re.findall(r"trlt eval [^<]*?--model (\S+) --out ([\w-]+)", page)
    assert models[:2] == [(str(tiny_path), "eval-base"), ("run/model", "eval-tuned")], "the stage's model isn't the tuned one"
    assert len((run / "task_scale.jsonl").read_text().splitlines()) >= 3
    page = (run / "report.html").read_text()
    assert "stage-1-sft" in page, "the page shows both"

    mend = interrupt("sft", 1, signal.SIGTERM)
    left = CliRunner().invoke(app, ["train", str(recipe), "--out", "other"])
    assert left.exit_code == 143 and left.stderr.splitlines()[-1] == (
        "interrupted: step 2 saved; the same command goes on from there"
    )
    mend()
    assert not (tmp_path / "other/manifest.json").exists()
    mend = interrupt("grpo", 1, signal.SIGTERM)
    left = CliRunner().invoke(app, ["train", str(recipe), "--out", "other"])
    assert left.exit_code == 143 and "stage 2 of 2 (grpo): other" in left.stderr
    mend()
    again = trlt("train", recipe, "--out", "other", "--json")
    assert again["steps"] == 3
    for folder in ("", "stage-1-sft"):
        one, two = weights(run / folder), weights(tmp_path / "other" / folder)
        assert all(torch.equal(value, two[name]) for name, value in one.items())
    # But for the paths of their models the two are the same.
    assert (run / "task_scale.jsonl").read_bytes() == (tmp_path / "other/task_scale.jsonl").read_bytes()


def test_a_dry_run_shows_each_stage_and_what_its_algorithm_stands_for(trlt, recipe):
    found = trlt("train", recipe, "--dry-run", "--json", "--set", "train.stages.1.algorithm=ema_grpo")
    plans = [one["plan"] for one in found["stages"]]
    assert [plan["method"] for plan in plans] == ["sft", "grpo"] and "algorithm" not in plans[0]
    assert plans[1]["algorithm"].startswith("ema_grpo (arXiv 2512.03043): scale_rewards task, loss dapo, ")
    assert "beta 0.05 (yours; ema_grpo has 0.01)" in plans[1]["algorithm"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ["--set", "train.beta=0"],
            "--set train.beta=0: the recipe's stages say it themselves; set it there: train.stages.1.beta",
        ),
        (["--stage", "3"], "--stage 3: the recipe has 2 stages"),
        (["--stage", "2"], "stage 1 isn't complete; train it first, with --stage 1"),
        (["--set", "train.stages=[]", "--stage", "1"], "has no stages"),
        (["--set", "train.stages.2.beta=0"], "expected train.stages.N.KEY, with N from 0 to 1"),
        (["--set", "train.stages.1.los=dapo"], "train.stages.1.los: unknown key; did you mean loss?"),
    ],
)
def test_what_cannot_be_is_told(trlt, recipe, words, told):
    done = CliRunner().invoke(app, ["train", str(recipe), *words])
    assert done.exit_code not in (0, 1) and told in done.stderr.replace("\n", " "), done.stderr


def test_a_launcher_starts_one_stage(trlt, recipe, monkeypatch):
    for name, value in {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"}.items():
        monkeypatch.setenv(name, value)
    done = CliRunner().invoke(app, ["train", str(recipe)])
    assert "`trlt train --stage 1`" in done.stderr


def test_a_saved_recipe_has_the_same_stages(tmp_path):
    given = {"algorithm": "dapo", "stages": [{"method": "sft"}, {"algorithm": "gspo", "lora": {"rank": 4}}, {}]}
    recipe = Recipe.model_validate({"train": given})
    save_recipe(tmp_path / "r.yaml", recipe)
    assert (again := load_recipe(tmp_path / "r.yaml")) == recipe
    second, third = again.train.stage(1), again.train.last
    assert (second.ratio_level, second.epsilon, second.min_reward_range, second.lora.rank) == ("sequence", 3e-4, 0, 4)
    assert (third.loss, third.epsilon_high, third.lora) == ("dapo", 0.28, None)
    with pytest.raises(RecipeError, match=r"train\.stages\.0\.stages: a stage has no stages"):
        load_recipe(None, sets=["train.stages=[{stages: []}]"])


@pytest.mark.slow
def test_two_processes_train_both_stages_as_one_does(trlt, recipe, tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    trlt("train", recipe, "--out", "one", "--no-page", "--json")
    several = ["--set", "train.launch={processes: 2, strategy: ddp}"]
    done = CliRunner().invoke(app, ["train", str(recipe), "--out", "two", "--no-page", *several])
    assert done.exit_code == 0, done.output
    for folder in ("stage-1-sft", ""):
        one, two = weights(tmp_path / "one" / folder), weights(tmp_path / "two" / folder)
        assert max(float((one[name] - two[name]).abs().max()) for name in one) < 1e-4
    rows = [[json.loads(line) for line in (tmp_path / out / "task_scale.jsonl").open()] for out in ("one", "two")]
    assert rows[0] == rows[1] and os.environ.get("RANK") is None


@pytest.mark.parametrize(
    ("sets", "told"),
    [
        ("train.stages.1.online={probe: gone, near: {}}", r"train.online.probe: gone/rows/probe.jsonl: no such file"),
        ("train.stages.1.offline={data: gone.jsonl}", "gone.jsonl"),
        ("train.stages.1.data=gone.jsonl", r"gone.jsonl: there is no such file; stage 2 trains on it"),
        ("reward.judge={model: j, url: 'http://127.0.0.1:9', attempts: 1}", "reward.judge: http://127.0.0.1:9 failed 1 time"),
    ],
)
def test_what_a_later_stage_lacks_is_told_before_the_first_trains(trlt, recipe, tmp_path, sets, told):  # noqa: ARG001  (its folder)
    result = CliRunner().invoke(app, ["train", str(recipe), "--out", "run", "--set", sets])
    assert result.exit_code and re.search(told, result.stderr), result.output
    assert not (tmp_path / "run/stage-1-sft/log.jsonl").exists()
