"""Probing on a Ray cluster of several machines (made of processes): the same rows, whatever dies."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_clips import pool
from paths import ROOT
from typer.testing import CliRunner

from trlt.cli import app
from trlt.commands._output import Output
from trlt.commands.probe import probe
from trlt.errors import DecoderDiedError, ModelError, ResumeError, TrltError, UsageError, VideoError
from trlt.recipe import Probe, Recipe, Video
from trlt.rollout import read_rows, run
from trlt.rollout.ray import cluster as on_cluster
from trlt.rollout.ray import cluster_workers as _stages
from trlt.rollout.shared.leases import Leases, make
from trlt.rollout.shared.work_files import work_folder
from trlt.task.sample import write_samples
from trlt.video.clip_codec import unpack
from trlt.video.geometry import Geometry
from trlt.video.resolve import VideoIndex
from trlt.video.workers import ClipLoader

# Ray warns of its own parts, and leaves the closing of its sockets to the garbage collector.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

needs_ray = pytest.mark.skipif(not find_spec("ray"), reason="needs trlt[ray]")

SETTINGS = Probe(max_new_tokens=4, n=2, answer_format="letter")
WAIT_S = 300.0
"""For something that comes for certain, however busy the machine."""


@pytest.fixture(scope="module")
def machines():
    """A cluster: a head without cores, and no other machine yet."""
    if not find_spec("ray"):
        pytest.skip("needs trlt[ray]")
    on_cluster.require_ray()  # sets what Ray reads when it is imported
    from ray import cloudpickle
    from ray.cluster_utils import Cluster

    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers can't import a test

    # Sockets are in it, whose paths must be short.
    folder = tempfile.mkdtemp(prefix="trlt-ray-", dir="/tmp")
    head = {
        "num_cpus": 0,
        "object_store_memory": 80 << 20,
        "include_dashboard": False,
        "temp_dir": folder,
        # A machine that is killed is missed after five seconds, not 15. The head is watched too, and this process ends with it:
        # on a busy machine it must be given time to start, and to answer.
        "_system_config": {
            "health_check_initial_delay_ms": 5000,
            "health_check_period_ms": 1000,
            "health_check_failure_threshold": 5,
        },
    }
    # Ray notes the head's address in its default folder, which a machine may not have yet.
    before = os.environ.get("RAY_TMPDIR")
    os.environ["RAY_TMPDIR"] = folder
    os.mkdir(os.path.join(folder, "ray"))
    made = Cluster(initialize_head=True, head_node_args=head)
    yield made
    made.shutdown()
    if before is None:
        del os.environ["RAY_TMPDIR"]
    else:
        os.environ["RAY_TMPDIR"] = before
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def grow(machines):
    """`grow(2)` gives the cluster with at least two machines, of a core and a GPU (which none of the tests uses as one)."""

    def to(count):
        # Machines outlive the test that adds them, and its folder, in which it may be working.
        with contextlib.chdir(ROOT):
            while len(machines.worker_nodes) < count:
                machines.add_node(num_cpus=1, num_gpus=1, object_store_memory=80 << 20)
        return machines

    return to


@pytest.fixture(autouse=True)
def ends():
    """A cluster that stands still fails the test: Ray Data itself waits for half an hour, and keeps a core busy meanwhile."""

    def late(*_: object) -> None:
        raise AssertionError("it never ended")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(int(2 * WAIT_S))
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def until(true):
    """Waits for something."""
    deadline = time.monotonic() + WAIT_S
    while not true():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.05)


class Scripted:
    """Answers by id and frames; `hold` may wait before an answer."""

    def __init__(self, hold=lambda key: None):
        self.hold = hold
        self.parity = None

    def stream(self, trees, sampling, *, max_sequences, ended=None):
        from trlt.engine.forest import Answered, Completion

        for t, tree in enumerate(trees):
            for r, one in enumerate(tree.requests):
                self.hold(one.key)
                texts = [
                    f"<answer> {'ABC'[len(one.key) % 3]} </answer> \ud83d {tree.clip.frames.sum()} {k}" for k in range(one.n)
                ]
                yield Answered(t, r, [Completion(text, (1, 2), True) for text in texts])


@pytest.fixture
def go(tmp_path):
    """`go("a.jsonl", samples, make, address=...)` asks on the cluster, `go.alone` in this process."""
    root = tmp_path / "videos"
    video = Video(store=str(tmp_path / "store"), workers=1, timeout_s=2 * WAIT_S)
    common = {"settings": SETTINGS, "n": SETTINGS.n, "grader": Recipe(probe=SETTINGS).grader("probe")}

    def there(name, samples, make_generator, **changes):
        asked = {
            "address": "nowhere",
            "make_generator": make_generator,
            "gpus": True,
            "video": video,
            "root": root,
            **common,
            **changes,
        }
        return on_cluster.run_on_cluster(samples, out=tmp_path / name, **asked)

    def alone(name, samples, generator):
        with ClipLoader(Video()) as loader:
            run(samples, engine=generator, loader=loader, videos=VideoIndex(root), out=tmp_path / name, **common)
        return (tmp_path / name).read_bytes()

    there.root, there.video, there.alone = root, video, alone
    return there


def test_rows_are_those_of_one_process_after_an_interrupt_too(grow, tiny_path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_samples(tmp_path / "pool.jsonl", pool(tmp_path))
    sets = [
        "model.dtype=float32",
        "model.device=cpu",
        "video.workers=1",
        "probe.max_new_tokens=4",
        "select.easy=2",
        "select.hard=0",
    ]

    def ask(out, **changes):
        # By a path that means something in this process's folder alone.
        model = os.path.relpath(tiny_path, tmp_path)
        return probe(Path("pool.jsonl"), n=2, model=model, sets=sets, out=Path(out), output=Output(True), **changes)

    cluster = grow(1)
    one = ask("one")
    whole = (tmp_path / "one/rows/probe.jsonl").read_bytes()
    made = []

    def dies(*args, **kwargs):
        made.append(1)
        if len(made) == 3:
            raise KeyboardInterrupt
        return to_row(*args, **kwargs)

    to_row = on_cluster.to_row
    with monkeypatch.context() as patch:
        patch.setattr(on_cluster, "to_row", dies)
        with pytest.raises(KeyboardInterrupt):
            ask("two", ray=cluster.address)
    rows = tmp_path / "two/rows/probe.jsonl"
    there = rows.read_bytes().count(b"\n")
    assert 2 <= there < 9
    rows.write_bytes(rows.read_bytes() + b'{"id": "e0", "sour')  # as a kill in the middle of a write leaves it
    two = ask("two", ray=cluster.address)
    assert rows.read_bytes() == whole
    assert (two["summary"]["resumed"], two["summary"]["errors"]) == (there, 2) and two["histogram"] == one["histogram"]
    parity = two["summary"]["parity"]
    assert parity["samples"] and parity["largest"] < 1e-4, "the worker's model was held to the library's own forward"
    monkeypatch.setattr(on_cluster, "ask_workers", lambda *_: pytest.fail("a finished run asks nothing again"))
    assert ask("two", ray=cluster.address)["summary"]["resumed"] == 9


def test_typed_in_a_shell_and_ended_by_a_signal_it_goes_on(grow, tiny_path, clips_and_samples, tmp_path, monkeypatch):
    """Ray's own handler of SIGTERM printed a trace, and ended the process with code 15."""
    monkeypatch.chdir(tmp_path)
    command = ["probe", "--data", clips_and_samples.samples, "--videos", clips_and_samples.videos, "-n", "2"]
    for one in ("dtype=float32", "device=cpu", f"path={tiny_path}"):
        command += ["--set", f"model.{one}"]
    command += ["--set", "video.workers=1", "--set", "video.max_tokens=32", "--set", "probe.max_new_tokens=4"]

    def ask(*more):
        return CliRunner().invoke(app, [str(word) for word in (*command, *more)])

    alone = ask("--out", "one", "--processes", "1")
    assert alone.exit_code == 0, alone.output
    there = ["--out", "two", "--ray", grow(1).address]
    shell = [sys.executable, "-m", "trlt", *map(str, command), *there]
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    run = subprocess.Popen(shell, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path})
    rows = tmp_path / "two/rows/probe.jsonl"
    until(lambda: run.poll() is not None or (rows.is_file() and rows.read_bytes().count(b"\n") >= 2))
    run.send_signal(signal.SIGTERM)
    _, said = run.communicate()
    assert run.returncode == 143, said
    assert (
        said.splitlines()[-1] == "interrupted: the same command goes on from whatever was saved, or starts anew"
        and "PC: @" not in said
    )
    kept = rows.read_bytes().count(b"\n")
    assert 2 <= kept < 16
    again = ask(*there, "--json")
    assert again.exit_code == 0, again.output
    assert json.loads(again.stdout)["summary"]["resumed"] == kept
    assert rows.read_bytes() == (tmp_path / "one/rows/probe.jsonl").read_bytes()


