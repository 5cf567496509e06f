"""Several processes learn what one learns, and a run that was killed what one learns that was left alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import forked_ranks
import pytest
import torch
from paths import TESTS
from safetensors.torch import load_file

from trlt.commands._output import Output
from trlt.commands.train import train
from trlt.engine.model import load, miniature_path
from trlt.recipe import Model
from trlt.train.checkpoints import latest_checkpoint

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning"),
]

STEPS = 10
RECIPE = """
model: {{path: {model}, dtype: {dtype}, device: cpu}}
video: {{root: {root}/videos, max_tokens: 32, max_frames: 4, workers: {workers}, store: {store}}}
train:
  method: {method}
  data: {root}/samples.jsonl
  prompts_per_step: 4
  group_size: 4
  think: false
  max_new_tokens: 12
  min_reward_range: 0.1
  max_broken: 0.25
  max_steps: {steps}
  save_steps: 2
  keep_checkpoints: 5
  gradient_checkpointing: {checkpointing}
  learning_rate: 1e-3
  sft: {{batch: 4}}
  lora: {lora}
  launch: {{processes: {processes}, strategy: {strategy}}}
"""
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """16 samples, of which those of one clip are broken."""
    from trlt.lab.miniature import warmup

    root = tmp_path_factory.mktemp("data")
    written = warmup.write(root, 16, seed=1)
    (written.videos / "w1_00001.mp4").write_bytes(b"not a video")
    return root


@pytest.fixture(scope="module")
def recipe(data, tmp_path_factory):
    """Makes a recipe file: `recipe("grpo", processes=2, strategy="ddp")`."""

    defaults = {"processes": 1, "strategy": "fsdp2", "steps": STEPS, "workers": 0, "store": "null", "checkpointing": "false"}
    defaults |= {"model": "miniature", "dtype": "float32", "lora": "null"}

    def make(method, **values):
        path = tmp_path_factory.mktemp("recipe") / "recipe.yaml"
        path.write_text(RECIPE.format(**{"root": data, "method": method, **defaults, **values}))
        return path

    return make


@pytest.fixture(scope="module")
def alone(recipe, tmp_path_factory):
    """The run of one process that nobody disturbs: `alone("grpo")`."""
    torch.set_num_threads(1)

    @cache
    def make(method, model="miniature", **values):
        folder = tmp_path_factory.mktemp("alone") / method
        train(recipe(method, model=model, **values), out=folder, output=Output(json_mode=True))
        return folder

    return make


@pytest.fixture(scope="module")
def untied(tmp_path_factory):
    """The miniature with a head of its own, as the models of 7B and more have."""
    folder = tmp_path_factory.mktemp("untied")
    loaded = load(Model(path="miniature", dtype="float32", device="cpu"))
    model = loaded.model
    model.config.tie_word_embeddings = model.config.text_config.tie_word_embeddings = False
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().clone())
    model.save_pretrained(folder)
    loaded.processor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def together(recipe, untied, tmp_path_factory):
    """Runs of two processes that nobody disturbs, all forks of one that has loaded the libraries: `together("ddp")`."""
    root = tmp_path_factory.mktemp("together")
    recipes = {
        "ddp": recipe("grpo", processes=2, strategy="ddp"),
        "sft": recipe("sft", processes=2, strategy="fsdp2"),
        "bfloat16": recipe("grpo", processes=2, dtype="bfloat16", steps=2),
        "short-chunks": recipe("grpo", processes=2, model=untied, steps=6),
    }
    if find_spec("bitsandbytes"):
        recipes["4-bits"] = recipe("grpo", processes=2, lora=FOUR_BITS, steps=2)
    jobs = {name: {"arguments": ["train", str(path), "--out", str(root / name / "run")]} for name, path in recipes.items()}
    jobs["short-chunks"]["code"] = SHORT_CHUNKS + forked_ranks.TRAIN
    forked_ranks.run(root, jobs, ENVIRONMENT)

    def get(name):
        said = "".join((root / name / f"{rank}.txt").read_text() for rank in (0, 1))
        assert json.loads((root / name / "codes.json").read_text()) == [0, 0], said
        return root / name / "run"

    return get


FOUR_BITS = "{rank: 4, quantize: nf4}"
SHORT_CHUNKS = """
from trlt.engine import shared_prefix
shared_prefix.chunk_tokens = lambda vocabulary: 5
"""
"""A few tokens' logits at a time, so that processes need a different number of chunks."""


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
        for name in ("reward", "reward_range", "reward/format", "length", "rounds"):
            assert row.get(name) == same.get(name), (row["step"], name)
        assert row["loss"] == pytest.approx(same["loss"], abs=tolerance)
    assert broken and broken == other_broken
    difference = apart(weights, other_weights)
    sys.stdout.write(f"largest difference of a weight after {steps} steps: {difference:.2e}\n")
    assert difference <= tolerance


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


