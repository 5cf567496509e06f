"""`trlt video`: what is checked, what is reported, and what is done only once."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from made_clips import write_clip
from PIL import Image

from trlt.task.sample import Sample, Span, write_samples
from trlt.video import decoder_handle as process


def sample(id: str, video: str, duration: float | None = None, clip: Span | None = None) -> Sample:
    return Sample(id, "made", "train", "grounding", video, "a cat runs", clip=clip, duration=duration, spans=(Span(0.0, 0.5),))


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    folder = tmp_path / "videos"
    for seed, (name, seconds) in enumerate((("a/one.mp4", 2), ("a/two.mp4", 3), ("three.mp4", 4))):
        write_clip(folder / name, seconds, seed)
    (folder / "page.mp4").write_text("<html>gone</html>")
    (folder / "b").mkdir()
    (folder / "b" / "page2.mp4").write_text("<html>gone too</html>")
    return folder


@pytest.fixture
def data(tmp_path: Path, clips: Path) -> Path:
    path = tmp_path / "samples.jsonl"
    write_samples(
        path,
        [
            sample("1", "a/one.mp4", 2.0),
            sample("2", "a/one.mp4", 2.0),
            sample("3", "a/two.mp4", 30.0),
            sample("4", "three.mp4", 2.0, Span(1.0, 3.0)),
            sample("5", "page.mp4"),
            sample("6", "page.mp4"),
            sample("7", "none.mp4"),
        ],
    )
    return path


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that were asked for."""
    names: list[str] = []
    decode = process.Decoder.decode

    def counted(self, path, *rest):
        names.append(path.name)
        return decode(self, path, *rest)

    monkeypatch.setattr(process.Decoder, "decode", counted)
    return names


def test_check_of_a_folder(trlt, clips, decoded, tmp_path):
    found = trlt("video", "check", clips, "--set", "video.max_tokens=64", "--json", "--out", tmp_path / "rows.jsonl")
    assert (found["clips"], found["sound"], found["warned"], found["broken"]) == (5, 3, 0, 2)
    assert found["reasons"] == [
        {"reason": "a web page, not a video; the download failed", "clips": 2, "example": "b/page2.mp4"}
    ]
    assert found["seconds"] == pytest.approx(9, abs=0.2) and found["tokens"]["most"] <= 64 and found["store_fits"]
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert [row["video"] for row in rows] == ["a/one.mp4", "a/two.mp4", "b/page2.mp4", "page.mp4", "three.mp4"]
    assert found["store_bytes"] == sum(row["store_bytes"] for row in rows) > 10_000
    report = json.loads((tmp_path / "rows.report.json").read_text())
    assert report == found


def test_check_of_one_video_and_of_a_folder_of_frames(trlt, clips, tmp_path):
    found = trlt("video", "check", clips / "a" / "two.mp4", "--json")
    assert (found["clips"], found["sound"], found["seconds"]) == (1, 1, 3.0)
    assert json.loads(Path(found["rows"]).read_text())["video"] == "two.mp4"
    text = trlt("video", "check", clips / "page.mp4")
    assert "a web page, not a video" in text
    frames = tmp_path / "frames"
    frames.mkdir()
    for number in range(1, 7):
        Image.new("RGB", (64, 64), (40 * number, 0, 0)).save(frames / f"{number:05}.jpg")
    found = trlt("video", "check", frames, "--json")
    assert (found["clips"], found["sound"], found["seconds"]) == (1, 1, 2.0), "3 frames a second"
    assert "none.mp4: no such video" in trlt("video", "check", clips / "none.mp4", code=4)


def test_check_of_samples(trlt, clips, data):
    found = trlt("video", "check", data, "--videos", clips, "--json", "--set", "video.store=store")
    assert (found["clips"], found["samples"], found["broken"], found["samples_broken"]) == (5, 7, 2, 3)
    assert found["durations"] == {
        "compared": 3,
        "differ": 1,
        "examples": [{"video": "a/two.mp4", "annotated_s": 30.0, "duration_s": 3.0}],
    }
    stored = trlt("video", "cache", "info", "--store", "store", "--json")
    assert stored["entries"] == 3 and stored["bytes"] == found["store_bytes"], "the size that a run will need"
    text = trlt("video", "check", data, "--videos", clips, "--set", "video.store_gb=1e-5")
    assert "a web page" in text and "annotated 30.0 s" in text and "raise video.store_gb" in text


def test_each_sample_s_duration_is_compared_with_its_clip(trlt, clips, tmp_path):
    durations = {"1": None, "2": 3.0, "3": 2.0, "4": 500.0, "5": 500.0}
    path = tmp_path / "three.jsonl"
    write_samples(path, [sample(id, "three.mp4", duration) for id, duration in durations.items()])
    found = trlt("video", "check", path, "--videos", clips, "--json")
    assert found["durations"] == {
        "compared": 3,
        "differ": 2,
        "examples": [{"video": "three.mp4", "annotated_s": 2.0, "duration_s": 4.0}]
        + [{"video": "three.mp4", "annotated_s": 500.0, "duration_s": 4.0}],
    }, "3 s are within a second of 4 s"
    (row,) = map(json.loads, Path(found["rows"]).read_text().splitlines())
    assert row["annotated_s"] == [3.0, 2.0, 500.0]
    row["annotated_s"] = 2.0  # as rows were written before
    Path(found["rows"]).write_text(json.dumps(row) + "\n")
    assert "4.0 s, annotated 500.0 s" in trlt("video", "check", path, "--videos", clips)


