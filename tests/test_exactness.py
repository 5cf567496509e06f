"""Several processes learn what one learns, and a run that was killed what one learns that was left alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from functools import cache
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from trlt.commands._output import Output
from trlt.commands.train import train
from trlt.model import load, miniature_path
from trlt.recipe import Model

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning"),
]

STEPS = 10
RECIPE = """
model: {{path: miniature, dtype: float32, device: cpu}}
video: {{root: {root}/videos, max_tokens: 32, max_frames: 4, workers: {workers}, store: {store}}}
train:
  method: {method}
  data: {root}/samples.jsonl
  prompts_per_step: 4
  group_size: 4
  think: false
  max_new_tokens: 12
  min_spread: 0.1
  max_broken: 0.25
  max_steps: {steps}
  save_steps: 2
  keep_checkpoints: 5
  gradient_checkpointing: {checkpointing}
  learning_rate: 1e-3
  sft: {{batch: 4}}
  launch: {{processes: {processes}, strategy: {strategy}}}
"""
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """16 samples, of which those of one clip are broken."""
    from trlt.miniature import warmup

    root = tmp_path_factory.mktemp("data")
    written = warmup.write(root, 16, seed=1)
    (written.videos / "w1_00001.mp4").write_bytes(b"not a video")
    return root


@pytest.fixture(scope="module")
def recipe(data, tmp_path_factory):
    """Makes a recipe file: `recipe("grpo", processes=2, strategy="ddp")`."""

    def make(method, processes=1, strategy="fsdp2", steps=STEPS, workers=0, store="null", checkpointing="false"):
        path = tmp_path_factory.mktemp("recipe") / "recipe.yaml"
        values = {"processes": processes, "strategy": strategy, "steps": steps, "workers": workers, "store": store}
        path.write_text(RECIPE.format(root=data, method=method, checkpointing=checkpointing, **values))
        return path

    return make


@pytest.fixture(scope="module")
def alone(recipe, tmp_path_factory):
    """The run of one process that nobody disturbs: `alone("grpo")`."""
    torch.set_num_threads(1)

    @cache
    def make(method):
        folder = tmp_path_factory.mktemp("alone") / method
        train(recipe(method), out=folder, output=Output(json_mode=True))
        return folder

    return make


def read(folder: Path, steps: int = STEPS) -> tuple[list[dict[str, float]], dict[str, torch.Tensor], set[str]]:
    """Figures of some first steps, the weights after them, and the samples that were broken."""
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    broken = [json.loads(line) for line in (folder / "broken.jsonl").read_text().splitlines()]
    weights = load_file(folder / "checkpoints" / f"checkpoint-{steps}" / "model.safetensors")
    return rows[:steps], weights, {row["id"] for row in broken if row["step"] < steps}


def assert_equal(folder: Path, other: Path, tolerance: float, steps: int = STEPS) -> None:
    """Same rewards and broken samples, and losses and weights within a tolerance."""
    (rows, weights, broken), (others, other_weights, other_broken) = read(folder, steps), read(other, steps)
    assert [row["step"] for row in rows] == [row["step"] for row in others] == [*range(1, steps + 1)]
    for row, same in zip(rows, others, strict=True):
        for name in ("reward", "reward_spread", "reward/format", "length", "rounds"):
            assert row.get(name) == same.get(name), (row["step"], name)
        assert row["loss"] == pytest.approx(same["loss"], abs=tolerance)
    assert broken and broken == other_broken
    assert apart(weights, other_weights) <= tolerance


def apart(weights: dict[str, torch.Tensor], others: dict[str, torch.Tensor]) -> float:
    """Largest difference of a weight; a tied head may be written or not."""
    assert weights.keys() ^ others.keys() <= {"lm_head.weight"}
    return max(float((weights[name].float() - others[name].float()).abs().max()) for name in weights.keys() & others.keys())


def start(recipe: Path, folder: Path) -> subprocess.Popen[bytes]:
    """`trlt train` as a user starts it."""
    command = [sys.executable, "-m", "trlt", "train", str(recipe), "--out", str(folder)]
    return subprocess.Popen(command, env={**os.environ, **ENVIRONMENT}, stderr=subprocess.PIPE, start_new_session=True)


def steps(folder: Path) -> int:
    log = folder / "log.jsonl"
    return log.read_bytes().count(b"\n") if log.exists() else 0


def ranks(folder: Path) -> list[int]:
    """Processes that train into a folder, except the one that started them."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "cmdline").read_bytes().split(b"\0")
            if str(folder).encode() in words and b"RANK=" in (path / "environ").read_bytes():
                found.append(int(path.name))
        except OSError:
            continue
    return sorted(found)


def test_two_processes_equal_one(alone, recipe, tmp_path):
    run = start(recipe("grpo", processes=2, strategy="ddp"), tmp_path / "run")
    assert run.wait() == 0, run.stderr.read().decode()
    assert_equal(tmp_path / "run", alone("grpo"), 1e-4)
    rows, weights, _ = read(alone("grpo"))
    assert apart(weights, load_file(miniature_path() / "model.safetensors")) > 5e-3, "something was learned"
    assert len({row["reward"] for row in rows}) > 3 and max(row["rounds"] for row in rows) > 1


def test_two_that_share_the_weights_equal_one_though_one_of_them_is_killed(alone, recipe, tmp_path):
    folder, path = tmp_path / "run", recipe("grpo", processes=2, strategy="fsdp2", checkpointing="true")
    run = start(path, folder)
    while steps(folder) < 5:
        assert run.poll() is None, run.stderr.read().decode()
        time.sleep(0.02)
    os.kill(ranks(folder)[-1], signal.SIGKILL)
    assert run.wait() != 0 and not ranks(folder), "the others end too"
    assert not (folder / "model").exists()
    run = start(path, folder)
    assert run.wait() == 0, run.stderr.read().decode()
    assert_equal(folder, alone("grpo"), 1e-4)
    final = load_file(folder / "model" / "model.safetensors")
    assert apart(final, read(folder)[1]) == 0 and "lm_head.weight" not in final
    load(Model(path=str(folder / "model"), dtype="float32", device="cpu"))


def test_two_that_share_the_weights_equal_one_in_supervised_learning(alone, recipe, tmp_path):
    run = start(recipe("sft", processes=2, strategy="fsdp2"), tmp_path / "run")
    assert run.wait() == 0, run.stderr.read().decode()
    assert_equal(tmp_path / "run", alone("sft"), 1e-4)


@pytest.mark.parametrize("method", ["grpo", "sft"])
def test_killed_at_any_moment_equals_left_alone(alone, recipe, tmp_path, method):
    path = recipe(method, workers=1, store=str(tmp_path / "store"), steps=6)
    program = [sys.executable, str(Path(__file__).parent / "killed_train.py"), path, tmp_path / "run", "5", "3", "6"]
    run = subprocess.run(program, env={**os.environ, **ENVIRONMENT}, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert sum(map(int, run.stdout.split()[-2:])) == 3
    assert_equal(tmp_path / "run", alone(method), 0.0, steps=6)
    assert list((tmp_path / "store").rglob("*")), "the frame store was used"