def test_two_processes_equal_one(alone, together):
    assert_equal(together("ddp"), alone("grpo"), 1e-4)
    rows, weights, _ = read(alone("grpo"))
    assert apart(weights, load_file(miniature_path() / "model.safetensors")) > 5e-3, "something was learned"
    assert len({row["reward"] for row in rows}) > 3 and max(row["rounds"] for row in rows) > 1


@pytest.mark.parametrize(("method", "checkpointing"), [("grpo", "true"), ("sft", "false")])
def test_two_that_share_the_weights_equal_one_though_one_of_them_is_killed(alone, recipe, tmp_path, method, checkpointing):
    folder, path = tmp_path / "run", recipe(method, processes=2, strategy="fsdp2", checkpointing=checkpointing)
    kept = killed_in_the_midst(path, folder)
    run = start(path, folder)
    assert run.wait() == 0, run.stderr.read().decode()
    assert (folder / "log.jsonl").read_text().startswith(kept), "it went on from a checkpoint"
    assert_equal(folder, alone(method), 1e-4)
    final = load_file(folder / "model" / "model.safetensors")
    assert apart(final, read(folder)[1]) == 0 and "lm_head.weight" not in final
    load(Model(path=str(folder / "model"), dtype="float32", device="cpu"))


def test_adapters_in_slices_equal_those_of_one_process_though_one_is_killed(alone, recipe, tmp_path):
    """Of rank 1, so that one of two processes holds no row of any A."""
    folder, path = tmp_path / "run", recipe("grpo", processes=2, lora="{rank: 1}", steps=6)
    killed_in_the_midst(path, folder, after=3)
    run = start(path, folder)
    assert run.wait() == 0, run.stderr.read().decode()
    other = alone("grpo", lora="{rank: 1}", steps=6)
    rows, others = ([json.loads(line) for line in (one / "log.jsonl").read_text().splitlines()] for one in (folder, other))
    assert [row["reward"] for row in rows] == [row["reward"] for row in others] and len(rows) == 6
    for name in ("adapter/adapter_model.safetensors", "model/model.safetensors"):
        assert apart(load_file(folder / name), load_file(other / name)) < 1e-4
    moved = load_file(folder / "adapter/adapter_model.safetensors")
    assert all(bool(value.any()) for name, value in moved.items() if "lora_B" in name)


def test_adapters_on_4_bits_by_two_processes_equal_those_of_one(alone, together):
    """FSDP2 can't cut 4 bits into slices."""
    pytest.importorskip("bitsandbytes")
    name = "adapter/adapter_model.safetensors"
    mine, others = (load_file(one / name) for one in (together("4-bits"), alone("grpo", lora=FOUR_BITS, steps=2)))
    assert apart(mine, others) < 1e-4 and any(bool(value.any()) for key, value in mine.items() if "lora_B" in key)


@pytest.mark.parametrize("processes", [1, 2])
def test_in_bf16_the_reference_is_the_policy_before_its_first_step(alone, together, processes):
    run = together("bfloat16") if processes == 2 else alone("grpo", dtype="bfloat16", steps=2)
    first, second = (json.loads(line)["kl"] for line in (run / "log.jsonl").read_text().splitlines())
    assert first == 0 < second


def killed_in_the_midst(recipe: Path, folder: Path, after: int = 5) -> str:
    """Kills one of the processes after some steps of `STEPS` or fewer; the log's lines up to the last whole checkpoint."""
    run = start(recipe, folder)
    while steps(folder) < after:
        assert run.poll() is None, run.stderr.read().decode()
        time.sleep(0.02)
    os.kill(ranks(folder)[-1], signal.SIGKILL)
    assert run.wait() != 0 and not ranks(folder), "the others end too"
    assert not (folder / "model").exists()
    saved = latest_checkpoint(folder / "checkpoints")
    assert saved is not None
    done = int(saved.name.rpartition("-")[2])
    assert 0 < done <= after
    return "".join((folder / "log.jsonl").read_text().splitlines(keepends=True)[:done])


def test_two_that_share_the_weights_and_are_left_alone_equal_one_in_supervised_learning(alone, together):
    assert_equal(together("sft"), alone("sft"), 1e-4)


def test_answers_of_any_length_keep_the_processes_together(alone, together, untied):
    """The head's slices are put together for each chunk of logits: equally often by all processes."""
    assert_equal(together("short-chunks"), alone("grpo", untied), 1e-4, steps=6)


@pytest.mark.parametrize("method", ["grpo", "sft"])
def test_killed_at_any_moment_equals_left_alone(alone, recipe, tmp_path, method):
    path = recipe(method, workers=1, store=str(tmp_path / "store"), steps=6)
    program = [sys.executable, str(TESTS / "killed_train.py"), path, tmp_path / "run", "5", "3", "6"]
    run = subprocess.run(program, env={**os.environ, **ENVIRONMENT}, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert sum(map(int, run.stdout.split()[-2:])) == 3
    assert_equal(tmp_path / "run", alone(method), 0.0, steps=6)
    assert list((tmp_path / "store").rglob("*")), "the frame store was used"
