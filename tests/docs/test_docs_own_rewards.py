"""The page on own rewards: its file is tried by its command, its recipe pays it, and its values are those that it says."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

import pytest
from paths import ROOT
from typer.testing import CliRunner

from trlt.cli import app
from trlt.files import file_digest
from trlt.recipe import load_recipe

sys.path.insert(0, str(ROOT))
from docs.tools.blocks import blocks, commands  # noqa: E402

PAGE = ROOT / "docs" / "own-rewards.md"
TEXTS = [
    "<think> it opens </think> <answer> 2.0 to 6.0 </answer>",
    "<think> it opens </think> <answer> 7.0 to 9.0 </answer>",
    f"<think> {'so ' * 101}</think> <answer> 30.0 to 36.0 </answer>",
    "no answer",
]
VALUES = {"near": [1.0, 0.5, 0.0, 0.0], "brief": [1.0, 1.0, 0.0, None]}


@pytest.fixture
def page(tmp_path, monkeypatch):
    """Its file in the working directory, and a probe of one sample where the command looks."""
    monkeypatch.chdir(tmp_path)
    [block] = [block for block in blocks(PAGE, "python") if block.title]
    Path(block.title).write_text(block.text, encoding="utf-8")
    sample = {"id": "a", "source": "s", "split": "train", "task": "grounding", "video": "v.mp4", "question": "it opens"}
    Path("s.jsonl").write_text(json.dumps({**sample, "spans": [[2, 6]]}))
    rows = Path("runs/my/probe-train/rows/probe.jsonl")
    rows.parent.mkdir(parents=True)
    rows.write_text(json.dumps({"id": "a", "task": "grounding", "error": None, "texts": TEXTS}) + "\n")
    noted = {"inputs": {"data": {"path": str(tmp_path / "s.jsonl"), "sha256": file_digest(Path("s.jsonl"))}}}
    (rows.parent.parent / "manifest.json").write_text(json.dumps(noted))
    (rows.parent.parent / "recipe.yaml").write_text("probe: {think: true}\n")


def test_the_command_shows_what_the_file_would_have_paid(page):
    [line] = commands(PAGE)
    result = CliRunner().invoke(app, [*shlex.split(line)[1:], "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert [(part["name"], part["weight"], part["errors"]) for part in found["parts"]] == [("near", 0.5, 0), ("brief", 0.5, 0)]
    for part in found["parts"]:
        given = [value for value in VALUES[part["name"]] if value is not None]
        assert part["mean"] == pytest.approx(sum(given) / len(given)) and part["none"] == 4 - len(given)


def test_the_recipe_pays_it(page):
    [text] = [block.text for block in blocks(PAGE, "yaml")]
    Path("my.yaml").write_text(text)
    from trlt.task.sample import read_samples

    grader = load_recipe(Path("my.yaml")).grader("train")
    [grades] = grader.grade([(read_samples(Path("s.jsonl"))[0], TEXTS)])
    for name, values in VALUES.items():
        assert [one.parts[name] for one in grades] == pytest.approx(values)
    # Format, tIoU (1, then none), 0.5 near, 0.1 brief, 0.2 from a tIoU of 0.7 on.
    assert [one.reward for one in grades] == pytest.approx([1 + 1 + 0.5 + 0.1 + 0.2, 1 + 0.25 + 0.1, 1, 0])
