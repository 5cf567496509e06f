"""Two processes train on fewer samples than a step wants, are interrupted in every way, and learn what one learns."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time

import pytest
from safetensors.torch import load_file
from test_train_interrupted import noted
from typer.testing import CliRunner

from trlt.cli import app
from trlt.engine.model import miniature_path
from trlt.train.checkpoints import latest_checkpoint

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning"),
]

RECIPE = """
name: few
model: {{path: miniature, dtype: float32, device: cpu}}
video: {{root: {videos}, max_tokens: 32, max_frames: 4, workers: 0}}
train:
  prompts_per_step: 8
  prompts_per_pass: 1
  group_size: 4
  think: false
  max_new_tokens: 12
  max_steps: 99
  save_steps: 3
  keep_checkpoints: 9
  gradient_checkpointing: false
  learning_rate: 1e-3
"""
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
PATIENCE_S = 240


def test_signals_to_two_processes_with_three_samples(trlt, tmp_path, clips_and_samples):
    (tmp_path / "few.jsonl").write_text("".join(clips_and_samples.samples.read_text().splitlines(keepends=True)[:3]))
    (tmp_path / "r.yaml").write_text(RECIPE.format(videos=clips_and_samples.videos))
    command = ["train", "r.yaml", "--data", "few.jsonl"]
    run, saved = tmp_path / "run", 0

    def left_by(after: int, *signals: signal.Signals) -> tuple[int, str]:
        """Exit code and last line of the command when signals come to its group once so many steps are logged."""
        words = [*command, "--out", "run", "--set", "train.launch.processes=2", "--set", "train.launch.strategy=ddp"]
        shell = [sys.executable, "-m", "trlt", *words]
        done = subprocess.Popen(shell, env={**os.environ, **ENVIRONMENT}, stderr=subprocess.PIPE, text=True, process_group=0)
        log, until = run / "log.jsonl", time.monotonic() + PATIENCE_S
        while not log.is_file() or log.read_bytes().count(b"\n") < after:
            assert done.poll() is None and time.monotonic() < until
            time.sleep(0.02)
        for one in signals:
            os.killpg(done.pid, one)
            time.sleep(0.5)  # as a person presses a key twice
        said = done.communicate(timeout=PATIENCE_S)[1]
        assert "Traceback" not in said and "3 samples, fewer than train.prompts_per_step (8): 2 per step" in said, said
        return done.returncode, said.splitlines()[-1]

    for after, signals in (
        (4, [signal.SIGINT, signal.SIGINT]),
        (1, [signal.SIGINT]),
        (1, [signal.SIGTERM, signal.SIGTERM]),
    ):
        code, line = left_by(saved + after, *signals)
        newest = latest_checkpoint(run / "checkpoints")
        assert newest and code == 128 + signals[0]
        assert re.fullmatch(r"interrupted: step (\d+) saved(, .+ lost)?; the same command goes on from there", line), line
        before, saved = saved, int(newest.name.rpartition("-")[2])
        assert saved >= max(before, 3) and line.startswith(f"interrupted: step {saved} saved")
        assert noted(run) == ([*range(1, saved + 1)],) * 2, "log and completions follow"
        assert len(signals) > 1 and signals[0] == signal.SIGINT or "lost" not in line, "a first signal loses no step"
    alone = ["--out", "alone", "--set", "train.prompts_per_step=2", "--set", f"train.max_steps={saved}"]
    done = CliRunner().invoke(app, [*command, *alone])
    assert done.exit_code == 0, done.output
    base, one = (load_file(folder / "model.safetensors") for folder in (miniature_path(), tmp_path / "alone/model"))
    two = load_file(run / f"checkpoints/checkpoint-{saved}/model.safetensors")
    assert max(float((one[name] - two[name]).abs().max()) for name in one) < 1e-4
    assert max(float((one[name] - base[name]).abs().max()) for name in one) > 1e-3, "something was learned"
