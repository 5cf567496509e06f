"""Benchmarks, from a model or from predictions."""

from __future__ import annotations

import json
import shlex
from itertools import islice

import pytest

from trlt.commands._output import Output
from trlt.commands.eval import evaluate
from trlt.engine.forest import Engine
from trlt.evaluate.question_scores import COLUMNS, LENIENT_COLUMNS, read_items
from trlt.files import file_digest
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
    assert results.pop("page") == "e/report.html"
    assert results["schema"] == 1 and results == json.loads((tmp_path / "e/results.json").read_text())
    assert entry["paper"]["mIoU"] == pytest.approx(100 * (1 + 0.5) / 4), "what is missing counts as wrong"
    assert entry["paper"]["R1@0.5"] == 50 and entry["paper"]["R1@0.7"] == 25
    assert (entry["n"], entry["unanswered"], entry["missing_predictions"], entry["extra_predictions"]) == (4, 2, 1, 1)
    low, high = entry["ci95"]["mIoU"]
    assert low == pytest.approx(0) and high == pytest.approx(75), "of two videos, each may be drawn twice"
    rows = list(read_rows(tmp_path / "e/rows/charades.jsonl"))
    assert [row["error"] for row in rows] == [None, None, None, "no prediction"] and rows[1]["ious"] == [0.5]
    shown = trlt(*args, "--paper")
    assert "28.0, 43.0, 57.0" in shown and "1 questions have no prediction; they count as wrong" in shown
    write_jsonl(tmp_path / "p.jsonl", [{"id": "AAAAA:0", "text": said(0, 1)}])
    assert "model: the predictions changed" in trlt(*args, code=7)
    assert trlt(*args, "--fresh", "--json")["benchmarks"]["charades"]["paper"]["mIoU"] == 25


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "holds no predictions"),
        ([{"id": "AAAAA:0"}], 'p.jsonl:1: expected {"id"'),
        ([3], "p.jsonl:1: expected"),
        ([{"id": "AAAAA:0", "text": ""}] * 2, "p.jsonl:2: id 'AAAAA:0' occurs twice"),
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
    message = trlt(*args[:-3], "--out", "f", code=4)
    assert "2 questions about 1 videos couldn't be asked" in message and "--allow-missing" in message
    assert (
        "AAAAA.mp4\t" in (tmp_path / "f/charades.broken_videos.txt").read_text() and not (tmp_path / "f/results.json").exists()
    )
    results = trlt(*args[:-3], "--out", "f", "--allow-missing", "--json")
    entry = results["benchmarks"]["charades"]
    assert entry["n"] == 2 and entry["broken_videos"] == 1 and entry["protocol"]["questions_left_out"] == 2
    assert entry["protocol"]["videos_read"] == 1 and "2 of 4" in (tmp_path / "f/results.md").read_text()

    (bench / "Charades_v1_480/AAAAA.mp4").unlink()
    message = trlt(*args, "--fresh", code=4)
    assert "1 video of 2 questions is missing" in message and "--allow-missing" in message
    assert (tmp_path / "e/charades.missing_videos.txt").read_text().startswith("AAAAA.mp4\tAAAAA.mp4: not in ")
    results = trlt(*args, "--fresh", "--allow-missing")
    assert results["benchmarks"]["charades"]["n"] == 2 and results["benchmarks"]["charades"]["missing_videos"] == 1


def test_a_file_that_is_not_the_annotated_clip_is_told(trlt, fast, bench, tmp_path):
    """TVGBench's times are of files that are cut already, and one name stands for several clips."""
    row = {"path": "v/AAAAA.mp4", "question": "a cat sits", "answer": "0.0-1.0", "start": 9.0, "end": 29.0, "duration": 20.0}
    row |= {"source": "raw/anet_test.json", "qsemtype": "Human Pose"}
    (bench / "tvgbench.json").write_text(json.dumps([row]))
    args = ["eval", "--bench", "tvgbench", "--annotations", bench, "--videos", bench, *fast, *SHORT, "--out", "e", "--no-page"]
    shown = " ".join(trlt(*args).split())
    assert "1 question fits another file than the one that was shown; `warning` in rows/tvgbench.jsonl says how" in shown
    assert json.loads((tmp_path / "e/results.json").read_text())["benchmarks"]["tvgbench"]["video_warnings"] == 1
    (row,) = read_rows(tmp_path / "e/rows/tvgbench.jsonl")
    assert "s long and should be 20.0 s" in row["warning"]


def test_questions_are_listed_with_their_prompts(trlt, bench, tmp_path, write_jsonl):
    listed = trlt("eval", "-b", "charades", "--annotations", bench, "--samples", "--out", "q", "--json")
    assert listed["samples"]["charades"]["questions"] == 4
    first = json.loads((tmp_path / "q/charades.jsonl").read_text().splitlines()[0])
    assert first["id"] == "AAAAA:0" and "a cat sits" in first["user"] and first["video"] == "AAAAA.mp4"
    printed = trlt("eval", "-b", "charades", "--annotations", bench, "--samples", "--out", "q", "--set", "eval.think=true")
    write_jsonl(tmp_path / "q/charades.answers.jsonl", [{"id": "AAAAA:0", "text": said(0, 1)}])
    command, *words = shlex.split(printed.rpartition("Next: ")[2])
    assert command == "trlt" and trlt(*words, "--json")["benchmarks"]["charades"]["n"] == 4


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


