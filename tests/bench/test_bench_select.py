"""The benchmark of `trlt select` runs, and its own counts agree with what the command took."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from random import Random

import pytest
from made_clips import choice
from paths import ROOT

from trlt.recipe import Probe, Recipe, Select
from trlt.rollout.row import Generated, to_row
from trlt.select import classify, deviation, water_fill


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(ROOT)
    return importlib.import_module("bench.select")


def run(*command: str) -> str:
    done = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "command",
    [
        ["-m", "bench.select"],
        ["bench/select.py", "--by", "variance"],
        ["-m", "bench.select", "--budget", "200", "--seed", "1", "--rules"],
    ],
)
def test_select(command: list[str]) -> None:
    metrics = json.loads(run(*command, "--scale", "0.002", "--json").splitlines()[-1])
    assert 900 < metrics["rows"] < 1100 and metrics["rows_mb"] > metrics["samples_mb"] > 0
    assert metrics["seconds"] > 0 and metrics["peak_mb"] > 20
    assert 0 < metrics["taken"] < metrics["rows"] and metrics["taken"] == (metrics["budget"] or metrics["taken"])
    assert metrics["by"] == ("variance" if "variance" in command else "rules")
    assert ("rules" in metrics) == ("--rules" in command)
    assert "--rules" not in command or 0 < metrics["rules"]["taken"] <= 200


def test_its_name_does_not_hide_the_standard_library() -> None:
    code = "import sys; sys.path.insert(0, 'bench'); import selectors, select; print(select.__file__, select.select)"
    assert "bench" not in run("-c", code)


def test_made_rows_have_the_fields_and_classes_of_real_ones(bench) -> None:
    rng = Random(0)
    real = to_row(
        choice("a", "v.mp4"),
        [Generated("x", 1, True)],
        grader=Recipe(probe=Probe(answer_format="letter")).grader("probe"),
        video_tokens=1,
    )
    for source in ("nextqa", "charades", "nextgqa"):
        made = bench.Made()
        asked = [bench.sample(source, number, rng) for number in range(300)]
        rows = [bench.probed(one, rng, made) for one in asked]
        assert all(list(row) == list(real) for row in rows)
        for row, klass, variance in zip(rows, made.classes, made.variances, strict=True):
            if row["error"] is None:
                assert bench.CLASSES[klass] == classify(row, Select())
                assert variance**0.5 / 16_000 == pytest.approx(deviation(row), abs=1e-8)
        assert len({bench.CLASSES[klass] for klass in made.classes}) >= 2


def test_deal_is_water_filling(bench) -> None:
    assert bench.deal({"a": 1, "b": 9, "c": 9}, 8) == water_fill({"a": 1, "b": 9, "c": 9}, 8) == {"a": 1, "b": 4, "c": 3}
