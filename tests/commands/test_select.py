"""`trlt select` on rows and samples that are streamed: the same as if all of them were held."""

from __future__ import annotations

import json

import pytest
from made_clips import choice, event
from typer.testing import CliRunner

from trlt.cli import app
from trlt.commands._output import Output
from trlt.commands.select import select
from trlt.recipe import load_recipe
from trlt.rollout import read_rows
from trlt.select import select as choose
from trlt.task.sample import read_samples, write_samples

SIZES = ["select.sizes.multi_choice=4", "select.sizes.grounding=3", "select.sizes.grounded_qa=0"]
SETS = [part for item in SIZES for part in ("--set", item)]


def row_of(sample, place):
    """As probed: multi-choice is medium but every fifth, grounding varied but every third."""
    right = 7 if place % 5 == 0 else 4
    row = {"id": sample.id, "source": sample.source, "task": sample.task, "n": 8, "error": None, "mean": 1.5}
    row |= {"rewards": [1.0] * 4 + [1.0 + place / 40] * 4, "texts": ["é"], "correct": right, "delta_iou": None}
    if sample.task == "grounding":
        row |= {"correct": None, "delta_iou": 0.0 if place % 3 == 0 else 0.5}
    return row


@pytest.fixture
def pool():
    """Twelve samples of two sources, by turns multi-choice and grounding."""
    made = [(choice if i % 2 else event)(f"s{i:02}", f"v{i}.mp4", source="ab"[i // 6], meta={"é": i}) for i in range(12)]
    return {source: [sample for sample in made if sample.source == source] for source in "ab"}


@pytest.fixture
def data(pool, tmp_path):
    """A folder of samples, as `trlt prepare` leaves it."""
    for source, samples in pool.items():
        write_samples(tmp_path / f"samples/{source}.jsonl", samples)
    (tmp_path / "samples/manifest.json").write_text("{}")
    return tmp_path / "samples"


@pytest.fixture
def rows(data, write_jsonl, tmp_path):
    return write_jsonl(tmp_path / "rows.jsonl", [row_of(sample, i) for i, sample in enumerate(read_samples(data))])


@pytest.mark.parametrize("more", [[], ["select.by=variance"], ["select.budget=9"], ["select.seed=3", "select.delta_iou=0"]])
def test_streaming_gives_what_holding_all_gave(trlt, data, rows, tmp_path, more):
    sets = [part for item in more for part in ("--set", item)]
    result = trlt("select", "--probe", rows, "--data", data, *SETS, *sets, "--out", "train.jsonl", "--json")
    settings = load_recipe(None, sets=[*SIZES, *more]).select
    by_id = {sample.id: sample for sample in read_samples(data)}
    expected = choose(list(read_rows(rows)), settings)
    write_samples(tmp_path / "held.jsonl", (by_id[id] for id in expected.ids))
    assert (tmp_path / "train.jsonl").read_bytes() == (tmp_path / "held.jsonl").read_bytes()
    assert result["selection"] == json.loads(json.dumps(expected.report.to_json())) and result["taken"] == len(expected.ids) > 4


def test_the_rows_order_counts(trlt, data, rows, tmp_path, write_jsonl):
    trlt("select", "--probe", rows, "--data", data, *SETS, "--out", "a.jsonl", "--json")
    write_jsonl(tmp_path / "turned.jsonl", list(read_rows(rows))[::-1])
    trlt("select", "--probe", "turned.jsonl", "--data", data, *SETS, "--out", "b.jsonl", "--json")
    lines = (tmp_path / "a.jsonl").read_text().splitlines()
    assert (tmp_path / "b.jsonl").read_text().splitlines() == lines[::-1] and len(lines) == 7


def test_flags_set_the_recipes_fields(data, rows, tmp_path):
    result = select(rows, data=data, out=tmp_path / "t.jsonl", by="variance", budget=4, sets=SIZES, output=Output(True))
    report = result["selection"]
    assert (report["settings"]["by"], report["settings"]["budget"], report["taken"]) == ("variance", 4, 4)
    # 4 over 4 : 3 is 2.29 and 1.71. Each source gives its samples that vary most; a has 3 of each task, b as well.
    assert [sample.id for sample in read_samples(tmp_path / "t.jsonl")] == ["s04", "s05", "s10", "s11"]


def test_reports(trlt, data, rows, tmp_path):
    # Of a, s02 and s04 are varied and s00 isn't; of b, s08 and s10 are and s06 isn't.
    sets = ["--set", "select.sizes.multi_choice=5", *SETS[2:]]
    shown = trlt("select", "--probe", rows, "--data", data, *sets, "--out", "train.jsonl")
    assert "redistributed" in shown and "even share" in shown
    report = json.loads((tmp_path / "train.report.json").read_text())
    cells = {(c["task"], c["source"], c["class"]): c for c in report["cells"]}
    # Right answers 7 of 8, easy: s05 of a. So a has s01 and s03, b has s07, s09 and s11.
    assert cells["multi_choice", "a", "medium"] == {
        **{"task": "multi_choice", "source": "a", "class": "medium"},
        **{"available": 2, "share": 3, "taken": 2, "redistributed": -1},
    }
    assert [cells["multi_choice", "b", "medium"][key] for key in ("share", "taken", "redistributed")] == [2, 3, 1]
    assert cells["multi_choice", "a", "easy"]["available"] == 1 and cells["grounding", "b", "flat"]["available"] == 1
    assert report["tasks"][0] == {"task": "multi_choice", "available": 6, "share": 5, "taken": 5, "redistributed": 0}
    assert report["shortfalls"] == ["multi_choice (medium): a has 2 of an even share of 3; the other sources fill in 1"]
    page = (tmp_path / "train.report.md").read_text()
    assert "| multi\\_choice" not in page and "| multi_choice | medium | a | 3 | -1 | 2 | 2 |" in page
    assert "| multi_choice | medium | b | 2 | +1 | 3 | 3 |" in page and "| **multi_choice** | all |  | 5 |  | 6 | 5 |" in page
    assert "- multi\\_choice (medium): a has 2 of" in page


def test_samples_that_are_missing_are_named(trlt, data, rows, tmp_path):
    (tmp_path / "old.jsonl").write_text("old")
    message = trlt("select", "--probe", rows, "--data", data / "a.jsonl", *SETS, "--out", "old.jsonl", code=3)
    assert "3 probed samples aren't in" in message and "(the first: 's07')" in message and "--data" in message
    assert (tmp_path / "old.jsonl").read_text() == "old", "what was there stays"
    assert not (tmp_path / "old.report.json").exists()
    assert sorted(path.name for path in tmp_path.glob(".*")) == [], "nothing half written is left"


def test_samples_that_cannot_be_used(trlt, data, rows, tmp_path):
    b = data / "b.jsonl"
    text = b.read_text()
    b.write_text(text + text.splitlines()[0])
    assert "b.jsonl:7: id 's06' stands already on line 1" in trlt("select", "--probe", rows, "--data", data, code=3)
    (data / "c.jsonl").write_text(text)
    b.write_text(text)
    assert f"c.jsonl:1: id 's06' stands already in {b}:1" in trlt("select", "--probe", rows, "--data", data, code=3)
    (data / "c.jsonl").write_text("[1]\n")
    assert "c.jsonl:1: a JSON list; write one object per line" in trlt("select", "--probe", rows, "--data", data, code=3)
    (data / "c.jsonl").unlink()
    b.write_text(text.replace('"answer_index": 1', '"answer_index": 9'))
    assert "b.jsonl:2: sample 's07': answer_index: 9" in trlt("select", "--probe", rows, "--data", data, code=3)
    message = trlt("select", "--probe", rows, "--data", data, "--out", data / "a.jsonl", code=2)
    assert "would overwrite its own input" in message
    assert "absent.jsonl: can't be read" in trlt("select", "--probe", rows, "--data", "absent.jsonl", code=3)


def test_a_budget_needs_sizes(trlt, data, rows):
    zero = [part for name in ("multi_choice", "grounding") for part in ("--set", f"select.sizes.{name}=0")]
    message = trlt("select", "--probe", rows, "--data", data, *SETS, *zero, "--set", "select.budget=5", code=2)
    assert "budget (5) is shared in proportion to sizes" in message
    assert "did you mean variance?" in trlt("select", "--probe", rows, "--data", data, "--set", "select.by=varianse", code=2)
    assert "greater than or equal to 1" in trlt("select", "--probe", rows, "--data", data, "--set", "select.budget=0", code=2)


def test_rules_beyond_the_paper(trlt, data, rows, tmp_path):
    """Bounds and a cap by flags: in the samples, the terminal, both reports and the page; `trlt report` shows them, too."""
    sets = ["--by", "all", "--set", "select.within.multi_choice.pass_rate=[0.4,0.6]", "--set", "select.per_video=1"]
    shown = trlt("select", "--probe", rows, "--data", data, *SETS, *sets, "--out", "train.jsonl")
    # Multi-choice are s01 to s11, odd; s05 has 7 of 8.
    taken = {sample.id for sample in read_samples(tmp_path / "train.jsonl")}
    assert len(taken & {"s01", "s03", "s07", "s09", "s11"}) == 4 and "s05" not in taken and len(taken) == 7
    assert "What each rule left out" in shown and "pass_rate not within multi_choice 0.4 to 0.6" in shown
    report = json.loads((tmp_path / "train.report.json").read_text())
    left = {step["rule"]: step["left_out"] for step in report["rules"]["steps"] if step["left_out"]}
    assert left["within.pass_rate"] == {"multi_choice": {"a": 1}} and "per_video" not in left
    assert report["settings"]["within"] == {"multi_choice": {"pass_rate": [0.4, 0.6]}}
    assert "| within.pass\\_rate | pass\\_rate not within" in (tmp_path / "train.report.md").read_text()
    for page in ("train.selection.html", trlt("report", "train.jsonl", "--frames-mb", "0", "--json")["page"]):
        text = (tmp_path / page).read_text()
        assert "What each rule left" in text and "within.pass_rate: 11" in text, page


def test_another_selection_at_the_same_place_is_told(data, rows, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    command = ["select", "--probe", str(rows), "--data", str(data), *SETS, "--out", "t.jsonl"]
    said = [CliRunner().invoke(app, [*command, *more]).stderr for more in ([], [], ["--budget", "4"])]
    assert ["held another selection (7 samples), which is replaced" in text for text in said] == [False, False, True]