def test_a_model_is_asked_several_times(trlt, fast, bench, tmp_path):
    """Values of its own rows, by hand; a finished run that is started again is the same."""
    args = ["eval", "-b", "charades", "--annotations", bench, "--videos", bench, *fast, "--out", "e", "--no-page"]
    args += ["--samples-per-question", 3, "--set", "eval.max_new_tokens=6", "--no-think"]
    assert "set both to 0.1 or more" in trlt(*args, code=2)
    args += ["--set", "eval.temperature=1", "--set", "eval.top_p=1"]
    trlt(*args)
    first = (tmp_path / "e/results.json").read_bytes()
    rows = [json.loads(line) for line in (tmp_path / "e/rows/charades.jsonl").read_text().splitlines()]
    assert all(len(row["texts"]) == 3 for row in rows) and any(len(set(row["texts"])) > 1 for row in rows)
    entry = json.loads(first)["benchmarks"]["charades"]
    assert entry["paper"]["mIoU"] == pytest.approx(25 * sum(sum(row["ious"]) / 3 for row in rows))
    assert entry["samples"]["pass@3"]["mIoU"]["value"] == pytest.approx(25 * sum(max(row["ious"]) for row in rows))
    trlt(*args)
    assert (tmp_path / "e/results.json").read_bytes() == first
    manifest = json.loads((tmp_path / "e/manifest.json").read_text())
    assert manifest["protocol"]["samples_per_question"] == 3


WRITTEN = ("results.json", "results.md", "results.tex", "lmms_eval/results.json", "lmms_eval/samples_charades.jsonl")


