from __future__ import annotations

import json
import re
import shlex
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from paths import ROOT
from safetensors.torch import load_file
from typer.testing import CliRunner

from trlt.cli import app
from trlt.task.sample import Span, read_samples, write_samples
from trlt.train.checkpoints import seal

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")


class Planted:
    """Makes a file where its pickle is read."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


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


@pytest.mark.parametrize("method", ["grpo", "sft"])
@pytest.mark.parametrize("quantize", ["null", "nf4"])
def test_adapters_end_in_a_model_that_loads_without_them(trlt, recipe, tmp_path, tiny_path, method, quantize):
    from transformers import Qwen2_5_VLForConditionalGeneration

    if quantize == "nf4":
        pytest.importorskip("bitsandbytes")
    sets = [f"train.method={method}", f"train.lora={{rank: 4, alpha: 8, quantize: {quantize}}}", "train.learning_rate=0.05"]
    found = trlt("train", recipe, *(text for one in sets for text in ("--set", one)), "--out", "run", "--json")
    run = tmp_path / "run"
    assert {path.name for path in (run / "adapter").iterdir()} >= {"adapter_config.json", "adapter_model.safetensors"}
    assert json.loads((run / "adapter" / "adapter_config.json").read_text())["base_model_name_or_path"] == str(tiny_path)
    adapters = load_file(run / "adapter" / "adapter_model.safetensors")
    assert {value.dtype for value in adapters.values()} == {torch.float32}, "at a small rate, BF16 weights don't move"
    base, tuned = (
        Qwen2_5_VLForConditionalGeneration.from_pretrained(folder).state_dict() for folder in (tiny_path, found["model"])
    )
    assert base.keys() == tuned.keys()
    moved = {key for key, value in base.items() if not torch.allclose(value, tuned[key].to(value), atol=1e-6)}
    assert all("language_model.layers" in key and "proj.weight" in key for key in moved)
    if method == "sft":  # a random model earns nothing by rewards
        assert len(moved) == 4 * 7
    for name in ("model", "adapter"):  # PEFT's own card is a form to be filled in
        card = (run / name / "README.md").read_text()
        assert (
            "| optimizer steps | 2 |" in card
            and "LoRA, rank 4" in card
            and str(tiny_path) in card
            and "Information Needed" not in card
        )


@pytest.mark.parametrize("lora", ["null", "{rank: 4, alpha: 8}"])
def test_a_tuned_model_draws_as_eval_does(trlt, recipe, tmp_path, tiny_path, lora):
    """And not as its base, whose settings are those of a published one."""
    base = shutil.copytree(tiny_path, tmp_path / "base")
    told = json.loads((base / "generation_config.json").read_text())
    published = {"do_sample": True, "repetition_penalty": 1.05, "temperature": 0.000001, "top_k": 1}
    (base / "generation_config.json").write_text(json.dumps(told | published))
    sets = [f"train.lora={lora}", "train.method=sft", "eval.temperature=0.25", "eval.top_p=0.5", "eval.max_new_tokens=77"]
    found = trlt("train", recipe, "--model", base, *(text for one in sets for text in ("--set", one)), "--out", "run", "--json")
    checkpoints = [] if lora != "null" else [*(tmp_path / "run/checkpoints").glob("checkpoint-*")]  # adapters alone have none
    assert checkpoints or lora != "null"
    for folder in (Path(found["model"]), *checkpoints):
        saved = json.loads((folder / "generation_config.json").read_text())
        del saved["transformers_version"]
        drawn = {"do_sample": True, "temperature": 0.25, "top_p": 0.5, "top_k": 0, "max_new_tokens": 77}
        assert saved == drawn | {key: told[key] for key in ("bos_token_id", "eos_token_id", "pad_token_id")}
        assert len(saved["eos_token_id"]) == 2


def test_lines_of_a_plan_that_does_not_fit_can_be_pasted(trlt):
    sets = ("train.lora={}", "train.launch.processes=1", "train.launch.gpu_gb=24", "model.path=Qwen/Qwen2.5-VL-7B-Instruct")
    command = ["train", ROOT / "recipes/32k.yaml", "--dry-run", *(text for one in sets for text in ("--set", one))]
    lines = [line.strip() for line in trlt(*command, code=2).splitlines() if line.strip().startswith("--set")]
    assert lines[0] == "--set train.lora.quantize=nf4"
    assert "It fits 24 GB" in trlt(*command, *shlex.split(lines[0]))


def test_another_recipe_is_refused_and_names_what_differs(trlt, recipe):
    trlt("train", recipe, "--out", "run")
    message = trlt("train", recipe, "--out", "run", "--set", "train.beta=0.5", code=7)
    assert "train.beta: 0.01 -> 0.5" in message and "--fresh" in message


def test_sft_from_a_recipe(trlt, recipe, tmp_path):
    found = trlt("train", recipe, "--set", "train.method=sft", "--out", "run", "--json")
    assert found["steps"] == 2 and found["parity"] is None and found["reward_first"] is None
    losses = [json.loads(line)["loss"] for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert len(losses) == 2 and losses[1] < losses[0]


def test_a_flipped_bit_in_a_checkpoint_is_noticed_before_a_step_is_taken(trlt, recipe, tmp_path):
    """It went on from such weights, up to 1e36 off, and ended well."""
    command = ["train", recipe, "--set", "train.method=sft", "--set", "train.max_steps=3", "--out", "run"]
    trlt(*command)
    run, tuned = tmp_path / "run", (tmp_path / "run/model/model.safetensors").read_bytes()

    def interrupted(*damaged):
        shutil.rmtree(run / "model")
        (run / "result.json").unlink()
        for name in damaged:
            path = run / "checkpoints" / name
            data = bytearray(path.read_bytes())
            data[-1002] ^= 64
            path.write_bytes(data)
        return CliRunner().invoke(app, [*map(str, command)])

    found = interrupted("checkpoint-3/optimizer.pt")
    assert found.exit_code == 0, found.output
    assert "checkpoint-3 is damaged (optimizer.pt was changed) and no longer counts; going on from checkpoint-2" in found.stderr
    assert (run / "model/model.safetensors").read_bytes() == tuned, "the step after checkpoint-2 was taken again"
    found = interrupted("checkpoint-3/model.safetensors", "checkpoint-2/rng_state.pth")
    assert found.exit_code == 7 and "no checkpoint is whole" in found.stderr and "--fresh" in found.stderr
    assert not (run / "model").exists() and (run / "checkpoints/checkpoint-3/complete").exists()

    # Whoever plants a pickle can plant its checksum too: it isn't run all the same.
    checkpoint, marker = run / "checkpoints/checkpoint-3", tmp_path / "marker"
    torch.save(Planted(marker), checkpoint / "optimizer.pt")
    seal(checkpoint)
    assert "the checkpoint holds a pickle that isn't trlt's" in trlt(*command, code=7) and not marker.exists()


def test_dry_run_shows_the_plan_and_loads_no_model(trlt, recipe, tmp_path):
    found = trlt("train", recipe, "--dry-run", "--set", "train.launch.processes=2", "--out", "run", "--json")
    plan = found["plan"]
    assert plan["processes"] == 2 and plan["strategy"] == "fsdp2" and plan["prompts_per_process_and_step"] == 1
    assert plan["launcher"].startswith("2 x ") and f"-m trlt train {recipe}" in plan["launcher"]
    assert plan["completions_per_step"] == 8 and plan["steps"] == 2
    memory = plan["memory"]
    assert memory["fits"] is None and memory["gpu"] == "not used: model.device is cpu"
    assert {line["name"] for line in memory["lines"]} >= {"weights", "gradients", "AdamW states", "logits", "keys and values"}
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
    assert "samples can't be used" in message and "video.root" in message


def test_samples_in_place_of_a_recipe_are_told_where_they_go(trlt, recipe, tmp_path, clips_and_samples):
    (tmp_path / "some").mkdir()
    lines = clips_and_samples.samples.read_text().splitlines(keepends=True)
    for name, count in (("one.jsonl", 1), ("many.txt", 3), ("some/all.jsonl", 3)):
        (tmp_path / name).write_text("".join(lines[:count]))
    for given in ("one.jsonl", "many.txt", "some"):
        message = trlt("train", given, code=2)
        assert message == f"{given}: this holds samples, not a recipe: `trlt train RECIPE --data {given}`\n"
    (tmp_path / "as.json").write_text('{"train": {"data": "nowhere.jsonl"}}')
    assert "nowhere.jsonl: there is no such file. It's the train.data of as.json" in trlt("train", "as.json", code=3), (
        "JSON is YAML, and may be a recipe"
    )


def test_what_it_reports_to_must_be_installed(trlt, recipe, tmp_path, monkeypatch):
    monkeypatch.setattr("trlt.commands._train_look.find_spec", lambda name: None if name == "trackio" else object())
    message = trlt("train", recipe, "--set", "train.report_to=[wandb, trackio]", "--out", "run", code=2)
    assert f"{recipe}: train.report_to: trackio isn't installed; `pip install trackio`" in message
    assert not (tmp_path / "run").exists()


def test_a_recipe_that_cannot_fit_is_told_what_to_change(trlt, recipe, monkeypatch):
    large = ["--model", "Qwen/Qwen2.5-VL-7B-Instruct", "--set", "model.device=auto", "--set", "model.dtype=bfloat16"]
    large += ["--set", "train.launch.processes=2", "--set", "train.launch.gpu_gb=80"]
    message = trlt("train", recipe, *large, "--dry-run", code=2)
    assert "needs about" in message and "each of 2 GPUs of 80 GB" in message and "train.launch.gpu_gb" in message
    many = ["--set", "train.prompts_per_step=48", "--set", "train.launch.processes=8"]
    shown = trlt("train", recipe, *large, *many, "--dry-run")
    assert "It fits 80 GB" in shown and "Shape: that published for Qwen2.5-VL-7B" in shown
    message = trlt("train", recipe, *large, *many, "--set", "train.launch.strategy=ddp", "--dry-run", code=2)
    assert "\n  --set train.launch.strategy=fsdp2\n" in message

    # A run refuses before it loads or starts anything, where there is a GPU; on the CPU it only shows the plan.
    small = ["--set", "model.device=auto", "--set", "train.launch.processes=1", "--set", "train.launch.gpu_gb=0.001"]
    monkeypatch.setattr("trlt.commands.train.has_gpu", lambda recipe: True)
    message = trlt("train", recipe, *small, "--out", "refused", code=2)
    assert "on a GPU of 0.001 GB" in message


@pytest.mark.parametrize(
    ("warmup", "steps", "said"), [(0.5, 1, True), (3, 3, True), (0.5, 2, False), (2, 3, False), (0, 1, False)]
)
def test_a_warmup_of_all_steps_is_told(warmup, steps, said):
    from trlt.commands._train_look import all_warmup
    from trlt.recipe import load_recipe

    message = all_warmup(load_recipe(None, sets=[f"train.warmup_steps={warmup}"]), steps)
    assert (message is not None) is said and (not said or f"takes all {steps} step{'s' * (steps > 1)}," in message)


def test_a_run_goes_on_with_what_changes_no_outcome(trlt, recipe, tmp_path, tiny_path):
    """Every remedy that is advised, and a few of each kind that isn't."""
    trlt("train", recipe, "--out", "run", "--set", "train.save_steps=1")
    same = "video.memory_gb=9 video.timeout_s=9 video.store_gb=1 video.workers=0 train.max_broken=0.5 train.save_steps=7"
    same += " train.prompts_per_pass=2 train.shared_prefix=false train.gradient_checkpointing=true train.max_sequences=3"
    same += " train.launch.strategy=ddp train.keep_checkpoints=1 name=other probe.n=4 select.seed=3 eval.bootstrap=200"
    (tmp_path / "run/result.json").rename(tmp_path / "result.json")  # as if the last model was still to be written
    for change in same.split():
        (tmp_path / "run/result.json").write_text((tmp_path / "result.json").read_text())
        trlt("train", recipe, "--out", "run", "--set", change)
    for change in "train.beta=0.5 train.seed=3 video.fps=1 video.max_tokens=16 reward.tiou=2 train.prompts_per_step=4".split():
        assert f"{change.partition('=')[0]}: " in trlt("train", recipe, "--out", "run", "--set", change, code=7)

    # The tokenizer, the chat template and the processor are part of the model.
    base = shutil.copytree(tiny_path, tmp_path / "base")
    trlt("train", recipe, "--model", base, "--out", "run")
    for name in ("tokenizer_config.json", "chat_template.jinja", "processor_config.json"):
        path, was = base / name, (base / name).read_text()
        path.write_text(was + "\n")
        assert f"model: {name} of base changed" in trlt("train", recipe, "--model", base, "--out", "run", code=7)
        path.write_text(was)

    # Where no step was saved, there is nothing to lose.
    for name in ("result.json", "checkpoints/checkpoint-1/complete", "checkpoints/checkpoint-2/complete"):
        (tmp_path / "run" / name).unlink()
    assert trlt("train", recipe, "--out", "run", "--set", "train.beta=0.5", "--json")["steps"] == 2


