"""Many runs of `trlt eval` in one table: standings from paired intervals, footnotes on protocols, and every file of it."""

from __future__ import annotations

import json

import pytest
from chromium import Chromium, find

from trlt.evaluate import conclusive


def said(start, end):
    return f"<think> hm </think> <answer> {start} to {end} </answer>"


GOLD = {"AAAAA:0": said(0, 1), "AAAAA:1": said(1, 2), "BBBBB:2": said(0.5, 1.5), "BBBBB:3": said(1, 3)}
PART = {"AAAAA:0": said(0, 1), "BBBBB:2": said(0.5, 1.5)}
ODD = "a <b>&_%"


@pytest.fixture
def evaluated(trlt, bench, write_jsonl, tmp_path):
    def go(name, texts, *more):
        path = write_jsonl(tmp_path / f"{name}.texts", [{"id": id, "text": text} for id, text in texts.items()])
        trlt("eval", "-b", "charades", "--annotations", bench, "--predictions", path, "--out", name, "--no-page", *more)
        return tmp_path / name

    return go


def cells(result, column=0):
    return result["columns"][column]["cells"]


def test_values_stand_as_their_paired_intervals_say(trlt, evaluated, monkeypatch, tmp_path):
    evaluated("part", PART), evaluated("gold", GOLD), evaluated("same", GOLD, "--no-think")
    few = trlt("leaderboard", "part", "gold", "--json")
    assert {name: one["standing"] for name, one in cells(few).items()} == {"gold": "highest", "part": "level"}
    assert few["notes"] == ["charades: fewer than 20 videos are too few to tell runs apart"]
    monkeypatch.setattr(conclusive, "FEW_VIDEOS", 1)
    found = trlt("leaderboard", "part", "best=gold", "same", "--json")
    assert list(found["runs"]) == ["best", "same", "part"], "by the one column"
    part, best, same = (cells(found)[name] for name in ("part", "best", "same"))
    assert (part["value"], part["n"], part["standing"]) == (50, 4, "below")
    # Each video has one right answer of two: half of 1 is lost on both, whatever is drawn.
    assert (part["difference"]["difference"], part["difference"]["ci95"]) == (-50, [-50, -50])
    assert (best["standing"], best["difference"], same["standing"]) == ("highest", None, "level")
    assert same["footnotes"] == ["a"] and found["footnotes"] == {"a": "decoding.think false instead of true"}
    assert found["average"] == {"benchmarks": ["charades"], "values": None}
    assert json.loads((tmp_path / "leaderboard.json").read_text())["columns"] == found["columns"]
    assert "50.0" in (shown := trlt("leaderboard", "part", "gold")) and "100.0*" in shown


def test_another_protocol_has_intervals_too(trlt, evaluated):
    evaluated("bare", {"AAAAA:0": "0.0 to 1.0", "BBBBB:2": "nothing"}), evaluated("gold", GOLD)
    for protocol, value, bounds in (("paper", 0, None), ("official", 25, [0, 50]), ("lenient", 25, [0, 50])):
        one = cells(trlt("leaderboard", "bare", "gold", "--protocol", protocol, "--json"))["bare"]
        assert (one["value"], one["ci95"]) == (value, bounds), protocol


