"""Data sets outside of the package: `trlt dataset check`, `eval` and `prepare --dataset`, recipes that name a file."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from made_clips import write_clip
from paths import ROOT
from typer.testing import CliRunner

from trlt.cli import app
from trlt.data.datasets import load

KITCHEN = (
    (ROOT / "docs/adding-a-dataset.md").read_text(encoding="utf-8").partition('title="kitchen.py"\n')[2].partition("```")[0]
)
RECORDS = [
    {"video": "k1", "sentence": "she opens the fridge", "start": 0.5, "end": 2.0, "length": 3.0},
    {"video": "k2", "sentence": "he sits", "start": 1.0, "end": 2.0, "length": 3.0},
]


@pytest.fixture
def kitchen(tmp_path, write_jsonl):
    """Writes `kitchen.py` with its annotation and predictions; gives the options that name them."""
    (tmp_path / "kitchen.py").write_text(KITCHEN)
    (tmp_path / "files").mkdir()
    for split in ("train", "test"):
        (tmp_path / f"files/kitchen_{split}.json").write_text(json.dumps(RECORDS))
    said = {"kitchen:test:0": "<answer> 0.5 to 2.0 </answer>", "kitchen:test:1": "from 1.0 to 2.0 s"}
    write_jsonl(tmp_path / "p.jsonl", [{"id": id, "text": text} for id, text in said.items()])
    return ["--dataset", "kitchen.py", "--annotations", "files"]


def score(trlt, asked, *more, out="e", code=0):
    json_too = [] if code else ["--json"]
    return trlt("eval", *asked, "--no-think", "--predictions", "p.jsonl", "--out", out, *more, *json_too, code=code)


def test_check_lists_what_holds(trlt, kitchen):
    shown = trlt("dataset", "check", "kitchen.py")
    assert "✓ gold answers score 100" in shown and "✗" not in shown
    result = trlt("dataset", "check", "kitchen.py", "--annotations", "files", "--json")
    assert result["ok"] and all(one["ok"] and not one["faults"] for one in result["checks"]) and len(result["checks"]) == 14
    real = result["annotation"]
    assert (real["split"], real["read"], real["samples"]) == ("test", 2, 2) and real["first"][0]["id"] == "kitchen:test:0"
    assert real["baselines"]["gold answers"]["paper"]["mIoU"] == 100
    shown = trlt("dataset", "check", "kitchen.py", "--annotations", "files", "--split", "train")
    assert "train: 2 records, 2 samples" in shown and "she opens the fridge  -> <answer> 0.5 to 2.0 </answer>" in shown
    assert trlt("dataset", "check", "charades", "--json")["ok"], "one of trlt's"


def test_check_ends_with_1_and_says_why(trlt, kitchen, tmp_path):
    (tmp_path / "kitchen.py").write_text(KITCHEN.replace('"end": 6.5', '"end": 6'))
    message = trlt("dataset", "check", "kitchen.py", code=1)
    assert "kitchen.py: 1 check of 4 failed: example is read" in message
    done = CliRunner().invoke(app, ["dataset", "check", "kitchen.py", "--json"])
    faults = [fault for one in json.loads(done.stdout)["checks"] for fault in one["faults"]]
    assert done.exit_code == 1 and len(faults) == 1 and "states [[2.0, 6.5]], read gives [[2.0, 6.0]]" in faults[0]
    (tmp_path / "kitchen.py").write_text(KITCHEN.replace("EXAMPLE = Example", "SHOWN = Example"))
    done = CliRunner().invoke(app, ["dataset", "check", "kitchen.py", "--annotations", "files", "--json"])
    assert json.loads(done.stdout)["annotation"]["samples"] == 2, "real files are looked at all the same"
    (tmp_path / "kitchen.py").write_text(KITCHEN)
    (tmp_path / "files/kitchen_test.json").write_text("[3]")
    message = trlt("dataset", "check", "kitchen.py", "--annotations", "files", code=1)
    assert "1 check of 12 failed: annotation is read" in message
    (tmp_path / "kitchen.py").write_text("TITLE = 3")
    message = trlt("dataset", "check", "kitchen.py", code=3)
    assert "TITLE: is 3; write a text" in message and "FILES: is missing" in message and "TRAIN_SPLIT, TEST_SPLIT" in message


def test_a_file_is_a_benchmark_until_it_is_edited(trlt, kitchen, tmp_path):
    results = score(trlt, kitchen, "--lmms-eval")
    entry = results["benchmarks"]["kitchen"]
    assert entry["paper"]["mIoU"] == 50 and entry["official"]["mIoU"] == 100 and entry["n"] == 2
    assert entry["dataset"] == {"title": "Kitchen", "file": "kitchen.py"}
    manifest = json.loads((tmp_path / "e/manifest.json").read_text())
    assert set(manifest["inputs"]["kitchen"]["files"]) == {"kitchen_test.json", "kitchen.py"}
    assert set(entry["protocol"]["annotations"]) == {"kitchen_test.json", "kitchen.py"}
    assert score(trlt, kitchen, "--lmms-eval") == results, "resumed"
    (tmp_path / "kitchen.py").write_text(KITCHEN + "# edited\n")
    message = score(trlt, kitchen, code=7)
    assert "kitchen: kitchen.py was changed" in message and "--fresh" in message
    score(trlt, kitchen, out="f")
    assert "different annotation files (kitchen.py)" in trlt("compare", "e", "f", code=3)
    score(trlt, kitchen, "--fresh")
    assert trlt("compare", "e", "f", "--json")["benchmarks"]["kitchen"]["n"] == 2


def test_other_annotation_is_another_run(trlt, kitchen, bench, tmp_path):
    score(trlt, kitchen)
    (tmp_path / "files/kitchen_test.json").write_text(json.dumps(RECORDS[::-1]))
    assert "kitchen: kitchen_test.json was changed" in score(trlt, kitchen, code=7)
    (tmp_path / "p.jsonl").write_text('{"id": "AAAAA:0", "text": ""}\n')
    charades = ["--bench", "charades", "--annotations", bench]
    score(trlt, charades, out="c")
    (bench / "charades_sta_test.txt").write_text("AAAAA 0.0 2.0##a cat sits\n")
    assert "charades: charades_sta_test.txt was changed" in score(trlt, charades, out="c", code=7), "official ones alike"


def test_compare_and_report_need_neither_the_file_nor_its_annotation(trlt, kitchen, tmp_path):
    text = KITCHEN.replace('TITLE = "Kitchen"', 'TITLE = "Kitchen"\nOFFICIAL_HIGHER = "it reads whole texts"')
    (tmp_path / "kitchen.py").write_text(text)
    score(trlt, kitchen, out="a")
    shown = trlt("eval", *kitchen, "--no-think", "--predictions", "p.jsonl", "--out", "a")
    assert "official mIoU is 100.0 beside 50.0: it reads whole texts" in shown
    (tmp_path / "p.jsonl").write_text('{"id": "kitchen:test:0", "text": "<answer> 0.5 to 1.0 </answer>"}\n')
    score(trlt, kitchen, out="b")
    (tmp_path / "kitchen.py").write_text("raise SystemExit('run by a report')")
    for path in (tmp_path / "files").iterdir():
        path.unlink()
    assert trlt("compare", "a", "b", "--json")["benchmarks"]["kitchen"]["metrics"]["mIoU"]["n"] == 2
    shown = trlt("report", "a", "b", "--out", "r.html")
    page = (tmp_path / "r.html").read_text()
    assert "Samples: 2 of 2" in shown and "she opens the fridge" in page and "it reads whole texts" in page


def test_questions_of_a_file_are_listed_and_scored_by_the_next_line(trlt, kitchen, tmp_path):
    shown = trlt("eval", *kitchen, "--samples", "--out", "q", "--set", "eval.think=false")
    (tmp_path / "q/kitchen.answers.jsonl").write_text((tmp_path / "p.jsonl").read_text())
    command, *words = shlex.split(shown.rpartition("Next: ")[2])
    assert command == "trlt" and trlt(*words, "--json")["benchmarks"]["kitchen"]["n"] == 2


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"sentence", str, where', '"sentense", str, where', "kitchen_test.json[0]: no field 'sentense'"),
        ('get(record, "video", str, where)', 'record["vid"]', "kitchen.py:61: in read: no key 'vid'"),
        ("return out.reading()", "return None", "read: gives a NoneType, not a Reading; end it with `return out.reading()`"),
        ("split=split, task=TASK", 'split="train", task=TASK', "has the split 'train', but 'test' was asked for"),
        (
            "values as values",
            "values as values\nvalues = lambda item: {'mIoU': item.answer.span.start}",
            "in values: AttributeError",
        ),
        (
            "metrics as metrics",
            "metrics as metrics\nmetrics = lambda items: {}",
            "metrics: n: gives None; `benchmark_entry(…)` makes it",
        ),
        (
            "official as official",
            "official as official\nofficial = lambda item: 1",
            "question 'kitchen:test:0': gives 1; it must give metrics",
        ),
    ],
)
def test_usual_mistakes_are_told_with_a_remedy(trlt, kitchen, tmp_path, old, new, message):
    assert old in KITCHEN
    (tmp_path / "kitchen.py").write_text(KITCHEN.replace(old, new))
    assert message in score(trlt, kitchen, code=3)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["eval", "--dataset", "nowhere.py", "--annotations", "files"], 3, "nowhere.py: can't be read"),
        (["eval", "--dataset", "charades"], 2, "one that trlt has is given with --bench"),
        (["eval", "--bench", "kitchen.py"], 2, "is given by its path, to `eval` and `prepare` with --dataset kitchen.py"),
        (["eval", "--bench", "kitchen"], 2, "is given by its path, to `eval` and `prepare` with --dataset kitchen.py"),
        (["dataset", "check", "kitchen"], 2, "a file of your own is given by its path"),
        (["eval", "--dataset", "kitchen.py"], 3, "data/kitchen: no such file or folder; kitchen needs kitchen_test.json"),
        (["prepare", "kitchen.py"], 2, "with --dataset kitchen.py"),
        (["prepare", "--dataset", "kitchen.py"], 2, "--annotations DIR is needed: the folder that holds kitchen_train.json"),
        (["prepare", "didemo", "--dataset", "kitchen.py"], 2, "one data set at a time"),
        (["prepare", "--dataset", "kitchen"], 2, "a data set's file ends in .py"),
    ],
)
def test_what_cannot_work_is_told_at_once(trlt, kitchen, words, code, message):
    assert message in trlt(*words, code=code)


def test_a_file_without_a_part_says_which(trlt, kitchen, tmp_path):
    (tmp_path / "kitchen.py").write_text(
        KITCHEN.replace('TRAIN_SPLIT = "train"\n', "").replace('purpose="train"', 'purpose="bench"')
    )
    asked = ["prepare", *kitchen, "--out", "s.jsonl"]
    assert "kitchen.py: is no training source: it has no TRAIN_SPLIT" in trlt(*asked, code=2)


def test_a_pool_of_a_recipe_holds_files_beside_names(trlt, kitchen, bench, tmp_path):
    for name in ("k1", "k2"):
        write_clip(tmp_path / f"files/videos/{name}.mp4", 3)
    recipe = tmp_path / "r.yaml"
    source = "{dataset: kitchen.py, annotations: files, videos: files/videos}"
    recipe.write_text(
        f"prepare:\n  sources:\n    - {source}\n    - {{dataset: charades, annotations: {bench}, videos: {bench}}}\n"
        f"eval:\n  benchmarks:\n    kitchen: {source}\n    mine: {{data: p.jsonl}}\n"
    )
    (bench / "charades_sta_train.txt").write_text("AAAAA 0.0 1.0##a cat sits\n")
    (bench / "Charades_v1_train.csv").write_text("id,length\nAAAAA,2.0\n")
    result = trlt("prepare", recipe, "--out", "pool", "--json")
    assert [entry["dataset"] for entry in result["sources"]] == ["kitchen", "charades"]
    assert any(path.endswith("kitchen.py") for path in result["sources"][0]["files"])
    assert result["statistics"]["domains"] == {"kitchens": 2, load("charades").DOMAIN: 1}
    assert (tmp_path / "pool/kitchen.jsonl").is_file() and "kitchen" in (tmp_path / "pool/report.md").read_text()
    # Its own test videos are the same footage: as a benchmark of the recipe, it is found to leak.
    message = trlt("prepare", recipe, "--out", "pool", "--against", "benchmarks", "--json")
    assert message["sources"][0]["dropped"] == {"in_kitchen": 2} and message["against"]["videos"]["kitchen"] == 2


def test_the_file_runs_from_its_source_alone(trlt, kitchen, tmp_path):
    score(trlt, kitchen)
    assert not list(tmp_path.rglob("__pycache__")), "no compiled copy that could be stale"
    assert Path("kitchen.py").read_text() == KITCHEN


def test_what_a_file_prints_is_no_result(trlt, kitchen, tmp_path):
    text = KITCHEN.replace("    out = Collector(", "    print('reading', split)\n    out = Collector(") + "\nprint('loaded')\n"
    (tmp_path / "kitchen.py").write_text(text)
    assert score(trlt, kitchen)["benchmarks"]["kitchen"]["n"] == 2, "stdout holds one JSON object"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (b"import sys\nsys.exit(3)\n", "kitchen.py:2: when it is run: SystemExit: 3"),
        (b"TITLE = '\xff'\n", "kitchen.py:1: not Python ("),
        (b"TITLE = '\0'\n", "not Python (source code"),
        (b"", "TITLE: is missing; write a text: its title in tables"),
        (b"def f():\n    return f()\nf()\n", "kitchen.py:2: when it is run: RecursionError"),
        (
            b"import nowhere_at_all\n",
            "kitchen.py:1: when it is run: ModuleNotFoundError: No module named 'nowhere_at_all'; install it",
        ),
    ],
)
def test_files_that_are_no_python_or_end_at_once(trlt, kitchen, tmp_path, source, message):
    (tmp_path / "kitchen.py").write_bytes(source)
    assert message in trlt("dataset", "check", "kitchen.py", code=3)
