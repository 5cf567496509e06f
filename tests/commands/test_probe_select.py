"""From samples to a selection, as a user types it."""

from __future__ import annotations

import json

import pytest
from made_clips import pool

from trlt.errors import ModelError
from trlt.rollout import read_rows
from trlt.sample import read_samples, write_samples

SHORT = ["--set", "probe.max_new_tokens=4", "-n", "2", "--set", "select.easy=2", "--set", "select.hard=0"]


@pytest.fixture
def data(tmp_path):
    """Six samples with their videos beside the file, and two whose videos can't be read."""
    samples = pool(tmp_path, clips=2)
    samples = [sample for sample in samples if sample.id != "bounded"]
    write_samples(tmp_path / "pool.jsonl", samples)
    return tmp_path / "pool.jsonl"


def test_probe_then_select(trlt, fast, data, tmp_path):
    result = trlt("probe", "--data", data, *fast, *SHORT, "--json")
    folder = tmp_path / "runs/trlt/probe-pool"
    assert result["rows"] == "runs/trlt/probe-pool/rows/probe.jsonl" and result["summary"]["errors"] == 2
    assert {path.name for path in folder.iterdir()} == {"rows", "recipe.yaml", "manifest.json", "difficulty.png"}
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["prompt"] and manifest["versions"]["torch"] and manifest["inputs"]["data"]["samples"] == 6
    assert manifest["protocol"]["temperature"] == 1.0 and manifest["protocol"]["video"]["max_tokens"] == 2048
    before = (folder / "rows/probe.jsonl").read_bytes()
    again = trlt("probe", "--data", data, *fast, *SHORT)
    assert (folder / "rows/probe.jsonl").read_bytes() == before
    assert "Difficulty: 6 samples" in again and "2 samples hold an error" in again
    message = trlt("probe", "--data", data, *fast, *SHORT, "--set", "probe.seed=1", code=7)
    assert "probe.seed: 0 -> 1" in message and "--fresh" in message

    keep = ["--set", "select.delta_iou=0", "--set", "select.ratio=1:1:1", "--set", "select.sizes.multi_choice=30"]
    chosen = trlt("select", "--probe", folder, *SHORT[4:], "--set", "probe.n=2", *keep, "--out", "train.jsonl", "--json")
    kept = [sample.id for sample in read_samples(tmp_path / "train.jsonl")]
    assert kept == ["c0", "e0", "c1", "e1"] and chosen["taken"] == 4
    assert json.loads((tmp_path / "train.report.json").read_text()) == chosen["selection"]
    assert json.loads((tmp_path / "train.manifest.json").read_text())["videos"] == str(tmp_path)
    shown = trlt("select", "--probe", folder / "rows/probe.jsonl", *SHORT[4:], "--set", "probe.n=2", *keep)
    assert "Selection" in shown and "2 rows hold an error" in shown

    none = ["--set", "select.sizes.multi_choice=0", "--set", "select.sizes.grounding=0", "--out", "none.jsonl"]
    assert "nothing was selected" in trlt("select", "--probe", folder, *none, code=3)
    assert not (tmp_path / "none.jsonl").exists() and (tmp_path / "none.report.json").is_file()

    data.write_text(data.read_text() + "\n")
    assert "has changed since it was probed" in trlt("select", "--probe", folder, code=3)
    assert "would overwrite its own input" in trlt("select", "--probe", folder, "--data", data, "--out", data, code=2)


def test_a_row_file_can_be_named(trlt, fast, data, tmp_path):
    trlt("probe", "--data", data, *fast, *SHORT, "--out", "p.jsonl", "--json")
    assert len(list(read_rows(tmp_path / "p.jsonl"))) == 6
    assert (tmp_path / "p.manifest.json").is_file() and (tmp_path / "p.recipe.yaml").is_file()


def test_the_line_that_people_type_fails_before_any_work_without_its_model(trlt, data, tmp_path, monkeypatch):
    def unreachable(name):
        raise ModelError(f"model.path: {name} is not in the local cache; try `--model miniature`")

    monkeypatch.setattr("trlt.commands.probe.locate", unreachable)
    message = trlt("probe", "--data", "pool.jsonl", "-n", "8", code=5)
    assert "Qwen/Qwen2.5-VL-7B-Instruct" in message and "--model miniature" in message
    assert not (tmp_path / "runs").exists()


def test_what_cannot_be_used_is_named(trlt, fast, data, tmp_path):
    assert "nowhere.jsonl: can't be read" in trlt("probe", "--data", "nowhere.jsonl", code=3)
    assert "absent: no such folder" in trlt("probe", "--data", data, "--videos", "absent", code=4)
    assert "did you mean probe" in trlt("probe", "--data", data, "--set", "prob.n=3", code=2)
    assert "neither a folder nor a hub id" in trlt("probe", "--data", data, "--model", "nonsense", code=5)
    (tmp_path / "empty").mkdir()
    message = trlt("probe", "--data", data, "--videos", "empty", *fast, *SHORT, code=4)
    assert "not one sample could be asked" in message and "--videos" in message
    (tmp_path / "bare.jsonl").write_text("")
    assert "names no samples; give those that were probed with --data" in trlt("select", "--probe", "bare.jsonl", code=2)
