"""`trlt probe` in several processes: started by itself, or as a launcher's ranks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from made_clips import pool

from trlt.commands._output import Output
from trlt.commands.launch import ranks as _ranks
from trlt.commands.launch.ranks import Ears, Ended, Rank, count_processes, failures, find_rank, launch, rank_device, teller
from trlt.commands.probe import probe
from trlt.errors import ResumeError, TrltError, UsageError
from trlt.recipe import load_recipe
from trlt.rollout import open_run
from trlt.rollout.shared.work_files import work_folder
from trlt.task.sample import write_samples

SETS = [
    "model.dtype=float32",
    "model.device=cpu",
    "video.workers=0",
    "probe.max_new_tokens=4",
    "select.easy=2",
    "select.hard=0",
]
VARIABLES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "SLURM_PROCID", "SLURM_LOCALID", "SLURM_NTASKS", _ranks.LAUNCHER)


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    """No launcher's environment, and an empty folder."""
    monkeypatch.chdir(tmp_path)
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def data(tmp_path):
    write_samples(tmp_path / "pool.jsonl", pool(tmp_path))
    return tmp_path / "pool.jsonl"


@pytest.fixture
def go(data, tiny_path, tmp_path, capsys):
    """`go("out", ...)` probes; gives the result and what was shown."""

    def run(out, **changes):
        result = probe(data, n=2, model=str(tiny_path), sets=SETS, out=tmp_path / out, output=Output(), **changes)
        return result, capsys.readouterr()

    return run


def test_two_processes_write_what_one_writes(go, tmp_path):
    one, _ = go("one")
    two, said = go("two", processes=2)
    assert (tmp_path / "two/rows/probe.jsonl").read_bytes() == (tmp_path / "one/rows/probe.jsonl").read_bytes()
    assert {path.name for path in (tmp_path / "two").iterdir()} == {"rows", "recipe.yaml", "manifest.json", "difficulty.png"}
    assert [path.name for path in (tmp_path / "two/rows").iterdir()] == ["probe.jsonl"]
    for key in ("rows", "resumed", "errors", "tokens"):
        assert two["summary"][key] == one["summary"][key]
    assert two["histogram"] == one["histogram"]
    assert said.out.count("Difficulty: 9 samples") == 1 and "starting 2 processes" in said.err

    # The other way round each; and what is there isn't asked again.
    for name, processes in (("two", 1), ("one", 2)):
        rows = tmp_path / name / "rows/probe.jsonl"
        there = rows.read_bytes()
        again, said = go(name, processes=processes)
        assert again["summary"]["resumed"] == 9 and again["summary"]["tokens"] == 0 and rows.read_bytes() == there


@pytest.mark.parametrize("names", [VARIABLES[:3], VARIABLES[3:6]], ids=["torchrun", "srun"])
def test_a_launchers_ranks(go, tmp_path, monkeypatch, names):
    go("one")
    for name, value in zip(names, (1, 1, 2), strict=True):
        monkeypatch.setenv(name, str(value))
    second, said = go("two")  # the first one never comes
    assert (tmp_path / "two/rows/probe.jsonl").read_bytes() == (tmp_path / "one/rows/probe.jsonl").read_bytes()
    assert (said.out, said.err) == ("", "") and second["summary"]["rows"] == 9
    monkeypatch.setenv(names[0], "0")
    first, said = go("two")
    assert first["summary"]["resumed"] == 9 and "Difficulty: 9 samples" in said.out
    with pytest.raises(UsageError, match="--fresh: each of several processes"):
        go("two", fresh=True)


def test_errors_are_asked_again_in_several_processes(go, tmp_path, monkeypatch):
    def here(command, count, rank, tick, fatal, ears):
        """One of the processes, in this one; the other was killed."""
        assert "--retry-errors" not in command and "--fresh" not in command
        with monkeypatch.context() as patch:
            for name, value in (("RANK", 1), ("WORLD_SIZE", 2), (_ranks.LAUNCHER, os.getppid())):
                patch.setenv(name, str(value))
            result, said = go("two")
        assert said.out == ""
        return [Ended(-9, "", ""), Ended(0, json.dumps(result), "")]

    monkeypatch.setattr("trlt.commands.launch.shared_work.launch", here)
    monkeypatch.setattr("trlt.commands.launch.shared_work.follow_launcher", lambda rank: None)
    assert go("two")[0]["summary"]["errors"] == 2
    (tmp_path / "broken.mp4").write_bytes((tmp_path / "folder/clip_000.mp4").read_bytes())
    assert go("two", retry_errors=True, processes=2)[0]["summary"]["errors"] == 1
    (tmp_path / "absent_clip.mp4").write_bytes((tmp_path / "folder/clip_000.mp4").read_bytes())
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert go("two", retry_errors=True)[0]["summary"]["errors"] == 0


