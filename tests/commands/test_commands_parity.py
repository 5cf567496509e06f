"""Every command that asks a model of its own holds the first completion to the library's own forward."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from made_clips import choice, event, write_clip

from trlt.commands._output import Output
from trlt.commands.launch import ranks as _ranks
from trlt.commands.launch.ranks import Ended, launch
from trlt.commands.probe import probe
from trlt.engine.inputs import InputBuilder
from trlt.errors import ParityError
from trlt.task.sample import write_samples

LINE = r"parity with the library's forward: \d\.\de-0\d at most, \d\.\de-0\d on average, over 4 tokens"
COMMANDS = ("probe", "probe --estimate", "eval", "infer a video", "infer samples", "serve")


@pytest.fixture
def long_bench(bench):
    """The same, of videos that last longer than a prompt has words: both rules of positions differ."""
    for seed, name in enumerate(("AAAAA", "BBBBB")):
        write_clip(bench / f"Charades_v1_480/{name}.mp4", 60, seed)
    return bench


@pytest.fixture
def command(trlt, fast, long_bench, tmp_path):
    """`command("probe", code=6)` runs one about such videos; gives the object of `--json`, or the error."""
    write_clip(tmp_path / "long.mp4", 60)
    samples = [event("e", "long.mp4"), choice("c", "long.mp4")]
    write_samples(tmp_path / "s.jsonl", samples)
    classes = [word for one in ("max_new_tokens=4", "n=2") for word in ("--set", f"probe.{one}")]
    probed = ["probe", "--data", "s.jsonl", *classes, "--set", "select.easy=2", "--set", "select.hard=0"]
    short = ["--no-think", "--set", "eval.max_new_tokens=4"]
    arguments = {
        "probe": [*probed, "--out", "run"],
        "probe --estimate": [*probed, "--estimate"],
        "eval": ["eval", "-b", "charades", "--annotations", long_bench, "--videos", long_bench, "--out", "run", *short],
        "infer a video": ["infer", "long.mp4", "a red circle is shown", *short],
        "infer samples": ["infer", "s.jsonl", "--out", "run", *short],
        "serve": ["serve", "--port", 0],
    }

    def go(name, *more, code=0, json=True):
        flags = ["--json"] if json and name != "serve" else []
        return trlt(*arguments[name], *fast, *more, *flags, code=code)

    return go


def rows(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in (folder / "rows").glob("*.jsonl")] if folder.exists() else []


@pytest.mark.parametrize("name", ["probe", "eval", "infer samples"])
def test_it_is_shown_and_noted(command, tmp_path, name):
    found = command(name)
    noted = json.loads((tmp_path / "run/manifest.json").read_text())["parity"]
    assert noted["samples"] == 1 and noted["tokens"] == 4 and 0 < noted["mean"] <= noted["largest"] < 1e-4
    assert (found["parity"] if name == "eval" else found["summary"]["parity"]) == noted
    kept = rows(tmp_path / "run")
    again = command(name)  # nothing is asked any more
    assert json.loads((tmp_path / "run/manifest.json").read_text())["parity"] == noted and rows(tmp_path / "run") == kept
    assert again["parity"] == noted if name == "eval" else again["summary"]["parity"] is None
    assert not any("parity" in json.loads(line) for text in kept for line in text.splitlines())


def test_results_of_an_evaluation_are_the_same_whatever_was_compared(command, tmp_path):
    command("eval")
    assert "parity" not in json.loads((tmp_path / "run/results.json").read_text())


def test_infer_about_one_video(command):
    found = command("infer a video")
    assert found["parity"]["tokens"] == 4 and found["parity"]["largest"] < 1e-4


@pytest.mark.parametrize("name", COMMANDS[:-1])
def test_a_line_says_so(command, monkeypatch, name):
    said = []
    monkeypatch.setattr(Output, "note", lambda self, text: said.append(text))
    command(name, json=False)
    assert sum(bool(re.fullmatch(LINE, text)) for text in said) == 1


def by_the_librarys_rule(patch):
    patch.setattr("trlt.engine.mrope.follow_published_positions", lambda model: None)


def changed(**changes):
    """Makes the engine's inputs with other fields than they should have."""

    def fault(patch):
        honest = InputBuilder.clip

        def clip(self, shown):
            made = honest(self, shown)
            return replace(made, **{name: change(getattr(made, name)) for name, change in changes.items()})

        patch.setattr(InputBuilder, "clip", clip)

    return fault


