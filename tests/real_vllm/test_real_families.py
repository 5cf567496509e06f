"""Other families than Qwen2.5-VL in the real vLLM: rollouts of three steps, servers that answer as the engine, and those that
are refused.

Tiny models that have learned how an answer looks, since random weights are never rewarded.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib import resources
from pathlib import Path

import pytest
from paths import ROOT
from real_cases import AT_THEIR_RATES, CLIPS, LIKELIEST, sets
from real_server import PYTHON, RealServer, needs_vllm, with_fault

from trlt.engine.families import FAMILIES
from trlt.engine.model import save
from trlt.errors import ParityError, ServerError
from trlt.files import read_log
from trlt.lab.miniature.tiny import corpus, train_tokenizer
from trlt.rollout import read_rows
from trlt.task.sample import read_samples

pytestmark = [
    needs_vllm,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning"),
]
NAMED = {family.name: family for family in FAMILIES}

RECIPE = """
name: real
model: {path: %s, dtype: float32, device: cpu}
video: {root: %s, workers: 0}
train:
  data: %s
  vllm: {python: %s, memory: 0.1}
  think: false
  answer_format: letter
  prompts_per_step: 3
  group_size: 4
  max_new_tokens: 24
  temperature: 1.2
  learning_rate: 3e-3
  max_steps: 3
  gradient_checkpointing: false
  sft: {batch: 8}
