"""`bench.vllm`: the engine's side, and what it says without vLLM; with it, `tests/real_vllm` runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from paths import ROOT

SMALL = ["--tokens", "64", "--text", "60", "--length", "8", "-n", "3", "--repeats", "2", "--threads", "1", "--json"]


def run(*args: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bench.vllm", *SMALL, *args]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=os.environ | (env or {}))


@pytest.mark.slow
def test_the_engine_alone():
    done = run("--engine-alone", "--profile")
    assert done.returncode == 0, done.stderr
    metrics = json.loads(done.stdout.splitlines()[-1])
    assert metrics["engine_samples_per_s"] == pytest.approx(3 / metrics["engine_s"], rel=1e-3) and metrics["exact"] is True
    assert metrics["settings"]["tokens"] == 64 and metrics["settings"]["threads"] == 1 and "vllm_s" not in metrics
    assert metrics["settings"]["dtype"] == "float32" and "aten::" in done.stdout


@pytest.mark.slow
def test_without_vllm_it_says_how_to_get_it(tmp_path):
    done = run(env={"TRLT_VLLM_PYTHON": str(tmp_path / "python")})
    assert done.returncode == 1 and f"{tmp_path}/python isn't there: `make test-vllm` installs vLLM" in done.stderr
