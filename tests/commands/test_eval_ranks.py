"""`trlt eval` and `trlt infer` in several processes: the same files as of one, and clips shared by benchmarks."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from paths import TESTS

from trlt.engine.forest import Engine
from trlt.rollout import read_rows
from trlt.task.sample import Sample, Span, write_samples

SHORT = ["--no-think", "--set", "eval.max_new_tokens=4"]
VARIABLES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "SLURM_PROCID", "SLURM_LOCALID", "SLURM_NTASKS", "TRLT_LAUNCHER")


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def trees(monkeypatch):
    """The clips that engines encode."""
    found, stream = [], Engine.stream

    def counted(self, trees, sampling, **options):
        def seen():
            for tree in trees:
                found.append([request.key for request in tree.requests])
                yield tree

        return stream(self, seen(), sampling, **options)

    monkeypatch.setattr(Engine, "stream", counted)
    return found


@pytest.fixture
def mine(bench, tmp_path):
    """Own questions about the benchmark's videos, and one about a video that is missing; an id occurs in both."""
    told = [("AAAAA:0", "AAAAA"), ("mine-1", "BBBBB"), ("mine-2", "absent"), ("mine-3", "BBBBB")]
    samples = [Sample(id, "own", "test", "grounding", f"{name}.mp4", "a bird", spans=(Span(0.0, 1.0),)) for id, name in told]
    write_samples(tmp_path / "mine.jsonl", samples)
    return tmp_path / "mine.jsonl"


@pytest.fixture
def args(bench, mine, tmp_path, fast):
    recipe = tmp_path / "r.yaml"
    recipe.write_text(
        f"eval:\n  benchmarks:\n    charades: {{annotations: {bench}, videos: {bench}}}\n"
        f"    mine: {{data: {mine}, videos: {bench}/Charades_v1_480}}\n"
    )
    return ["eval", "-b", "all", "-r", recipe, *fast, *SHORT, "--allow-missing", "--no-page"]


def written(out: Path) -> dict[str, bytes]:
    """All files but the manifest, which has times."""
    files = [path for path in out.rglob("*") if path.is_file() and path.name != "manifest.json"]
    return {str(path.relative_to(out)): path.read_bytes() for path in files}


def test_benchmarks_about_the_same_videos_share_clips(trlt, args, trees, tmp_path):
    trlt(*args, "--out", "together")
    assert sorted(map(sorted, trees)) == [["AAAAA:0", "AAAAA:0", "AAAAA:1"], ["BBBBB:2", "BBBBB:3", "mine-1", "mine-3"]]
    trees.clear()
    for name in ("charades", "mine"):
        trlt(*args[:2], name, *args[3:], "--out", "apart")
    assert len(trees) == 4
    for name in ("charades", "mine"):
        one, other = (tmp_path / f"{out}/rows/{name}.jsonl" for out in ("apart", "together"))
        assert one.read_bytes() == other.read_bytes()


def test_a_launchers_ranks(trlt, args, tmp_path, monkeypatch):
    trlt(*args, "--out", "one")
    for name, value in zip(VARIABLES, (1, 1, 2), strict=False):
        monkeypatch.setenv(name, str(value))
    assert trlt(*args, "--out", "two") == "", "the second rank shows nothing; the first one never comes"
    assert {path.name for path in (tmp_path / "two/rows").iterdir()} == {"charades.jsonl", "mine.jsonl"}
    assert not (tmp_path / "two/results.json").exists()
    monkeypatch.setenv("RANK", "0")
    assert "Results: two/results.json" in trlt(*args, "--out", "two")
    assert written(tmp_path / "two") == written(tmp_path / "one")
    assert "--fresh: each of several processes" in trlt(*args, "--out", "two", "--fresh", code=2)
    assert "--vllm: one process starts the servers" in trlt(*args, "--out", "two", "--vllm", "1", code=2)


@pytest.mark.slow
def test_two_processes_write_what_one_writes(trlt, args, bench, mine, fast, tmp_path):
    """Real ones, with options that each must get: own questions of another form, `--data`, `--think`, `--allow-missing`."""
    rows = [json.loads(line) for line in mine.read_text().splitlines()]
    table = tmp_path / "table.csv"
    lines = [f"{row['id']},{row['video']},{row['question']},0,1" for row in rows]
    table.write_text("\n".join(["number,film,what,start,end", *lines]) + "\n")
    named = "id=number,video=film,question=what"
    args = [*args[:5], *fast, "--set", "eval.max_new_tokens=4", "--think", "--allow-missing", "--no-page"]
    args += ["--data", f"others={table}", "--map", named, "--set", f"video.root={bench}/Charades_v1_480"]
    results = trlt(*args, "--out", "one", "--json")
    two = trlt(*args, "--out", "two", "--json", "--processes", 2)
    assert written(tmp_path / "two") == written(tmp_path / "one") and len(written(tmp_path / "one")) > 8
    for one in (results, two):
        one.pop("parity")
    assert two == results and two["protocol"]["think"] is True
    assert list(two["benchmarks"]) == ["charades", "mine", "others"]

    infer = ["infer", mine, *fast, *SHORT, "--videos", bench / "Charades_v1_480", "--json"]
    one, two = trlt(*infer, "--out", "a"), trlt(*infer, "--out", "b", "--processes", 2)
    assert written(tmp_path / "a") == written(tmp_path / "b") and one["means"] == two["means"]
    assert (one["summary"]["errors"], two["summary"]["errors"]) == (1, 1)
    shutil.copy(bench / "Charades_v1_480/AAAAA.mp4", bench / "Charades_v1_480/absent.mp4")
    again = trlt(*infer, "--out", "b", "--processes", 2, "--retry-errors")
    assert (
        again["summary"]["errors"] == 0 and [row["error"] for row in read_rows(tmp_path / "b/rows/infer.jsonl")] == [None] * 4
    )


@pytest.mark.slow
def test_killed_evaluations_write_what_an_undisturbed_one_writes(tmp_path):
    program = [sys.executable, str(TESTS / "killed_eval.py"), str(tmp_path), "3", "3"]
    found = json.loads(subprocess.run(program, check=True, capture_output=True, text=True).stdout)
    assert found["code"] == 0 and found["differ"] == [] and found["killed"] >= 3 and found["files"] > 6
