"""`docs/results.md` says what the code does: columns, fields, and the table of messy outputs."""

from __future__ import annotations

import re

import pytest
from paths import ROOT

from trlt.data.datasets import Item, gold_text, load, names
from trlt.evaluate.question_scores import COLUMNS, is_answered, item_columns
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


def messy():
    """(output, the four cells, why) of each line of the table."""
    for line in DOC.partition("<!-- messy outputs -->")[2].strip().splitlines()[2:]:
        output, *cells, why = (cell.strip() for cell in line.strip("|").split("|"))
        yield ("" if output == "(empty)" else output.strip("`")), cells, why


@pytest.mark.parametrize(("text", "cells", "why"), list(messy()))
def test_both_protocols_on_messy_outputs_are_as_documented(text, cells, why):
    found = []
    for bench, metric in METRICS:
        module, one = load(bench), item(SAMPLES[bench], text)
        found.append(f"{100 * module.values(one)[metric]:.0f} / {100 * module.official(one)[metric]:.0f}")
    assert found == cells and why


def test_the_table_shows_every_kind_of_mess():
    texts = [text for text, _, _ in messy()]
    assert {"", "B", "<answer> B"} <= set(texts)
    for pattern in (r"\d:\d\d", r"9\.0 to 3\.0", r"<answer> F ", r"The answer is"):
        assert any(re.search(pattern, text) for text in texts), pattern
    differing = {cell for _, cells, _ in messy() for cell in cells}
    assert differing == {"0 / 0", "0 / 100", "100 / 100"}, "the official rule reads more, never less"


def test_every_column_is_documented_with_its_type():
    part = DOC.partition("## items/")[2].partition("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in part.splitlines() if line.startswith("| `")]
    documented = {name: kind for names_, kind, _ in rows for name in re.findall(r"`([^`]+)`", names_)}
    metrics = {f"{kind}.<figure>": "float64" for kind in ("paper", "official")}
    assert documented == COLUMNS | metrics


@pytest.mark.parametrize("bench", names("bench"))
def test_fields_are_documented_and_columns_give_the_metrics(bench):
    module = load(bench)
    items = [item(sample, gold_text(sample) if place % 2 == 0 else "") for place, sample in enumerate(module.EXAMPLE.samples)]
    entry = summary(bench, items)
    columns = item_columns(bench, items, entry, {})
    for key in entry:
        assert f"| `{key}` |" in DOC, key
    for protocol, weight in (("paper", "weight"), ("official", "official_weight")):
        for metric, value in entry[protocol].items():
            assert f"`{metric}`" in DOC or (metric.startswith("acc_") and "`acc_<task>`" in DOC)
            pairs = zip(columns[weight], columns[f"{protocol}.{metric}"], strict=True)
            counted = [w * v for w, v in pairs if v is not None]
            assert 100 * sum(counted) / len(counted) == pytest.approx(value)
    assert columns["answered"].count(False) == entry["unanswered"]
    assert [is_answered(one) for one in items] == columns["answered"]
