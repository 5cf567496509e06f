"""Subtitles: three forms of files, lines at the edges of a video, the limit, and paths that lead elsewhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from trlt.data.subtitles import add_subtitles, clock, find_subtitles, read_subtitles, thinned
from trlt.errors import DataError
from trlt.task.sample import Sample


def test_both_forms_of_json(tmp_path: Path) -> None:
    path = tmp_path / "a_en.json"
    records = [
        {"timestamp": [8.0, 9.5], "text": "before"},
        {"start": "00:00:09.000", "end": "00:00:11.000", "line": "reaches  in\n"},
        {"timestamp": [3_675.25, None], "text": "late"},
        {"timestamp": [70, 71], "text": " "},
        {"timestamp": [12, 13], "text": "first"},
    ]
    path.write_text(json.dumps(records))
    # The video begins at second 10 of the subtitles' clock.
    assert read_subtitles(path, 10.0) == [
        (0.0, 1.0, "reaches in"),
        (2.0, 3.0, "first"),
        (3_665.25, None, "late"),
    ]
    assert [line.text for line in read_subtitles(path, 10.0, duration_s=60.0)] == ["reaches in", "first"]


def test_words_become_lines(tmp_path: Path) -> None:
    path = tmp_path / "001.jsonl"
    words = [
        ("Hi", 0.5, 0.8),
        ("all.", 0.8, 1.1),
        ("Now", 1.3, 1.5),
        ("cook", 2.0, 2.2),
        ("it", 2.71, 2.8),
        ("Ok.", 2.8, 3),
        ("Go", 3.05, 4),
    ]
    path.write_text("\n".join(json.dumps({"text": text, "start_time": start, "end_time": end}) for text, start, end in words))
    # A gap of 0.2 s after a full stop ends a line, one of 0.5 s doesn't, one of 0.51 s does, 0.05 s after a stop doesn't.
    assert [(line.start_s, line.text) for line in read_subtitles(path)] == [
        (0.5, "Hi all."),
        (1.3, "Now cook"),
        (2.71, "it Ok. Go"),
    ]


def test_srt(tmp_path: Path) -> None:
    path = tmp_path / "v.srt"
    path.write_text(
        '1\r\n00:00:01,500 --> 00:00:02,000\r\n<font color="white">Hello</font>\r\nthere\r\n\r\n'
        "2\r\n01:00:05,000 --> 01:00:06,000\r\n{\\an8}Bye\r\n",
        encoding="utf-8-sig",
    )
    assert [(line.start_s, line.text) for line in read_subtitles(path)] == [(1.5, "Hello there"), (3605.0, "Bye")]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", "{}", "expected a list of lines, got dict"),
        ("a.json", '[{"timestamp": [1], "text": "x"}]', r"a.json\[0\]: timestamp: expected \[start, end\]"),
        ("a.json", '[{"start": "soon", "end": "1:00", "line": "x"}]', r"a.json\[0\]: expected seconds or h:mm:ss, got 'soon'"),
        ("a.json", '[{"start": 1, "end": 2, "words": "x"}]', r"a.json\[0\]: expected a text, got None"),
        ("a.json", "[", "not JSON"),
        ("a.jsonl", '{"text": "x", "start_time": 0, "end_time": 1}\n{"text": 1}', "a.jsonl:2: expected an object with a text"),
        ("a.srt", "hello", "no line `start --> end`"),
        ("a.vtt", "x", "read from .json, .jsonl and .srt"),
    ],
)
def test_files_that_cannot_be_read(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=message):
        read_subtitles(tmp_path / name)


def test_the_limit_leaves_lines_out_evenly() -> None:
    lines = [f"{number:03}" for number in range(100)]  # four characters each with the line's end
    assert thinned(lines, 400) == lines
    assert thinned(lines, 40) == [f"{number:03}" for number in range(0, 100, 10)]
    assert thinned(lines, 12) == ["000", "034", "067"]
    assert thinned(lines, 3) == [] == thinned([], 100)
    assert [clock(seconds) for seconds in (0, 65.9, 3_599, 3_665)] == ["0:00", "1:05", "59:59", "1:01:05"]


def test_paths_stay_in_the_folder(tmp_path: Path) -> None:
    (tmp_path / "secret.srt").write_text("x")
    root = tmp_path / "subtitles"
    root.mkdir()
    (root / "link.srt").symlink_to(tmp_path / "secret.srt")
    for path in ("../secret.srt", str(tmp_path / "secret.srt"), "..\\secret.srt", ""):
        with pytest.raises(DataError, match="must be a path inside the folder"):
            find_subtitles(path, [root])
    with pytest.raises(DataError, match="a link that leads out"):
        find_subtitles("link.srt", [root])


def sample(number: int, path: str | None) -> Sample:
    meta = {"subtitle_file": {"path": path, "offset_s": 0.0}} if path else {}
    options = dict(options=("a", "b"), answer="a", answer_index=0)
    return Sample(id=str(number), source="x", split="s", task="multi_choice", video="v.mp4", question="q", meta=meta, **options)


def test_samples_get_their_lines(tmp_path: Path) -> None:
    (tmp_path / "subtitle").mkdir()
    said = [{"start": start, "end": start + 1, "line": "ten chars!"} for start in range(4)]
    (tmp_path / "subtitle" / "a.json").write_text(json.dumps(said))
    (tmp_path / "subtitle" / "bad.json").write_text("{}")
    made = add_subtitles(
        [sample(place, path) for place, path in enumerate(("a.json", "b.json", "bad.json", None))], [tmp_path], 32
    )
    assert made.samples[0].subtitles == "0:00 ten chars!\n0:02 ten chars!"  # 16 characters a line
    assert [one.subtitles for one in made.samples[1:]] == ["", "", ""]
    assert set(made.missing) == {"b.json", "bad.json"} and (made.without, made.shortened) == (3, 1)
    assert Sample.from_json(made.samples[0].to_json()) == made.samples[0] and "subtitles" not in made.samples[1].to_json()