def test_a_machine_dies_with_work_of_both_kinds(grow, go, tmp_path, capsys):
    import ray
    from ray._private.state import available_resources_per_node

    cluster = grow(2)
    samples = pool(go.root, clips=6)
    for folder in ("held", "gate"):
        (tmp_path / folder).mkdir()
    # Clips 2 to 5 are in the store; of 0 and 1 the decoding can't end before the store's lock is free.
    with ClipLoader(go.video) as loader:
        for sample in samples[4:13]:
            loader.load(go.root / sample.video, *(sample.clip or (None, None)))

    def make_generator():
        passed = []

        def hold(key):
            if not passed:
                passed.append(key)
                return
            (tmp_path / "held" / ray.get_runtime_context().get_node_id()).write_text(str(os.getpid()))
            until(lambda: not (tmp_path / "gate").exists())

        return Scripted(hold)

    killed = []
    with (tmp_path / "store/.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)

        def busy():
            """Machines with a model that was asked something and a clip that is being decoded."""
            free = available_resources_per_node()
            return [path.name for path in (tmp_path / "held").iterdir() if not free[path.name].get("CPU")]

        def kill(done, total):
            if done and not killed:
                until(busy)
                killed.append(done)
                [victim] = [node for node in cluster.worker_nodes if node.node_id == busy()[0]]
                os.kill(int((tmp_path / "held" / victim.node_id).read_text()), signal.SIGKILL)
                cluster.remove_node(victim, allow_graceful=False)
                until(lambda: sum(node["Alive"] for node in ray.nodes()) == 2)
                (tmp_path / "gate").rmdir()
                fcntl.flock(lock, fcntl.LOCK_UN)

        summary = go("rows.jsonl", samples, make_generator, address=cluster.address, progress=kill)
    assert killed and killed[0] < 2 * len(samples), "two answers each"
    assert capsys.readouterr().out == "", "stdout is the command's"
    assert (summary.rows, summary.resumed, summary.errors) == (len(samples), 0, 2)
    assert (tmp_path / "rows.jsonl").read_bytes() == go.alone("alone.jsonl", samples, Scripted())


def test_what_ray_gives_up_is_asked_again(grow, go, tmp_path, monkeypatch):
    cluster = grow(1)
    monkeypatch.setattr(on_cluster, "TRIES", 0)
    samples = pool(go.root, clips=2)[:4]
    rows, death, said = tmp_path / "rows.jsonl", tmp_path / "death", []

    def make_generator():
        def hold(key):
            if key == "c0" and not death.exists():
                # What was decoded first is asked first: e1's row is there soon, or waits behind this one.
                deadline = time.monotonic() + 10
                while b'"e1"' not in rows.read_bytes() and time.monotonic() < deadline:
                    time.sleep(0.05)
                death.touch()
                os._exit(1)

        return Scripted(hold)

    assert go("rows.jsonl", samples, make_generator, address=cluster.address, on_event=said.append).rows == 4
    assert said in [[f"{lost} samples were lost with workers that died; they are asked again"] for lost in (2, 3, 4)]
    assert rows.read_bytes() == go.alone("alone.jsonl", samples, Scripted())


@needs_ray
def test_a_run_ends_when_no_row_comes_any_more(go, tmp_path, monkeypatch):
    samples = pool(go.root, clips=1)[:2]
    said = {"id": "c0", "said": [["x", 1, True]] * 2, "video_tokens": 8, "length_s": 2.0}
    rounds = [[said, said], []]  # the first tells a thing twice
    monkeypatch.setattr(on_cluster, "ask_workers", lambda *_: rounds.pop(0))
    with pytest.raises(TrltError, match="no row came of 1 samples, the first about folder/clip_000.mp4: its workers died"):
        go("rows.jsonl", samples, Scripted)
    assert [row["id"] for row in read_rows(tmp_path / "rows.jsonl")] == ["c0"] and not rounds


@needs_ray
def test_workers_make_frames_for_the_models_family(go, monkeypatch):
    """From what the driver is told, to the clips that the model's worker gets: 56 x 56 pixels are two tokens of 32 a side."""
    samples = pool(go.root, clips=1)[:2]
    came = list[Any]()

    def here(address, pending, job, make_generator, gpus):
        [clips] = _stages.decode(_stages.sample_table([pending]), job)
        came.append(unpack(np.frombuffer(clips["clip"][0].as_buffer(), np.uint8)))
        return [one for table in _stages.Answering(job, make_generator)(clips) for one in _stages.read_said(table)]

    monkeypatch.setattr(on_cluster, "ask_workers", here)
    assert go("rows.jsonl", samples, Scripted, geometry=Geometry(16)).rows == 2
    _stages._reader.cache_clear()
    assert came[0].frames.shape[2:] == (64, 64) and came[0].geometry == Geometry(16)
    assert came[0].stamps.tolist() == [index / 8 for index in (0, 5, 10, 15)]


@pytest.fixture
def job(tmp_path):
    (tmp_path / "videos").mkdir()
    yield _stages.WorkerSettings(Video(workers=0), tmp_path / "videos", SETTINGS, Recipe(probe=SETTINGS).form("probe"), n=2)
    _stages._reader.cache_clear()


def test_faults_of_workers_reach_the_driver(job):
    samples = pool(job.root)[:2]

    def no_model():
        raise ModelError("model.path: no such model")

    def bug(key):
        raise KeyError("seventeen")

    def asked(job, make_generator):
        """What the driver makes of the samples."""
        [clips] = _stages.decode(_stages.sample_table([samples]), job)
        return [one for table in _stages.Answering(job, make_generator)(clips) for one in _stages.read_said(table)]

    assert [one["id"] for one in asked(job, Scripted)] == ["c0", "e0"]
    with pytest.raises(ModelError, match=r"^.+: model.path: no such model$"):
        asked(job, no_model)
    with pytest.raises(RuntimeError, match=r"a worker on .+ failed:\nTraceback(.|\n)*KeyError: 'seventeen'"):
        asked(job, lambda: Scripted(bug))
    with pytest.raises(VideoError, match="nowhere: no such folder.*every machine of the cluster"):
        asked(replace(job, root=job.root / "nowhere"), Scripted)
    with pytest.raises(TrltError, match=r"trlt .+ is installed, while the run was started by 0\.0"):
        asked(replace(job, version="0.0"), Scripted)


def test_answers_go_to_the_driver_in_parcels(job, monkeypatch):
    [clips] = _stages.decode(_stages.sample_table([pool(job.root)[:2] * 3]), job)
    for seconds, parcels in ((-1.0, [1, 1, 1, 1, 1, 1]), (1e9, [1, 5])):
        monkeypatch.setattr(_stages, "TOGETHER_S", seconds)
        tables = list(_stages.Answering(job, Scripted)(clips))
        assert [len(list(_stages.read_said(table))) for table in tables] == parcels
        assert {table.num_rows for table in tables} == {1}, "Ray takes a larger table apart"


@needs_ray
def test_rows_of_others_who_are_at_work_are_left_alone(go, tmp_path):
    out = tmp_path / "rows.jsonl"
    make(work_folder(out))
    leases = Leases(work_folder(out), 60.0)
    with pytest.raises(ResumeError, match="rows.jsonl: other processes are at work on it"):
        go("rows.jsonl", [], Scripted)
    leases.close()


def test_without_ray_the_extra_is_named(tmp_path, monkeypatch):
    write_samples(tmp_path / "pool.jsonl", pool(tmp_path, clips=1))
    for name in [name for name in sys.modules if name.partition(".")[0] == "ray"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=r"--ray: needs ray, .* pip install 'trlt\[ray\]'"):
        probe(tmp_path / "pool.jsonl", model="miniature", out=tmp_path / "run", ray="local", output=Output(True))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"processes": 2}, "leave out --processes"),
        ({"servers": ["http://localhost:1"]}, "leave out --server"),
        ({"env": {"RANK": "0", "WORLD_SIZE": "2"}}, "start it without a launcher"),
    ],
)
def test_what_can_not_go_together(changes, match, tmp_path, monkeypatch):
    for key, value in changes.pop("env", {}).items():
        monkeypatch.setenv(key, value)
    with pytest.raises(UsageError, match=f"--ray: .*{match}"):
        probe(tmp_path / "pool.jsonl", ray="auto", output=Output(True), **changes)