FAULTS = {
    "rule": (by_the_librarys_rule, "positions .*differ"),
    "frames": (changed(pixels=lambda pixels: pixels * 1.01), "frames differ"),
    "rate": (changed(seconds_per_grid=lambda seconds: seconds * 2), "positions .*differ"),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", COMMANDS)
def test_a_fault_stops_a_run_before_its_first_row(command, tmp_path, monkeypatch, name, fault):
    damage, told = FAULTS[fault]
    damage(monkeypatch)
    monkeypatch.setattr("uvicorn.Server.run", pytest.fail)
    message = command(name, code=6)
    assert (
        re.search(f"sample '.+': {told} between the engine and the library's forward", message) and "`trlt doctor`" in message
    )
    assert not any(rows(tmp_path / "run")) and not (tmp_path / "run/results.json").exists()


# -- several processes ------------------------------------------------------------------------------------------------------


@pytest.fixture
def go(tiny_path, tmp_path, monkeypatch, capsys):
    """`go("out", ...)` probes samples about three clips."""
    monkeypatch.chdir(tmp_path)
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "SLURM_PROCID", "SLURM_LOCALID", "SLURM_NTASKS", _ranks.LAUNCHER):
        monkeypatch.delenv(name, raising=False)
    for k in range(3):
        write_clip(tmp_path / f"{k}.mp4", 20 + k, seed=k)
    write_samples(tmp_path / "pool.jsonl", [event(f"e{k}", f"{k}.mp4", duration=20.0 + k) for k in range(3)])
    sets = ["model.dtype=float32", "model.device=cpu", "video.workers=0", "probe.max_new_tokens=4"]
    sets += ["select.easy=2", "select.hard=0"]

    def run(out, **changes):
        data, model = tmp_path / "pool.jsonl", str(tiny_path)
        result = probe(data, n=2, model=model, sets=sets, out=tmp_path / out, output=Output(), **changes)
        return result, capsys.readouterr().err

    return run


def test_each_of_several_processes_compares_its_own(go, tmp_path):
    one, alone = go("one")
    assert "\nloading " in alone and "\nprobe: 6 of 6 answers" in alone, "what is going on meanwhile"
    two, said = go("two", processes=2)
    assert (tmp_path / "two/rows/probe.jsonl").read_bytes() == (tmp_path / "one/rows/probe.jsonl").read_bytes()
    parity = two["summary"]["parity"]
    assert parity == json.loads((tmp_path / "two/manifest.json").read_text())["parity"]
    assert parity["samples"] in (1, 2) and parity["tokens"] == 4 * parity["samples"] and parity["largest"] < 1e-4
    assert one["summary"]["parity"]["samples"] == 1
    assert said.count(f"over {parity['tokens']} tokens") == 1


def test_one_that_differs_stops_the_run(go, monkeypatch):
    text = "error: sample 'e1': frames differ"
    monkeypatch.setattr(
        "trlt.commands.launch.shared_work.launch", lambda *_: [Ended(130, "", "interrupted"), Ended(6, "", text)]
    )
    with pytest.raises(ParityError, match="^process 1 of 2 ended with exit code 6: error: sample 'e1': frames differ$"):
        go("two", processes=2)


def test_the_others_are_ended():
    code = "import os, sys, time\nif os.environ['RANK'] == '1': sys.exit(6)\ntime.sleep(60)"
    ended = launch([sys.executable, "-c", code], 2, None, lambda: None, 6)
    assert ended[1].code == 6 and ended[0].code not in (0, 6)


FAULTY = """
import sys
from dataclasses import replace
from trlt.engine.inputs import InputBuilder
honest = InputBuilder.clip
InputBuilder.clip = lambda self, clip: replace(honest(self, clip), seconds_per_grid=1.0 * 3)
from trlt.cli import main
sys.argv[0] = "trlt"
main()
"""


def test_a_rank_with_a_fault_ends_the_command_with_its_words(go, monkeypatch):
    """Real processes: each places its tokens by another rate than the library's."""

    def python_command(*arguments):
        return [sys.executable, "-c", FAULTY, *arguments]

    monkeypatch.setattr("trlt.commands.launch.command_line.python_command", python_command)
    with pytest.raises(ParityError, match=r"^process \d of 2 ended with exit code 6: error: sample 'e\d': positions"):
        go("two", processes=2)
    assert not any(Path("two/rows").glob("*.jsonl")) or not Path("two/rows/probe.jsonl").read_bytes()


def test_a_worker_of_a_cluster_compares_and_tells(tiny_path, tmp_path, monkeypatch):
    """As Ray calls it, without Ray."""
    from functools import partial

    from trlt.commands._setup import make_engine
    from trlt.recipe import Model, Probe, Recipe, Video
    from trlt.rollout.ray import cluster_workers as _stages

    write_clip(tmp_path / "v.mp4", 60)
    job = _stages.WorkerSettings(Video(workers=0), tmp_path, Probe(max_new_tokens=4), Recipe().form("probe"), n=1)
    make = partial(make_engine, Model(path=str(tiny_path), dtype="float32", device="cpu"))
    samples = [event("e", "v.mp4"), event("f", "v.mp4")]

    def asked():
        answering = _stages.Answering(job, make)
        for _ in range(2):
            [clips] = _stages.decode(_stages.sample_table([samples]), job)
            for table in answering(clips):
                yield from _stages.read_said(table)

    found = list(asked())
    assert [one["id"] for one in found if "id" in one] == ["e", "f"] * 2
    [parity] = [one["parity"] for one in found if "parity" in one]
    assert parity["tokens"] == 4 and parity["largest"] < 1e-4
    changed(pixels=lambda pixels: pixels + 0.01)(monkeypatch)
    with pytest.raises(ParityError, match=r"^\S+: sample 'e': frames differ"):
        list(asked())
    _stages._reader.cache_clear()
