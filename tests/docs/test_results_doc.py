"""`docs/results.md` says what the code does: columns, fields, and the table of messy outputs."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from paths import ROOT

from trlt.data.datasets import Item, gold_text, is_answered, load, names
from trlt.evaluate.lenient_items import lenient_items
from trlt.evaluate.question_scores import COLUMNS, LENIENT_COLUMNS, SEVERAL_COLUMNS, item_columns
from trlt.evaluate.summary import summary
from trlt.recipe import Recipe
from trlt.task.sample import Sample, Span

DOC = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
OPTIONS = dict(options=("sit", "wave", "run", "clap"), answer="wave", answer_index=1)
COMMON = dict(split="test", video="v.mp4", question="what does he do")
SAMPLES = {
    "mvbench": Sample(id="m", source="mvbench", task="multi_choice", meta={"task": "action_count"}, **OPTIONS, **COMMON),
    "charades": Sample(id="c", source="charades", task="grounding", spans=(Span(3, 9),), **COMMON),
    "nextgqa": Sample(
        id="n", source="nextgqa", task="grounded_qa", spans=(Span(3, 9),), meta={"type": "TN"}, **OPTIONS, **COMMON
    ),
}
METRICS = (("mvbench", "acc"), ("charades", "mIoU"), ("nextgqa", "mIoU"), ("nextgqa", "acc"))


def item(sample, text):
    return Item(sample, text, Recipe().form("eval").read(sample, text))


def table(name):
    """The lines of the table between two marks, as cells; a `\\|` is a bar in a cell."""
    lines = DOC.partition(f"<!-- {name} -->")[2].partition(f"<!-- end of {name} -->")[0].strip().splitlines()[2:]
    return [[cell.strip().replace(r"\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def messy():
    """(output, the four cells, why) of each line of the table."""
    for output, *cells, why in table("messy outputs"):
        yield ("" if output == "(empty)" else output.strip("`")), cells, why


@pytest.mark.parametrize(("text", "cells", "why"), list(messy()))
def test_the_protocols_on_messy_outputs_are_as_documented(text, cells, why):
    found = []
    for bench, metric in METRICS:
        module, one = load(bench), item(SAMPLES[bench], text)
        [read] = lenient_items([one])
        values = (module.values(one), module.values(read), module.official(one))
        found.append(" / ".join(f"{100 * value[metric]:.0f}" for value in values))
    assert found == cells and why


def test_the_table_shows_every_kind_of_mess():
    texts = [text for text, _, _ in messy()]
    assert {"", "B", "<answer> B", "A or B", "**B**"} <= set(texts)
    for pattern in (r"\d:\d\d", r"9\.0 to 3\.0", r"<answer> F ", r"The answer is", r"</think>", "nine"):
        assert any(re.search(pattern, text) for text in texts), pattern
    differing = {tuple(map(int, cell.split(" / "))) for _, cells, _ in messy() for cell in cells}
    assert all(official >= paper and lenient >= paper for paper, lenient, official in differing)
    assert {(0, 100, 0), (0, 100, 100), (0, 0, 100), (100, 100, 100), (0, 0, 0)} == differing


def spellings():
    for outputs, wanted in table("lenient spellings"):
        yield from ((text, wanted) for text in re.findall(r"`([^`]+)`", outputs))


@pytest.mark.parametrize(("text", "wanted"), list(spellings()))
def test_the_lenient_protocol_reads_each_documented_spelling(text, wanted):
    options = dict(options=("he sits", "he waves", "he runs", "he sings"), answer="he waves", answer_index=1)
    found = []
    for sample in (replace(SAMPLES["mvbench"], **options), SAMPLES["charades"]):
        [read] = lenient_items([item(sample, text)])
        if read.answer.option is not None:
            found.append("ABCD"[read.answer.option])
        if read.answer.span is not None:
            found.append(f"{read.answer.span.start:g} to {read.answer.span.end:g}")
    assert found == ([] if wanted == "unread" else [wanted])


def test_every_column_is_documented_with_its_type():
    part = DOC.partition("## items/")[2].partition("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in part.splitlines() if line.startswith("| `")]
    documented = {name: kind for names_, kind, _ in rows for name in re.findall(r"`([^`]+)`", names_)}
    metrics = {f"{kind}.<figure>": "float64" for kind in ("paper", "official", "lenient")}
    assert documented == COLUMNS | LENIENT_COLUMNS | SEVERAL_COLUMNS | metrics


@pytest.mark.parametrize("bench", names("bench"))
def test_fields_are_documented_and_columns_give_the_metrics(bench):
    module = load(bench)
    items = [item(sample, gold_text(sample) if place % 2 == 0 else "") for place, sample in enumerate(module.EXAMPLE.samples)]
    entry = summary(bench, items)
    columns = item_columns(bench, items, entry, {})
    for key in entry:
        assert f"| `{key}` |" in DOC, key
    for protocol, weight in (("paper", "weight"), ("official", "official_weight"), ("lenient", "weight")):
        for metric, value in entry[protocol].items():
            assert f"`{metric}`" in DOC or (metric.startswith("acc_") and "`acc_<task>`" in DOC)
            pairs = zip(columns[weight], columns[f"{protocol}.{metric}"], strict=True)
            counted = [w * v for w, v in pairs if v is not None]
            assert 100 * sum(counted) / len(counted) == pytest.approx(value)
    assert columns["answered"].count(False) == entry["unanswered"]
    assert [is_answered(one) for one in items] == columns["answered"]