def test_a_second_training_in_a_folder_is_refused(trlt, recipe, tmp_path):
    import subprocess
    import sys

    code = "import sys, time; from pathlib import Path; from trlt.commands._train_folder import hold\n"
    code += "with hold(Path('run')): print(flush=True); time.sleep(60)"
    other = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    other.stdout.readline()
    for processes in (1, 2):
        sets = ["--set", f"train.launch.processes={processes}"]
        message = trlt("train", recipe, "--out", "run", *sets, code=7)
        assert f"run: another training is at work on it (process {other.pid} of " in message
    other.kill()
    other.communicate()
    assert trlt("train", recipe, "--out", "run", "--json")["steps"] == 2, "a kill leaves no lock behind"


@pytest.mark.parametrize(("method", "samples"), [("grpo", 5), ("grpo", 1), ("sft", 5), ("sft", 1)])
def test_fewer_samples_than_a_step_wants(trlt, recipe, tmp_path, clips_and_samples, method, samples):
    lines = clips_and_samples.samples.read_text().splitlines()[:samples]
    (tmp_path / "few.jsonl").write_text("\n".join(lines) + "\n")
    sets = ["train.prompts_per_step=48", "train.sft.batch=48", "train.max_steps=null", f"train.method={method}"]
    command = ["train", recipe, "--data", "few.jsonl", "--out", "run", *(text for one in sets for text in ("--set", one))]
    plan = trlt(*command, "--dry-run", "--json")["plan"]
    assert plan["prompts_per_step"] == samples and plan["steps"] == 1
    found = trlt(*command, "--json")
    assert found["steps"] == 1
    if method == "grpo":
        from trlt.train.completion_log import read_completions

        asked = read_completions(tmp_path / "run").to_pandas()["id"]
        assert asked.nunique() == samples and len(asked) == 4 * samples
    assert trlt(*command, "--json") == found, "the same command is the same run"


