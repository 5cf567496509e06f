"""`trlt report` as it is typed."""

from __future__ import annotations

import json
import re

from made_clips import choice, write_clip
from report.made_runs import probe, samples

from trlt.report.page.questions import Question, RowIndex, RunRows, in_turns
from trlt.sample import write_samples


def blocks(page):
    found = re.findall(r'<script type="application/json" id="([^"]+)">(.*?)</script>', page.read_text(), re.S)
    return {id: json.loads(text) for id, text in found}


def test_a_benchmark_that_a_flag_named_keeps_its_questions(trlt, bench, write_jsonl, tmp_path, monkeypatch):
    write_jsonl(tmp_path / "p.jsonl", [{"id": "BBBBB:3", "text": "<answer> 1.0 to 3.0 </answer>"}])
    trlt("eval", "-b", "charades", "--annotations", "bench", "--predictions", "p.jsonl", "--out", "e")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    result = trlt("report", tmp_path / "e", "--videos", bench, "--json")
    assert result["notes"] == [] and result["clips"] == {"embedded": 2, "found": 2, "broken": 0}
    found = blocks(tmp_path / "e/report.html")
    place = found["index"]["id"].index("BBBBB:3")
    assert found["index"]["question"][place] == "a dog runs"
    _, _, _, spans, duration, _, video, _, _ = found["samples-0"][place]
    assert (spans, duration, video) == ([[1, 3]], 3, "Charades_v1_480/BBBBB.mp4") and found["index"]["frames"][place] >= 0


def test_frames_are_spread_over_the_runs_and_their_sources(trlt, tmp_path):
    """A probe of 30 clips of one source and 6 of another comes first; a second one of 4 clips has as many of what fits."""
    large = [choice(f"large:{i}", f"large/v{i}.mp4", source="often" if i < 30 else "rare") for i in range(36)]
    small = [choice(f"small:{i}", f"small/v{i}.mp4", source="often") for i in range(4)]
    for one in (*large, *small):
        write_clip(tmp_path / one.video, seconds=1)
    for name, made in (("a-large", large), ("b-small", small)):
        write_samples(tmp_path / f"{name}.jsonl", made)
        probe(tmp_path / name, tmp_path / f"{name}.jsonl", tmp_path, made, lambda i: 1)
    trlt("report", "a-large", "--out", "one.html", "--json")
    size = max(len(json.dumps(value)) for id, value in blocks(tmp_path / "one.html").items() if id.startswith("frames-"))
    result = trlt("report", "a-large", "b-small", "--frames-mb", 8.9 * size / 1e6, "--out", "two.html", "--json")
    assert result["clips"]["found"] == 40 and 8 <= result["clips"]["embedded"] <= 10
    index = blocks(tmp_path / "two.html")["index"]
    there = [id for id, block in zip(index["id"], index["frames"], strict=True) if block >= 0]
    sources = dict(zip(index["id"], (index["sources"][one] for one in index["source"]), strict=True))
    assert sum(id.startswith("small") for id in there) == 4, "all of the small run"
    of_large = [sources[id] for id in there if id.startswith("large")]
    assert len(of_large) >= 4 and abs(of_large.count("often") - of_large.count("rare")) <= 1


def test_two_videos_of_one_name_keep_their_own_frames(trlt, tmp_path):
    made = choice("one", "v.mp4"), choice("two", "v.mp4")
    for seed, one in enumerate(made):
        write_clip(tmp_path / one.id / "v.mp4", seconds=1, seed=seed)
        write_samples(tmp_path / f"{one.id}.jsonl", [one])
        probe(tmp_path / f"probe-{one.id}", tmp_path / f"{one.id}.jsonl", tmp_path / one.id, [one], lambda i: 1)
    assert trlt("report", "probe-one", "probe-two", "--out", "page.html", "--json")["clips"]["found"] == 2
    found = blocks(tmp_path / "page.html")
    first, second = (found[f"frames-{block}"] for block in found["index"]["frames"])
    assert first[0][1] != second[0][1]


def test_questions_take_turns(tmp_path):
    both, alone = samples(6), samples(8)[6:]
    write_samples(tmp_path / "samples.jsonl", [*both, *alone])
    folders = [
        probe(tmp_path / name, tmp_path / "samples.jsonl", tmp_path, made, lambda i: 1)
        for name, made in (("a", [*both, *alone]), ("b", both))
    ]
    with RowIndex([folders[0] / "rows/probe.jsonl"]) as a, RowIndex([folders[1] / "rows/probe.jsonl"]) as b:
        runs = [RunRows("a", "probe", a, None), RunRows("b", "probe", b, None)]
        order = [one.id for one in in_turns(runs, [Question.of(one) for one in (*both, *alone)])]
    assert len(order) == 8 and {order[0], order[2]} == {one.id for one in alone}, "of two groups by turns, until one has ended"