def test_processes_that_fail_are_told_and_the_run_goes_on_when_it_can(go, tmp_path, monkeypatch):
    whole, _ = go("one")
    rows = (tmp_path / "one/rows/probe.jsonl").read_bytes()

    def lucky(command, count, rank, tick, fatal, ears):
        tick()
        (tmp_path / "two/rows/probe.jsonl").write_bytes(rows)
        done = json.dumps({"summary": whole["summary"]})
        os.rename(work_folder(tmp_path / "two/rows/probe.jsonl"), tmp_path / "gone")
        return [Ended(0, done, ""), Ended(-9, "", ""), Ended(1, "", "Traceback\nKeyError: 3\n")]

    monkeypatch.setattr("trlt.commands.launch.shared_work.launch", lucky)
    result, said = go("two", processes=3)
    assert result["summary"]["tokens"] == whole["summary"]["tokens"]
    assert "process 1 of 3 ended with signal SIGKILL" in said.err and "exit code 1: Traceback\nKeyError: 3" in said.err

    monkeypatch.setattr(
        "trlt.commands.launch.shared_work.launch", lambda *_: [Ended(5, "", "error: no GPU"), Ended(5, "", "error: no GPU")]
    )
    with pytest.raises(
        TrltError, match=r"process 0 of 2 .*code 5: error: no GPU\n(.|\n)*0 of 9 rows are there; the same"
    ) as caught:
        go("three", processes=2)
    assert caught.value.exit_code == 5 and str(caught.value).count("no GPU") == 1


def test_ranks_are_found():
    assert find_rank({}) is None
    assert find_rank({"RANK": "3", "LOCAL_RANK": "1", "WORLD_SIZE": "4", "SLURM_PROCID": "0"}) == Rank(3, 1, 4)
    assert find_rank({"SLURM_PROCID": "5", "SLURM_LOCALID": "2", "SLURM_NTASKS": "8"}) == Rank(5, 2, 8)
    assert find_rank({"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2", _ranks.LAUNCHER: "77"}) == Rank(0, 0, 2, 77)
    assert find_rank({"SLURM_PROCID": "0", "SLURM_NTASKS": "1"}) is None, "one task of a job starts its own processes"
    assert find_rank({"LOCAL_RANK": "0"}) is None
    with pytest.raises(UsageError, match="WORLD_SIZE='many': not a number"):
        find_rank({"RANK": "0", "WORLD_SIZE": "many"})


def test_processes_and_devices(monkeypatch):
    rank = Rank(5, 5, 8)
    assert count_processes(3, None, "cpu") == 3 == count_processes(3, rank, "auto")
    assert count_processes(0, None, "cpu") == 1 == count_processes(0, rank, "auto")
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    assert count_processes(0, None, "auto") == 1 and rank_device(rank, "auto") == "auto"
    current = []
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    monkeypatch.setattr("torch.cuda.set_device", current.append)
    assert count_processes(0, None, "auto") == 4
    assert rank_device(rank, "auto") == rank_device(rank, "cuda") == "cuda:1" and current == [1, 1]
    assert rank_device(None, "auto") == "auto" and rank_device(rank, "cuda:3") == "cuda:3"


SAY = (
    "import os, sys; print(*(os.environ[k] for k in ('RANK', 'LOCAL_RANK', 'WORLD_SIZE')), end='');"
    "sys.stderr.write('bad\\n' * 30); sys.exit(3 * (os.environ['LOCAL_RANK'] == '1'))"
)


def test_launching():
    ticks = []
    ended = launch([sys.executable, "-c", SAY], 2, None, lambda: ticks.append(1))
    assert [one.out for one in ended] == ["0 0 2", "1 1 2"] and [one.code for one in ended] == [0, 3] and ticks
    [fault] = failures(ended)
    assert fault.startswith("process 1 of 2 ended with exit code 3: bad\n") and fault.count("bad") == 20
    nested = launch([sys.executable, "-c", SAY], 2, Rank(1, 0, 3), lambda: None)
    assert [one.out for one in nested] == ["2 0 6", "3 1 6"]


