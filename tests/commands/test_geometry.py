"""Frames are made for the family of the model that a command is about."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest
from made_clips import choice, write_clip
from typer.testing import CliRunner

import trlt as package
from trlt.cli import app
from trlt.engine.families import family_named
from trlt.engine.inputs import InputBuilder
from trlt.engine.model import load
from trlt.recipe import Model, Recipe, Video
from trlt.rollout import request
from trlt.task.sample import read_samples, write_samples
from trlt.video import decoder_handle
from trlt.video.geometry import Geometry
from trlt.video.workers import ClipLoader

TOKENS = {"Qwen2.5-VL": 98, "Qwen3-VL": 72}
"""Of two temporal patches of 200 x 200 pixels: 7 x 7 tokens of 28 pixels, or 6 x 6 of 32."""
FLAGS = ["--set", "model.dtype=float32", "--set", "model.device=cpu", "--set", "video.workers=1"]


@pytest.fixture
def data(tmp_path):
    """Samples about a video of two seconds."""
    write_clip(tmp_path / "videos/a.mp4", 2, side=200)
    write_samples(tmp_path / "samples.jsonl", [choice("1", "a.mp4", duration=2.0)])
    return tmp_path / "samples.jsonl"


@pytest.fixture
def qwen3(family_path):
    """Folder of a tiny Qwen3-VL."""
    return family_path(family_named("qwen3_vl"))


def notes(*args):
    """What a command says while it runs."""
    result = CliRunner().invoke(app, [str(arg) for arg in args])
    assert result.exit_code == 0, result.output
    return result.stderr


@pytest.mark.parametrize(
    ("model", "tokens"),
    [
        (None, TOKENS["Qwen2.5-VL"]),
        ("Qwen/Qwen2-VL-7B-Instruct", TOKENS["Qwen2.5-VL"]),
        ("Qwen/Qwen3-VL-8B-Instruct", TOKENS["Qwen3-VL"]),
        ("folder", TOKENS["Qwen3-VL"]),
        ("somewhere/else", TOKENS["Qwen2.5-VL"]),
    ],
)
def test_tokens_of_a_check_are_those_of_the_recipes_model(tmp_path, monkeypatch, data, qwen3, model, tokens):
    monkeypatch.chdir(tmp_path)
    given = [] if model is None else ["--set", f"model.path={qwen3 if model == 'folder' else model}"]
    said = notes("video", "check", data, "--videos", tmp_path / "videos", *given, "--out", "rows.jsonl")
    assert json.loads(Path("rows.jsonl").read_text())["tokens"] == tokens
    assert ("model.path: 'somewhere/else' isn't on this machine" in said) == (model == "somewhere/else")


def test_a_model_of_no_known_family_is_refused(trlt, tmp_path, data):
    (tmp_path / "other").mkdir()
    (tmp_path / "other/config.json").write_text('{"model_type": "llama"}')
    (tmp_path / "other/model.safetensors").touch()
    assert "llama" in trlt("video", "check", data, "--videos", tmp_path / "videos", "--set", "model.path=other", code=5)


def test_a_probe_reads_what_was_warmed_for_its_model(trlt, tmp_path, monkeypatch, data, qwen3):
    """It decodes nothing; for another family, the same store holds other clips."""
    decoded = list[str]()
    decode = decoder_handle.Decoder.decode
    monkeypatch.setattr(decoder_handle.Decoder, "decode", lambda *args: decoded.append(args[1].name) or decode(*args))
    videos = ["--videos", tmp_path / "videos", "--set", "video.store=store"]
    warm = ["video", "cache", "warm", "--data", data, *videos, "--json"]
    model = ["--set", f"model.path={qwen3}"]
    first, second = (trlt(*warm, *model) for _ in range(2))
    assert (first["decoded"], first["there"], second["decoded"], second["there"]) == (1, 0, 0, 1)
    asked = ["probe", "--data", data, *videos, "--model", qwen3, *FLAGS, "-n", 2, "--set", "probe.max_new_tokens=4"]
    rows = Path(trlt(*asked, "--out", "run", "--json")["rows"])
    assert json.loads(rows.read_text())["video_tokens"] == TOKENS["Qwen3-VL"]
    assert decoded == ["a.mp4"]
    estimated = trlt(*asked, "--estimate", "--fresh", "--out", "run", "--json")["metrics"]
    assert estimated["video_tokens"]["total"] == TOKENS["Qwen3-VL"] and decoded == ["a.mp4"]
    # The two times and their marks are text of the prompt.
    words = request(read_samples(data)[0], Recipe().form("probe"), 2)
    loaded = load(Model(path=str(qwen3), dtype="float32", device="cpu"))
    builder = InputBuilder(loaded.model, loaded.processor)
    with ClipLoader(Video(workers=0), Geometry(16)) as loader:
        prompt = builder.prompt(
            words.system, words.user, builder.clip(loader.load(tmp_path / "videos/a.mp4")), think=words.think
        )
    assert estimated["prompt_tokens"]["total"] == len(prompt.prefix) + len(prompt.suffix) - TOKENS["Qwen3-VL"]
    other = trlt(*warm)
    assert (other["decoded"], other["there"], other["entries"]) == (1, 0, 2)


def test_a_question_about_one_video(tmp_path, monkeypatch, data, qwen3):
    monkeypatch.chdir(tmp_path)
    flags = ["--model", qwen3, *FLAGS, "--set", "eval.max_new_tokens=4"]
    said = notes("infer", tmp_path / "videos/a.mp4", "what moves", *flags)
    assert f"4 frames, {TOKENS['Qwen3-VL']} tokens" in said
    notes("infer", data, "--videos", tmp_path / "videos", "--out", "rows.jsonl", *flags)
    assert json.loads(Path("rows.jsonl").read_text())["video_tokens"] == TOKENS["Qwen3-VL"]


def test_no_loader_is_made_without_a_geometry():
    """But where frames are only looked at: by the scan of files, and by the report's page."""
    root = Path(package.__file__).parent
    bare, all_ = set[str](), 0
    for path in root.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", None) in ("ClipLoader", "NotingLoader"):
                all_ += 1
                if len(node.args) < 2 and "geometry" not in {word.arg for word in node.keywords}:
                    bare.add(path.relative_to(root).as_posix())
    assert bare == {"video/scan.py", "report/page/build.py"} and all_ >= 15
