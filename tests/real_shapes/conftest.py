"""The command line in this process, and samples that a published layout is tried on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from commands.conftest import bench, trlt  # noqa: F401  (fixtures)


@pytest.fixture
def samples(tmp_path, clips_and_samples) -> Path:
    """Two samples of each task."""
    rows = [json.loads(line) for line in clips_and_samples.samples.read_text(encoding="utf-8").splitlines()]
    tasks = ("multi_choice", "grounding", "grounded_qa")
    kept = [row for task in tasks for row in [row for row in rows if row["task"] == task][:2]]
    path = tmp_path / "samples.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")
    return path


@pytest.fixture
def written(published, samples, clips_and_samples, tmp_path) -> Callable[[str, str, str], Path]:
    """Writes the recipe of a training of two steps: `written(kind, method, lora)`."""

    def write(kind: str, method: str, lora: str) -> Path:
        recipe = tmp_path / "real.yaml"
        recipe.write_text(f"""
name: real
model: {{path: {published(kind, "bfloat16")}, dtype: bfloat16, device: cpu}}
video: {{root: {clips_and_samples.videos}, max_tokens: 64, workers: 0}}
train:
  method: {method}
  data: {samples}
  prompts_per_step: 2
  group_size: 4
  think: false
  max_new_tokens: 16
  max_steps: 2
  save_steps: 2
  keep_checkpoints: 1
  learning_rate: 1e-4
  lora: {lora}
  sft: {{batch: 2}}
""")
        return recipe

    return write
