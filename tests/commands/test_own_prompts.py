"""Prompts in a recipe's own words, by every command that asks."""

from __future__ import annotations

import json
import shutil

import pytest
from made_clips import choice, event, pool, write_clip
from typer.testing import CliRunner

from trlt.cli import app
from trlt.recipe import load_recipe
from trlt.rollout import read_rows
from trlt.task.sample import write_samples

ASK = """{# as our lab asks #}
{% if task == "grounding" %}
When: {{ question }}
{% else %}
{{ question }}
{% for line in lettered %}
* {{ line }}
{% endfor %}
{% endif %}
Reply: {{ format }}
"""
FORMAT = "[WHY]{reasoning}[/WHY] [TIME]{span}[/TIME] [ANSWER]{answer}[/ANSWER]"
RECIPE = """name: own
prompt:
  template: ask.jinja
  system: You watch videos.
  format: "[WHY]{reasoning}[/WHY] [TIME]{span}[/TIME] [ANSWER]{answer}[/ANSWER]"
probe: {n: 2, max_new_tokens: 8, answer_format: letter}
train: {prompts_per_step: 2, group_size: 2, max_steps: 1, max_new_tokens: 8, save_steps: 1}
"""
FEW = ("--set", "video.workers=0", "--set", "model.dtype=float32", "--set", "model.device=cpu")


