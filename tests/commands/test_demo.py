from __future__ import annotations

import json
import re
from functools import partial
from pathlib import Path

import pytest

from trlt.commands import demo as demos
from trlt.commands._demo_stages import demo_stages
from trlt.commands._output import Output
from trlt.lab.miniature import layout, rebuild
from trlt.recipe import load_recipe


def test_the_recipe_is_written_for_the_folder(tmp_path):
    path = demos._recipe(tmp_path / "here", "miniature.yaml")
    assert "runs/demo" not in path.read_text()
    recipe = load_recipe(path)
    assert recipe.train.data == str(tmp_path / "here" / "train.jsonl") and len(recipe.eval.benchmarks) == 8


@pytest.fixture
def small(monkeypatch, tmp_path):
    """A miniature of the miniature: a twentieth of the clips, two steps."""
    shipped = tmp_path / "shipped"
    shipped.mkdir()
    text = (demos.HERE / "miniature.yaml").read_text()
    for old, new in (
        ("prompts_per_step: 24", "prompts_per_step: 2"),
        ("prompts_per_pass: 6", "prompts_per_pass: 2"),
    ):
        assert old in text
        text = text.replace(old, new)
    (shipped / "miniature.yaml").write_text("\n".join("  max_steps: 2" if "max_steps" in x else x for x in text.splitlines()))
    text = (demos.HERE / "miniature-warmup.yaml").read_text()
    short = {"  max_steps: 2000": "  max_steps: 6", "  warmup_steps: 50": "  warmup_steps: 2"}
    assert all(line in text.splitlines() for line in short)
    (shipped / "miniature-warmup.yaml").write_text("\n".join(short.get(line, line) for line in text.splitlines()))
    monkeypatch.setattr(demos, "HERE", shipped)
    monkeypatch.setattr(rebuild, "WARMUP_SAMPLES", 40)
    monkeypatch.setattr(rebuild, "GRADED_SAMPLES", 20)
    monkeypatch.setattr(rebuild, "GRADED", ((64, 1, 1e-3, False), (32, 2, 1e-3, True)))
    monkeypatch.setattr(layout, "write", partial(layout.write, scale=0.05))
    monkeypatch.chdir(tmp_path)


@pytest.mark.slow
def test_the_whole_way_through(small, tmp_path, capfd):
    """All commands on a small layout, in processes of their own: a line per stage, four at the end, a log and a page."""
    result = demos.demo(demos.Path("out"), output=Output(False))
    shown = capfd.readouterr()
    stages = [line for line in shown.err.splitlines() if re.search(r": done, \d+:\d\d$", line)]
    assert len(stages) == len(demos.STAGES)
    log = (tmp_path / "out" / "demo.log").read_text()
    for command in ("prepare", "probe", "select", "eval", "train", "compare", "infer"):
        assert f"\ntrlt {command} " in log
    assert result["comparison"]["verdict"]["outcome"] == "unknown", "two steps, on few videos"
    done, told, page, following = shown.out.splitlines()
    chosen = result["selection"]
    assert re.match(rf"Done in \d+ s: .*answered {chosen['rows']} questions.*GRPO \(2 steps\) on {chosen['taken']} of", done)
    assert done.endswith(" on 8 benchmarks. Log: out/demo.log") and page.startswith("Page: out/report.html (")
    assert told.startswith("Verdict: ") and "Whether the tuned model is better than the base model can't be said" in told
    assert following.endswith("trlt serve --model out/train/model --recipe out/miniature.yaml")
    assert "Whether the tuned model is better than the base model can't be said" in log and "Where everything lies" in log
    text = (tmp_path / "out" / "report.html").read_text()
    for section in ("results", "training", "difficulty", "selection", "samples"):
        assert f'<section id="{section}"' in text
    assert (
        '"name":"eval-base"' in text.replace('": "', '":"')
        and 'id="frames-0"' in text
        and not (tmp_path / "out/train/report.html").exists()
    )
    assert set(result["tuned"]["benchmarks"]) == set(load_recipe(Path("miniature")).eval.benchmarks)
    assert result["training"]["steps"] == 2 and result["selection"]["taken"] > 0
    assert json.loads((tmp_path / "out" / "demo.json").read_text())["tuned"] == result["tuned"]


@pytest.mark.slow
def test_the_model_can_be_made_again_from_nothing(small, tmp_path):
    from trlt.engine.model import MINIATURE, PLAIN, locate, miniature_path

    folder, output = demos.Path("out"), Output(True)
    recipe = demos._recipe(folder, "miniature-warmup.yaml")
    with demo_stages(output, ["rebuild"], folder / "demo.log") as stages, stages.next():
        model = rebuild.rebuild(folder, recipe, stages.run, stages.progress)
    assert locate(str(model)) == str(model)
    for made, name in ((model, PLAIN), (tmp_path / "out" / "graded-model", MINIATURE)):
        shipped = json.loads((miniature_path(name) / "config.json").read_text())
        config = json.loads((made / "config.json").read_text())  # a tokenizer of fewer samples numbers its tokens otherwise
        assert config.keys() == shipped.keys() and config.get("text_after_video") == shipped.get("text_after_video")
        assert ("text_after_video" in shipped) == (name == PLAIN)
    assert len((tmp_path / "out" / "graded-1" / "log.jsonl").read_text().splitlines()) == 2
    log = [json.loads(line)["loss"] for line in (tmp_path / "out" / "warmup" / "log.jsonl").read_text().splitlines()]
    assert len(log) == 6 and log[5] < log[0] - 0.1
