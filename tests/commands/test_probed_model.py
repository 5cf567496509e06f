"""Samples that were selected by the answers of another model than the one that is tuned."""

from __future__ import annotations

import json
import shutil

import pytest
from report.made_runs import N, probe, samples

from trlt.commands._train_look import other_model
from trlt.rollout import model_identity
from trlt.task.sample import write_samples


@pytest.fixture
def selected(trlt, tmp_path):
    """`selected(model)` gives samples that `trlt select` took by a probe whose manifest has this identity."""
    made = samples()
    write_samples(tmp_path / "pool.jsonl", made)
    folder = probe(tmp_path / "probe", tmp_path / "pool.jsonl", tmp_path, made, lambda i: 1 + i % 3)

    def go(model):
        manifest = json.loads((folder / "manifest.json").read_text())
        (folder / "manifest.json").write_text(json.dumps(manifest | {"model": model}))
        trlt("select", "--probe", folder, "--out", "some.jsonl", "--set", f"select.easy={N}", "--set", "select.hard=0", *BY)
        return tmp_path / "some.jsonl"

    return go


BY = ("--set", "select.by=random")


def test_another_model_is_told_by_name(selected, tiny_path):
    data = selected({"name": "Qwen2.5-VL-7B", "sha256": "0" * 64, "files": {}})
    assert other_model(str(tiny_path), data) == (
        f"train: {data} was selected by answers of Qwen2.5-VL-7B, and training tunes {tiny_path.name}: how hard a sample is "
        "differs from model to model; probe and select again with the model that is tuned"
    )
    data = selected({"name": tiny_path.name, "sha256": "0" * 64, "files": {}})
    assert f"training tunes other files of the name {tiny_path.name}:" in (other_model(str(tiny_path), data) or "")


def test_nothing_is_said_of_the_same_or_where_it_isnt_known(selected, tiny_path, tmp_path):
    assert other_model(str(tiny_path), selected(model_identity(str(tiny_path)))) is None
    moved = shutil.copytree(tiny_path, tmp_path / "moved")
    assert other_model(str(moved), selected(model_identity(str(tiny_path)))) is None
    for unknown in ({"served": "qwen"}, {"hub": f"org/{tiny_path.name}", "revision": None}):
        assert other_model(str(tiny_path), selected(unknown)) is None
    assert other_model(str(tiny_path), tmp_path / "pool.jsonl") is None, "of no selection"
