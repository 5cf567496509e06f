"""The commands of four pages run as written: getting started, tuning and scoring on small data, a data set in the package."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import other_logs
import pytest
from made_clips import write_clip
from paths import ROOT
from typer.testing import CliRunner

from trlt.cli import app
from trlt.data.datasets import load, read_source
from trlt.lab.miniature import layout

sys.path.insert(0, str(ROOT))
from docs.tools.blocks import blocks, commands  # noqa: E402

STARTING = ROOT / "docs" / "getting-started.md"
ELSEWHERE = ("trlt doctor", "trlt demo")
"""Tested by themselves."""


@pytest.mark.slow
def test_getting_started_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command in its order, on a fiftieth of the clips and with two prompts a step."""
    monkeypatch.chdir(tmp_path)
    layout.write(Path("runs/demo/data"), scale=0.02)
    recipe = (ROOT / "recipes/miniature.yaml").read_text(encoding="utf-8")
    for old, new in (("prompts_per_step: 24", "prompts_per_step: 2"), ("prompts_per_pass: 6", "prompts_per_pass: 2")):
        assert old in recipe
        recipe = recipe.replace(old, new)
    Path("recipes").mkdir()
    Path("recipes/miniature.yaml").write_text(recipe, encoding="utf-8")
    video = next(iter(sorted(Path("runs/demo/data/bench/charades/videos").rglob("*.mp4"))))
    lines = [line for line in commands(STARTING) if not line.startswith(ELSEWHERE)]
    assert len(lines) >= 10 and len(lines) == len(commands(STARTING)) - 2
    for line in lines:
        run(line.replace("VIDEO", shlex.quote(str(video))).replace("max_steps=10", "max_steps=2"))
    assert Path("runs/mine/train/model/model.safetensors").is_file()
    assert Path("runs/mine/report.html").stat().st_size > 10_000


def run(line: str) -> None:
    """One command of a page, in this process."""
    result = CliRunner().invoke(app, shlex.split(line)[1:])
    assert result.exit_code == 0, f"{line}\n{result.output}{result.exception or ''}"


@pytest.mark.slow
def test_tuning_on_my_videos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command in its order, on the page's samples and recipe, with the tiny model and one step of two prompts."""
    monkeypatch.chdir(tmp_path)
    page = ROOT / "docs" / "tune-on-my-videos.md"
    [samples] = [block.text for block in blocks(page, "text")]
    recipe, trial = [block.text for block in blocks(page, "yaml")]
    smaller = (
        ("{path: Qwen/Qwen2.5-VL-3B-Instruct}", "{path: miniature, dtype: float32, device: cpu}"),
        ("{root: my/videos}", "{root: my/videos, max_tokens: 32, workers: 1}"),
        ("prompts_per_step: 16", "prompts_per_step: 2\n  max_new_tokens: 24"),
        ("max_steps: 200", "max_steps: 1"),
    )
    for old, new in smaller:
        assert old in recipe
        recipe = recipe.replace(old, new)
    Path("my.yaml").write_text(
        recipe + "select: {delta_iou: 0.0}\nprobe: {max_new_tokens: 24}\neval: {max_new_tokens: 24}\n", encoding="utf-8"
    )
    for number, name in enumerate(("yoga", "guitar")):
        write_clip(Path(f"my/videos/{name}.mp4"), seed=number)
    for name in ("train", "test"):
        Path(f"my/{name}.jsonl").write_text(samples, encoding="utf-8")
    for line in commands(page):
        run(line.replace("train own-data", "train my.yaml"))
    Path("try.yaml").write_text(trial, encoding="utf-8")
    run("trlt train try.yaml")
    assert all(Path(f"runs/{name}/train-grpo/model/model.safetensors").is_file() for name in ("my", "try"))
    assert Path("my.html").is_file() and Path("answer.html").is_file()


