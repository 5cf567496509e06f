"""Own questions as a benchmark: `trlt eval --data`, alone and beside others, with predictions and with a model."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from made_clips import write_clip

from trlt.commands._setup import next_after_tuning
from trlt.evaluate.question_scores import read_items
from trlt.recipe import Recipe

CHOICE = {"options": ["sits", "runs", "sleeps"], "answer": "runs", "answer_index": 1}
QUESTIONS = [
    {"id": "1", "task": "multi_choice", "video": "a.mp4", "question": "what does the cat do?", **CHOICE},
    {"id": "2", "task": "grounding", "video": "a.mp4", "question": "the cat runs", "spans": [[0.0, 1.0]]},
    {"id": "3", "task": "grounded_qa", "video": "b.mp4", "question": "what now?", **CHOICE, "spans": [[1.0, 3.0]]},
]
ANSWERS = {
    "1": "<answer> B </answer>",
    "2": "<answer> 0.0 to 2.0 </answer>",
    "3": "<observe> 1.0 to 3.0 </observe> <answer> A </answer>",
}
BARE = {"1": "B", "2": "It is 0.0 to 1.0 s.", "3": "(B) runs"}
"""Without tags: the official rule reads the whole text."""


@pytest.fixture
def mine(tmp_path, write_jsonl):
    def make(name="mine.jsonl", source="mine", questions=QUESTIONS):
        return write_jsonl(tmp_path / name, [{"source": source, "split": "test", **one} for one in questions])

    make()
    for name, texts in (("p", ANSWERS), ("bare", BARE)):
        write_jsonl(tmp_path / f"{name}.jsonl", [{"id": id, "text": text} for id, text in texts.items()])
    return make


def score(trlt, *more, answers="p.jsonl", out="e", code=0):
    return trlt(
        "eval", "--no-think", "--predictions", answers, "--out", out, *more, *(["--json"] if not code else []), code=code
    )


def test_a_metric_is_over_the_questions_that_have_it(trlt, mine, tmp_path):
    results = score(trlt, "--data", "mine.jsonl", "--lmms-eval")
    entry = results["benchmarks"]["mine"]
    assert entry["paper"] == {"acc": 50, "mIoU": 75, "R1@0.3": 100, "R1@0.5": 100, "R1@0.7": 50} == entry["official"]
    assert entry["questions"] == dict.fromkeys(entry["paper"], 2) and (entry["n"], entry["unanswered"]) == (3, 0)
    assert set(entry["by"]) == {"task"}, "of one source"
    assert entry["by"]["task"]["grounded_qa"] == {"n": 1, "mIoU": 100, "R1@0.3": 100, "R1@0.5": 100, "R1@0.7": 100, "acc": 0}
    assert entry["by"]["task"]["multi_choice"] == {"n": 1, "acc": 100}
    assert entry["ci95"]["acc"] == [0, 100] and entry["ci95"]["mIoU"] == [50, 100], "of two videos, each may be drawn twice"
    items = read_items(tmp_path / "e/items/mine.parquet")
    assert items["paper.acc"] == [1, None, 0] and items["paper.mIoU"] == [None, 0.5, 1] and set(items["weight"]) == {1}
    assert len((tmp_path / "e/lmms_eval/samples_mine.jsonl").read_text().splitlines()) == 3
    for name in ("results.md", "results.tex"):
        assert "mine" in (tmp_path / "e" / name).read_text()
    shown = trlt("eval", "--no-think", "--data", "mine.jsonl", "--predictions", "p.jsonl", "--out", "e", "--paper")
    assert "mine: of the 3 questions count 2 in acc, mIoU, R1@0.3, R1@0.5, R1@0.7" in shown


def test_the_official_rule_reads_texts_without_tags(trlt, mine):
    entry = score(trlt, "--data", "mine.jsonl", answers="bare.jsonl")["benchmarks"]["mine"]
    assert set(entry["paper"].values()) == {0} and entry["unanswered"] == 3
    assert entry["official"] == {"acc": 100, "mIoU": 50, "R1@0.3": 50, "R1@0.5": 50, "R1@0.7": 50}


def test_several_sources_are_told_apart(trlt, mine, write_jsonl, tmp_path):
    lines = [{"split": "test", **one, "source": f"s{one['id']}"} for one in QUESTIONS]
    write_jsonl(tmp_path / "mine.jsonl", lines)
    entry = score(trlt, "--data", "mine.jsonl")["benchmarks"]["mine"]
    assert entry["by"]["source"]["s2"] == {"n": 1, "mIoU": 50, "R1@0.3": 100, "R1@0.5": 100, "R1@0.7": 0}


def test_own_questions_stand_beside_a_benchmark_and_each_other(trlt, mine, bench, tmp_path):
    mine("other.jsonl", questions=[{**one, "id": f"o{one['id']}"} for one in QUESTIONS])
    bench.rename(tmp_path / "usual")
    (tmp_path / "data").mkdir()
    (tmp_path / "usual").rename(tmp_path / "data/charades")
    results = score(trlt, "--bench", "charades", "--data", "mine.jsonl", "--data", "second=other.jsonl")
    assert {name: entry["n"] for name, entry in results["benchmarks"].items()} == {"charades": 4, "mine": 3, "second": 3}
    assert results["benchmarks"]["second"]["missing_predictions"] == 3
    message = score(trlt, "--bench", "charades", "--data", "mine.jsonl", "--videos", "x", code=2)
    assert "go with one --bench, --data or --dataset" in message


def test_a_recipe_names_own_questions(trlt, mine, tmp_path):
    (tmp_path / "r.yaml").write_text("eval:\n  benchmarks:\n    held-out: {data: mine.jsonl, videos: clips}\n")
    for asked in ("all", "held-out"):
        results = score(trlt, "--bench", asked, "--recipe", "r.yaml")
        assert results["benchmarks"]["held-out"]["n"] == 3
    for bad, message in (
        ("charades: {data: mine.jsonl}", "'charades' is the name of a data set of trlt; name the entry otherwise"),
        ("mine: {data: mine.jsonl, split: val}", "data and split: own questions are one file of samples"),
        ("mine: {videos: clips}", "eval.benchmarks.mine: annotations: missing, and has no default; or data"),
    ):
        (tmp_path / "r.yaml").write_text(f"eval:\n  benchmarks:\n    {bad}\n")
        assert message in score(trlt, "--bench", "all", "--recipe", "r.yaml", code=2)


def test_a_table_of_any_kind_is_read(trlt, mine, tmp_path):
    rows = ["path,prompt,begin,finish", "a.mp4,the cat runs,0.0,1.0", "b.mp4,the dog runs,1.0,3.0", "b.mp4,,1.0,2.0"]
    (tmp_path / "sheet 2.csv").write_text("\n".join(rows))
    asked = ["--data", "sheet 2.csv", "--map", "video=path,question=prompt,start=begin,end=finish"]
    assert "1 of 3 rows can't be used" in score(trlt, *asked, code=3)
    listed = trlt("eval", *asked, "--skip-bad", "--samples", "--out", "q", "--json")
    ids = [json.loads(line)["id"] for line in (tmp_path / "q/sheet-2.jsonl").read_text().splitlines()]
    assert listed["samples"]["sheet-2"]["questions"] == 2
    answers = [{"id": id, "text": "<answer> 0.0 to 1.0 </answer>"} for id in ids]
    (tmp_path / "p.jsonl").write_text("".join(json.dumps(one) + "\n" for one in answers))
    entry = score(trlt, *asked, "--skip-bad")["benchmarks"]["sheet-2"]
    assert entry["paper"]["mIoU"] == 50 and "questions" not in entry and entry["by"] == {}


def test_questions_are_listed_and_the_next_line_scores_them(trlt, mine, tmp_path):
    for asked in (["--data", "mine.jsonl"], ["--data", "m2=mine.jsonl"]):
        name = "mine" if asked[1] == "mine.jsonl" else "m2"
        shown = trlt("eval", *asked, "--samples", "--out", "q", "--set", "eval.think=false")
        (tmp_path / f"q/{name}.answers.jsonl").write_text((tmp_path / "p.jsonl").read_text())
        command, *words = shlex.split(shown.rpartition("Next: ")[2])
        assert command == "trlt" and trlt(*words, "--json", "--out", name)["benchmarks"][name]["paper"]["acc"] == 50


def test_an_edited_file_is_another_run_and_is_never_compared(trlt, mine, tmp_path):
    score(trlt, "--data", "mine.jsonl", out="a")
    score(trlt, "--data", "mine.jsonl", answers="bare.jsonl", out="b")
    changed = trlt("compare", "a", "b", "--json")["benchmarks"]["mine"]["metrics"]
    assert changed["acc"]["difference"] == -50 and changed["acc"]["n"] == 2
    mine(questions=[*QUESTIONS[:2], {**QUESTIONS[2], "spans": [[0.0, 3.0]]}])
    message = score(trlt, "--data", "mine.jsonl", out="a", code=7)
    assert "the samples in mine.jsonl changed" in message and "--fresh" in message
    mine(questions=QUESTIONS[:2])
    assert "the samples in mine.jsonl changed (3 before, 2 now)" in score(trlt, "--data", "mine.jsonl", out="a", code=7)
    mine(questions=[*QUESTIONS[:2], {**QUESTIONS[2], "spans": [[0.0, 3.0]]}])
    score(trlt, "--data", "mine.jsonl", "--fresh", answers="bare.jsonl", out="b")
    message = trlt("compare", "a", "b", code=3)
    assert "were asked from different annotation files (mine)" in message


def test_a_report_shows_the_questions_without_the_users_file(trlt, mine, tmp_path):
    score(trlt, "--data", "mine.jsonl", out="a")
    score(trlt, "--data", "mine.jsonl", answers="bare.jsonl", out="b")
    (tmp_path / "mine.jsonl").unlink()
    shown = trlt("report", "a", "b", "--out", "r.html")
    page = (tmp_path / "r.html").read_text()
    assert "Samples: 3 of 3" in shown and "what does the cat do?" in page and "sleeps" in page, "options, too"
    assert "isn't known in full" not in page
    kept = tmp_path / "a/samples/mine.jsonl"
    kept.write_text(kept.read_text().replace("sleeps", "sleep"))
    shown = trlt("report", "a", "--out", "r.html", "--json")
    assert any("other questions than those that were evaluated" in note for note in shown["notes"])


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ([], 2, "--bench NAME (a benchmark), --data FILE (own questions), or --dataset FILE.py"),
        (["--data", "charades=mine.jsonl"], 2, "'charades' is the name of a data set of trlt; name the questions otherwise"),
        (["--data", "all=mine.jsonl"], 2, "'all' stands for several benchmarks"),
        (["--data", "mine.jsonl", "--data", "./mine.jsonl"], 2, "'mine' is named twice"),
        (["--data", "mine.jsonl", "--split", "val"], 2, "--split and own questions (mine)"),
        (["--data", "mine.jsonl", "--annotations", "x"], 2, "--annotations and own questions (mine)"),
        (["--data", "nowhere.jsonl"], 3, "nowhere.jsonl"),
        (["--data", "p.jsonl"], 3, "p.jsonl"),
    ],
)
def test_what_cannot_be_evaluated_is_told_before_a_model_is_looked_for(trlt, mine, words, code, message):
    assert message in trlt("eval", *words, "--model", "nowhere/model", code=code)


def test_a_model_is_asked_about_videos_beside_the_file(trlt, mine, fast, tmp_path):
    write_clip(tmp_path / "a.mp4", 2, 0)
    args = ["eval", "--data", "mine.jsonl", *fast, "--no-think", "--set", "eval.max_new_tokens=4", "--out", "e"]
    message = trlt(*args, code=4)
    assert "1 video of 1 question is missing" in message and "--allow-missing" in message
    results = trlt(*args, "--allow-missing", "--json")
    entry = results["benchmarks"]["mine"]
    assert (entry["n"], entry["missing_videos"], entry["protocol"]["questions_left_out"]) == (2, 1, 1)
    assert trlt(*args, "--allow-missing", "--json") == results, "resumed"
    clips = tmp_path.with_name(f"{tmp_path.name}-clips")
    clips.mkdir()
    (tmp_path / "a.mp4").rename(clips / "a.mp4")
    message = trlt(*args, code=4)
    assert "2 videos of 3 questions are missing" in message and "name their folder: --videos DIR" in message
    assert trlt(*args, "--allow-missing", "--videos", clips, "--as-gqa", "--fresh", "--json")["benchmarks"]["mine"]["n"] == 2


def test_equal_questions_in_another_form_are_compared(trlt, mine, tmp_path):
    score(trlt, "--data", "mine.jsonl", out="a")
    (tmp_path / "folder").mkdir()
    (tmp_path / "mine.jsonl").rename(tmp_path / "folder/part.jsonl")
    score(trlt, "--data", "mine=folder", out="b")
    assert trlt("compare", "a", "b", "--json")["benchmarks"]["mine"]["n"] == 3


def test_the_reports_remedy_names_the_questions_once_more(trlt, mine, tmp_path):
    score(trlt, "--data", "mine.jsonl", out="a")
    trlt("report", "a", "--out", "r.html")
    page = (tmp_path / "r.html").read_text()
    assert f"trlt eval --data mine={tmp_path}/mine.jsonl" in page


def test_grounded_questions_without_options_are_read_and_scored(trlt, mine, write_jsonl, tmp_path):
    question = {
        "id": "1",
        "source": "mine",
        "split": "test",
        "task": "grounded_qa",
        "video": "a.mp4",
        "question": "what comes?",
    }
    write_jsonl(tmp_path / "mine.jsonl", [{**question, "answer": "a red car", "spans": [[1.0, 3.0]]}])
    for text, paper, official, unread in (
        ("<observe> 1.0 to 3.0 </observe> <answer> Red car. </answer>", 100, 100, 0),
        ("<observe> 1.0 to 3.0 </observe> <answer> a dog </answer>", 0, 0, 0),
        ("The red car", 0, 100, 1),
        ("", 0, 0, 1),
    ):
        write_jsonl(tmp_path / "p.jsonl", [{"id": "1", "text": text}])
        entry = score(trlt, "--data", "mine.jsonl", "--fresh")["benchmarks"]["mine"]
        assert (entry["paper"]["acc"], entry["unanswered"]) == (paper, unread), text
        assert read_items(tmp_path / "e/items/mine.parquet")["answered"] == [not unread]
        assert entry["official"]["acc"] == official, text


def test_after_training_the_next_line_is_about_questions_held_out():
    recipe = Recipe.model_validate({"eval": {"benchmarks": {"held-out": {"data": "test.jsonl"}}}})
    given = (Path("no/model"), Path("no/recipe.yaml"))
    line = next_after_tuning(*given, recipe, "no/")
    assert line == "Next: trlt eval --bench all --model no/model --recipe no/recipe.yaml --out no/eval"
    line = next_after_tuning(*given, Recipe(), "no/").splitlines()[-1]
    assert line == "Next: trlt eval --data HELD_OUT.jsonl --model no/model --recipe no/recipe.yaml --out no/eval"
