"""`--server` of probe, eval and infer, against a server in a process of its own."""

from __future__ import annotations

import json

import pytest
from made_clips import pool, write_clip

from trlt.rollout import read_rows
from trlt.task.sample import write_samples

FEW = ("--set", "select.easy=2", "--set", "probe.max_new_tokens=8", "--set", "video.workers=0")


@pytest.fixture(autouse=True)
def no_keys(monkeypatch):
    for name in ("TRLT_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def test_a_server_is_probed_in_place_of_a_model(trlt, fake, tmp_path):
    samples = pool(tmp_path / "videos")
    write_samples(tmp_path / "pool.jsonl", samples)
    server = fake("--kind", "vllm")
    args = ("probe", "--data", "pool.jsonl", "--videos", "videos", "-n", "2", *FEW, "--server", server.url, "--out", "p")
    result = trlt(*args, "--json")
    assert result["summary"]["rows"] == len(samples) and result["summary"]["errors"] == 2  # a broken video and a missing one
    rows = list(read_rows(tmp_path / "p/rows/probe.jsonl"))
    assert [row["id"] for row in rows] == [sample.id for sample in samples] and all(len(row["texts"]) == 2 for row in rows[:-2])
    manifest = json.loads((tmp_path / "p/manifest.json").read_text())
    assert set(manifest["model"]) == {"served"} and manifest["model"]["served"]
    asked = len(server.log)
    assert asked and trlt(*args, "--json")["summary"]["resumed"] == len(samples) and len(server.log) == asked


def test_a_server_is_evaluated(trlt, fake, bench, tmp_path):
    server = fake("--kind", "sglang")
    place = ("--annotations", bench, "--videos", bench, "--set", "eval.max_new_tokens=8", "--set", "video.workers=0")
    results = trlt("eval", "-b", "charades", *place, "--server", server.url, "--out", "e", "--json")
    assert results["benchmarks"]["charades"]["n"] == 4 and len(server.log) == 4


def test_a_server_is_asked_about_one_video(trlt, fake, tmp_path):
    video = write_clip(tmp_path / "clip.mp4", 4.0)
    server = fake("--kind", "vllm", "--name", "somebody")
    ask = ("infer", video, "what is it", "-o", "a ball", "-o", "a box", "-o", "a cone", "--set", "video.workers=0")
    given = trlt(*ask, "--server", server.url, "--html", "a.html", "--json")
    [asked] = server.log
    assert "a box" in asked["text"] and asked["shape"][0] == 8 and given["parity"] is None
    assert given["answer"] in ("A", "B", "C") and f"<answer> {given['answer']} </answer>" == given["text"]
    assert "somebody" in (tmp_path / "a.html").read_text()


def test_a_server_is_asked_about_samples(trlt, fake, tmp_path):
    samples = pool(tmp_path / "videos")
    write_samples(tmp_path / "pool.jsonl", samples)
    server = fake("--kind", "vllm")
    args = ("infer", "pool.jsonl", "--videos", "videos", "--set", "video.workers=0", "--server", server.url, "--out", "i")
    assert trlt(*args, "--json")["summary"]["rows"] == len(samples)
    assert json.loads((tmp_path / "i/manifest.json").read_text())["model"] == {"served": "tuned"}
    asked = len(server.log)
    assert asked == len(samples) - 2 and trlt(*args, "--json")["summary"]["resumed"] == len(samples)
    assert len(server.log) == asked
    assert "no server can be used" in trlt(*args[:-4], "--server", "http://127.0.0.1:9", code=8)


def test_servers_that_cannot_be_used_are_named(trlt, fake, bench, write_jsonl, tmp_path):
    write_samples(tmp_path / "pool.jsonl", pool(tmp_path / "videos"))
    probe = ("probe", "--data", "pool.jsonl", "--videos", "videos")
    message = trlt(*probe, "--server", "http://127.0.0.1:9", code=8)
    assert "no server can be used" in message and "127.0.0.1:9" in message
    assert "leave it out with --server" in trlt(*probe, "--server", "http://127.0.0.1:9", "--processes", "2", code=2)
    write_jsonl(tmp_path / "p.jsonl", [{"id": "AAAAA:0", "text": "0 to 1"}])
    given = ("--predictions", "p.jsonl", "--server", "http://127.0.0.1:9")
    assert "leave the other out" in trlt("eval", "-b", "charades", "--annotations", bench, *given, code=2)


def test_what_one_question_raises_on_its_way_is_its_own_error(trlt, fake, tmp_path, monkeypatch):
    from commands.test_faults import fails_on

    from trlt.engine.servers import asking

    samples = pool(tmp_path / "videos")
    write_samples(tmp_path / "pool.jsonl", samples)
    fails_on(asking, "question", lambda args: args[2].key == samples[1].id, monkeypatch)
    args = ("probe", "--data", "pool.jsonl", "--videos", "videos", "-n", "2", *FEW, "--server", fake("--kind", "vllm").url)
    assert trlt(*args, "--out", "p", "--json")["summary"]["errors"] == 3
    rows = {row["id"]: row for row in read_rows(tmp_path / "p/rows/probe.jsonl")}
    assert rows[samples[1].id]["error"].startswith("ZeroDivisionError: ") and len(rows[samples[0].id]["texts"]) == 2