def test_scoring_my_outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command but the one that asks a server; both models' mIoU and their difference are computed by hand.

    The logs of the other tools hold the gold answers of the invented official files.
    """
    monkeypatch.chdir(tmp_path)
    page = ROOT / "docs" / "score-my-outputs.md"
    lines = commands(page)
    assert len(lines) == 8 and "--server" in lines[-1]
    for bench in ("mvbench", "videomme"):
        folder = Path("data") / bench
        folder.mkdir(parents=True)
        for name, text in load(bench).EXAMPLE.files.items():
            (folder / name).write_text(text, encoding="utf-8")
        samples = read_source(bench, folder, None, purpose="bench").samples
        texts = [other_logs.gold(sample) for sample in samples]
        if bench == "mvbench":
            other_logs.write_lmms("logs/my__model", samples, texts)
        else:
            Path("outputs").mkdir()
            rows = other_logs.vlmeval_rows(samples, texts)
            other_logs.write_table(Path("outputs/MyModel_Video-MME.xlsx"), rows)
    data = Path("data/charades")
    data.mkdir(parents=True)
    data.joinpath("charades_sta_test.txt").write_text("3MSZA 2.0 8.0##he turns a light on.\n", encoding="utf-8")
    [shown] = [block.text for block in blocks(page, "text")]
    Path("a.jsonl").write_text(shown, encoding="utf-8")
    Path("b.jsonl").write_text(shown.replace("0.0 to 10.0", "2.0 to 10.0"), encoding="utf-8")
    run(lines[0])
    asked = [json.loads(line) for line in Path("runs/questions/charades.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [one["id"] for one in asked] == [json.loads(shown)["id"]] and {"video", "task", "system", "user"} <= set(asked[0])
    for line in lines[1:-1]:
        run(line)
    for name, expected in (("a", 60.0), ("b", 75.0)):  # 6 of 10 seconds, 6 of 8
        results = json.loads(Path(f"runs/eval-{name}/results.json").read_text(encoding="utf-8"))
        assert results["benchmarks"]["charades"]["paper"]["mIoU"] == pytest.approx(expected)
    assert Path("a-and-b.html").is_file()
    for name, bench in (("c", "mvbench"), ("d", "videomme")):
        entry = json.loads(Path(f"runs/eval-{name}/results.json").read_text(encoding="utf-8"))["benchmarks"][bench]
        assert (entry["lenient"]["acc"], entry["missing_predictions"]) == (100, 0)


def test_the_invented_data_set_is_checked_read_scored_and_moves_into_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The block's text as a user's file, with every command of the page; then in a copied package, through its tests."""
    monkeypatch.chdir(tmp_path)
    page = ROOT / "docs" / "adding-a-dataset.md"
    [block] = [block for block in blocks(page, "python") if block.title]
    Path(block.title).write_text(block.text, encoding="utf-8")
    data = tmp_path / "data/kitchen"
    data.mkdir(parents=True)
    records = [
        {"video": "k1", "sentence": "she opens  the fridge", "start": 0.5, "end": 2.0, "length": 3.0},
        {"video": "k1", "sentence": "she closes the fridge", "start": 2.5, "end": 1.0, "length": 3.0},
    ]
    for split in ("train", "test"):
        (data / f"kitchen_{split}.json").write_text(json.dumps(records), encoding="utf-8")
    write_clip(data / "videos/k1.mp4", 3.0)
    check, check_real, prepare, evaluate = commands(page)
    run(check)
    result = CliRunner().invoke(app, [*shlex.split(check_real)[1:], "--json"])
    assert json.loads(result.stdout)["annotation"]["dropped"] == {"reversed": 1}
    result = CliRunner().invoke(app, [*shlex.split(prepare)[1:], "--json"])
    prepared = json.loads(result.stdout)
    assert prepared["samples"] == 1 and prepared["sources"][0]["dropped"] == {"reversed": 1}
    assert prepared["sources"][0]["dataset"] == "kitchen" and prepared["statistics"]["domains"] == {"kitchens": 1}
    Path("p.jsonl").write_text(json.dumps({"id": "kitchen:test:0", "text": "<think> </think> <answer> 0.5 to 2.0 </answer>"}))
    result = CliRunner().invoke(app, [*shlex.split(evaluate)[1:], "--predictions", "p.jsonl", "--json"])
    assert json.loads(result.stdout)["benchmarks"]["kitchen"]["paper"]["mIoU"] == 100
    [recipe] = blocks(page, "yaml")
    Path("r.yaml").write_text(recipe.text, encoding="utf-8")
    run("trlt prepare r.yaml --out pool")
    run("trlt eval --bench all --recipe r.yaml --predictions p.jsonl --out e")
    assert Path("pool/kitchen.jsonl").is_file() and Path("e/results.json").is_file()

    skipped = shutil.ignore_patterns("__pycache__", "*.safetensors")
    shutil.copytree(ROOT / "trlt", tmp_path / "trlt", ignore=skipped)
    (tmp_path / "trlt/data/datasets/kitchen.py").write_text(block.text, encoding="utf-8")
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}

    def python(*arguments: str) -> str:
        done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, cwd=tmp_path, env=env)
        assert done.returncode == 0, f"{arguments}\n{done.stdout}{done.stderr}"
        return done.stdout

    listing = json.loads(python("-m", "trlt", "prepare", "--list", "--json"))
    assert "kitchen" in [source["name"] for source in listing["sources"]]
    tests = str(ROOT / "tests/data/datasets/test_dataset_files.py")
    said = python("-m", "pytest", tests, "-q", "-k", "kitchen", "-p", "no:cacheprovider", "-c", str(ROOT / "pyproject.toml"))
    assert re.search(r"\b[2-9] passed", said)
