"""Stages as real processes: their logs, marks and failures; and one `trlt reproduce` a folder."""

from __future__ import annotations

import json
import time

import pytest

from trlt.errors import ResumeError
from trlt.lab.reproduce import launch
from trlt.lab.reproduce.launch import Launcher, locked
from trlt.lab.reproduce.plan_sections import World
from trlt.lab.reproduce.stages import Stage, Subset
from trlt.task.sample import Sample, read_samples, write_samples


def stage(*arguments, kind="eval", id="1" * 64, **more):
    return Stage(kind, "a stage", "{out}/arms/x", id, arguments=arguments, **more)


def finish(work):
    while (fault := work.poll()) is None:
        time.sleep(0.02)
    return fault


@pytest.fixture
def launcher(tmp_path):
    (tmp_path / "arms").mkdir()
    return Launcher(tmp_path, World())


def test_a_command_leaves_its_log_and_a_mark(tmp_path, launcher):
    one = stage("--version")
    assert not launcher.is_done(one) and launcher.seconds(one) is None
    assert finish(launcher.start(one)) == ""
    assert "trlt" in (tmp_path / "arms" / "x.log").read_text()
    assert launcher.is_done(one) and launcher.seconds(one) >= 0
    assert not launcher.is_done(stage("--version", id="2" * 64)), "a mark is of one piece of work"
    (tmp_path / "arms" / "x.done.json").write_text("torn")
    assert not launcher.is_done(one)


def test_a_failure_shows_the_end_of_the_log(tmp_path, launcher):
    fault = finish(launcher.start(stage("select", "--probe", "nowhere", "--out", "{out}/t.jsonl")))
    assert fault.startswith("ended with exit code ") and str(tmp_path / "arms" / "x.log") in fault
    assert "error: " in fault and not launcher.is_done(stage("select"))


def test_checkpoints_of_a_complete_training_go(tmp_path, launcher):
    kept, gone = tmp_path / "arms" / "x" / "model", tmp_path / "arms" / "x" / "checkpoints" / "checkpoint-1"
    for folder in (kept, gone):
        folder.mkdir(parents=True)
    assert finish(launcher.start(stage("--version", kind="train"))) == ""
    assert kept.is_dir() and not gone.parent.exists()


def test_work_can_be_stopped(tmp_path, launcher, monkeypatch):
    program = tmp_path / "slow"
    program.write_text("#!/bin/sh\nexec sleep 600\n")
    program.chmod(0o755)
    monkeypatch.setattr(launch.sys, "executable", str(program))
    work = launcher.start(stage())
    assert work.poll() is None
    work.stop()
    assert work.poll() and not launcher.is_done(stage())


def test_a_second_one_is_kept_off(tmp_path):
    with locked(tmp_path / "out"):
        with pytest.raises(ResumeError, match="another `trlt reproduce`, or a command that it started, is at work there"):
            with locked(tmp_path / "out"):
                pass
    with locked(tmp_path / "out"):
        pass


def test_a_command_that_outlives_the_process_keeps_the_lock(tmp_path, monkeypatch):
    program = tmp_path / "slow"
    program.write_text("#!/bin/sh\nexec sleep 600\n")
    program.chmod(0o755)
    monkeypatch.setattr(launch.sys, "executable", str(program))
    (tmp_path / "arms").mkdir()
    with locked(tmp_path) as lock:
        work = Launcher(tmp_path, World(), lock).start(stage())
    try:
        with pytest.raises(ResumeError), locked(tmp_path):
            pass
    finally:
        work.stop()
    with locked(tmp_path):
        pass


def test_a_world_and_a_subset_are_made_here(tmp_path):
    launcher = Launcher(tmp_path, World(scale=0.01, bench_scale=0.01, graded=False))
    world = Stage("world", "world", "{out}/data", "3" * 64)
    assert launcher.start(world).poll() == "" and launcher.is_done(world)
    assert json.loads((tmp_path / "data" / "layout.json").read_text())["seed"] == 0
    common = {"source": "a", "split": "train", "task": "multi_choice", "question": "what?", "options": ("x", "y")}
    samples = [Sample(id=f"s{n}", video=f"{n}.mp4", answer="x", answer_index=0, **common) for n in range(6)]
    write_samples(tmp_path / "pool.jsonl", samples)
    (tmp_path / "pool.manifest.json").write_text(json.dumps({"videos": str(tmp_path / "videos")}))
    asked = Subset("{out}/pool.jsonl", ("multi_choice",), 4, True, 0)
    subset = Stage("subset", "subset", "{out}/part.jsonl", "4" * 64, subset=asked)
    assert launcher.start(subset).poll() == "" and launcher.is_done(subset)
    assert len(read_samples(tmp_path / "part.jsonl")) == 4
    assert json.loads((tmp_path / "part.manifest.json").read_text())["videos"] == str(tmp_path / "videos")
    nothing = Stage("subset", "subset", "{out}/n.jsonl", "5" * 64, subset=Subset("{out}/none.jsonl", (), None, False, 0))
    assert "none.jsonl" in launcher.start(nothing).poll() and not launcher.is_done(nothing)
