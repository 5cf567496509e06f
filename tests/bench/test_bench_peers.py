"""Our side of the whole-step benchmark counts decodes and vision passes, and the peer's lines are read."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys

import pytest
from paths import ROOT

SMALL = ["--clips", "4", "--seconds", "4", "--size", "112", "84", "--pair", "12", "--length", "6", "--threads", "1"]

OUT = """something else
BENCH {"tool": "ms-swift", "steps": 3, "first_s": 9.0, "mean_s": 5.0, "all_s": [9.0, 4.0, 6.0], "sequence_tokens": 2100, "video_tokens": 1980}
"""  # noqa: E501
STEPS = """warning: BENCH_STEP is mentioned here
BENCH_STEP {"step": 1, "s": 9.0, "parts": {"fetch_video": {"n": 16, "s": 3.0}, "rollout": {"n": 1, "s": 5.0}}}
BENCH_STEP {"step": 2, "s": 4.0, "parts": {"fetch_video": {"n": 16, "s": 1.0}, "rollout": {"n": 1, "s": 2.0}}}
BENCH_STEP {"step": 3, "s": 6.0, "parts": {"fetch_video": {"n": 13, "s": 2.0}}}
"""


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(ROOT)
    return importlib.import_module


def run(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bench.peers", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_counts_of_our_side(tmp_path):
    done = run("--ours-only", "--features", "--rounds", "1", "--files", str(tmp_path), "--json", *SMALL)
    assert done.returncode == 0, done.stderr
    metrics = json.loads(done.stdout.splitlines()[-1])
    assert (metrics["cold_decodes"], metrics["warm_decodes"]) == (1, 0)
    # One pass serves the rollout and the update; in the second epoch its features are there already.
    assert (metrics["cold_passes"], metrics["warm_passes"]) == (1, 0)
    assert (metrics["cold_clips"], metrics["warm_clips"]) == (1, 0)
    for epoch in ("cold", "warm"):
        assert metrics[f"{epoch}_video_tokens"] == 4 * 12 < metrics[f"{epoch}_prompt_tokens"]
        assert metrics[f"{epoch}_step_s"] > 0
        assert sum(metrics[f"{epoch}_parts_s"].values()) == pytest.approx(metrics[f"{epoch}_step_s"], abs=0.01)
    assert len(metrics["cold_steps_s"][0]) == 1 and len(metrics["warm_steps_s"][0]) == 4
    assert not any(name.startswith("theirs") or "speedup" in name for name in metrics)


def test_lines_of_the_peer(bench):
    read = bench("bench.peer_sides").read_peer(OUT, STEPS, [["1.5", "8"], ["2.5", "8"], ["3.5", "5"]], 2)
    assert (read.step_s, read.steps) == (5.0, [4.0, 6.0])
    assert (read.decodes, read.passes, read.clips) == (15, 1, 7)
    assert (read.video_tokens, read.prompt_tokens) == (1980, 2100)
    assert read.parts == {"fetch_video": 1.5, "rollout": 1.0}


@pytest.mark.parametrize(("out", "steps"), [("", STEPS), ("no figures", STEPS), (OUT, "")])
def test_a_peer_without_metrics_ends_the_benchmark(bench, out, steps):
    with pytest.raises(SystemExit, match="without its lines of metrics"):
        bench("bench.peer_sides").read_peer(out, steps, [], 2)


def test_speedup_is_that_of_each_round(bench):
    def runs(*seconds: float) -> list:
        return [bench("bench.peer_sides").Run(s, [s], 1, 2, 2, 1980, 2100, 2, {}) for s in seconds]

    metrics = bench("bench.peers").summarize({"cold": runs(2, 4, 1), "warm": runs(1, 1, 1), "theirs": runs(10, 12, 8)})
    assert metrics["cold_speedups"] == [5, 3, 8] and metrics["cold_speedup"] == 5
    assert metrics["warm_speedup"] == 10 and metrics["theirs_step_s"] == 10


def test_missing_script_is_told(tmp_path):
    done = run("--script", str(tmp_path / "absent.sh"), "--cache", str(tmp_path))
    assert done.returncode == 2 and "absent.sh: no such file" in done.stderr
    done = run("--ours-only", "--clips", "3")
    assert done.returncode == 2 and "--clips 3: at least 4" in done.stderr
