"""With all of online selection on: killed and resumed equals left alone, and two processes choose and learn what one does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from paths import TESTS
from safetensors.torch import load_file

from trlt.commands._output import Output
from trlt.commands.train import train

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning"),
]

STEPS = 6
RECIPE = """
model: {{path: miniature, dtype: float32, device: cpu}}
video: {{root: {root}/videos, max_tokens: 32, max_frames: 4, workers: 0}}
train:
  data: {root}/samples.jsonl
  prompts_per_step: 4
  group_size: 4
  think: false
  max_new_tokens: 12
  min_reward_range: 0.1
  retire_after: 2
  max_broken: 0.25
  max_steps: {steps}
  save_steps: 2
  keep_checkpoints: 5
  gradient_checkpointing: false
  learning_rate: 1e-3
  online:
    skip: {{target: 0.1}}
    near: {{candidates: 2}}
    replay: {{most: 3, share: 0.5, times: 3}}
    reprobe: {{every: 2, samples: 3}}
  launch: {{processes: {processes}, strategy: ddp}}
"""
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}


def lines(folder: Path, name: str) -> list[dict[str, object]]:
    rows = [json.loads(line) for line in (folder / name).read_text().splitlines()]
    return [{k: v for k, v in row.items() if "time" not in k and k != "elapsed_s"} for row in rows]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "checkpoints" / f"checkpoint-{STEPS}" / "model.safetensors")


def test_killed_equals_left_alone_and_two_processes_equal_one(tmp_path):
    from trlt.lab.miniature import warmup

    torch.set_num_threads(1)
    written = warmup.write(tmp_path / "data", 16, seed=1)
    (written.videos / "w1_00001.mp4").write_bytes(b"not a video")
    recipes = {}
    for processes in (1, 2):
        recipes[processes] = tmp_path / f"{processes}.yaml"
        recipes[processes].write_text(RECIPE.format(root=tmp_path / "data", steps=STEPS, processes=processes))
    alone, killed, two = tmp_path / "alone", tmp_path / "killed", tmp_path / "two"
    train(recipes[1], out=alone, output=Output(json_mode=True))

    program = [sys.executable, str(TESTS / "killed_train.py"), recipes[1], killed, "5", "3", str(STEPS)]
    run = subprocess.run(program, env={**os.environ, **ENVIRONMENT}, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert sum(map(int, run.stdout.split()[-2:])) == 3, "it was killed three times"
    for name in ("online.jsonl", "difficulty.jsonl"):
        assert (killed / name).read_text() == (alone / name).read_text()
    assert lines(killed, "log.jsonl") == lines(alone, "log.jsonl")
    assert all(torch.equal(value, weights(killed)[key]) for key, value in weights(alone).items())

    command = [sys.executable, "-m", "trlt", "train", str(recipes[2]), "--out", str(two)]
    run = subprocess.run(command, env={**os.environ, **ENVIRONMENT}, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    unlike = {"rare"}  # log-probabilities agree up to rounding
    found, wanted = (
        [{k: v for k, v in row.items() if k not in unlike} for row in lines(f, "online.jsonl")] for f in (two, alone)
    )
    assert found == wanted
    apart = max(float((value - weights(two)[key]).abs().max()) for key, value in weights(alone).items())
    assert apart < 1e-4

    rows, asked = lines(alone, "log.jsonl"), lines(alone, "online.jsonl")
    assert sum(row["online/replayed"] for row in rows) > 0 and sum(row["online/probes"] for row in rows) > 0
    assert any(row["kind"] == "tried" for row in asked) and any(row.get("rare") for row in asked)
    assert all(row["n"] == 4 - row.get("replayed", 0) for row in asked if row["kind"] != "chosen")
    assert any("given/weight" in row for row in rows), "replayed tokens had weights"
