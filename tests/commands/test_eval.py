"""Benchmarks, from a model or from predictions."""

from __future__ import annotations

import json

import pytest

from trlt.rollout import read_rows

SHORT = ["--no-think", "--set", "eval.max_new_tokens=4"]


def said(start, end):
    return f"<think> hm </think> <answer> {start} to {end} </answer>"


def test_predictions_are_scored_without_model_or_videos(trlt, bench, write_jsonl, tmp_path):
    texts = {"AAAAA:0": said(0, 1), "AAAAA:1": said(0, 2), "BBBBB:2": "no idea", "ZZZZZ:9": said(0, 1)}
    write_jsonl(tmp_path / "p.jsonl", [{"id": id, "text": text, "model": "any"} for id, text in texts.items()])
    args = ["eval", "--bench", "charades", "--annotations", bench, "--predictions", "p.jsonl", "--out", "e"]
    results = trlt(*args, "--json")
    entry = results["benchmarks"]["charades"]
    assert results["schema"] == 1 and results == json.loads((tmp_path / "e/results.json").read_text())
    assert entry["paper"]["mIoU"] == pytest.approx(100 * (1 + 0.5) / 4), "what is missing counts as wrong"
    assert entry["paper"]["R1@0.5"] == 50 and entry["paper"]["R1@0.7"] == 25
    assert (entry["n"], entry["unanswered"], entry["missing_predictions"], entry["extra_predictions"]) == (4, 2, 1, 1)
    low, high = entry["ci95"]["mIoU"]
    assert low == pytest.approx(0) and high == pytest.approx(75), "of two videos, each may be drawn twice"
    rows = list(read_rows(tmp_path / "e/rows/charades.jsonl"))
    assert [row["error"] for row in rows] == [None, None, None, "no prediction"] and rows[1]["ious"] == [0.5]
    shown = trlt(*args, "--paper")
    assert "28.0, 57.0" in shown and "1 questions have no prediction; they count as wrong" in shown
    write_jsonl(tmp_path / "p.jsonl", [{"id": "AAAAA:0", "text": said(0, 1)}])
    assert "model.predictions" in trlt(*args, code=7)
    assert trlt(*args, "--fresh", "--json")["benchmarks"]["charades"]["paper"]["mIoU"] == 25


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "holds no predictions"),
        ([{"id": "AAAAA:0"}], 'p.jsonl:1: expected {"id"'),
        ([3], "p.jsonl:1: expected"),
        ([{"id": "AAAAA:0", "text": ""}] * 2, "p.jsonl:2: id 'AAAAA:0' stands twice"),
        (
            [{"id": "charades:0", "text": ""}],
            "no id is a question's of charades (the first: 'charades:0'; they look like 'AAAAA:0')",
        ),
    ],
)
def test_faulty_predictions_are_named(trlt, bench, write_jsonl, tmp_path, lines, message):
    write_jsonl(tmp_path / "p.jsonl", lines)
    got = trlt("eval", "-b", "charades", "--annotations", bench, "--predictions", "p.jsonl", "--out", "e", code=3)
    assert message in got


def test_a_model_is_asked_and_scored(trlt, fast, bench, tmp_path):
    recipe = tmp_path / "r.yaml"
    recipe.write_text(f"eval:\n  benchmarks:\n    charades: {{annotations: {bench}, videos: {bench}}}\n")
    args = ["eval", "--bench", "all", "--recipe", recipe, *fast, *SHORT, "--out", "e", "--json"]
    results = trlt(*args)
    entry = results["benchmarks"]["charades"]
    assert entry["n"] == 4 and entry["missing_videos"] == entry["broken_videos"] == 0 and results["protocol"]["think"] is False
    rows = list(read_rows(tmp_path / "e/rows/charades.jsonl"))
    assert [row["n"] for row in rows] == [1] * 4 and all(row["video_tokens"] for row in rows)
    assert trlt(*args) == results

    (bench / "Charades_v1_480/AAAAA.mp4").write_bytes(b"broken")
    results = trlt(*args[:-3], "--out", "f", "--json")
    assert results["benchmarks"]["charades"]["n"] == 4 and results["benchmarks"]["charades"]["broken_videos"] == 1

    (bench / "Charades_v1_480/AAAAA.mp4").unlink()
    message = trlt(*args, "--fresh", code=4)
    assert "1 videos of 2 questions are missing" in message and "--allow-missing" in message
    assert (tmp_path / "e/charades.missing_videos.txt").read_text() == "AAAAA.mp4\n"
    results = trlt(*args, "--fresh", "--allow-missing")
    assert results["benchmarks"]["charades"]["n"] == 2 and results["benchmarks"]["charades"]["missing_videos"] == 1


def test_questions_are_listed_with_their_prompts(trlt, bench, tmp_path):
    listed = trlt("eval", "-b", "charades", "--annotations", bench, "--samples", "--out", "q", "--json")
    assert listed["samples"]["charades"]["questions"] == 4
    first = json.loads((tmp_path / "q/charades.jsonl").read_text().splitlines()[0])
    assert first["id"] == "AAAAA:0" and "a cat sits" in first["user"] and first["video"] == "AAAAA.mp4"


def test_the_usual_folder_is_found(trlt, bench, tmp_path, write_jsonl):
    message = trlt("eval", "--bench", "charades", code=2)
    assert "--annotations DIR" in message and "eval.benchmarks.charades" in message and "data/charades" in message
    (tmp_path / "data").mkdir()
    bench.rename(tmp_path / "data/charades")
    write_jsonl(tmp_path / "p.jsonl", [{"id": "AAAAA:0", "text": said(0, 1)}])
    result = trlt("eval", "--bench", "charades", "--predictions", "p.jsonl", "--json")
    assert result["benchmarks"]["charades"]["n"] == 4 and (tmp_path / "runs/trlt/eval-p/results.json").is_file()


def test_what_cannot_be_evaluated_is_named(trlt, bench):
    assert "did you mean nextgqa" in trlt("eval", "--bench", "nextgq", code=2)
    assert "didemo is no benchmark" in trlt("eval", "--bench", "didemo", code=2)
    assert "eval.benchmarks" in trlt("eval", "--bench", "all", code=2)
    assert "go with one --bench" in trlt("eval", "-b", "charades", "-b", "nextgqa", "--annotations", bench, code=2)
