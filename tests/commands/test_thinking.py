"""Models whose chat template begins every answer with `<think>`, by the commands."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from made_clips import choice, write_clip
from safetensors.torch import load_file, save_file

from trlt.lab.miniature.tiny import CHAT_TEMPLATE
from trlt.rollout import read_rows
from trlt.task.sample import write_samples
from trlt.train.completion_log import read_completions

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")

OPENS = CHAT_TEMPLATE.replace("assistant\n' }}", "assistant\n<think>\n' }}")
RECIPE = """
name: small
model: {{path: {model}, dtype: float32, device: cpu}}
video: {{root: {videos}, max_tokens: 32, workers: 0}}
probe: {{max_new_tokens: 6, think: true}}
eval: {{max_new_tokens: 6}}
train:
  data: {data}
  prompts_per_step: 2
  group_size: 2
  max_new_tokens: 6
  max_steps: 1
  gradient_checkpointing: false
  sft: {{batch: 2}}
"""


@pytest.fixture
def thinker(tmp_path, tiny_path):
    """The random model, with a template of its own."""
    folder = tmp_path / "thinker"
    shutil.copytree(tiny_path, folder)
    (folder / "chat_template.jinja").write_text(OPENS)
    return folder


@pytest.fixture
def recipe(tmp_path, thinker, clips_and_samples):
    path = tmp_path / "small.yaml"
    path.write_text(RECIPE.format(model=thinker, videos=clips_and_samples.videos, data=clips_and_samples.samples))
    return path


SFT = ("--set", "train.method=sft")
COMMANDS = {
    "eval": (
        ("eval", "--bench", "charades", "--annotations", "bench", "--videos", "bench", "--no-think"),
        "eval.think is false",
    ),
    "infer": (("infer", "clip.mp4", "what moves", "--no-think"), "eval.think is false"),
    "infer of samples": (("infer", "SAMPLES", "--no-think"), "eval.think is false"),
    "serve": (("serve", "--port", "0", "--no-think"), "eval.think is false"),
    "probe": (("probe", "--data", "SAMPLES", "--set", "probe.think=false"), "probe.think is false"),
    "estimate": (("probe", "--data", "SAMPLES", "--estimate", "--set", "probe.think=false"), "probe.think is false"),
    "train": (("train", "RECIPE", "--set", "train.think=false"), "train.think is false"),
    "sft": (("train", "RECIPE", *SFT), "train.sft.targets is answer"),
    "mixed": (("train", "RECIPE", *SFT, "--set", "train.sft.targets=mixed"), "train.sft.targets is mixed"),
    "dry run": (("train", "RECIPE", "--dry-run", "--set", "train.think=false"), "train.think is false"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_answers_without_reasoning_are_refused_before_weights_are_read(
    trlt, name, thinker, recipe, bench, tmp_path, clips_and_samples
):
    weights = load_file(thinker / "model.safetensors")
    weights.popitem()  # whoever reads them finds a tensor missing
    save_file(weights, thinker / "model.safetensors", metadata={"format": "pt"})
    write_clip(tmp_path / "clip.mp4", 2)
    words, said = COMMANDS[name]
    words = [{"SAMPLES": clips_and_samples.samples, "RECIPE": recipe}.get(word, word) for word in words]
    flags = () if words[0] == "train" else ("--recipe", recipe)
    message = trlt(*words, *flags, code=5)
    key = said.split(" is ")[0]
    wanted = "reasoning" if "targets" in key else "true"
    assert f"model.path: {thinker}: its chat template begins every answer with <think>" in message and said in message
    assert f"set {key}: {wanted}" in message and "Instruct" in message and ("--think" in message) == (key == "eval.think")
    assert not (tmp_path / "runs").exists()


def test_from_a_probe_to_a_tuned_model_all_texts_begin_with_the_opening(trlt, recipe, tmp_path, clips_and_samples):
    probe = trlt("probe", "--data", clips_and_samples.samples, "--recipe", recipe, "-n", "2", "--out", "probe", "--json")
    rows = list(read_rows(Path(probe["rows"])))
    assert probe["summary"]["errors"] == 0 and len(rows) == 16
    for row in rows:
        assert all(text.startswith("<think>\n") for text in row["texts"]) and max(row["tokens"]) <= 6
    trlt("train", recipe, "--out", "grpo", "--json")
    said = read_completions(tmp_path / "grpo").to_pylist()
    assert said and all(row["text"].startswith("<think>\n") and row["tokens"] <= 6 for row in said)
    trlt("train", recipe, "--set", "train.method=sft", "--set", "train.sft.targets=reasoning", "--out", "sft", "--json")
    trlt("infer", clips_and_samples.samples, "--recipe", recipe, "--model", "sft", "--out", "rows.jsonl")
    assert all(row["error"] is None and row["texts"][0].startswith("<think>\n") for row in read_rows(Path("rows.jsonl")))


def test_a_format_that_begins_otherwise_is_refused(trlt, recipe, tmp_path):
    probe = ("probe", "--data", tmp_path / "one.jsonl", "-r", recipe)
    write_samples(tmp_path / "one.jsonl", [choice("c", "a.mp4")])
    square = ("--set", "prompt.format='[WHY]{reasoning}[/WHY] [SAY]{answer}[/SAY]'")
    said = trlt(*probe, *square, code=5)
    assert "begins every answer with <think>" in said and "prompt.format begins otherwise" in said
    assert "set prompt.format: <think>{reasoning}</think> … {answer}" in said
    tagged = ("--set", "prompt.format='<think>{reasoning}</think> [SAY]{answer}[/SAY]'")
    assert "not one sample could be asked" in trlt(*probe, *tagged, "--videos", tmp_path, code=4), "only its video isn't there"
