"""`trlt reproduce`: what it makes, what it doesn't make again, and what it says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from reproduce_plans import SMALL, write

from trlt.commands import reproduce as commands
from trlt.commands._output import Output
from trlt.commands.reproduce import reproduce
from trlt.errors import TrltError, UsageError
from trlt.lab.reproduce.launch import Launcher, _EndedWork
from trlt.lab.reproduce.records import read_records

ONLY = {"claims": SMALL["claims"][:2], "seeds": [0, 1]}


@pytest.fixture
def pretend(monkeypatch):
    """Commands that are complete as they begin; gives the labels of those that were begun, and the faults that they have."""
    began, faults = [], {}

    def start(self, stage):
        began.append(stage.label)
        if stage.label in faults:
            return _EndedWork(faults[stage.label])
        stage.beside("log", self._out).parent.mkdir(parents=True, exist_ok=True)
        self._finish(stage, 0.0)
        return _EndedWork("")

    def metrics(run, out):
        level = {"base": 30.0, "sft": 35.0, "tvg": 40.0}.get(run.arm, 0.0) + 0.1 * run.seed
        found = {"eval.charades.mIoU": level, "eval.mvbench.acc": level}
        return found | {"probe.after.grounding.varied": 0.2, "probe.again.grounding.varied": 0.5}

    monkeypatch.setattr(Launcher, "start", start)
    monkeypatch.setattr(commands, "metrics_of", metrics)
    monkeypatch.setattr(commands, "rewards_of", lambda run, out: [1.0, 1.5] if run.arm == "tvg" else [])
    began.append(faults)
    return began


def go(tmp_path, plan, **more):
    return reproduce(plan_path=plan, out=tmp_path / "out", jobs=2, output=Output(True), **more)


def test_runs_are_made_once(tmp_path, pretend):
    plan = write(tmp_path, **ONLY)
    found = go(tmp_path, plan)
    assert (found["made"], found["of"]) == (8, 8)
    assert {one["id"]: one["state"] for one in found["claims"]} == {"better": "holds", "shift": "holds"}
    log = (tmp_path / "out" / "runs.jsonl").read_bytes()
    count = len(pretend)
    assert go(tmp_path, plan)["claims"] == found["claims"]
    assert len(pretend) == count and (tmp_path / "out" / "runs.jsonl").read_bytes() == log


def test_a_changed_plan_makes_what_changed_and_keeps_the_old_lines(tmp_path, pretend):
    go(tmp_path, write(tmp_path, **ONLY))
    log = (tmp_path / "out" / "runs.jsonl").read_bytes()
    del pretend[1:]
    found = go(tmp_path, write(tmp_path, **ONLY, evals__more__overlay={"eval": {"max_tokens_video": 48}}))
    assert sorted(pretend[1:]) == ["eval tvg (more), seed 0", "eval tvg (more), seed 1"]
    after = (tmp_path / "out" / "runs.jsonl").read_bytes()
    assert after.startswith(log) and len(after.splitlines()) == 8 + 2 and found["made"] == 8


def test_a_table_makes_its_arms_and_those_of_its_claims(tmp_path, pretend):
    found = go(tmp_path, write(tmp_path, **ONLY), tables=["fig4"])
    assert {record.arm for record in read_records(tmp_path / "out" / "runs.jsonl")} == {"tvg"}
    assert [one["id"] for one in found["claims"]] == ["shift"] and list(found["tables"]) == ["fig4"]


def test_a_table_shows_itself_and_its_report_keeps_what_is_complete(tmp_path, pretend, capsys):
    plan = write(tmp_path, **ONLY)
    whole = go(tmp_path, plan)
    page = (tmp_path / "out" / "evidence.html").read_bytes()
    capsys.readouterr()
    found = reproduce(plan_path=plan, out=tmp_path / "out", tables=["fig4"], report_only=True, output=Output(False))
    shown = capsys.readouterr().out
    assert found == whole and (tmp_path / "out" / "evidence.html").read_bytes() == page
    assert "shift" in shown and "better" not in shown and "SFT and RLT" not in shown and "2 of 2 runs are there" in shown
    lines = (tmp_path / "out" / "runs.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "out" / "runs.jsonl").write_text("".join(line for line in lines if '"arm": "sft"' not in line))
    found = go(tmp_path, plan, tables=["fig4"], report_only=True)
    assert list(found["tables"]) == ["fig4"] and (found["made"], found["of"]) == (2, 2), "table 5 isn't complete"


def test_another_base_model_has_runs_of_its_own(tmp_path, pretend):
    plan = write(tmp_path, **ONLY)
    first = go(tmp_path, plan)
    other = go(tmp_path, plan, model="miniature-plain")
    records = read_records(tmp_path / "out" / "runs.jsonl")
    assert first["made"] == other["made"] == 8 and len({record.run for record in records}) == len(records) == 16
    assert "base model miniature-plain" in (tmp_path / "out" / "evidence.md").read_text(encoding="utf-8")
    count = len(pretend)
    assert go(tmp_path, plan)["runs"] == first["runs"] and len(pretend) == count, (
        "those of the plan's own model are there still"
    )


def test_fewer_seeds_leave_claims_incomplete(tmp_path, pretend):
    found = go(tmp_path, write(tmp_path, **ONLY), seeds=1)
    assert {record.seed for record in read_records(tmp_path / "out" / "runs.jsonl")} == {0}
    better = found["claims"][0]
    assert (better["state"], better["seeds"], better["of"], found["of"]) == ("incomplete", 1, 2, 8)
    assert {one["state"] for one in go(tmp_path, write(tmp_path, **ONLY))["claims"]} == {"holds"}


def test_a_failed_run_is_a_line_too_and_is_tried_again(tmp_path, pretend, capsys):
    pretend[0]["train tvg, seed 1"] = "ended with exit code 5; the end of x.log:\n  error: no memory"
    plan = write(tmp_path, **ONLY)
    with pytest.raises(
        TrltError, match="tvg, seed 1: train tvg, seed 1: ended with exit code 5.*\n.*no memory\nThe same command"
    ):
        go(tmp_path, plan)
    shown = json.loads(capsys.readouterr().out)
    assert shown["made"] == 7 and shown["claims"][0]["state"] == "incomplete", "the report is written all the same"
    (failed,) = [one for one in read_records(tmp_path / "out" / "runs.jsonl") if one.error]
    assert (failed.arm, failed.seed, dict(failed.metrics)) == ("tvg", 1, {}) and "no memory" in failed.error
    pretend[0].clear()
    assert go(tmp_path, plan)["made"] == 8
    assert len([one for one in read_records(tmp_path / "out" / "runs.jsonl") if one.error]) == 1, "it stays in the log"


def test_metrics_that_cannot_be_read_fail_the_run(tmp_path, pretend, monkeypatch):
    monkeypatch.setattr(commands, "metrics_of", lambda run, out: {}["missing"])
    with pytest.raises(TrltError, match="metrics: KeyError"):
        go(tmp_path, write(tmp_path, **ONLY), tables=["fig4"])


def test_records_of_elsewhere_count_and_arent_made(tmp_path, pretend):
    plan = write(tmp_path, **ONLY)
    go(tmp_path, plan)
    kept = tmp_path / "committed.jsonl"
    lines = (tmp_path / "out" / "runs.jsonl").read_text().splitlines(keepends=True)
    kept.write_text("".join(line for line in lines if '"arm": "tvg"' not in line))
    del pretend[1:]
    found = reproduce(plan_path=plan, out=tmp_path / "new", records=[kept], report_only=True, output=Output(True))
    assert found["made"] == 6 and len(pretend) == 1 and not (tmp_path / "new" / "runs.jsonl").exists()
    found = reproduce(plan_path=plan, out=tmp_path / "new", records=[kept], jobs=2, output=Output(True))
    assert found["made"] == 8 and {one.arm for one in read_records(tmp_path / "new" / "runs.jsonl")} == {"tvg"}


def test_a_dry_run_writes_nothing(tmp_path, pretend, capsys):
    plan = write(tmp_path, **ONLY)
    found = reproduce(plan_path=plan, out=tmp_path / "out", dry_run=True, output=Output(False))
    shown = capsys.readouterr().out
    assert "8 runs" in shown and "train tvg, seed 1: trlt train " in shown and not (tmp_path / "out").exists()
    assert len(found["runs"]) == 8 and len(pretend) == 1
    kinds = [one["kind"] for one in found["stages"]]
    assert kinds.count("pool") == kinds.count("world") == 1 and kinds.count("train") == 6


def test_what_is_shown(tmp_path, pretend, capsys):
    reproduce(plan_path=write(tmp_path, **ONLY), out=tmp_path / "out", jobs=1, output=Output(False))
    shown = capsys.readouterr()
    assert "Table 5: SFT and RLT" in shown.out and "✓ holds" in shown.out and "8 of 8 runs are there" in shown.out
    assert str(tmp_path / "out" / "evidence.html") in shown.out and "eval tvg (more), seed 1" in shown.err


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"seeds": 3}, "--seeds 3: the plan has 2"),
        ({"seeds": 0}, "--seeds 0"),
        ({"jobs": 0}, "--jobs 0"),
        ({"out": Path("a b")}, "--out a b: a folder without spaces"),
        ({"tables": ["7"]}, "--table 7: the plan has no such table"),
    ],
)
def test_flags_that_cannot_be(tmp_path, more, said):
    with pytest.raises(UsageError, match=said):
        reproduce(plan_path=write(tmp_path, **ONLY), output=Output(True), **more)


@pytest.mark.slow
def test_a_real_experiment_from_end_to_end(tmp_path):
    """A base and a tuned arm with two seeds, one step and one benchmark, by real commands; then once more, which takes none."""
    changes = {
        **{"seeds": [0, 1], "metrics": {}, "tables": {"5": {"title": "RLT", "arms": ["base", "tvg"]}}},
        **{"tables__5__columns": ["eval.charades.mIoU"], "evals": {"default": {"benchmarks": ["charades"]}}},
        "probes": {"after": {"data": "selected", "tasks": ["grounding"], "limit": 4, "overlay": {"probe": {"n": 8}}}},
        "arms": {
            "base": {},
            "tvg": {"overlay": {"select": {"sizes": {"multi_choice": 0, "grounded_qa": 0}}}, "probes": ["after"]},
        },
        "claims": [{"id": "gain", "kind": "difference", "a": "tvg", "b": "base", "metric": "eval.charades.mIoU"}],
    }
    plan = write(tmp_path, **changes)
    found = reproduce(plan_path=plan, out=tmp_path / "out", jobs=2, output=Output(True))
    assert (found["made"], found["of"]) == (4, 4) and found["claims"][0]["seeds"] == 2
    cells = found["tables"]["5"]["arms"]
    assert cells["base"]["eval.charades.mIoU"]["once"] and 0 < cells["base"]["eval.charades.mIoU"]["mean"] < 100
    records = read_records(tmp_path / "out" / "runs.jsonl")
    tuned = [one for one in records if one.arm == "tvg"]
    for one in tuned:
        assert one.metrics["train.steps"] == 1 and len(one.reward) == 1 and one.metrics["select.taken"] > 0
        assert one.metrics["probe.after.grounding.n"] == 4 and one.seconds["train"] > 0
        assert one.metrics["eval.charades.mIoU"] - cells["base"]["eval.charades.mIoU"]["mean"] == pytest.approx(
            found["claims"][0]["by_seed"][str(one.seed)]
        )
        assert (tmp_path / "out" / one.places["train"] / "model" / "config.json").is_file()
    log = (tmp_path / "out" / "runs.jsonl").read_bytes()
    again = reproduce(plan_path=plan, out=tmp_path / "out", jobs=2, output=Output(True))
    assert again == found and (tmp_path / "out" / "runs.jsonl").read_bytes() == log
    assert all((tmp_path / "out" / name).is_file() for name in ("evidence.html", "evidence.md", "claims.png", "curves.png"))