@needs_ray
@pytest.mark.parametrize("address", ["ray://localhost:10001", "127.0.0.1:1", "somewhere"])
def test_a_cluster_that_can_not_be_joined(address):
    with pytest.raises(UsageError, match=f"--ray {address}: .*run the command on a machine of the cluster"):
        with on_cluster.session(address):
            pass


@needs_ray
def test_a_damaged_clip_is_told_apart_from_a_machine_that_dies(go, tmp_path, monkeypatch):
    """A clip whose decoding process died is asked once more; only if it dies again is the file to blame."""
    samples, said = pool(go.root, clips=1)[:2], list[str]()
    died = {"error": "clip: the decoding process was ended by SIGKILL", "died": True}
    well = {"said": [["x", 1, True]] * 2, "video_tokens": 8, "length_s": 2.0}
    # Nothing but deaths in the first round: it isn't the end of the run. Ray may tell a thing twice.
    rounds = [[{"id": "c0", **died}, {"id": "c0", **died}, {"id": "e0", **died}], [{"id": "c0", **well}, {"id": "e0", **died}]]
    monkeypatch.setattr(on_cluster, "ask_workers", lambda *_: rounds.pop(0))
    assert go("rows.jsonl", samples, Scripted, on_event=said.append).errors == 1
    assert [row["error"] for row in read_rows(tmp_path / "rows.jsonl")] == [None, died["error"]] and not rounds
    assert said == ["2 samples asked once more: decoding processes died, by a file or with a machine"]


def test_a_decoding_process_that_dies_is_told_as_such(job, tmp_path, monkeypatch):
    """From the worker to the driver; the process is killed while it decodes."""
    samples = pool(job.root, clips=1)[:1]
    (tmp_path / "killed.py").write_text("import os\ndef decode(*_, **__):\n    os.kill(os.getpid(), 9)\n")
    monkeypatch.syspath_prepend(tmp_path)
    loader = ClipLoader(Video(workers=1), decoder="killed:decode")
    monkeypatch.setattr(ClipLoader, "map", lambda _, requests, real=loader.map: real(requests))
    with loader:
        [told] = _stages.decode(_stages.sample_table([samples]), job)
    [one] = _stages.read_said(told)
    assert one["died"] and isinstance(_stages.read_error(one), DecoderDiedError)
