import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trlt.errors import DataError
from trlt.files import iter_jsonl, write_text_atomic
from trlt.task.sample import Sample, Span, read_samples, write_samples

ROW: dict[str, Any] = {
    "id": "nextgqa:val:4_1",
    "source": "nextgqa",
    "split": "val",
    "task": "grounded_qa",
    "video": "11/4.mp4",
    "video_key": "flickr:4",
    "clip": [1.0, 91.0],
    "duration": 90.0,
    "question": "why did the boy …",
    "options": ["share", "unwrap it"],
    "answer": "unwrap it",
    "answer_index": 1,
    "spans": [[13.8, 29.8]],
    "license": "MIT",
    "meta": {"type": "CW"},
}
MC = ROW | {"task": "multi_choice", "spans": None}
TVG = ROW | {"task": "grounding", "options": None, "answer": None, "answer_index": None}


@pytest.mark.parametrize("row", [ROW, MC, TVG, ROW | {"options": None, "answer_index": None}])
def test_round_trip(row: dict[str, Any], tmp_path: Path) -> None:
    sample = Sample.from_json(row)
    assert sample.to_json() == row and list(sample.to_json()) == list(ROW)
    write_samples(tmp_path / "new" / "a.jsonl", [sample])
    assert read_samples(tmp_path / "new" / "a.jsonl") == [sample]
    assert sample.spans is None or isinstance(sample.spans[0], Span)


