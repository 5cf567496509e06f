"""Samples leave as other tools' files, and come back."""

from __future__ import annotations

import json
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from made_clips import choice, event

from trlt.commands._output import Output
from trlt.commands.export import export
from trlt.data.datasets import read_source
from trlt.errors import DataError, UsageError
from trlt.recipe._yaml import from_yaml
from trlt.rollout import RunFiles
from trlt.task.sample import Span, write_samples

CLIP = event("clip", "d/b.mp4", clip=Span(1.0, 3.0))
TWICE = event("twice", "d/b.mp4", spans=(Span(0.5, 1.0), Span(1.0, 2.5)))
WITH_REASONING = choice("told", "d/a.mp4", "why does it move", meta={"reasoning": "It is pushed."})


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "pool.jsonl"
    samples = [choice("c", "d/a.mp4"), event("e", "d/b.mp4", duration=4.0), CLIP, TWICE, WITH_REASONING]
    write_samples(path, samples)
    return path


def go(data: Path, format: str, out: Path, **how: Any) -> dict[str, Any]:
    return export(data, format=format, out=out, output=Output(True), **how)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_video_r1_comes_back_as_it_left(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "there" / "mine.json"
    result = go(data, "video-r1", out)
    assert result == {
        "format": "video-r1",
        "out": str(out),
        "config": None,
        "samples": 5,
        "written": 2,
        "left_out": {"no_grounding": 3},
        "examples": {"no_grounding": ["e", "clip", "twice"]},
        "notes": [],
    }
    assert [record["problem_id"] for record in json.loads(out.read_text(encoding="utf-8"))] == [0, 1]
    reading = read_source("video_r1", out, "cot")
    assert reading.read == 2 and not reading.dropped
    for before, after in zip([choice("c", "d/a.mp4"), WITH_REASONING], reading.samples, strict=True):
        assert (after.question, after.options, after.answer) == (before.question, before.options, before.answer)
        assert (after.video, after.answer_index, after.task) == (before.video, before.answer_index, before.task)
        assert after.meta.get("reasoning") == before.meta.get("reasoning") and after.meta["data_source"] == "made"
    assert not list(tmp_path.glob("**/.*"))


def test_temporal_r1_has_a_config_beside_it(data: Path, tmp_path: Path) -> None:
    result = go(data, "temporal-r1", tmp_path / "tvg.json")
    assert [record["solution"] for record in json.loads((tmp_path / "tvg.json").read_text())] == [[0.25, 0.5]]
    assert result["left_out"] == {"no_multi_choice": 2, "clip": 1, "several_spans": 1} and result["written"] == 1
    assert result["config"] == str(tmp_path / "tvg.tvg.yaml") and "charades_train" in result["notes"][0]
    entry = {"json_path": str(tmp_path / "tvg.json"), "data_folder": str(tmp_path)}
    assert from_yaml((tmp_path / "tvg.tvg.yaml").read_text(), "x") == {"datasets": [entry]}

    RunFiles(data).write_manifest({"videos": "/noted/videos"})
    go(data, "temporal-r1", tmp_path / "tvg.json")
    assert "data_folder: /noted/videos\n" in (tmp_path / "tvg.tvg.yaml").read_text()
    go(data, "temporal-r1", tmp_path / "tvg.json", videos=Path("/else/where"))
    assert "data_folder: /else/where\n" in (tmp_path / "tvg.tvg.yaml").read_text()
    assert json.loads((tmp_path / "tvg.json").read_text())[0]["video"] == "d/b.mp4"


def test_ms_swift_and_trl_take_all_but_bounded_samples(data: Path, tmp_path: Path) -> None:
    for format in ("ms-swift", "trl"):
        result = go(data, format, tmp_path / "out.jsonl", videos=Path("/v"), think=False, answer_format="text")
        rows = lines(tmp_path / "out.jsonl")
        assert result["left_out"] == {"clip": 1} and result["written"] == len(rows) == 4
        assert "1 samples have several gold spans" in result["notes"][-1]
        assert [row["solution"] for row in rows[:2]] == ["<answer> blue square </answer>", "<answer> 1.0 to 2.0 </answer>"]
        assert "/v/d/a.mp4" in json.dumps(rows[0]) and "<think>" not in json.dumps(rows)
    assert "images only" in result["notes"][0]


def test_paths_are_relative_unless_a_folder_is_given(data: Path, tmp_path: Path) -> None:
    go(data, "ms-swift", tmp_path / "out.jsonl")
    assert lines(tmp_path / "out.jsonl")[0]["videos"] == ["d/a.mp4"]
    go(data, "video-r1", tmp_path / "out.json", videos=Path("mine"))
    assert json.loads((tmp_path / "out.json").read_text())[0]["path"] == "./mine/d/a.mp4"
    write_samples(data, [choice("c", "https://x.org/a.mp4")])
    go(data, "ms-swift", tmp_path / "out.jsonl", videos=Path("/v"))
    assert lines(tmp_path / "out.jsonl")[0]["videos"] == ["https://x.org/a.mp4"]


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"format": "video-r2"}, "--format video-r2: unknown; did you mean video-r1"),
        ({"format": "trl", "out": Path("o.json")}, "trl reads .jsonl files; give o.jsonl"),
        ({"format": "video-r1", "out": Path("o.jsonl")}, "video-r1 reads .json files; give o.json"),
        ({"format": "trl", "answer_format": "leter"}, "--answer-format leter: unknown; did you mean letter"),
        ({"format": "video-r1", "out": Path("o.json"), "think": False}, "--no-think: video-r1 asks for reasoning"),
        ({"format": "temporal-r1", "out": Path("o.json"), "answer_format": "open"}, "--answer-format open: temporal-r1 asks"),
        ({"format": "video-r1", "out": Path("o.json"), "videos": Path("/v")}, "give a folder relative to that one"),
    ],
)
def test_flags_that_cannot_work_are_named(data: Path, how: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        export(data, output=Output(True), **{"out": Path("o.jsonl"), **how})


def test_the_input_is_never_overwritten(data: Path, tmp_path: Path) -> None:
    for given in (data, tmp_path):
        with pytest.raises(UsageError, match="would overwrite its own input"):
            go(given, "trl", data)


def test_what_was_there_stays_when_nothing_can_be_carried(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    out.write_text("before")
    write_samples(data, [CLIP, TWICE])
    with pytest.raises(DataError, match=r"none of the 2 samples: 2 no_grounding \(as clip\)"):
        go(data, "video-r1", out)
    data.write_text(data.read_text() * 2)
    with pytest.raises(DataError, match=r"pool.jsonl:3: id 'clip' stands already on line 1"):
        go(data, "trl", tmp_path / "out.jsonl")
    data.write_text("")
    with pytest.raises(DataError, match="holds no samples"):
        go(data, "trl", tmp_path / "out.jsonl")
    assert out.read_text() == "before" and sorted(path.name for path in tmp_path.iterdir()) == ["out.json", "pool.jsonl"]


def test_a_person_sees_what_was_left_out(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_samples(data, [choice("c", "a.mp4"), replace(CLIP, id="[bold]x")])
    export(data, format="trl", out=tmp_path / "out.jsonl", output=Output(False))
    shown = capsys.readouterr()
    assert "[bold]x" in shown.out and "1 of 2 samples:" in shown.out and "no bounds" in " ".join(shown.out.split())
    assert "images only" in shown.err


def test_large_sets_are_not_held_in_memory(tmp_path: Path) -> None:
    def many(count: int) -> Path:
        path = tmp_path / f"{count}.jsonl"
        write_samples(path, (choice(f"c{number}", "a.mp4", "why " * 200) for number in range(count)))
        return path

    data = many(4000)
    tracemalloc.start()
    go(data, "video-r1", tmp_path / "out.json")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert data.stat().st_size > 4e6 and peak < 2.5e6
    assert len(json.loads((tmp_path / "out.json").read_text())) == 4000


def test_ids_of_all_files_of_a_folder_count(tmp_path: Path) -> None:
    for name in "ab":
        write_samples(tmp_path / f"{name}.jsonl", [choice(f"c{name}", "a.mp4")])
    assert go(tmp_path, "video-r1", tmp_path / "out.json")["written"] == 2
