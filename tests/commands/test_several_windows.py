"""QVHighlights on the command line: official predictions, items, comparing, a model, training, and pages."""

from __future__ import annotations

import json

import pytest

from trlt.commands._answer_page import write_answer_page
from trlt.data.datasets import load
from trlt.evaluate.question_scores import read_items
from trlt.rollout import read_rows
from trlt.task.prompt_form import PromptForm
from trlt.task.sample import read_samples, write_samples
from trlt.task.user_question import answer_values, question_sample

SHORT = ["--no-think", "--set", "eval.max_new_tokens=4", "--no-page"]


@pytest.fixture
def windows(bench):
    """Two queries: one with two windows of which the second is found first, one with a single window."""
    lines = load("qvhighlights").EXAMPLE.files["highlight_val_release.jsonl"].replace('"duration": 150', '"duration": 2')
    lines = lines.replace("[[20, 46], [82, 90]]", "[[0, 1], [1.5, 2]]").replace("aB3_dE-7hIj_60.0_210.0", "AAAAA")
    lines = lines.replace('"duration": 148', '"duration": 3').replace("[[100, 144]]", "[[1, 3]]")
    lines = lines.replace("v_B3_dE-7hI_0.0_150.0", "BBBBB")
    (bench / "highlight_val_release.jsonl").write_text(lines)
    return bench


def test_official_predictions_are_scored_and_compared(trlt, windows, write_jsonl, tmp_path):
    first = {"qid": 90001, "query": "q", "vid": "AAAAA", "pred_relevant_windows": [[1.5, 2, 0.2], [0, 1, 0.9], [0, 0.1, 0.5]]}
    write_jsonl(tmp_path / "a.jsonl", [first, {"qid": 90002, "pred_relevant_windows": [[1, 2, 0.5]]}])
    write_jsonl(tmp_path / "b.jsonl", [first])
    args = ["eval", "--bench", "qvhighlights", "--annotations", windows, "--predictions"]
    entry = trlt(*args, "a.jsonl", "--out", "a", "--json")["benchmarks"]["qvhighlights"]
    # In the list's order both windows are right before the false one; by scores the false one is second. IoU 0.5 counts at 0.5.
    assert entry["paper"] == pytest.approx({"R1@0.5": 100, "R1@0.7": 50, "mAP": 55, "mAP@0.5": 100, "mAP@0.75": 50})
    assert entry["official"]["mAP"] == pytest.approx(100 * ((1 + 2 / 3) / 2 + 0.1) / 2)
    assert entry["secondary"]["mIoU"] == pytest.approx(75) and entry["by"]["length"]["short"]["n"] == 2
    columns = read_items(tmp_path / "a/items/qvhighlights.parquet")
    assert json.loads(columns["spans"][0]) == [[1.5, 2], [0, 1], [0, 0.1]] == json.loads(columns["lenient_spans"][0])
    assert (columns["start"][0], columns["end"][0]) == (1.5, 2) and columns["answered"] == [True, True]
    page = (tmp_path / "a/report.html").read_text()
    assert "[[0,1],[0,0.1]]" in page, "the windows after the first, for the page's timeline"
    trlt(*args, "b.jsonl", "--out", "b", "--no-page")
    compared = trlt("compare", "b", "a", "--json")["benchmarks"]["qvhighlights"]
    assert compared["metrics"]["mAP"]["difference"] == pytest.approx(5) and compared["n"] == 2
    write_jsonl(tmp_path / "c.jsonl", [first | {"pred_relevant_windows": [[1, "2", 3]]}])
    assert "c.jsonl:1: pred_relevant_windows[0]: expected [start, end, score]" in trlt(*args, "c.jsonl", "--out", "c", code=3)


def test_a_model_is_asked_for_all_windows(trlt, fast, windows, tmp_path):
    args = ["--bench", "qvhighlights", "--annotations", windows]
    trlt("eval", *args, "--samples", "--out", "q", "--set", "eval.think=false")
    asked = json.loads((tmp_path / "q/qvhighlights.jsonl").read_text().splitlines()[0])
    assert "each time that it happens" in asked["user"] and "start to end; start to end" in asked["user"]
    results = trlt("eval", *args, "--videos", windows, *fast, *SHORT, "--out", "e", "--json")
    assert results["benchmarks"]["qvhighlights"]["n"] == 2 and len(list(read_rows(tmp_path / "e/rows/qvhighlights.jsonl"))) == 2


def test_a_single_question_may_ask_for_all_times(trlt, fast, bench):
    video = bench / "Charades_v1_480/AAAAA.mp4"
    assert trlt("infer", video, "a cat sits", "--several", *fast, *SHORT[:3], "--json")["task"] == "grounding"
    refused = trlt("infer", video, "which?", "--several", "-o", "a", "-o", "b", code=2)
    assert "--several: asks at which times an event happens, and multi_choice questions ask for one answer" in refused
    sample = question_sample("a.mp4", "a cat sits", None, (), several=True)
    assert "each time that it happens" in PromptForm(think=False, answer_format="letter").prompt(sample).user


def test_training_samples_are_prepared(trlt, windows, tmp_path):
    (windows / "highlight_val_release.jsonl").rename(windows / "highlight_train_release.jsonl")
    trlt("prepare", "qvhighlights", "--annotations", windows, "--videos", windows, "--out", "pool.jsonl")
    assert [(one.several, len(one.spans or ())) for one in read_samples(tmp_path / "pool.jsonl")] == [(True, 2), (True, 1)]


def test_the_page_of_an_answer_shows_all_windows(noise_clip, tmp_path):
    one = load("qvhighlights").EXAMPLE.samples[0]
    clip = noise_clip(frames=8, side=112)
    form = PromptForm(think=False, answer_format="letter")
    text = "<answer> 0.0 to 0.5; 2.0 to 3.0 </answer>"
    write_answer_page(tmp_path / "a.html", one, answer_values(form.read(one, text), text, finished=True), clip, "made-model")
    page = (tmp_path / "a.html").read_text()
    inside = sum(any(start <= at <= end for start, end in ((0, 0.5), (2, 3))) for at in clip.times)
    assert "0.0 to 0.5 s, 2.0 to 3.0 s" in page
    assert page.count('class="span"') == 2 and page.count(", in the span") == inside > 1


def test_exports_ask_for_all_windows_and_have_them_as_the_solution(trlt, tmp_path):
    write_samples(tmp_path / "s.jsonl", load("qvhighlights").EXAMPLE.samples)
    result = trlt("export", "s.jsonl", "--format", "ms-swift", "--out", "x.jsonl", "--json")
    record = json.loads((tmp_path / "x.jsonl").read_text().splitlines()[0])
    assert record["solution"] == "<answer> 20.0 to 46.0; 82.0 to 90.0 </answer>" and json.loads(record["sample"])["several"]
    assert not [note for note in result["notes"] if "several gold spans" in note], "none is left out of the solution"
