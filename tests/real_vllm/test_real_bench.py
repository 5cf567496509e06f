"""`bench.vllm` runs and both sides agree; its times are nobody's promise on a machine that runs tests."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from paths import ROOT
from real_server import needs_vllm

pytestmark = [needs_vllm, pytest.mark.slow]


def test_both_sides_draw_as_much_and_agree():
    small = [
        "--tokens",
        "64",
        "--text",
        "60",
        "--length",
        "8",
        "-n",
        "3",
        "--repeats",
        "2",
        "--threads",
        "1",
        "--eager",
        "--json",
    ]
    command = [sys.executable, "-m", "bench.vllm", *small]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    *words, last = done.stdout.splitlines()
    metrics = json.loads(last)
    assert metrics["speedup"] == pytest.approx(metrics["vllm_s"] / metrics["engine_s"], rel=1e-3)
    assert metrics["vllm_samples_per_s"] == pytest.approx(3 / metrics["vllm_s"], rel=1e-3)
    assert 0 < metrics["logp_mean_diff"] <= metrics["logp_max_diff"] <= 1e-4
    peer = metrics["peer"]
    assert (peer["dtype"], peer["threads"], peer["eager"], peer["prefix_caching"]) == ("float32", 1, True, True)
    assert any("as fast" in line for line in words)
