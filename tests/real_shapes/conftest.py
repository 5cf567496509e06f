"""The command line in this process, and samples that a published layout is tried on."""

from __future__ import annotations

import json
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