"""


@pytest.fixture(scope="session")
def taught(tmp_path_factory, questions):
    """`taught("Qwen3-VL")`: the folder of a recipe `r.yaml` and its model, which has a published chat template."""

    def get(name: str) -> Path:
        folder = shared / name
        if folder.exists():
            return folder
        tokenizer = train_tokenizer(corpus(read_samples(questions)))
        if name.startswith("Qwen3"):
            tokenizer.add_tokens(["<think>", "</think>"])
        file = "qwen3_vl" if name.startswith("Qwen3") else "qwen2_5_vl"
        template = resources.files("trl").joinpath(f"chat_templates/{file}.jinja").read_text(encoding="utf-8")
        # vLLM's CPU kernel fills experts up to a multiple of 32, and then takes no others.
        model, processor = NAMED[name].tiny(tokenizer, template, seed=3, hidden=128 if "MoE" in name else 64)
        save(model, processor, folder / "base")
        recipe = RECIPE % (folder / "base", questions.parent, questions, PYTHON)
        (folder / "r.yaml").write_text(recipe, encoding="utf-8")
        steps = sets(section="train", method="sft", max_steps=STEPS, learning_rate=5e-3)
        command = [sys.executable, "-m", "trlt", "train", "r.yaml", *AT_THEIR_RATES, *steps, "--out", "sft"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        # As published: with the marks that loading takes out.
        (folder / "sft/model/chat_template.jinja").write_text(template, encoding="utf-8")
        (folder / "r.yaml").write_text(recipe.replace("/base", "/sft/model"), encoding="utf-8")
        return folder

    shared = tmp_path_factory.mktemp("taught")
    return get


STEPS = 24
"""Of supervised tuning: answers are mostly well formed by then, and not yet all the same."""


@pytest.fixture
def train(trlt, taught, tmp_path):
    """Three steps of rollouts by vLLM."""

    def go(name: str, *settings: str, code: int = 0):
        shutil.copy(taught(name) / "r.yaml", tmp_path / "recipe.yaml")
        return trlt(
            "train",
            "recipe.yaml",
            *AT_THEIR_RATES,
            *sets("train.rollouts=vllm", *settings),
            "--out",
            "run",
            "--json",
            code=code,
        )

    return go


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("Qwen3-VL", ()),
        ("Qwen3-VL", ("train.lora={rank: 4, alpha: 8}", "train.learning_rate=0.01")),
        ("Qwen2-VL", ()),
        ("Qwen3-VL-MoE", ()),
    ],
    ids=["Qwen3-VL", "Qwen3-VL, LoRA", "Qwen2-VL", "Qwen3-VL-MoE"],
)
def test_three_steps_agree(train, tmp_path, name, settings):
    """Tokens and positions of prompts are equal, or the check refuses; and weights arrive after each step."""
    found = train(name, *settings)["parity"]["vllm"]
    assert found["samples"] == 3 and found["tokens"] > 30 and found["grids_rounded"] == 0
    assert 0 < found["largest"] <= 1e-4 and 0 < found["mean"] <= 1e-5
    rows = read_log(tmp_path / "run" / "log.jsonl")
    assert [row["step"] for row in rows] == [1, 2, 3] and any(row["grad_norm"] > 0 for row in rows[:2])
    for row in rows:
        assert row["correction/ratio_min"] == pytest.approx(1, abs=1e-3)
        assert row["correction/ratio_max"] == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("fault", ["dropped_times", "outer_marks"])
def test_rollouts_about_other_prompts_are_refused(train, tmp_path, monkeypatch, fault):
    for key, value in with_fault(fault).items():
        monkeypatch.setenv(key, value)
    message = train("Qwen3-VL", code=ParityError.exit_code)
    assert "a prompt's tokens (the video's, mostly) differ" in message
    assert f"fault: {fault}" in (tmp_path / "run" / "vllm-0.log").read_text()


def asked(questions: Path, taught: Path, **more: object) -> list[object]:
    data = ["probe", "--data", questions, "--videos", questions.parent, "--recipe", taught / "r.yaml", "-n", 2, "--json"]
    return [*data, *AT_THEIR_RATES, *sets(section="probe", max_new_tokens=16, **LIKELIEST, **more)]


def rows(folder: Path) -> list[dict]:
    return list(read_rows(folder / "rows" / "probe.jsonl"))


@pytest.mark.parametrize("name", ["Qwen3-VL", "Qwen2-VL"])
def test_servers_that_trlt_starts_give_the_engines_rows(trlt, taught, questions, tmp_path, monkeypatch, name):
    monkeypatch.setenv("TRLT_VLLM_PYTHON", PYTHON)
    common = asked(questions, taught(name))
    trlt(*common, "--out", "engine")
    trlt(*common, "--vllm", "--out", "vllm")
    ours, theirs = rows(tmp_path / "engine"), rows(tmp_path / "vllm")
    assert theirs == ours and len(ours) == 3 * len(CLIPS) and not [row for row in ours if row["error"]]
    assert len({text for row in ours for text in row["texts"]}) > 2


@pytest.fixture(scope="module")
def servers(start, taught) -> dict[str, RealServer]:
    """They start side by side."""
    model = taught("Qwen3-VL") / "sft/model"
    file = model.parent / "template.jinja"
    subprocess.run([sys.executable, "-m", "trlt.engine.servers.template", str(model), str(file)], cwd=ROOT, check=True)
    return {
        "published": start(model=model),
        "written": start(model=model, template=file),
        "dropped_times": start(model=model, template=file, env=with_fault("dropped_times")),
    }


def test_a_server_with_the_template_that_trlt_writes_gives_the_engines_rows(trlt, taught, questions, servers, tmp_path):
    common = asked(questions, taught("Qwen3-VL"))
    trlt(*common, "--out", "engine")
    trlt(*common, "--server", servers["written"].wait().url, "--out", "server")
    assert rows(tmp_path / "server") == rows(tmp_path / "engine")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("published", ("writes vision marks around a whole video", "--chat-template template.jinja", "sft/model")),
        ("dropped_times", ("stand at 0.2, 8.2, 34.9, 549.9 s, and its prompt has 1.2 for number 2", "every time")),
    ],
)
def test_servers_of_other_prompts_are_refused(trlt, taught, questions, servers, tmp_path, name, told):
    server = servers[name].wait()
    message = trlt(*asked(questions, taught("Qwen3-VL")), "--server", server.url, "--out", "p", code=ServerError.exit_code)
    assert server.url in message and all(word in message for word in told)
    assert not (tmp_path / "p" / "rows" / "probe.jsonl").exists()
