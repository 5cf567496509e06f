"""Files of runs whose inner values aren't what they should be: each is named with its place, whichever command reads it."""

from __future__ import annotations

import json
import shutil

import pytest
from report import made_runs
from typer.testing import CliRunner

from trlt.cli import app


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("made")
    made_runs.everything(root)
    return root


@pytest.fixture
def runs(made, tmp_path):
    shutil.copytree(made / "runs", tmp_path / "runs")
    return tmp_path / "runs"


def change(path, *keys, value=None, drop=False, line=None):
    """Sets or drops one inner value of a JSON file, or of a line of it."""
    lines = path.read_text().splitlines(keepends=True)
    whole = json.loads(lines[line]) if line is not None else json.loads(path.read_text())
    holder = whole
    for key in keys[:-1]:
        holder = holder[key]
    if drop:
        del holder[keys[-1]]
    else:
        holder[keys[-1]] = value
    if line is None:
        path.write_text(json.dumps(whole))
    else:
        lines[line] = json.dumps(whole) + "\n"
        path.write_text("".join(lines))


RESULTS, ROWS = "eval-base/results.json", "probe-a/rows/probe.jsonl"
BENCHMARK = ("benchmarks", "charades")


@pytest.mark.parametrize(
    ("file", "keys", "value", "commands", "said"),
    [
        (RESULTS, (*BENCHMARK, "ci95", "mIoU"), [1.0], "compare report", "benchmarks.charades.ci95.mIoU: list should have at"),
        (RESULTS, (*BENCHMARK, "unanswered"), "3", "report", "benchmarks.charades.unanswered: input should be a valid integer"),
        (
            RESULTS,
            (*BENCHMARK, "protocol", "bootstrap", "seed"),
            None,
            "compare",
            "bootstrap.seed: input should be a valid integer",
        ),
        ("train.report.json", ("cells", 0, "taken"), "x", "report", "cells.0.taken: input should be a valid integer, got 'x'"),
        ("train/result.json", ("reward_first",), [], "report", "reward_first: input should be a valid number, got []"),
        ("probe-a/manifest.json", ("inputs", "data"), "x", "report show shift select", "inputs.data: input should be a valid"),
        ("probe-a/manifest.json", ("protocol",), None, "report shift", "protocol: input should be a valid dictionary"),
        (ROWS, ("scores", 0, "format"), "x", "report show shift select", "scores.0.format: input should be a valid number"),
        (ROWS, ("answers", 0, "span"), [1], "report show shift select", "answers.0.span: list should have at least 2"),
        (ROWS, ("n",), -1, "report show shift select", "n: input should be greater than or equal to 0, got -1"),
    ],
)
def test_an_inner_value_is_named(runs, tmp_path, file, keys, value, commands, said):
    change(runs / file, *keys, value=value, line=0 if file == ROWS else None)
    every = {
        "compare": ["compare", runs / "eval-base", runs / "eval-tuned"],
        "report": ["report", runs, "--out", tmp_path / "r.html", "--frames-mb", 0],
        "show": ["probe", "show", "event:0", "--probe", runs / "probe-a"],
        "shift": ["probe", "compare", runs / "probe-a", runs / "probe-b"],
        "select": ["select", "--probe", runs / "probe-a", "--out", tmp_path / "t.jsonl"],
    }
    for name in commands.split():
        result = CliRunner().invoke(app, [str(one) for one in every[name]])
        assert isinstance(result.exception, SystemExit) and result.exit_code == 3, (name, result.exception)
        assert f"error: {runs / file}" in result.stderr and said in result.stderr, (name, result.stderr)


def test_a_report_goes_on_without_a_selections_report_and_with_odd_lines_of_a_log(runs, tmp_path):
    (runs / "train.report.json").unlink()
    (runs / "train/recipe.yaml").write_bytes(b"name: \xba\n")
    log = runs / "train/log.jsonl"
    log.write_text('{"loss": 1}\n{"step": "x"}\n{"step": 3, "reward": []}\n' + log.read_text())
    result = CliRunner().invoke(app, ["report", str(runs), "--out", str(tmp_path / "r.html"), "--frames-mb", "0", "--json"])
    assert result.exit_code == 0, (result.stderr, result.exception)
    assert [note for note in json.loads(result.stdout)["notes"] if "train.report.json isn't there" in note]


def test_a_bug_in_a_decoder_is_no_verdict_that_is_kept(made, tmp_path, monkeypatch):
    from commands.test_faults import fails_on

    from trlt.video import workers

    (tmp_path / "a").mkdir()
    (tmp_path / "a/charades_sta_train.txt").write_text("".join(f"v{n} 0.0 1.0##a cat sits\n" for n in range(3)))
    (tmp_path / "a/Charades_v1_train.csv").write_text("id,length\n" + "".join(f"v{n},2.0\n" for n in range(3)))
    flags = ["--videos", str(made / "videos"), "--set", "video.workers=0", "--json"]
    monkeypatch.setattr("trlt.video.scan.cores", lambda: 0)  # decodes in this process, where the fault is
    monkeypatch.setattr("trlt.commands.video.cores", lambda: 0)
    check = ["video", "check", str(made / "samples.jsonl"), *flags, "--out", str(tmp_path / "rows.jsonl")]
    prepare = ["prepare", "charades", "--annotations", str(tmp_path / "a"), *flags]
    prepare += ["--scan", str(tmp_path / "scan.jsonl"), "--out", str(tmp_path / "s.jsonl")]
    with monkeypatch.context() as patch:
        fails_on(workers, "load_clip", lambda args: args[0].name == "v1.mp4", patch)
        first = CliRunner().invoke(app, check)
        assert json.loads(first.stdout)["broken"] == 1 and first.stderr.count("Traceback") == 1
        assert json.loads(CliRunner().invoke(app, prepare).stdout)["sources"][0]["kept"] == 2
    assert json.loads(CliRunner().invoke(app, check).stdout)["broken"] == 0
    assert json.loads(CliRunner().invoke(app, prepare).stdout)["sources"][0]["kept"] == 3