def test_a_gold_span_outside_its_video_is_told_once_and_counted(trlt, recipe, tmp_path, clips_and_samples):
    samples = [s for s in read_samples(clips_and_samples.samples) if s.task == "grounding"][:3]
    spans = [samples[0].spans, (Span(1000.0, 2000.0),), (Span(1.0, 500.0),)]
    write_samples(tmp_path / "far.jsonl", [replace(s, spans=span) for s, span in zip(samples, spans, strict=True)])
    sets = ["train.method=sft", "train.sft.batch=3", "train.max_steps=1"]
    command = ["train", recipe, "--data", tmp_path / "far.jsonl", "--out", tmp_path / "run"]
    result = CliRunner().invoke(app, [*map(str, command), *(text for one in sets for text in ("--set", one))])
    assert result.exit_code == 0, result.output
    told = " ".join(result.stderr.split())
    assert len(re.findall("behind the end of its video", told)) == 1
    assert re.search(r"train: '[^']+': its gold span \[(1000, 2000\] begins|1, 500\] ends) behind the end of its video", told)
    assert "train: 2 samples with a gold span outside the video" in told


def test_a_dry_run_finds_what_a_run_would(trlt, recipe):
    assert "nowhere.jsonl" in trlt("train", recipe, "--dry-run", "--data", "nowhere.jsonl", code=3)
    assert "nowhere.jsonl" in trlt("train", recipe, "--dry-run", "--set", "train.data=nowhere.jsonl", code=3)
    assert "some/modell" in trlt("train", recipe, "--dry-run", "--model", "some/modell", code=5)
    assert "./modell" in trlt("train", recipe, "--dry-run", "--model", "./modell", code=5)


def test_links_that_lead_out_of_the_root_are_followed_where_that_is_allowed(trlt, recipe, tmp_path, clips_and_samples):
    (tmp_path / "linked").mkdir()
    videos = sorted(clips_and_samples.videos.iterdir())
    for path in videos:
        (tmp_path / "linked" / path.name).symlink_to(path)
    command = ["train", recipe, "--set", "train.method=sft", "--set", "train.max_steps=1", "--set", "video.root=linked"]
    said = trlt(*command, "--out", "run", code=3)
    assert "16 of 16 samples can't be used" in said and "as video.links" in said
    trlt(*command, "--out", "run", "--set", f"video.links={clips_and_samples.videos}")
    assert json.loads((tmp_path / "run/result.json").read_text())["broken"] == {}, "what was mended is no longer listed"
    assert (tmp_path / "run/model").is_dir() and f"links: {clips_and_samples.videos}" in (
        tmp_path / "run/recipe.yaml"
    ).read_text()
    assert "no such folder" in trlt(*command, "--out", "other", "--set", "video.links=nowhere", code=4)
