"""`trlt report` as it is typed."""

from __future__ import annotations

import json
import re

from made_clips import choice, write_clip
from report.made_runs import probe, samples, train

from trlt.recipe import load_recipe
from trlt.report.page.questions import RowIndex, RunRows, ShownSample, in_turns
from trlt.task.sample import write_samples


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
        order = [one.id for one in in_turns(runs, [ShownSample.of(one) for one in (*both, *alone)])]
    assert len(order) == 8 and {order[0], order[2]} == {one.id for one in alone}, "of two groups by turns, until one has ended"


def test_links_are_followed_where_the_run_was_allowed_to(trlt, tmp_path):
    write_clip(tmp_path / "cache/blob.mp4", seconds=1)
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos/v.mp4").symlink_to(tmp_path / "cache/blob.mp4")
    made = [choice("one", "v.mp4")]
    write_samples(tmp_path / "samples.jsonl", made)
    folder = probe(tmp_path / "probe", tmp_path / "samples.jsonl", tmp_path / "videos", made, lambda i: 1)
    refused = trlt("report", "probe", "--json")
    assert refused["clips"]["found"] == 0
    [note] = refused["notes"]
    assert note.startswith("probe, probe: no frames of 1 video; the first: ") and "leads outside of the video root" in note
    recipe = (folder / "recipe.yaml").read_text()
    assert recipe.count("links: null") == 1
    (folder / "recipe.yaml").write_text(recipe.replace("links: null", f"links: {tmp_path / 'cache'}"))
    allowed = trlt("report", "probe", "--json")
    assert allowed["clips"] == {"embedded": 1, "found": 1, "broken": 0} and allowed["notes"] == []


SPAN = {"right": "<answer> 1.0 to 3.0 </answer>", "wrong": "<answer> 7.0 to 8.0 </answer>"}


def evaluated(trlt, write_jsonl, root, name, right, queries=24):
    """Predictions on a query a video, of which the first `right` are right, scored into a folder."""
    bench = root / "many"
    bench.mkdir(exist_ok=True)
    ids = [f"V{i:04}" for i in range(queries)]
    (bench / "charades_sta_test.txt").write_text("".join(f"{id} 1.0 3.0##event {id}\n" for id in ids))
    texts = [{"id": f"{id}:{i}", "text": SPAN["right" if i < right else "wrong"]} for i, id in enumerate(ids)]
    write_jsonl(root / "p.jsonl", texts)
    trlt("eval", "-b", "charades", "--annotations", "many", "--predictions", "p.jsonl", "--out", name)


def first_words(page):
    return re.search(r'<div id="verdict">(.*?)</div>', page.read_text(), re.S)[1]


def test_the_page_begins_with_a_verdict(trlt, write_jsonl, tmp_path):
    evaluated(trlt, write_jsonl, tmp_path, "old", 6)
    evaluated(trlt, write_jsonl, tmp_path, "new", 18)
    low, high = trlt("compare", "old", "new", "--json")["benchmarks"]["charades"]["metrics"]["mIoU"]["ci95"]
    assert 20 < low < 50 < high < 80, "12 of 24 questions"
    said = f"rose by 50.0 points (25.0 to 75.0; 95% interval of the change {low:+.1f} to {high:+.1f}; 24 questions)."
    result = trlt("report", "old", "new", "--json")
    assert result["verdict"] == f"new is better than old on charades: mIoU {said}" and result["next"] == []
    assert result["comparisons"] == [{"a": "old", "b": "new", "outcome": "better", "text": result["verdict"]}]
    own = first_words(tmp_path / "old/report.html")
    assert result["page"] == "report.html" and own != first_words(tmp_path / "report.html"), "its own page stays"
    assert first_words(tmp_path / "report.html") == f"<p><strong>{result['verdict']}</strong></p>"
    assert trlt("report", "old", "new").startswith(result["verdict"])
    assert f"B is better than A on charades: mIoU {said}" in trlt("compare", "old", "new")
    assert trlt("compare", "old", "new", "--json")["verdict"]["outcome"] == "better"
    assert trlt("report", "new", "old", "--json")["comparisons"][0]["outcome"] == "worse"


def test_few_videos_get_no_verdict(trlt, write_jsonl, tmp_path):
    evaluated(trlt, write_jsonl, tmp_path, "old", 0, queries=4)
    evaluated(trlt, write_jsonl, tmp_path, "new", 4, queries=4)
    shown = trlt("compare", "old", "new")
    assert "4 videos are too few for intervals to rely on" in shown and "B better (few videos)" in shown
    verdict = trlt("report", "old", "new", "--json")["verdict"]
    assert "new - old, charades: 4 videos are too few for an interval to rely on" in (tmp_path / "report.html").read_text()
    assert verdict.startswith(
        "Whether new is better than old can't be said: fewer than 20 videos are too few. The change: charades mIoU"
    )


def test_without_a_comparison_the_page_says_what_is_missing(trlt, write_jsonl, tmp_path):
    evaluated(trlt, write_jsonl, tmp_path, "old", 6)
    result = trlt("report", "old", "--json")
    assert result["verdict"].startswith(
        "This page holds 1 evaluation. It can't say whether tuning made a model better: that takes"
    )
    recipe = "--recipe old/recipe.yaml"
    evaluate = f"trlt eval --bench charades {recipe} --predictions OTHER_OUTPUTS.jsonl --out eval-other"
    assert result["next"] == [evaluate, "trlt report old eval-other"]
    assert all(line in first_words(tmp_path / "old/report.html") for line in result["next"])
    assert evaluate in trlt("report", "old")


def test_of_a_training_run_the_base_and_the_tuned_model_are_asked_for(trlt, tmp_path):
    train(tmp_path / "runs/train")
    result = trlt("report", "runs", "--json")
    base = load_recipe(tmp_path / "runs/train/recipe.yaml").model.path
    common = "trlt eval --data HELD_OUT.jsonl --recipe runs/train/recipe.yaml --model"
    assert result["next"] == [
        f"{common} {base} --out runs/eval-base",
        f"{common} runs/train/model --out runs/eval-tuned",
        "trlt report runs",
    ]


def test_a_gain_is_positive_whichever_model_was_evaluated_first(trlt, write_jsonl, tmp_path):
    evaluated(trlt, write_jsonl, tmp_path, "runs/a-tuned", 18)
    evaluated(trlt, write_jsonl, tmp_path, "runs/b-base", 6)
    train(tmp_path / "runs/train")
    for name, model, minute in (("a-tuned", {"name": "tuned"}, 1), ("b-base", {"name": "base"}, 2)):
        path = tmp_path / "runs" / name / "manifest.json"
        changed = json.loads(path.read_text()) | {"model": model, "created": f"2026-01-01T00:0{minute}:00+00:00"}
        path.write_text(json.dumps(changed))
    [pair] = trlt("report", "runs", "--json")["comparisons"]
    assert (pair["a"], pair["b"], pair["outcome"]) == ("b-base", "a-tuned", "better")


def test_a_report_of_a_video_check_is_no_selections(trlt, tmp_path):
    made = [choice("one", "v.mp4")]
    write_clip(tmp_path / "videos/v.mp4", seconds=1)
    write_samples(tmp_path / "samples.jsonl", made)
    probe(tmp_path / "my/probe", tmp_path / "samples.jsonl", tmp_path / "videos", made, lambda i: 1)
    trlt("video", "check", "samples.jsonl", "--videos", "videos", "--out", "my/video-check-samples.jsonl")
    assert (tmp_path / "my/video-check-samples.report.json").is_file()
    assert trlt("report", "my", "--json")["runs"] == {"probe": "probe"}
