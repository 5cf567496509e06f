"""`trlt demo`: its recipe, and its model made from nothing; the whole of it runs from a wheel (tests/test_wheel.py)."""

from __future__ import annotations

import json

import pytest

from trlt.commands import demo as demos
from trlt.commands._output import Output
from trlt.lab.miniature import rebuild
from trlt.recipe import load_recipe


def test_the_recipe_is_written_for_the_folder(tmp_path):
    path = demos._recipe(tmp_path / "here", "miniature.yaml")
    assert "runs/demo" not in path.read_text()
    recipe = load_recipe(path)
    assert recipe.train.data == str(tmp_path / "here" / "train.jsonl") and len(recipe.eval.benchmarks) == 8


@pytest.fixture
def small(monkeypatch, tmp_path):
    """Shipped recipe and sizes of the models' training: six steps, then two, on a few clips."""
    shipped = tmp_path / "shipped"
    shipped.mkdir()
    text = (demos.HERE / "miniature-warmup.yaml").read_text()
    short = {"  max_steps: 2000": "  max_steps: 6", "  warmup_steps: 50": "  warmup_steps: 2"}
    assert all(line in text.splitlines() for line in short)
    (shipped / "miniature-warmup.yaml").write_text("\n".join(short.get(line, line) for line in text.splitlines()))
    monkeypatch.setattr(demos, "HERE", shipped)
    monkeypatch.setattr(rebuild, "WARMUP_SAMPLES", 40)
    monkeypatch.setattr(rebuild, "GRADED_SAMPLES", 20)
    monkeypatch.setattr(rebuild, "GRADED", ((64, 1, 1e-3, False), (32, 2, 1e-3, True)))
    monkeypatch.chdir(tmp_path)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")
def test_the_model_can_be_made_again_from_nothing(trlt, small, tmp_path):
    from trlt.engine.model import MINIATURE, PLAIN, locate, miniature_path

    folder = demos.Path("out")
    recipe = demos._recipe(folder, "miniature-warmup.yaml")
    model = rebuild.rebuild(folder, recipe, trlt, Output(True).progress)
    assert locate(str(model)) == str(model)
    for made, name in ((model, PLAIN), (tmp_path / "out" / "graded-model", MINIATURE)):
        shipped = json.loads((miniature_path(name) / "config.json").read_text())
        config = json.loads((made / "config.json").read_text())  # a tokenizer of fewer samples numbers its tokens otherwise
        assert config.keys() == shipped.keys() and config.get("text_after_video") == shipped.get("text_after_video")
        assert ("text_after_video" in shipped) == (name == PLAIN)
    assert len((tmp_path / "out" / "graded-1" / "log.jsonl").read_text().splitlines()) == 2
    log = [json.loads(line)["loss"] for line in (tmp_path / "out" / "warmup" / "log.jsonl").read_text().splitlines()]
    assert len(log) == 6 and log[5] < log[0] - 0.1
