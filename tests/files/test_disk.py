"""A full disk, a file where a folder should be, names that are too long: an error with path and remedy, and nothing half."""

from __future__ import annotations

import errno
import os
import resource
import signal
from contextlib import contextmanager

import pytest
from typer.testing import CliRunner

from trlt.cli import app
from trlt.errors import VideoError
from trlt.errors.system import disk_error, named
from trlt.files import append, open_atomic
from trlt.rollout.rows_file import RowFile, read_rows
from trlt.task.sample import Sample, Span, write_samples
from trlt.video.remote import fetch
from trlt.video.resolve import VideoIndex


@contextmanager
def most(size):
    """No file grows beyond so many bytes: what a full disk does, for this process alone."""
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def row(id):
    return {"id": id, "error": None, "text": "x" * 200}


def test_a_row_that_does_not_fit_leaves_whole_rows_and_the_run_goes_on(tmp_path):
    path, ids = tmp_path / "rows.jsonl", [f"id{number}" for number in range(10)]
    with pytest.raises(OSError, match="File too large") as error, most(1_000), RowFile(path, ids) as rows:
        for id in ids:
            rows.append(row(id))
    assert error.value.filename == str(path)
    lines = path.read_bytes().splitlines(keepends=True)
    assert [one["id"] for one in read_rows(path)] == ids[: 1_000 // len(lines[0])] and len(lines) == 3
    assert all(line.endswith(b"\n") for line in lines)
    with RowFile(path, ids) as rows:
        for id in ids[len(rows) :]:
            rows.append(row(id))
        rows.finish()
    assert [one["id"] for one in read_rows(path)] == ids


def test_append_takes_back_what_was_cut_off(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"before\n")
    with path.open("ab", buffering=0) as file:
        with most(20), pytest.raises(OSError):
            append(file, b"y" * 50, path)
        assert path.read_bytes() == b"before\n"
        assert append(file, b"after\n", path) == 7
    assert path.read_bytes() == b"before\nafter\n"


def test_an_atomic_file_that_does_not_fit_leaves_the_old_one_and_nothing_else(tmp_path):
    path = tmp_path / "x.json"
    path.write_text("old")
    with pytest.raises(OSError) as error, most(1_000), open_atomic(path) as file:
        file.write("x" * 100_000)
    assert error.value.filename == str(path) and path.read_text() == "old" and os.listdir(tmp_path) == ["x.json"]


@pytest.fixture
def data(tmp_path):
    asked = {"options": ("x", "y"), "answer": "x", "answer_index": 0}
    samples = [Sample(f"a{n}", "s", "", "multi_choice", "v.mp4", "q" * 500, **asked) for n in (1, 2)]
    write_samples(tmp_path / "pool.jsonl", samples)
    (tmp_path / "file").write_text("")
    return tmp_path / "pool.jsonl"


@pytest.mark.parametrize(
    ("out", "said"),
    [
        ("file/x.jsonl", "a file, where a folder is needed"),
        ("folder.jsonl", "a folder, where a file is needed"),
        ("n" * 300 + ".jsonl", "give a shorter path"),
    ],
)
def test_a_command_says_path_and_remedy(data, tmp_path, out, said):
    (tmp_path / "folder.jsonl").mkdir()
    result = CliRunner().invoke(app, ["export", str(data), "--format", "trl", "--out", str(tmp_path / out)])
    assert isinstance(result.exception, SystemExit) and result.exit_code == 1, result.exception
    assert f"error: {tmp_path / out.partition('/')[0]}: " in result.stderr and said in result.stderr


def test_a_full_disk_has_an_exit_code(data, tmp_path):
    with most(200):
        result = CliRunner().invoke(app, ["export", str(data), "--format", "trl", "--out", str(tmp_path / "out.jsonl")])
    assert result.exit_code == 1 and f"error: {tmp_path / 'out.jsonl'}: File too large" in result.stderr
    assert not (tmp_path / "out.jsonl").exists()


@pytest.mark.parametrize("error", [OSError(errno.EBADF, "x"), OSError("from a library"), OSError(errno.EINVAL, "x")])
def test_what_no_user_causes_stays_a_bug(error, monkeypatch):
    def fails(*args, **kwargs):
        raise error

    monkeypatch.setattr("trlt.commands.prepare.list_sources", fails)
    assert disk_error(error) is None
    assert CliRunner().invoke(app, ["prepare", "--list"]).exception is error


def test_errors_of_libraries_stand_for_those_of_the_disk(tmp_path):
    class SafetensorError(Exception):
        pass

    with pytest.raises(OSError) as error, named(tmp_path):
        raise SafetensorError("I/O error: No space left on device (os error 28)")
    assert (error.value.errno, error.value.filename) == (errno.ENOSPC, str(tmp_path))
    with pytest.raises(SafetensorError), named(tmp_path):
        raise SafetensorError("header is broken")
    with pytest.raises(RuntimeError), named(tmp_path):  # there is room
        raise RuntimeError("PytorchStreamWriter failed")


def test_a_bad_name_or_address_is_a_fault_of_its_video(tmp_path):
    index = VideoIndex(tmp_path)
    long, deep = "n" * 300 + ".mp4", "a/" * 3000 + "v.mp4"
    for name, said in (("http://[", "no address"), (long, "too long"), (deep, "too long")):
        with pytest.raises(VideoError, match=said) as error:
            index.find(name)
        assert len(str(error.value)) < 400
    (tmp_path / "loop.mp4").symlink_to("loop.mp4")
    with pytest.raises(VideoError):
        index.find("loop.mp4")
    with pytest.raises(VideoError, match="no address"):
        fetch("http://[::1", tmp_path)


def test_a_question_that_can_not_be_asked_is_an_error_of_its_own(tmp_path):
    from trlt.recipe import Probe, Recipe, Video
    from trlt.rollout.question_sets import QuestionSet, by_clip
    from trlt.rollout.read_clips import read_clips

    class Loader:
        def map(self, requests):
            asked.extend(requests)
            return []

    asked, failed = [], []
    (tmp_path / "v.mp4").touch()
    fine, odd = (Sample(q, "s", "", "grounding", "v.mp4", q, spans=(Span(0, 1),)) for q in ("fine", "odd \ud800"))
    grader = Recipe().grader("probe")
    one = QuestionSet("", [odd, fine], VideoIndex(tmp_path), Video(), settings=Probe(), n=1, grader=grader)
    [[first, second]] = by_clip([one])
    list(read_clips([[first, second], [first]], Loader(), lambda some, error: failed.append((some, str(error)))))
    assert [request.key for request in asked] == [[second]] and second.sample is fine
    assert [some for some, _ in failed] == [[first], [first]] and all("half a surrogate pair" in error for _, error in failed)


def test_a_checkpoint_or_an_adapter_on_a_full_disk_says_so(tmp_path, tiny_path, clips_and_samples, monkeypatch):
    from commands.test_train import RECIPE

    recipe = tmp_path / "small.yaml"
    recipe.write_text(RECIPE.format(model=tiny_path, videos=clips_and_samples.videos, data=clips_and_samples.samples))
    monkeypatch.setattr("trlt.errors.system.FULL_BYTES", 1 << 62)  # as a disk without room looks to torch's writer
    sets = ["--set", "train.method=sft", "--set", "train.max_steps=1", "--set", "video.workers=0"]
    for size, more in ((1_000_000, []), (6_000_000, []), (100_000, ["--set", "train.lora={rank: 32, alpha: 8}"])):
        with most(size):  # less than weights, less than the optimizer's state, less than adapters
            result = CliRunner().invoke(app, ["train", str(recipe), "--out", str(tmp_path / "run"), "--fresh", *sets, *more])
        assert isinstance(result.exception, SystemExit) and result.exit_code == 1, result.exception
        assert f"error: {tmp_path}/run/checkpoints: " in result.stderr and "make room there" in result.stderr


def test_warming_a_store_on_a_full_disk_says_so(tmp_path, clips_and_samples, monkeypatch):
    monkeypatch.setattr("trlt.errors.system.FULL_BYTES", 1 << 62)
    flags = ["--videos", str(clips_and_samples.videos), "--store", str(tmp_path / "store"), "--set", "video.max_tokens=32"]
    with most(1_000):
        result = CliRunner().invoke(app, ["video", "cache", "warm", "--data", str(clips_and_samples.samples), *flags])
    assert result.exit_code == 1 and f"error: {tmp_path / 'store'}: No space left on device; make room" in result.stderr
