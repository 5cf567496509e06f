"""Which footage belongs to which benchmark, and where benchmarks are looked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from trlt.data.datasets import load, names
from trlt.data.preparation import benchmark_keys, benchmark_places
from trlt.errors import DataError, UsageError


def lay_out(folder: Path, name: str) -> Path:
    folder.mkdir(parents=True)
    for file, text in load(name).EXAMPLE.files.items():
        (folder / file).write_text(text)
    return folder


def test_footage_of_benchmarks(tmp_path: Path) -> None:
    places = {name: lay_out(tmp_path / name, name) for name in ("charades", "activitynet")}
    leaks = benchmark_keys(places)
    assert leaks.benchmarks == {"charades:QX7LK": ("charades",), "youtube:aB3_dE-7hIj": ("activitynet",)}
    assert leaks.videos == {"charades": 1, "activitynet": 1}
    assert set(leaks.unchecked) == set(names("bench")) - set(places)


def test_footage_of_two_benchmarks_names_both(tmp_path: Path) -> None:
    bound = '[{"video": "QX7LK.mp4", "question": "What?", "candidates": ["a", "b"], "answer": "b", "start": 0, "end": 3}]'
    (tmp_path / "mv").mkdir()
    (tmp_path / "mv/action_sequence.json").write_text(bound)
    leaks = benchmark_keys({"charades": lay_out(tmp_path / "c", "charades"), "mvbench": tmp_path / "mv"})
    assert leaks.benchmarks["charades:QX7LK"] == ("charades", "mvbench")


def test_places(tmp_path: Path) -> None:
    lay_out(tmp_path / "all/charades/annotations", "charades")
    lay_out(tmp_path / "all/activitynet", "activitynet")
    (tmp_path / "all/something").mkdir()
    found = benchmark_places([str(tmp_path / "all")], {})
    assert found == {"charades": tmp_path / "all/charades/annotations", "activitynet": tmp_path / "all/activitynet"}
    assert benchmark_places(["charades=x/y"], {}) == {"charades": Path("x/y")}
    usual = {"charades": tmp_path / "all/charades", "mvbench": tmp_path / "nowhere"}
    assert benchmark_places(["benchmarks"], usual) == {"charades": tmp_path / "all/charades"}


def test_places_that_hold_nothing_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'charade' is no benchmark"):
        benchmark_places(["charade=x"], {})
    with pytest.raises(UsageError, match="no folder with a benchmark's name in it"):
        benchmark_places([str(tmp_path)], {})
    with pytest.raises(UsageError, match="no benchmark's annotation is there; looked for nowhere"):
        benchmark_places(["benchmarks"], {"charades": Path("nowhere")})
    with pytest.raises(DataError, match="--against charades: .*no such file or folder"):
        benchmark_keys({"charades": tmp_path / "nowhere"})
