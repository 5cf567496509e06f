"""Folders and files that appear as a whole, and lines that are read back as they were written."""

from __future__ import annotations

import stat

import pytest

from trlt.errors import DataError, VideoError
from trlt.files import append_jsonl, create_text, new_folder, open_atomic, read_log, replacing
from trlt.task.sample import Sample, Span
from trlt.train.unreadable_videos import BrokenSamples, cut_broken, read_broken

QUESTION = Sample("a\u2028b", "x", "train", "grounding", "v.mp4", "q", spans=(Span(0.0, 1.0),))


def test_a_folder_appears_as_a_whole_or_not_at_all(tmp_path):
    (tmp_path / ".new.partial").mkdir()
    (tmp_path / ".new.partial" / "left by a kill").touch()
    with pytest.raises(ZeroDivisionError), new_folder(tmp_path / "new") as folder:
        (folder / "a").touch()
        raise ZeroDivisionError
    assert not [*tmp_path.iterdir()]
    with new_folder(tmp_path / "new") as folder:
        (folder / "a").touch()
        assert not (tmp_path / "new").exists()
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == ["new", "new/a"]


def test_a_file_that_a_library_writes_replaces_another_in_one_step(tmp_path):
    path = tmp_path / "below" / "a.mp4"
    with replacing(path) as new:
        new.write_bytes(b"1")
    with pytest.raises(ZeroDivisionError), replacing(path) as new:
        new.write_bytes(b"2")
        raise ZeroDivisionError
    assert path.read_bytes() == b"1" and [*path.parent.iterdir()] == [path] and stat.S_IMODE(path.stat().st_mode) == 0o644
    with open_atomic(path, "wb") as out:
        out.write(b"3")
        assert path.read_bytes() == b"1"
    assert path.read_bytes() == b"3"


def test_who_is_first_creates_a_file(tmp_path):
    assert create_text(tmp_path / "a", "1") and not create_text(tmp_path / "a", "2")
    assert (tmp_path / "a").read_text() == "1" and [*tmp_path.iterdir()] == [tmp_path / "a"]


def test_lines_hold_any_text_in_utf_8(tmp_path):
    path = tmp_path / "log.jsonl"
    values = [{"step": 1, "text": "é\u2028\x85"}, {"step": 2, "text": "\ud800"}]
    append_jsonl(path, *values)
    assert path.read_bytes() == '{"step": 1, "text": "é\u2028\x85"}\n{"step": 2, "text": "\\ud800"}\n'.encode()
    assert read_log(path) == values


def test_broken_samples_are_read_back_whatever_their_names(tmp_path):
    """A line separator of Unicode ends no line of JSONL; a line of another form, or a torn one, is left out."""
    listed = BrokenSamples(tmp_path, 10, 1.0)
    listed.add(QUESTION, VideoError("it\x85can't be read"), 3)
    with (tmp_path / "broken.jsonl").open("a") as file:
        file.write('{"id": "b", "error": "x", "step": "1"}\n{"id": "c", "err')
    assert read_broken(tmp_path) == {"a\u2028b": "it\x85can't be read"}
    cut_broken(tmp_path, 2)
    assert read_broken(tmp_path) == {} and (tmp_path / "broken.jsonl").read_bytes() == b""
    with pytest.raises(DataError, match=r"1 of 10 samples can't be used"):
        BrokenSamples(tmp_path, 10, 0.0).add(QUESTION, VideoError("x"), 3)