PATIENT = """
import os, sys, time
from pathlib import Path
from trlt.commands.launch.ranks import find_rank, follow_launcher
follow_launcher(find_rank(os.environ))
me = Path(sys.argv[1]) / os.environ["RANK"]
me.write_text("begun")
try:
    time.sleep(60)
except KeyboardInterrupt:
    me.write_text("ended well")
    sys.exit(130)
"""
PARENT = """
import sys
from trlt.commands.launch.ranks import launch
try:
    launch([sys.executable, "-c", sys.argv[1], sys.argv[2]], 2, None, lambda: None)
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.parametrize("signal_", [signal.SIGINT, signal.SIGKILL])
def test_processes_end_with_their_launcher(tmp_path, signal_):
    def states():
        return [path.read_text() for path in sorted(tmp_path.iterdir())]

    def wait_for(state):
        deadline = time.monotonic() + 30
        while states() != [state] * 2:
            assert time.monotonic() < deadline, states()
            time.sleep(0.05)

    parent = subprocess.Popen([sys.executable, "-c", PARENT, PATIENT, str(tmp_path)])
    wait_for("begun")
    parent.send_signal(signal_)
    assert parent.wait(30) == (130 if signal_ == signal.SIGINT else -signal.SIGKILL)
    wait_for("ended well")


def test_of_several_that_open_a_run_one_decides(tmp_path):
    def opened(k, differ):
        sets = [f"probe.temperature={0.5 + k % 2 * differ}", f"probe.max_sequences={1 + k}"]
        try:
            open_run(
                tmp_path / f"run{differ}",
                "probe",
                load_recipe(None, sets=sets),
                model={"sha256": "m"},
                inputs={"data": {"sha256": "d"}},
                protocol={},
            )
        except ResumeError as error:
            assert "probe.temperature" in str(error)
            return None
        return k % 2

    with ThreadPoolExecutor(8) as threads:
        assert None not in threads.map(opened, range(16), [0] * 16)
        for _ in range(5):
            assert len(set(threads.map(opened, range(16), [1] * 16)) - {None}) == 1
    assert {path.name for path in (tmp_path / "run1").iterdir()} == {"recipe.yaml", "manifest.json"}


def test_a_run_at_work_is_not_forgotten(go, tmp_path):
    from trlt.rollout.shared.leases import Leases, make

    go("one")
    folder = work_folder(tmp_path / "one/rows/probe.jsonl")
    make(folder)
    with Leases(folder, 60) as leases, pytest.raises(ResumeError, match=f"1 processes are at work on it .{leases.token}"):
        go("one", fresh=True)
    result, _ = go("one", fresh=True)
    assert result["summary"]["resumed"] == 0 and not folder.exists()
    make(folder)
    (tmp_path / "one/manifest.json").unlink()
    (tmp_path / "one/rows/probe.jsonl").unlink()
    with pytest.raises(ResumeError, match="there are rows, but no manifest.json"):
        go("one")


def test_completions_of_ranks_are_heard_before_their_rows():
    code = "import os; from trlt.commands.launch.ranks import teller; tell = teller(os.environ); tell(2); tell(1)"
    with Ears() as ears:
        assert ears.count() == 0
        ended = launch([sys.executable, "-c", code], 2, None, lambda: None, ears=ears)
        assert [one.code for one in ended] == [0, 0] and ears.count() == 6
    assert teller({}) is None


def test_progress_of_ranks_moves_with_their_completions(data, tiny_path, tmp_path, monkeypatch):
    """Of nine samples, two answers each; no row is there yet when three answers are."""
    told = []

    class Watched(Output):
        @contextmanager
        def progress(self, label, unit):
            yield lambda done, total: told.append((done, total, unit))

    def started(command, count, rank, tick, fatal, ears):
        os.write(ears.write, bytes(3))
        tick()
        return []

    monkeypatch.setattr("trlt.commands.launch.shared_work.launch", started)
    with pytest.raises(TrltError, match="0 of 9 rows are there"):
        probe(data, n=2, model=str(tiny_path), sets=SETS, out=tmp_path / "out", output=Watched(True), processes=2)
    assert told == [(0, 18, "answers"), (3, 18, "answers"), (3, 18, "answers")]