def test_gold_spans_outside_the_video_are_listed(trlt, clips, tmp_path):
    """three.mp4 is of 4 s; an end may pass it by 1.55 s, as `prepare` clamps it."""
    spans = {"in": (1.0, 4.0), "over": (1.0, 5.5), "far": (1.0, 5.6), "past": (4.0, 4.5), "way": (1000.0, 2000.0)}
    rows = [replace(sample(id, "three.mp4", 4.0), spans=(Span(*span),)) for id, span in spans.items()]
    rows += [replace(sample("part", "three.mp4", 2.0, Span(1.0, 3.0)), spans=(Span(0.0, 1.0), Span(2.5, 3.0)))]
    rows += [replace(sample("gone", "none.mp4"), spans=(Span(1000.0, 2000.0),))]
    path = tmp_path / "spans.jsonl"
    write_samples(path, rows)
    found = trlt("video", "check", path, "--videos", clips, "--json")["spans"]
    assert (found["compared"], found["outside"]) == (6, 4)
    told = [(one["id"], one["span"], one["duration_s"]) for one in found["examples"]]
    assert told == [
        ("far", [1.0, 5.6], 4.0),
        ("past", [4.0, 4.5], 4.0),
        ("way", [1000.0, 2000.0], 4.0),
        ("part", [2.5, 3.0], 2.0),
    ]
    text = trlt("video", "check", path, "--videos", clips)
    assert re.search(r"gold span outside the video\W+4 of 6 samples", text)
    assert "sample 'way': its gold span [1000, 2000] begins behind the end of its video (4.0 s)" in text
    assert "sample 'far': its gold span [1, 5.6] ends behind the end" in text


def test_a_second_check_looks_only_at_what_changed(trlt, clips, data, decoded, tmp_path):
    out = tmp_path / "rows.jsonl"
    flags = ("--videos", clips, "--json", "--out", out)
    first = trlt("video", "check", data, *flags)
    assert sorted(decoded) == ["one.mp4", "page.mp4", "three.mp4", "two.mp4"]
    decoded.clear()
    assert trlt("video", "check", data, *flags) == first and decoded == []
    whole = out.read_text()
    out.write_text("".join(whole.splitlines(keepends=True)[:2]) + '{"torn')
    write_clip(clips / "page.mp4", 2, 9)
    mended = trlt("video", "check", data, *flags)
    assert sorted(decoded) == ["page.mp4", "three.mp4"] and mended["broken"] == 1
    decoded.clear()
    trlt("video", "check", data, *flags, "--set", "video.max_tokens=32")
    assert len(decoded) == 4, "another budget, other tokens"
    trlt("video", "check", data, *flags, "--fresh")
    assert len(decoded) == 8


def test_options_that_bring_their_letters_are_refused_where_samples_are_read(trlt, clips, tmp_path):
    one = {"id": "1", "source": "x", "split": "x", "task": "multi_choice", "video": "three.mp4", "question": "what?"}
    one |= {"options": ["A. a ball", "B) a cat", "(C) x"], "answer": "B) a cat", "answer_index": 1}
    (tmp_path / "mc.jsonl").write_text(json.dumps(one))
    message = trlt("video", "check", "mc.jsonl", "--videos", clips, code=3)
    assert message.startswith("mc.jsonl:1: sample '1': options: 'A. a ball' and the others begin with their letters")
    assert "write them without" in message
    asked = [text for option in one["options"] for text in ("--option", option)]
    assert "--option: 'A. a ball' and the others" in trlt("infer", clips / "three.mp4", "what?", *asked, code=2)


def test_check_faults(trlt, clips, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "holds no videos" in trlt("video", "check", tmp_path / "empty", code=4)
    for name in ("none.jsonl", "nothere"):
        message = trlt("video", "check", name, code=3)
        assert message.startswith(f"{name}: no such file or folder; give a video, a folder of videos, or samples")
    (tmp_path / "rows.jsonl").write_text('{"id": "x"}\n')
    assert "this is no row of `trlt video check`" in trlt("video", "check", clips, "--out", tmp_path / "rows.jsonl", code=3)


def test_warm_then_clear(trlt, clips, data, decoded):
    flags = ("--data", data, "--videos", clips, "--store", "store", "--json")
    warmed = trlt("video", "cache", "warm", *flags)
    assert (warmed["decoded"], warmed["there"], warmed["entries"]) == (3, 0, 3)
    assert sorted(warmed["broken"]) == ["none.mp4", "page.mp4"]
    decoded.clear()
    again = trlt("video", "cache", "warm", *flags)
    assert (again["decoded"], again["there"]) == (0, 3) and decoded == ["page.mp4"]
    info = trlt("video", "cache", "info", "--store", "store")
    assert "3 clips" in info
    assert trlt("video", "cache", "clear", "--store", "store", "--json")["removed"] == 3
    assert trlt("video", "cache", "info", "--store", "store", "--json")["entries"] == 0
    assert "which frame store" in trlt("video", "cache", "info", code=2)


def test_a_store_that_is_too_small_is_told(trlt, clips, data):
    text = trlt("video", "cache", "warm", "--data", data, "--videos", clips, "--store", "s", "--set", "video.store_gb=1e-4")
    assert "it is too small, raise video.store_gb" in text
