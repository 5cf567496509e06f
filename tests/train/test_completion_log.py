"""Completions of training as files: whole or not there, and cut where a run goes on from."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from paths import TESTS

from trlt.engine.forest import Completion
from trlt.errors import DataError
from trlt.task.sample import Sample, Span
from trlt.task.score import Scores
from trlt.train.completion_log import COLUMNS, FOLDER, Completions, cut_completions, read_completions
from trlt.train.dynamic_sampling import ScoredGroup

SAMPLES = [
    Sample("q0", "made", "train", "grounding", "v.mp4", "a cat sits", spans=(Span(0.0, 1.0),)),
    Sample("q\ud8001", "else", "train", "multi_choice", "w.mp4", "what?", options=("a", "b"), answer="b", answer_index=1),
]


def group(index: int, *rewards: float, text: str = "said") -> ScoredGroup:
    completions = tuple(Completion(f"{text} {place}", (5,) * (place + 1), place > 0) for place in range(len(rewards)))
    task = SAMPLES[index].task
    scores = tuple(Scores(1.0, None, r) if task == "grounding" else Scores(0.0, r, None) for r in rewards)
    return ScoredGroup(index, None, completions, scores, rewards)  # type: ignore[arg-type]


def files(run: Path) -> list[str]:
    return sorted(path.name for path in (run / FOLDER).iterdir())


def test_what_was_written_is_read(tmp_path: Path) -> None:
    writer = Completions(tmp_path, SAMPLES)
    assert writer.add(12, [group(1, 0.0, 1.0, text="[b]\x1b é"), group(0, 0.5, 0.5)]) == tmp_path / FOLDER / (
        "step-000012-rank0.parquet"
    )
    table = read_completions(tmp_path)
    assert table.schema.names == list(COLUMNS)
    rows = table.to_pylist()
    first = dict(step=12, rank=0, id="q?1", source="else", task="multi_choice", index=0, text="[b]\x1b é 0", tokens=1)
    assert rows[0] == first | dict(
        finished=False,
        reward=0.0,
        overlong=None,
        advantage=pytest.approx(-0.7070, abs=1e-3),
        format=0.0,
        accuracy=0.0,
        tiou=None,
    )
    assert [(row["id"], row["index"], row["tokens"], row["finished"]) for row in rows] == [
        ("q?1", 0, 1, False),
        ("q?1", 1, 2, True),
        ("q0", 0, 1, False),
        ("q0", 1, 2, True),
    ]
    assert rows[3]["advantage"] == 0.0 and rows[3]["tiou"] == 0.5 and rows[3]["accuracy"] is None
    Completions(tmp_path, SAMPLES, scale=False).add(13, [group(0, 0.0, 1.0)])
    assert [row["advantage"] for row in read_completions(tmp_path).to_pylist()[-2:]] == [-0.5, 0.5]
    cut_completions(tmp_path, 12)
    frame = read_completions(tmp_path / FOLDER).to_pandas()
    assert frame.groupby("id")["reward"].mean().to_dict() == {"q0": 0.5, "q?1": 0.5}


def test_files_are_joined_by_step_and_process(tmp_path: Path) -> None:
    for step in (1_000_000, 2, 999_999):
        for rank in (10, 1):
            Completions(tmp_path, SAMPLES, rank=rank).add(step, [group(0, 0.1, 0.2)])
    (tmp_path / FOLDER / "step-by-step.parquet").write_bytes(b"someone else's")
    rows = read_completions(tmp_path).to_pylist()
    order = [(2, 1), (2, 10), (999_999, 1), (999_999, 10), (1_000_000, 1), (1_000_000, 10)]
    assert [(row["step"], row["rank"]) for row in rows[::2]] == order
    Completions(tmp_path, SAMPLES, rank=1).add(2, [group(0, 0.9)])
    assert read_completions(tmp_path).to_pylist()[0]["reward"] == 0.9, "a step that comes again is replaced"


def test_only_some_steps_are_kept(tmp_path: Path) -> None:
    writer = Completions(tmp_path, SAMPLES, every=3)
    assert [step for step in range(1, 10) if writer.add(step, [group(0, 1.0, 0.0)])] == [3, 6, 9]
    assert len(files(tmp_path)) == 3


def test_cut_keeps_what_came_before_the_checkpoint(tmp_path: Path) -> None:
    cut_completions(tmp_path, 3)
    assert not (tmp_path / FOLDER).exists()
    for step in (1, 2, 3, 4, 10):
        for rank in (0, 1):
            Completions(tmp_path, SAMPLES, rank=rank).add(step, [group(0, 1.0)])
    (tmp_path / FOLDER / ".step-000011-rank0.parquet.x1y2").write_bytes(b"PAR1")
    (tmp_path / FOLDER / "notes.txt").write_text("mine")
    cut_completions(tmp_path, 2)
    kept = [f"step-00000{step}-rank{rank}.parquet" for step in (1, 2) for rank in (0, 1)]
    assert files(tmp_path) == ["notes.txt", *kept]


def test_what_is_missing_or_damaged_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no completions; give the folder of a `trlt train` run"):
        read_completions(tmp_path)
    path = Completions(tmp_path, SAMPLES).add(1, [group(0, 1.0)])
    assert path
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"step-000001-rank0.parquet: can't be read \(.*\); remove the file"):
        read_completions(tmp_path)


def test_files_of_another_version_lack_scores_only(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    old = Completions(tmp_path, SAMPLES).add(1, [group(0, 1.0)])
    Completions(tmp_path, SAMPLES).add(2, [group(0, 0.5)])
    table = pq.read_table(old)
    pq.write_table(table.drop_columns(["tiou"]), old)
    assert [row["tiou"] for row in read_completions(tmp_path).to_pylist()] == [None, 0.5]


def test_a_kill_in_the_middle_of_a_write_leaves_no_torn_file(tmp_path: Path) -> None:
    """The process dies when half of the file is on the disk."""
    code = f"""
        import os, signal, sys
        sys.path[:0] = [{str(TESTS / "train")!r}, {str(TESTS)!r}]
        from pathlib import Path
        import pyarrow.parquet as pq
        import test_completion_log as made
        run = Path({str(tmp_path)!r})
        made.Completions(run, made.SAMPLES).add(1, [made.group(0, 1.0, 0.0)])
        whole = pq.write_table
        def dies(table, out, **options):
            whole(table, run / "whole", **options)
            content = (run / "whole").read_bytes()
            out.write(content[: len(content) // 2])
            out.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        pq.write_table = dies
        made.Completions(run, made.SAMPLES).add(2, [made.group(0, 1.0, 0.0)])
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], env=os.environ, timeout=120)
    assert done.returncode == -signal.SIGKILL
    left = files(tmp_path)
    assert len(left) == 2 and left[0].startswith(".step-000002-rank0.parquet."), "the half is there, under another name"
    assert {row["step"] for row in read_completions(tmp_path).to_pylist()} == {1}
    cut_completions(tmp_path, 1)
    assert files(tmp_path) == ["step-000001-rank0.parquet"]
    Completions(tmp_path, SAMPLES).add(2, [group(0, 1.0)])
    assert {row["step"] for row in read_completions(tmp_path).to_pylist()} == {1, 2}
