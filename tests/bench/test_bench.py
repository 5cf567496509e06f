"""The benchmarks run and agree; their times are nobody's promise on a machine that runs tests."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from paths import ROOT

SMALL = ["--tokens", "64", "--length", "8", "--hidden", "128", "--layers", "2", "--threads", "1", "--json"]

pytestmark = pytest.mark.slow


def run(*command: str) -> dict:
    done = subprocess.run([sys.executable, *command, *SMALL], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    *words, last = done.stdout.splitlines()
    assert any("speedup" in line for line in words) and not any(line.startswith("{") for line in words)
    return json.loads(last)


def test_grpo_step():
    metrics = run("bench/grpo_step.py", "--steps", "1")
    assert metrics["logp_max_diff"] <= 1e-5
    assert 0 < metrics["grad_rel_diff"] <= 1e-4
    assert metrics["shared_s"] > 0 and metrics["full_s"] > 0
    assert metrics["speedup"] == pytest.approx(metrics["full_s"] / metrics["shared_s"], rel=1e-3)
    assert metrics["settings"]["tokens"] == 64 and metrics["settings"]["dtype"] == "float32"
    assert metrics["prompt_tokens"] > 64 + 90 and metrics["parameters"] > 500_000


def test_sample():
    metrics = run("-m", "bench.sample", "--repeats", "1", "--questions", "3")
    assert metrics["logp_max_diff"] <= 1e-5
    assert metrics["exact"] is True
    assert metrics["settled"] == metrics["samples_settled"] + metrics["questions_settled"]
    assert (metrics["samples_drawn"], metrics["questions_drawn"]) == (8 * 8, 3 * 8)
    for name in ("samples", "questions"):
        ratio = metrics[f"{name}_library_s"] / metrics[f"{name}_engine_s"]
        assert metrics[f"{name}_speedup"] == pytest.approx(ratio, rel=1e-3)


def test_probe():
    sizes = ["--samples", "3", "-n", "2", "--tokens", "128", "--length", "8", "--repeats", "1", "--json"]
    done = subprocess.run([sys.executable, "-m", "bench.probe", *sizes], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    metrics = json.loads(done.stdout.splitlines()[-1])
    assert metrics["logp_max_diff"] <= 1e-5 and 0 < metrics["drawn"] <= 3 * 2 * 8
    assert metrics["engine_samples_per_s"] == pytest.approx(3 / metrics["engine_s"], rel=1e-3)
    assert metrics["speedup"] == pytest.approx(metrics["library_s"] / metrics["engine_s"], rel=1e-3)


def test_loading():
    command = [sys.executable, "-m", "bench.loading", "--vocabulary", "4096", "--hidden", "128", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    metrics = json.loads(done.stdout.splitlines()[-1])
    assert metrics["parameters"] > 2 * 4096 * 128 and metrics["libraries_mb"] > 100
    for first, then, last in zip(metrics["loaded_mb"], metrics["compared_mb"], metrics["step_mb"], strict=True):
        assert 0 < first <= then <= last
    assert len(metrics["step_bytes_a_weight"]) == 2


def test_parity_noise(tmp_path):
    """Of the miniature in float32, where rounding is far below all faults."""
    from trlt.engine.agreement import TOLERANCES, Agreement

    out = tmp_path / "noise.jsonl"
    command = [sys.executable, "-m", "bench.parity_noise", "--kind", "miniature", "--video", "16", "--precision", "float32"]
    done = subprocess.run([*command, "--faults", "--out", str(out)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    refused: dict[str, list[bool]] = {}
    for line in lines:
        apart = line["apart"]
        found = Agreement(1, len(apart), max(apart), sum(apart) / len(apart))
        refused.setdefault(line["what"], []).append(not TOLERANCES["float32"].allows(found))
    sides = ("engine, library", "engine, library, at temperature 1", "engine, trainer", "trainer, library")
    assert not any(any(refused[name]) for name in sides) and all(len(some) == 8 for some in refused.values())
    for fault in ("the rate is dropped", "text placed by the library's rule", "temperature 10% higher"):
        assert all(refused[f"fault: {fault}"]), fault
    assert {name.removeprefix("fault: ") for name in refused} >= {"completions don't see their clip", "frames 1% brighter"}
    table = subprocess.run([*command[:3], "--table", str(out)], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert table.count("\n") == 2 + len(refused) and "| miniature, float32 | engine, library | 8 |" in table


def test_prepare():
    command = [sys.executable, "-m", "bench.prepare", "--scale", "0.002", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    metrics = json.loads(done.stdout.splitlines()[-1])
    assert metrics["records"] > metrics["samples"] > 0.9 * metrics["records"] and metrics["videos"] > 100
    assert metrics["seconds"] > 0 and metrics["peak_mb"] > 20


def test_linear_layers():
    command = [sys.executable, "-m", "bench.linear_layers", "--steps", "6", "--completions", "2", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["family"] for row in rows] == ["Qwen2.5-VL", "Qwen3-VL", "Qwen3.5"]
    assert all(row["engine: largest"] < row["bound"] and row["tree and full sequences"] < 1e-4 for row in rows)
    assert [row["a state"] > 0 for row in rows] == [False, False, True]
