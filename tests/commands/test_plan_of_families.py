"""`trlt train --dry-run` with released models of all families, none of which is on this machine."""

from __future__ import annotations

import re
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


QUANTIZED = "by its name .* its weights are quantized or those of another program"


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (
            "Qwen/Qwen2.5-VL-7B-Instruct-AWQ",
            rf"{QUANTIZED}.* take the model that it was made of, Qwen2.5-VL-7B-Instruct; .*nf4",
        ),
        ("Qwen/Qwen3-VL-8B-Instruct-FP8", QUANTIZED),
        ("Qwen/Qwen2-VL-7B-Instruct-GPTQ-Int4", QUANTIZED),
        ("Qwen/Qwen2-VL-7B-Instruct-Int8", QUANTIZED),
        ("someone/Qwen2.5-VL-7B-Instruct-GGUF", QUANTIZED),
        ("someone/Qwen2.5-VL-3B-Instruct-bnb-4bit", QUANTIZED),
        ("someone/Qwen2.5-VL-3B-Instruct.Q4_K_M", QUANTIZED),
        ("someone/Qwen2.5-VL-3B-Instruct-w4a16", QUANTIZED),
        ("someone/Qwen3-VL-4B-Instruct-MLX-8bit", QUANTIZED),
        ("Qwen/Qwen3-VL-30B-A3B-Instruct-FP8", r"take the model that it was made of, Qwen3-VL-30B-A3B-Instruct\n?$"),
        ("Qwen/Qwen3.5-35B-A3B", r"by its name it is a mixture of experts, and trlt knows none of Qwen3.5; .* Qwen3-VL-MoE"),
        ("Qwen/Qwen3.5-122B-A10B", "by its name it is a mixture of experts"),
        ("Qwen/Qwen2.5-7B-Instruct", r"its name is that of no family which trlt tunes \(Qwen2.5-VL, Qwen2-VL, "),
    ],
)
def test_names_that_a_run_would_refuse_are_refused_by_a_dry_run(trlt, model, said):
    """It said that they fit, or advised to download them."""
    message = trlt("train", "32k", "--dry-run", *flags(f"model.path={model}"), code=5)
    assert re.search(said, message) and model in message


@pytest.mark.parametrize("model", ["Qwen/Qwen2.5-VL-7B-Instruct", "me/Qwen2.5-VL-3B-r64", "me/qwen2.5-vl-3b-rabbit-q"])
def test_names_that_tell_nothing_against_a_model_are_planned(trlt, model):
    assert trlt("train", "32k", "--dry-run", "--json", *flags(f"model.path={model}"))["plan"]["memory"]["fits"]


@pytest.mark.parametrize(
    ("sets", "key"),
    [(["train.think=false"], "set train.think: true"), (["train.method=sft"], "set train.sft.targets: reasoning")],
)
def test_a_name_of_a_model_that_always_reasons_is_refused_without_reasoning(trlt, sets, key):
    command = ["train", "32k", "--dry-run", *flags("model.path=Qwen/Qwen3-VL-8B-Thinking", "video.max_frames=256")]
    assert "It fits 80 GB" in trlt(*command)
    assert key in (message := trlt(*command, *flags(*sets), code=5)) and "begin every answer with <think>" in message


def test_more_gpus_than_a_machine_has_are_said_to_be_several_machines(trlt):
    message = trlt("train", "32k", "--dry-run", *flags("train.launch.gpu_gb=38", "train.beta=0"), code=2)
    head, _, more = message.partition(
        "\nwith more GPUs, which beyond 8 are several machines, each started by torchrun or srun:"
    )
    assert "\n  --set train.launch.processes=12\n" in more and "processes=" not in head
    few = trlt("train", "3b-lora-24gb", "--dry-run", *flags("train.launch.gpu_gb=16"), code=2)
    assert "\nwith more GPUs:\n  --set train.launch.processes=4\n" in few


@pytest.mark.parametrize(("name", "gpu"), [("qwen3-vl-8b", 80), ("qwen3-vl-4b-1gpu", 24)])
def test_recipes_fit_as_they_are(trlt, name, gpu):
    shown = trlt("train", ROOT / f"recipes/{name}.yaml", "--dry-run", *flags(f"train.launch.gpu_gb={gpu}"))
    assert f"It fits {gpu} GB" in shown