def test_what_may_be_left_out() -> None:
    row = {key: TVG[key] for key in ("id", "source", "split", "task", "video", "question", "spans")}
    assert Sample.from_json(row).to_json() == row | {
        "video_key": "",
        "clip": None,
        "duration": None,
        "options": None,
        "answer": None,
        "answer_index": None,
        "license": "",
        "meta": {},
    }


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (ROW | {"tsak": 1}, "tsak: unknown field; did you mean task"),
        (ROW | {"task": "groundin"}, "'groundin' is unknown; did you mean grounding"),
        (ROW | {"id": 1}, "id: expected a string, got 1"),
        ({"id": "x"}, "sample 'x': source, split, task, video, question: are missing"),
        ({k: v for k, v in ROW.items() if k != "split"}, "sample 'nextgqa:val:4_1': split: is missing"),
        ({k: v for k, v in ROW.items() if k != "id"}, "a.jsonl:3: id: is missing"),
        (ROW | {"source": None}, "sample 'nextgqa:val:4_1': source: expected a string, got None"),
        (ROW | {"question": ""}, "question: is empty"),
        (ROW | {"question": " \n"}, "question: is empty"),
        (ROW | {"source": "a\ud800"}, r"source: 'a\\ud800' must not hold half a surrogate pair"),
        (ROW | {"split": "\udc00"}, "split: .* half a surrogate pair"),
        (ROW | {"video": "/a.mp4"}, "video: '/a.mp4' must be a path inside the video root"),
        (ROW | {"video": "/v/a.mp4"}, r"write it relative to the folder of videos \('a.mp4'\), .* with --videos FOLDER"),
        (ROW | {"video": r"C:\v\a.mp4"}, r"write it relative to the folder of videos \('a.mp4'\)"),
        (ROW | {"video": r"v\a.mp4"}, r"forward slashes: use / \('v/a.mp4'\)"),
        (ROW | {"video": "a/../../b.mp4"}, "must be a path inside"),
        (ROW | {"video": ""}, "must be a path inside"),
        (ROW | {"duration": 0}, "duration: 0 must be a positive number"),
        (ROW | {"duration": float("nan")}, "duration: nan"),
        (ROW | {"duration": "90"}, "duration: '90'"),
        (ROW | {"clip": [5, 5]}, "clip"),
        (ROW | {"spans": [[5, 5]]}, r"spans: \[5.0, 5.0\] must be finite with 0 <= start < end"),
        (ROW | {"spans": [[-1, 5]]}, "spans"),
        (ROW | {"spans": [[0, float("nan")]]}, "spans"),
        (ROW | {"spans": [[0, 10**400]]}, "spans: "),
        (ROW | {"spans": [[0]]}, r"spans: got \[0\]; expected \[\[start, end\], …\] in seconds"),
        (ROW | {"spans": [1, 2]}, r"spans: got 1; expected \[\[start, end\], …\] in seconds"),
        (ROW | {"clip": "1-2"}, r"clip: got '1-2'; expected \[start, end\] in seconds"),
        (MC | {"answer": "A"}, "write the option's text$"),
        (ROW | {"spans": "ab"}, "spans: expected a list, got 'ab'"),
        (ROW | {"spans": []}, "grounded_qa needs at least one"),
        (MC | {"spans": [[0, 1]]}, "must be null for multi_choice"),
        (MC | {"options": None}, "multi_choice needs at least 2"),
        (MC | {"options": ["unwrap it", "unwrap it"]}, "at least 2 distinct"),
        (MC | {"options": ["", "unwrap it"]}, "non-empty"),
        (MC | {"options": [1, 2]}, "non-empty texts"),
        (MC | {"options": [None, []]}, "non-empty texts"),
        (MC | {"options": "ab"}, "options: expected a list, got 'ab'"),
        (MC | {"answer_index": 2}, "answer_index: 2 must be from 0 to 1"),
        (MC | {"answer_index": True}, "answer_index: expected a whole number, got True"),
        (MC | {"answer_index": 1.0}, "answer_index: expected a whole number, got 1.0"),
        (MC | {"answer_index": "1"}, "answer_index: expected a whole number, got '1'"),
        (MC | {"answer_index": None}, r"answer_index: is missing; options\[1\] is the answer, so it is 1"),
        (MC | {"answer": None}, r"answer: is missing; answer_index is 1, so it is options\[1\] = 'unwrap it'"),
        (MC | {"answer": None, "answer_index": None}, "answer, answer_index: are missing"),
        (MC | {"answer": "B"}, r"'B' is not options\[1\] = 'unwrap it'; write the option's text, 'unwrap it'"),
        (MC | {"answer": "(b)", "answer_index": None}, "is no option; write the option's text, 'unwrap it'"),
        (MC | {"options": ["A. share", "B. unwrap it"], "answer": "B. unwrap it"}, "options: 'A. share' .* write them without"),
        (MC | {"options": ["(a) share", "b) it"], "answer": "b) it"}, "begin with their letters, which the prompt adds"),
        (MC | {"answer": "share"}, r"answer: 'share' is not options\[1\] = 'unwrap it'"),
        (TVG | {"answer": "x"}, "must be null for grounding"),
        (TVG | {"answer_index": 0}, "must be null for grounding"),
        (ROW | {"options": None, "answer": None}, "grounded_qa needs one"),
        (ROW | {"meta": []}, r"meta: expected an object, got \[\]"),
        (ROW | {"license": None}, "license: expected a string, got None"),
        ([], "a JSON list; write one object per line"),
        (3, "expected an object, got 3"),
    ],
)
def test_faults_name_field_and_value(row: Any, message: str) -> None:
    with pytest.raises(DataError, match=message) as error:
        Sample.from_json(row, "a.jsonl:3")
    assert str(error.value).startswith("a.jsonl:3: ")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"id": ', "a.jsonl:1: not JSON"),
        (b"\n\n[" + b"[" * 100_000, "a.jsonl:3: not JSON"),
        (b"\n\xff\n", "a.jsonl:2: not JSON"),
        (b'[{"id": "a"}]', "a.jsonl:1: a JSON list; write one object per line"),
        (b'[\n {"id": "a"}\n]\n', "a.jsonl: a JSON list over several lines; write one object per line$"),
        (json.dumps(ROW, indent=2).encode(), "a.jsonl: one object over several lines; write one object per line$"),
        (b'{"id": "a",\n' + json.dumps(ROW).encode(), "a.jsonl:1: not JSON"),
        (json.dumps(ROW | {"id": 3}).encode(), "a.jsonl:1: id: expected a string, got 3"),
        (b'{"source": "x"}', "a.jsonl:1: id: is missing"),
        (b"\n", "holds no samples; make it with `trlt prepare`"),
        (2 * (json.dumps(ROW).encode() + b"\n"), "a.jsonl:2: id 'nextgqa:val:4_1' stands already on line 1"),
    ],
)
def test_unreadable_files(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_samples(path)


def test_a_recipe_in_place_of_samples(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("probe:\n  n: 4\n")
    with pytest.raises(DataError, match=r"a\.yaml: a recipe by its name, not samples; give it with --recipe"):
        read_samples(tmp_path / "a.yaml")


@pytest.mark.parametrize(
    "options",
    [
        ("A. Lincoln", "B. B. King", "Cher"),
        ("B. a cat", "A. a ball"),
        ("A.I.", "B.B. King"),
        ("A", "B"),
        ("A cat", "B flat"),
        ("(a cat)", "(b flat)"),
    ],
)
def test_texts_that_only_look_lettered_are_options(options: tuple[str, ...]) -> None:
    row = MC | {"options": list(options), "answer": options[1]}
    assert Sample.from_json(row).options == options


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="can't be read .*; give the path of a JSONL file"):
        read_samples(tmp_path / "no.jsonl")


def test_lines_are_counted_with_blank_ones(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes('1\n\n  \r\n{"a": "…\u2028"}\r\n'.encode())
    assert list(iter_jsonl(path)) == [(1, 1), (4, {"a": "…\u2028"})]


def test_atomic_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.txt"
    write_text_atomic(path, "old")

    def full(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="disk full"):
        write_text_atomic(path, "new")
    assert path.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path], "nothing half-written is left"


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=5,
)


@settings(max_examples=200)
@given(st.sampled_from([ROW, MC, TVG]), st.dictionaries(st.sampled_from(list(ROW)), values, max_size=3))
def test_any_row_is_a_sample_or_a_data_error(row: dict[str, Any], changes: dict[str, Any]) -> None:
    try:
        sample = Sample.from_json(row | changes)
    except DataError:
        return
    assert Sample.from_json(sample.to_json()).to_json() == sample.to_json() or "nan" in str(sample.meta)
