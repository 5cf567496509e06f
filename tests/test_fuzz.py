"""A few cases of the fuzzer; `python -m tests.fuzz` runs as many as one likes."""

from __future__ import annotations

import json
import random

import fuzz
import pytest

pytestmark = pytest.mark.filterwarnings("ignore")


def test_broken_files_end_in_words(tmp_path):
    said: list[str] = []
    assert fuzz.run(tmp_path, 60, 7, said.append) == {}, said


def test_what_is_not_clean_is_seen(tmp_path, monkeypatch):
    def fails(*args, **kwargs):
        raise ZeroDivisionError("x")

    monkeypatch.setattr("trlt.commands.prepare.list_sources", fails)
    assert "ZeroDivisionError" in (fuzz.fault(("prepare", "--list")) or "")
    monkeypatch.setattr("trlt.commands.prepare.list_sources", lambda *args: fuzz.time.sleep(0.3))
    monkeypatch.setattr(fuzz, "MOST_S", 0.2)
    assert (fuzz.fault(("prepare", "--list")) or "").endswith(" s")
    monkeypatch.undo()
    assert fuzz.fault(("prepare", "--list")) is None and fuzz.fault(("prepare", "nothing")) is None


def test_files_are_spoilt_the_same_way_each_time(tmp_path):
    path, seen = tmp_path / "x.json", []
    for _ in range(2):
        path.write_text(json.dumps({"a": [1, 2, {"b": "c"}], "d": None}))
        rng = random.Random("1")
        for _ in range(3):
            fuzz.spoil(path, rng)
        seen.append(path.read_bytes())
    assert seen[0] == seen[1] != json.dumps({"a": [1, 2, {"b": "c"}], "d": None}).encode()
