"""The whole way by the commands, for a tiny model of each family: probe, select, tune, merge, evaluate, ask and serve."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import sys
import urllib.request
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from paths import ROOT
from safetensors.torch import load_file

from trlt.engine.families import FAMILIES
from trlt.files import read_log
from trlt.rollout import read_rows
from trlt.task.sample import read_samples
from trlt.train.completion_log import read_completions
from trlt.train.rollouts import GroupRollouts

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")

RECIPE = """
name: small
model: {{path: {model}, dtype: float32, device: cpu}}
video: {{root: {videos}, max_tokens: 16, workers: 0}}
probe: {{max_new_tokens: 4, think: true}}
select: {{by: random, budget: 4}}
eval: {{max_new_tokens: 4}}
train:
  data: {data}
  prompts_per_step: 2
  group_size: 2
  max_new_tokens: 4
  max_steps: 2
  save_steps: 1
  keep_checkpoints: 2
  gradient_checkpointing: false
  learning_rate: 1e-3
  sft: {{batch: 2, targets: reasoning}}
"""
OF = {"qwen3_5": "<think>\n"}
"""What completions begin with where reasoning is asked for, by `model_type`; with the templates that TRL ships."""


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    """Six samples about two clips, two of each task."""
    from trlt.lab.miniature import warmup

    return warmup.write(tmp_path_factory.mktemp("few"), 6, seed=1)


@pytest.fixture(scope="module", params=FAMILIES, ids=lambda family: family.name)
def made(request, tmp_path_factory, few):
    """A family, its tiny model with a published chat template, and a recipe for it, which the tests share."""
    from importlib import resources

    from trlt.engine.model import save
    from trlt.lab.miniature.tiny import corpus, train_tokenizer

    family, folder = request.param, tmp_path_factory.mktemp("family")
    kind = family.model_types[0]
    tokenizer = train_tokenizer(corpus(read_samples(few.samples)))
    if kind.startswith("qwen3"):
        tokenizer.add_tokens(["<think>", "</think>"])
    name = "qwen3_5_think" if kind.startswith("qwen3_5") else "qwen3_vl" if kind.startswith("qwen3") else "qwen2_5_vl"
    template = resources.files("trl").joinpath(f"chat_templates/{name}.jinja").read_text(encoding="utf-8")
    model, processor = family.tiny(tokenizer, template, seed=3, hidden=64)
    processor.chat_template = template  # as published, with the marks that loading may take out
    save(model, processor, folder / "base")
    recipe = folder / "small.yaml"
    recipe.write_text(RECIPE.format(model=folder / "base", videos=few.videos, data=few.samples))
    return SimpleNamespace(family=family, folder=folder, base=folder / "base", recipe=recipe, opening=OF.get(kind, ""))


@pytest.fixture
def invented_rewards(monkeypatch):
    """A random model earns nothing: here a completion earns by its token ids, so that there is something to learn."""
    honest = GroupRollouts.score

    def score(self, index, group, completions, grades, *step):
        rewards = tuple((sum(one.tokens) + 7 * index) % 11 / 10 for one in completions)
        return replace(honest(self, index, group, completions, grades, *step), rewards=rewards)

    monkeypatch.setattr(GroupRollouts, "score", score)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return {name: value for file in sorted(folder.glob("*.safetensors")) for name, value in load_file(file).items()}


@pytest.mark.usefixtures("invented_rewards")
def test_from_a_probe_to_a_tuned_model_with_results_on_its_card(trlt, made, few, bench, tmp_path):
    plan = trlt("train", made.recipe, "--dry-run", "--json")["plan"]
    assert plan["memory"]["peak_gb"] > 0 and plan["steps"] == 2
    probe = trlt("probe", "--data", few.samples, "--recipe", made.recipe, "-n", "2", "--out", "probe", "--json")
    rows = list(read_rows(Path(probe["rows"])))
    assert [row["error"] for row in rows] == [None] * 6 and probe["summary"]["parity"]["largest"] < 1e-4
    assert all(text.startswith(made.opening) for row in rows for text in row["texts"]) and max(rows[0]["tokens"]) <= 4
    trlt("select", "--probe", probe["rows"], "--recipe", made.recipe, "--out", "train.jsonl")
    assert len(read_samples(Path("train.jsonl"))) == 4
    tuned = trlt("train", made.recipe, "--data", "train.jsonl", "--out", "run", "--json")
    assert tuned["steps"] == 2 and tuned["broken"] == {} and tuned["parity"]["largest"] < 1e-4
    assert all(row["grad_norm"] > 0 for row in read_log(tmp_path / "run" / "log.jsonl"))
    texts = read_completions(tmp_path / "run").column("text").to_pylist()
    assert len(texts) == 8 and all(text.startswith(made.opening) for text in texts)
    before, after = weights(made.base), weights(tmp_path / "run" / "model")
    assert before.keys() == after.keys() and any(not torch.equal(before[name], after[name]) for name in before)
    # As after a kill behind the first step.
    shutil.copytree("run", "again")
    shutil.rmtree(tmp_path / "again" / "model")
    shutil.rmtree(tmp_path / "again" / "checkpoints" / "checkpoint-2")
    (tmp_path / "again" / "result.json").unlink()
    assert trlt("train", made.recipe, "--data", "train.jsonl", "--out", "again", "--json")["steps"] == 2
    resumed = weights(tmp_path / "again" / "model")
    assert all(torch.equal(after[name], resumed[name]) for name in after)
    official = ("--bench", "charades", "--annotations", bench, "--videos", bench / "Charades_v1_480")
    told = trlt("eval", *official, "--model", "run", "--recipe", made.recipe, "--out", "results", "--json")
    assert told["benchmarks"]["charades"]["n"] == 4
    card = (tmp_path / "run" / "model" / "README.md").read_text(encoding="utf-8")
    assert f"A {made.family.name}, tuned on videos with GRPO by trlt" in card and "mIoU" in card


def test_adapters_learn_from_answers_are_merged_and_asked(trlt, made, few, tmp_path):
    sets = ("--set", "train.method=sft", "--set", "train.lora={rank: 4, alpha: 8}", "--set", "train.learning_rate=0.05")
    found = trlt("train", made.recipe, *sets, "--out", "lora", "--json")
    assert found["steps"] == 2 and (tmp_path / "lora" / "adapter" / "adapter_config.json").is_file()
    trlt("train", "merge", "lora/adapter", "--out", "merged")
    base, whole, merged = weights(made.base), weights(tmp_path / "lora" / "model"), weights(tmp_path / "merged")
    assert all(torch.equal(whole[name], merged[name]) for name in whole) and base.keys() == merged.keys()
    changed = {name.rpartition(".")[0].rpartition(".")[2] for name in base if not torch.equal(base[name], merged[name])}
    assert {"q_proj", "v_proj"} <= changed and changed <= {*made.family.attention_layers, *made.family.mlp_layers}
    video = next(few.videos.glob("*.mp4"))
    asked = ("infer", video, "a circle moves", "--recipe", made.recipe, "--html", "page.html", "--json")
    by_sum, by_merged = (trlt(*asked, "--model", one) for one in ("lora/adapter", "merged"))
    assert by_sum["text"] == by_merged["text"] and by_sum["text"].startswith(made.opening)
    assert by_merged["parity"]["largest"] < 1e-4 and "a circle moves" in Path("page.html").read_text(encoding="utf-8")


def test_all_weights_learn_from_answers(trlt, made, tmp_path):
    found = trlt("train", made.recipe, "--set", "train.method=sft", "--out", "sft", "--json")
    assert found["steps"] == 2
    before, after = weights(made.base), weights(tmp_path / "sft" / "model")
    assert (
        before.keys() == after.keys() and sum(not torch.equal(before[name], after[name]) for name in before) > len(before) / 2
    )


@pytest.mark.slow
def test_a_server_answers_by_its_endpoint(made, few, tmp_path):
    command = [sys.executable, "-m", "trlt", "serve", "--recipe", str(made.recipe), "--port", "0"]
    env = {**os.environ, "PYTHONUNBUFFERED": "1", "TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env, cwd=tmp_path)
    try:
        assert process.stdout and process.stderr
        line = process.stdout.readline()
        found = re.search(r"Serving base at (http://127\.0\.0\.1:\d+) ", line)
        assert found, line + process.stderr.read()
        address = "data:video/mp4;base64," + base64.b64encode(next(few.videos.glob("*.mp4")).read_bytes()).decode()
        content = [{"type": "video_url", "video_url": {"url": address}}, {"type": "text", "text": "what moves?"}]
        body = {"model": "base", "messages": [{"role": "user", "content": content}], "max_tokens": 4}
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{found[1]}/v1/chat/completions", json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=120) as answer:
            said = json.load(answer)
    finally:
        process.terminate()
        _, complaints = process.communicate(timeout=30)
    assert "Traceback" not in complaints
    assert said["choices"][0]["message"]["content"].startswith(made.opening) and said["usage"]["completion_tokens"] <= 4