def test_a_missing_benchmark_and_other_questions_are_told(trlt, evaluated, bench, write_jsonl, tmp_path):
    evaluated("gold", GOLD), evaluated("part", PART)
    own = write_jsonl(tmp_path / "mine.jsonl", [{"video": "v.mp4", "question": "?", "options": ["x", "y"], "answer": "y"}])
    texts = write_jsonl(tmp_path / "own.texts", [{"id": "mine:0", "text": "<answer> B </answer>"}])
    listed = trlt("eval", "--data", own, "--samples", "--out", "listed", "--json")["samples"]["mine"]["path"]
    id = json.loads((tmp_path / listed).read_text().splitlines()[0])["id"]
    write_jsonl(texts, [{"id": id, "text": "<answer> B </answer>"}])
    trlt("eval", "--data", own, "--predictions", texts, "--out", "owned", "--no-page")
    path = bench / "charades_sta_test.txt"
    path.write_text(path.read_text().replace("a cat sits", "a cat stands"))
    evaluated("other", GOLD)
    found = trlt("leaderboard", "gold", "part", "other", "owned", "--json")
    charades = cells(found)
    assert charades["owned"] is None and cells(found, 1)["gold"] is None and cells(found, 1)["owned"]["value"] == 100
    assert charades["other"]["standing"] == "unmarked" and charades["other"]["difference"] is None
    assert "charades: other: asked from other annotation files than the others; not compared with them" in found["notes"]
    assert "other annotation files (charades_sta_test.txt)" in found["footnotes"][charades["other"]["footnotes"][0]]
    assert found["average"] == {"benchmarks": [], "values": None}
    assert "—" in (tmp_path / "leaderboard.md").read_text() and " --- " in (tmp_path / "leaderboard.tex").read_text()


def test_what_is_shown_is_escaped(trlt, evaluated, tmp_path):
    (tmp_path / "plain").symlink_to(evaluated(ODD, GOLD))
    evaluated("part", PART)
    trlt("leaderboard", tmp_path / ODD, "part", "--out", "l.html")
    page, table, paper = ((tmp_path / f"l{end}").read_text() for end in (".html", ".md", ".tex"))
    assert "a &lt;b&gt;&amp;_%" in page and "<b>&" not in page
    assert r"a &lt;b&gt;&amp;\_%" in table and r"a \textless{}b\textgreater{}\&\_\%" in paper


def test_what_cannot_be_shown_is_named(trlt, evaluated, tmp_path):
    a, b = evaluated("a", GOLD), evaluated("b", PART)
    (tmp_path / "empty").mkdir()
    (tmp_path / "sub").mkdir()
    b = b.rename(tmp_path / "sub/b")
    assert "empty: holds no run" in trlt("leaderboard", "a", "empty", code=3)
    assert "a: is given twice" in trlt("leaderboard", "a", "./a", code=2)
    assert "'x': names two runs, a and sub/b" in trlt("leaderboard", "x=a", "x=sub/b", code=2)
    assert "'b': names two runs" in trlt("leaderboard", "b=a", "sub/b", code=2)
    assert "--protocol odd: choose one of: paper, official, lenient" in trlt("leaderboard", "a", "--protocol", "odd", code=2)
    assert "--bench mmvu: isn't in any of the runs" in trlt("leaderboard", "a", "-b", "mmvu", code=2)
    (b / "results.json").unlink()
    assert "b/results.json: can't be read (it isn't there)" in trlt("leaderboard", "a", "sub/b", code=3)
    assert "left out, it has no results yet" in trlt("leaderboard", "a", "sub", "--json", code=0)["left_out"][0]
    assert a.is_dir()


@pytest.mark.skipif(find() is None, reason="no Chromium is installed")
def test_columns_are_sorted_by_keys_and_pointer(trlt, evaluated, tmp_path):
    evaluated("gold", GOLD), evaluated("part", PART), evaluated("none", {"AAAAA:0": "?"})
    trlt("leaderboard", "part", "gold", "none")
    names = "[...document.querySelectorAll('.sortable tbody th')].map((one) => one.textContent)"
    with Chromium(find(), tmp_path / "profile") as browser:
        browser.open(tmp_path / "leaderboard.html")
        browser.until("document.querySelector('.sortable button')")
        assert browser.js(names) == ["gold", "part", "none"]
        browser.click(".sortable thead th:nth-child(2) button")
        assert browser.js(names) == ["gold", "part", "none"] and browser.text("#sorted") == "Sorted by charades, descending."
        browser.press(" ")
        assert browser.js(names) == ["none", "part", "gold"]
        assert browser.js("document.querySelectorAll('.sortable th')[1].getAttribute('aria-sort')") == "ascending"
        assert browser.complaints() == [] and all(url.startswith("file:") for url in browser.requests())