@pytest.fixture(autouse=True)
def no_keys(monkeypatch):
    for name in ("TRLT_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def own(trlt, tmp_path):
    """The command line in a folder with a recipe, its template, and two samples about one clip."""
    (tmp_path / "ask.jinja").write_text(ASK)
    (tmp_path / "r.yaml").write_text(RECIPE)
    write_clip(tmp_path / "videos/a.mp4", 2.0)
    samples = [choice("c", "a.mp4", duration=2.0), event("e", "a.mp4", duration=2.0)]
    write_samples(tmp_path / "pool.jsonl", samples)
    return trlt


def asked(server):
    return [one["text"] for one in server.log]


def test_prompts_formats_and_right_answers_are_shown_without_a_model(own, tmp_path):
    args = ("prompt", "show", "--data", "pool.jsonl", "-r", "r.yaml")
    shown = own(*args, "--json")
    first, second = shown["samples"]
    assert (
        first["user"].splitlines()[-1] == "Reply: [WHY]reasoning[/WHY] [ANSWER]letter[/ANSWER]" and "\n* A. " in first["user"]
    )
    assert first["target"] == "[WHY][/WHY] [ANSWER]B[/ANSWER]" and first["system"] == "You watch videos."
    assert second["user"].startswith("When: ") and second["target"].startswith("[WHY][/WHY] [TIME]")
    assert shown["prompt"] == load_recipe(tmp_path / "r.yaml").prompt.words().version and shown["name"] == "ask.jinja"
    text = own(*args, "--stage", "probe", "-n", "2")
    assert "Reply: [ANSWER]letter[/ANSWER]" in text and f"Prompts: {shown['prompt']} (ask.jinja), as probe asks" in text
    assert "--stage prob: unknown; did you mean probe?" in own(*args, "--stage", "prob", code=2)
    plain = own("prompt", "show", "--data", "pool.jsonl", "--json")
    assert plain["prompt"] == "2" and "<think> reasoning </think> <answer> letter </answer>" in plain["samples"][0]["user"]


def test_a_template_at_fault_ends_every_command_before_a_model_is_looked_for(own, bench, tmp_path):
    (tmp_path / "ask.jinja").write_text("{{ question }}\nReply: [ANSWER] letter [/ANSWER] {{ format }}\n{{ meta.level }}")
    nowhere = ("--set", "model.path=nowhere")
    said = "prompt.template: line 3: 'dict object' has no attribute 'level'"
    place = ("--annotations", bench, "--videos", bench)
    for words in (
        ("probe", "--data", "pool.jsonl", "--videos", "videos", "-r", "r.yaml"),
        ("probe", "--data", "pool.jsonl", "--videos", "videos", "-r", "r.yaml", "--estimate"),
        ("train", "r.yaml", "--data", "pool.jsonl", "--set", "video.root=videos"),
        ("train", "r.yaml", "--data", "pool.jsonl", "--set", "video.root=videos", "--set", "train.method=sft"),
        ("infer", "pool.jsonl", "--videos", "videos", "-r", "r.yaml"),
        ("infer", "videos/a.mp4", "a dog barks", "-r", "r.yaml"),
        ("eval", "-b", "charades", *place, "-r", "r.yaml", "--samples"),
        ("prompt", "show", "--data", "pool.jsonl", "-r", "r.yaml"),
    ):
        assert said in own(*words, *([] if words[0] == "prompt" else nowhere), code=2), words
    (tmp_path / "ask.jinja").write_text("{{ question }}\n{{ qestion }}")
    message = own("probe", "--data", "pool.jsonl", "-r", "r.yaml", code=2)
    assert "r.yaml: prompt.template: ask.jinja: line 2: 'qestion' is no field; did you mean question?" in message


def test_a_probe_asks_and_reads_in_own_words_and_belongs_to_them(own, fake, tmp_path):
    server = fake("--kind", "vllm")
    args = ("--data", "pool.jsonl", "--videos", "videos", "--server", server.url, *FEW, "--out", "p")
    result = own("probe", *args, "-r", "r.yaml", "--json")
    assert result["summary"]["errors"] == 0
    texts = sorted(asked(server), reverse=True)
    assert len(texts) == 2 and texts[0].endswith("\nReply: [ANSWER]letter[/ANSWER]")
    assert texts[1].startswith("When: ") and texts[1].endswith("\nReply: [TIME]start to end[/TIME]")
    rows = list(read_rows(tmp_path / "p/rows/probe.jsonl"))
    assert rows[0]["texts"][0].startswith("<answer> "), "as this server says, whatever it is asked"
    assert rows[0]["format_rate"] == 0 and [one["payload"] for one in rows[0]["answers"]] == [None, None]
    version = load_recipe(tmp_path / "r.yaml").prompt.words().version
    manifest = json.loads((tmp_path / "p/manifest.json").read_text())
    assert manifest["prompt"] == manifest["protocol"]["prompt"] == version and version.startswith("own:")

    (tmp_path / "ask.jinja").write_text(ASK.replace("Reply", "Answer"))
    message = own("probe", *args, "-r", "r.yaml", code=7)
    assert "prompt.template.all: line 10: 'Reply: {{ format }}' -> 'Answer: {{ format }}'" in message
    (tmp_path / "ask.jinja").unlink()
    assert own("probe", *args, "-r", "p/recipe.yaml", "--json")["summary"]["resumed"] == 2, "the recipe holds the text"
    assert own("probe", *args, "-r", "r.yaml", code=2)


def test_the_own_format_earns_the_format_reward_and_is_scored(own, bench, write_jsonl, tmp_path):
    said = {"AAAAA:0": "[WHY]so[/WHY] [TIME]0 to 1[/TIME]", "AAAAA:1": "<think>so</think> <answer> 1 to 2 </answer>"}
    said |= {"BBBBB:2": "[TIME]0.5 to 1.5[/TIME]", "BBBBB:3": "[WHY]a [TIME]0 to 1[/TIME] b[/WHY] [TIME]1 to 3[/TIME]"}
    listed = own("eval", "-b", "charades", "--annotations", bench, "-r", "r.yaml", "--samples", "--out", "s", "--json")
    questions = [json.loads(line) for line in (tmp_path / "s/charades.jsonl").read_text().splitlines()]
    assert [one["id"] for one in questions][:2] == ["AAAAA:0", "AAAAA:1"] and listed["samples"]["charades"]["questions"] == 4
    assert questions[0]["user"] == "When: a cat sits\nReply: [WHY]reasoning[/WHY] [TIME]start to end[/TIME]"
    write_jsonl(tmp_path / "p.jsonl", [{"id": one["id"], "text": said[one["id"]]} for one in questions if one["id"] in said])
    args = ("eval", "-b", "charades", "--annotations", bench, "--predictions", "p.jsonl")
    entry = own(*args, "-r", "r.yaml", "--out", "e", "--json")["benchmarks"]["charades"]
    rows = {row["id"]: row for row in read_rows(tmp_path / "e/rows/charades.jsonl")}
    formats = {id: row["scores"][0]["format"] for id, row in rows.items() if id in said}
    assert formats == {"AAAAA:0": 1.0, "AAAAA:1": 0.0} | {id: 0.0 for id in list(said)[2:] if id in rows}
    assert rows["AAAAA:0"]["ious"] == [1.0] and rows["AAAAA:1"]["ious"] == [0.0]
    version = load_recipe(tmp_path / "r.yaml").prompt.words().version
    assert entry["protocol"]["prompt"] == version
    own(*args, "--out", "d")
    warned = own("compare", "e", "d", "--json")["benchmarks"]["charades"]["warnings"]
    assert any(line.startswith("prompt: ") and version in line for line in warned), warned


def test_one_video_is_asked_in_own_words(own, fake):
    server = fake("--kind", "vllm")
    ask = ("infer", "videos/a.mp4", "what is it", "-o", "a ball", "-o", "a box", "-o", "a cone", *FEW, "--server", server.url)
    own(*ask, "-r", "r.yaml")
    tags = "prompt.format=<think>{reasoning}</think> <answer>{answer}</answer> <t>{span}</t>"
    given = own(*ask, "-r", "r.yaml", "--set", tags, "--no-think", "--json")
    first, second = asked(server)
    assert first == "what is it\n* A. a ball\n* B. a box\n* C. a cone\nReply: [WHY]reasoning[/WHY] [ANSWER]letter[/ANSWER]"
    assert second.endswith("\nReply: <answer>letter</answer>") and given["well_formed"] and given["answer"] in ("A", "B", "C")


def test_other_tools_files_hold_own_words(own, tmp_path):
    for format in ("trl", "ms-swift"):
        own("export", "pool.jsonl", "--format", format, "--out", f"{format}.jsonl", "-r", "r.yaml")
        record = json.loads((tmp_path / f"{format}.jsonl").read_text().splitlines()[0])
        assert record["solution"] == "[ANSWER]B[/ANSWER]"
        assert "You watch videos." in json.dumps(record) and "Reply: [WHY]reasoning[/WHY]" in json.dumps(record)
        bare = ("--format", format, "--out", "bare.jsonl")
        (tmp_path / "bare.yaml").write_text("prompt: {system: ''}\n")
        own("export", "pool.jsonl", *bare, "-r", "bare.yaml")
        turns = json.loads((tmp_path / "bare.jsonl").read_text().splitlines()[0])
        assert [turn["role"] for turn in turns.get("prompt") or turns["messages"]] == ["user"], "no empty system turn"
    refused = own("export", "pool.jsonl", "--format", "video-r1", "--out", "x.json", "-r", "r.yaml", code=2)
    assert "--recipe: video-r1 asks in its own words" in refused


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")
def test_training_asks_and_targets_in_own_words(own, tiny_path, tmp_path):
    samples = pool(tmp_path / "more")[:6]
    write_samples(tmp_path / "train.jsonl", samples)
    args = ["train", "r.yaml", "--data", "train.jsonl", "--model", tiny_path, *FEW, "--set", "video.root=more"]
    own(*args, "--out", "t")
    version = load_recipe(tmp_path / "r.yaml").prompt.words().version
    assert json.loads((tmp_path / "t/manifest.json").read_text())["prompt"] == version
    card = (tmp_path / "t/model/README.md").read_text()
    assert 'user = "When: a person opens the door\\nReply: [WHY]reasoning[/WHY] [TIME]start to end[/TIME]"' in card
    assert 'system = "You watch videos."' in card and version in card
    (tmp_path / "ask.jinja").write_text(ASK.replace("Reply", "Answer"))
    assert "prompt.template.all: line 10" in own(*args, "--out", "t", code=7)
    shutil.copy(tmp_path / "t/recipe.yaml", tmp_path / "saved.yaml")
    assert load_recipe(tmp_path / "saved.yaml").prompt.words().version == version
    sft = ["--set", "train.method=sft", "--set", "train.sft.batch=2", "--out", "s"]
    own(*args, *sft, "--set", "prompt.system=''")
    card = (tmp_path / "s/model/README.md").read_text()
    assert '"role": "system"' not in card and "system =" not in card


@pytest.mark.slow
def test_samples_that_were_probed_in_other_words_are_noted_by_training(own, tiny_path, fake, tmp_path):
    server = fake("--kind", "vllm")
    args = ("--data", "pool.jsonl", "--videos", "videos", "--server", server.url, *FEW, "--out", "p", "-n", "2")
    own("probe", *args)
    own("select", "--probe", "p", "--by", "random", "--out", "few.jsonl")
    version = load_recipe(tmp_path / "r.yaml").prompt.words().version
    words = ["train", "r.yaml", "--data", "few.jsonl", "--model", tiny_path, *FEW]
    told = CliRunner().invoke(app, [str(word) for word in words]).stderr
    assert f"few.jsonl was selected by answers to prompts 2, and training asks by {version}" in told