def test_a_killed_and_resumed_run_writes_what_an_uninterrupted_one_does(tiny_path, bench, tmp_path, monkeypatch):
    sets = ["model.dtype=float32", "model.device=cpu", "video.workers=0", "eval.max_new_tokens=4", "eval.max_sequences=1"]
    given = dict(annotations=bench, videos=bench, model=str(tiny_path), think=False, sets=sets, lmms_eval=True)

    def go(folder):
        return evaluate(["charades"], **given, out=tmp_path / folder, output=Output(json_mode=True))

    go("whole")
    with monkeypatch.context() as patch:
        stream = Engine.stream

        def dies(self, *args, **more):
            yield from islice(stream(self, *args, **more), 2)
            raise RuntimeError("killed")

        patch.setattr(Engine, "stream", dies)
        with pytest.raises(RuntimeError, match="killed"):
            go("resumed")
    assert len(list(read_rows(tmp_path / "resumed/rows/charades.jsonl"))) == 2
    assert not (tmp_path / "resumed/results.json").exists() and not (tmp_path / "resumed/items").exists()
    go("resumed")
    for name in (*WRITTEN, "rows/charades.jsonl"):
        assert (tmp_path / "resumed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    items = [read_items(tmp_path / folder / "items/charades.parquet") for folder in ("resumed", "whole")]
    assert items[0] == items[1] and len(items[0]["id"]) == 4


def test_items_hold_a_row_a_question(trlt, bench, write_jsonl, tmp_path):
    lines = [{"id": "AAAAA:0", "text": said(0, 1)}, {"id": "AAAAA:1", "text": "from 0 to 2"}, {"id": "BBBBB:2", "text": "no"}]
    write_jsonl(tmp_path / "p.jsonl", lines)
    trlt("eval", "-b", "charades", "--annotations", bench, "--predictions", "p.jsonl", "--out", "e")
    columns = read_items(tmp_path / "e/items/charades.parquet")
    kinds = ("paper", "official", "lenient")
    metrics = [f"{kind}.{key}" for kind in kinds for key in ("mIoU", "R1@0.3", "R1@0.5", "R1@0.7")]
    assert list(columns) == [*COLUMNS, *LENIENT_COLUMNS, *metrics]
    assert columns["id"] == ["AAAAA:0", "AAAAA:1", "BBBBB:2", "BBBBB:3"]
    assert columns["video"] == ["charades:AAAAA"] * 2 + ["charades:BBBBB"] * 2
    assert columns["gold_spans"][0] == "[[0.0, 1.0]]" and columns["gold_answer"] == columns["gold_option"] == [None] * 4
    assert columns["text"] == [line["text"] for line in lines] + [""]
    assert columns["error"] == [None] * 3 + ["no prediction"] and columns["option"] == columns["group"] == [None] * 4
    assert columns["start"] == [0, None, None, None] and columns["end"] == [1, None, None, None]
    assert columns["answered"] == [True, False, False, False] and columns["weight"] == columns["official_weight"] == [1] * 4
    assert columns["paper.mIoU"] == [1, 0, 0, 0] and columns["official.mIoU"] == [1, 0.5, 0, 0]
    assert columns["lenient.mIoU"] == [1, 0.5, 0, 0] and columns["lenient_option"] == [None] * 4
    assert columns["lenient_start"] == [0, 0, None, None] and columns["lenient_end"] == [1, 2, None, None]
    assert columns["official.R1@0.5"] == [1, 1, 0, 0] and columns["official.R1@0.7"] == [1, 0, 0, 0]


def test_each_benchmark_keeps_its_own_protocol(trlt, bench, write_jsonl, tmp_path):
    write_jsonl(tmp_path / "p.jsonl", [{"id": "AAAAA:0", "text": said(0, 1)}, {"id": "v_aaaaaaaaaaa:0", "text": said(0, 1)}])
    other = tmp_path / "other"
    other.mkdir()
    (other / "val_2.json").write_text('{"v_aaaaaaaaaaa": {"duration": 9, "timestamps": [[0, 2]], "sentences": ["a"]}}')
    common = ["--predictions", "p.jsonl", "--out", "e"]
    trlt("eval", "-b", "charades", "--annotations", bench, *common)
    more = ["--set", "eval.bootstrap=200", "--json"]
    results = trlt("eval", "-b", "activitynet", "--annotations", other, *common, *more)
    charades, activitynet = (results["benchmarks"][name]["protocol"] for name in ("charades", "activitynet"))
    names = ("charades_sta_test.txt", "Charades_v1_test.csv")
    assert charades == {
        "name": "paper",
        "outputs": "predictions",
        "prompt": results["protocol"]["prompt"],
        "decoding": {"think": True, "answer_format": "letter", "open_threshold": 0.5, "as_gqa": False},
        "budget": None,
        "bootstrap": {"resamples": 1000, "seed": 0},
        "split": "test",
        "annotations": {name: file_digest(bench / name) for name in names},
        "videos_read": 0,
        "questions_left_out": 0,
    }
    assert activitynet["split"] == "val_2" and activitynet["bootstrap"]["resamples"] == 200
    table = (tmp_path / "e/results.md").read_text()
    assert "| charades | mIoU | 25.0 |" in table and r"| activitynet | mIoU | 50.0 |" in table


def test_left_out_questions_change_the_denominator_everywhere(trlt, fast, bench, tmp_path):
    (bench / "Charades_v1_480/AAAAA.mp4").unlink()
    args = ["eval", "-b", "charades", "--annotations", bench, "--videos", bench, *fast, *SHORT, "--allow-missing", "--out", "e"]
    shown = trlt(*args)
    protocol = json.loads((tmp_path / "e/results.json").read_text())["benchmarks"]["charades"]["protocol"]
    assert protocol["outputs"] == "model" and protocol["videos_read"] == 1 and protocol["questions_left_out"] == 2
    assert protocol["decoding"]["max_new_tokens"] == 4 and protocol["budget"]["max_tokens"] == 2048
    for text in (shown, (tmp_path / "e/results.md").read_text(), (tmp_path / "e/results.tex").read_text()):
        assert "2 of 4" in text and "1 video is missing" in text and "2 questions in all are left out of n" in text


def test_lmms_eval_layout(bench, write_jsonl, tmp_path):
    write_jsonl(tmp_path / "p.jsonl", [{"id": "AAAAA:0", "text": said(0, 1)}, {"id": "AAAAA:1", "text": "0 to 2"}])
    given = dict(annotations=bench, predictions=tmp_path / "p.jsonl", output=Output(json_mode=True))
    evaluate(["charades"], **given, out=tmp_path / "without")
    assert not (tmp_path / "without/lmms_eval").exists()
    evaluate(["charades"], **given, out=tmp_path / "e", lmms_eval=True)
    results = json.loads((tmp_path / "e/lmms_eval/results.json").read_text())
    metrics = results["results"]["charades"]
    assert metrics["mIoU,none"] == 25 and metrics["official_mIoU,none"] == 37.5 and metrics["mIoU_stderr,none"] == "N/A"
    assert metrics["lenient_mIoU,none"] == 37.5
    assert results["n-samples"] == {"charades": {"original": 4, "effective": 4}} and results["n-shot"] == {"charades": 0}
    assert results["higher_is_better"]["charades"]["R1@0.5"] is True and results["configs"]["charades"]["test_split"] == "test"
    samples = [json.loads(line) for line in (tmp_path / "e/lmms_eval/samples_charades.jsonl").read_text().splitlines()]
    assert [sample["doc_id"] for sample in samples] == [0, 1, 2, 3]
    first, second = samples[:2]
    assert first["resps"] == [[said(0, 1)]] and first["filtered_resps"] == ["0.0 to 1.0"] and first["target"] == "0.0 to 1.0"
    assert second["filtered_resps"] == [""] and second["mIoU"] == 0 and second["official_mIoU"] == 0.5
    assert second["lenient_mIoU"] == 0.5
