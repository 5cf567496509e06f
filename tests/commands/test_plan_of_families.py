"""`trlt train --dry-run` with released models of all families, none of which is on this machine."""

from __future__ import annotations

import shlex

import pytest
from paths import ROOT

from trlt.engine.families.published import PUBLISHED


def flags(*sets):
    return [text for one in sets for text in ("--set", one)]


@pytest.mark.parametrize("size", PUBLISHED)
def test_every_released_size_is_planned_by_its_name(trlt, size):
    name = f"Qwen/{size}" if size.startswith("Qwen3.5") else f"Qwen/{size}-Instruct"
    sets = flags(f"model.path={name}", "train.launch.processes=8", "train.launch.gpu_gb=1500")
    memory = trlt("train", ROOT / "recipes/32k.yaml", *sets, "--dry-run", "--json")["plan"]["memory"]
    assert memory["parameters"] == PUBLISHED[size].parameters == sum(memory["parameters_of"].values())
    assert memory["active_parameters"] == PUBLISHED[size].active
    assert memory["shape"] == f"that published for {size}; its config.json isn't at hand"


def test_the_plan_says_how_many_parameters_a_token_meets(trlt):
    sets = flags("model.path=Qwen/Qwen3-VL-30B-A3B-Thinking", "train.launch.gpu_gb=200")
    assert "31.07B parameters, of which a token meets 3.89B" in " ".join(
        trlt("train", ROOT / "recipes/32k.yaml", *sets, "--dry-run").split()
    )


@pytest.mark.parametrize(
    ("model", "sets"),
    [
        ("Qwen3-VL-4B-Instruct", ["train.launch.processes=1", "train.launch.gpu_gb=24"]),
        ("Qwen3-VL-8B-Instruct", ["train.launch.processes=1", "train.launch.gpu_gb=24", "train.lora={quantize: nf4}"]),
        ("Qwen3-VL-30B-A3B-Instruct", ["train.lora={}"]),
        ("Qwen3.5-9B", ["train.launch.processes=1", "train.launch.gpu_gb=24", "train.lora={}"]),
    ],
)
def test_lines_of_a_refusal_are_pasted(trlt, model, sets):
    command = ["train", ROOT / "recipes/32k.yaml", "--dry-run", *flags(f"model.path=Qwen/{model}", *sets)]
    message = trlt(*command, code=2)
    lines = [line.strip() for line in message.splitlines() if line.startswith("  --set")]
    assert lines
    for line in lines:
        assert "It fits" in trlt(*command, *shlex.split(line)), line


@pytest.mark.parametrize(("name", "gpu"), [("qwen3-vl-8b", 80), ("qwen3-vl-4b-1gpu", 24)])
def test_recipes_fit_as_they_are(trlt, name, gpu):
    shown = trlt("train", ROOT / f"recipes/{name}.yaml", "--dry-run", *flags(f"train.launch.gpu_gb={gpu}"))
    assert f"It fits {gpu} GB" in shown
