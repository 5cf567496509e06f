"""Several outputs per question, by hand: pass@k by enumeration, the majority, and their part of an evaluation."""

from __future__ import annotations

import json
from itertools import combinations
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_clips import choice, event

from trlt.commands._output import Output
from trlt.commands.compare import compare
from trlt.commands.eval import evaluate
from trlt.errors import DataError
from trlt.evaluate.majority import majority
from trlt.evaluate.question_scores import read_items
from trlt.recipe import Recipe
from trlt.report.page.results import EvalRun, results_section
from trlt.stats.best_of import best_of
from trlt.task.answer import parse

QUIET = Output(json_mode=True)


@given(st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=1, max_size=7))
def test_the_best_of_k_is_the_mean_over_all_subsets(values):
    for k in range(1, len(values) + 1):
        assert best_of(values, k) == pytest.approx(fmean(max(some) for some in combinations(values, k)))
    with pytest.raises(ValueError, match="the best of 0"):
        best_of(values, 0)


def test_pass_at_k_is_that_of_chen_et_al():
    assert best_of([1, 0, 0, 0, 0], 2) == pytest.approx(0.4)  # 1 - C(4, 2) / C(5, 2)
    assert best_of([1, 1, 0, 0, 0], 3) == pytest.approx(0.9)  # 1 - C(3, 3) / C(5, 3)


def read(task, said, **more):
    return parse(f"<answer> {said} </answer>", task=task, think=False, options=more.get("options"), answer_format="letter")


@pytest.mark.parametrize(
    ("said", "expected"),
    [("BAAB", (0, 0.5)), ("ABBA", (0, 0.5)), ("CABB", (2, 0.5)), ("AB?", (0, 1 / 3)), ("??", (0, 0)), ("?B", (1, 0.5))],
)
def test_the_most_frequent_option_and_ties_go_to_the_first(said, expected):
    sample = choice("c", "v.mp4")
    answers = [read("multi_choice", letter, options=sample.options) for letter in said]
    assert majority(sample, answers) == pytest.approx(expected)


def test_the_medoid_of_spans():
    answers = [read("grounding", said) for said in ("0 to 1", "1 to 3", "1 to 2", "1 to 2.5", "none")]
    # IoUs: of (1, 3) 1/2 and 3/4, of (1, 2) 1/2 and 2/3, of (1, 2.5) 3/4 and 2/3; the others are at 0.
    assert majority(event("e", "v.mp4"), answers) == pytest.approx((3, (3 / 4 + 2 / 3) / 4))


def test_the_median_of_numbers_and_the_most_frequent_of_other_texts():
    number = choice("n", "v.mp4", options=None, answer="4", answer_index=None)
    answers = [read("multi_choice", said) for said in ("9", "1", "3", "?", "1,000")]
    assert majority(number, answers) == pytest.approx((2, 0.2)), "3 of 1, 3, 9 and 1000"
    words = choice("w", "v.mp4", options=None, answer="a cat", answer_index=None)
    answers = [read("multi_choice", said) for said in ("a dog", "A  cat", "a cat")]
    assert majority(words, answers) == pytest.approx((1, 2 / 3))


@pytest.fixture
def scored(tmp_path):
    """`scored("a", texts)` evaluates outputs on four queries about two videos."""
    bench = tmp_path / "bench"
    bench.mkdir()
    spans = ["AAAAA 0.0 1.0##a", "AAAAA 1.0 2.0##b", "BBBBB 0.0 1.0##c", "BBBBB 1.0 3.0##d"]
    (bench / "charades_sta_test.txt").write_text("\n".join(spans) + "\n")
    (bench / "Charades_v1_test.csv").write_text("id,length\nAAAAA,2.0\nBBBBB,3.0\n")

    def go(name, outputs):
        key = "text" if all(isinstance(one, str) for one in outputs.values()) else "texts"
        path = tmp_path / f"{name}.jsonl"
        path.write_text("".join(json.dumps({"id": id, key: said}) + "\n" for id, said in outputs.items()))
        evaluate(["charades"], annotations=bench, predictions=path, out=tmp_path / name, no_page=True, output=QUIET)
        return json.loads((tmp_path / name / "results.json").read_text())["benchmarks"]["charades"]

    return go


def said(*spans):
    return [f"<answer> {one} </answer>" for one in spans]


OUTPUTS = {
    "AAAAA:0": said("0 to 1", "0 to 1", "1 to 2"),
    "AAAAA:1": said("0 to 1", "0 to 1", "1 to 2"),
    "BBBBB:2": said("0 to 1", "0 to 2", "0 to 1"),
}
"""IoUs 1, 1, 0; 0, 0, 1; 1, 0.5, 1; and none for the last query."""


def test_an_evaluation_has_means_pass_at_k_and_majority(scored, tmp_path):
    entry = scored("several", OUTPUTS)
    found = entry["samples"]
    assert entry["n"] == 4 and entry["missing_predictions"] == 1 and found["k"] == 3 and found["unread_outputs"] == 3
    mean = 100 * (2 / 3 + 1 / 3 + 2.5 / 3) / 4
    assert entry["paper"]["mIoU"] == pytest.approx(mean) and entry["paper"]["R1@0.7"] == pytest.approx(100 * (5 / 3) / 4)
    assert entry["official"]["mIoU"] == pytest.approx(mean) and entry["lenient"]["mIoU"] == pytest.approx(mean)
    assert found["mean"]["mIoU"] == {"value": entry["paper"]["mIoU"], "ci95": entry["ci95"]["mIoU"]}
    # Video A is at 1/2, B at 5/12, whatever else is drawn.
    assert entry["ci95"]["mIoU"] == pytest.approx([100 * 5 / 12, 50])
    assert found["pass@1"]["mIoU"]["value"] == pytest.approx(mean)
    assert found["pass@2"]["mIoU"]["value"] == pytest.approx(100 * (1 + 2 / 3 + 1) / 4)
    assert found["pass@3"]["mIoU"]["value"] == 75 and found["pass@3"]["R1@0.7"]["ci95"] == [50, 100]
    assert found["majority"]["mIoU"]["value"] == 50, "right, wrong, right, none"
    # Agreement: 1/2 (of 1 and 0), 1/2, 3/4 (of 1 and 0.5), 0.
    assert found["agreement"]["mean"] == pytest.approx(1.75 / 4)
    bins = {one["from"]: (one["n"], one["majority"].get("mIoU")) for one in found["agreement"]["bins"]}
    assert bins == {0: (1, 0), 0.25: (0, None), 0.5: (2, 50), 0.75: (1, 100), 1: (0, None)}
    assert entry["protocol"]["decoding"]["samples_per_question"] == 3
    columns = read_items(tmp_path / "several/items/charades.parquet")
    assert columns["paper.mIoU"] == pytest.approx([2 / 3, 1 / 3, 2.5 / 3, 0]) and columns["majority"] == [0, 0, 0, 0]
    assert columns["std.mIoU"] == pytest.approx([3**-0.5, 3**-0.5, 12**-0.5, 0]) and columns["best.mIoU"] == [1, 1, 1, 0]
    assert json.loads(columns["texts"][0]) == OUTPUTS["AAAAA:0"] and columns["agreement"] == [0.5, 0.5, 0.75, 0]
    shown = results_section([EvalRun("several", {"benchmarks": {"charades": entry}})], [], paper=False)
    assert "mIoU pass@3" in shown and "44%" in shown and "50.0 (n = 2)" in shown and "100.0 (n = 1)" in shown
    table = (tmp_path / "several/results.md").read_text()
    assert "mIoU pass@3 | 75.0" in table and "mIoU majority | 50.0" in table


def test_one_output_is_as_before_and_comparisons_are_of_means(scored, tmp_path):
    entry = scored("one", {id: texts[0] for id, texts in OUTPUTS.items()})
    assert "samples" not in entry and "samples_per_question" not in json.dumps(entry)
    assert "texts" not in read_items(tmp_path / "one/items/charades.parquet")
    listed = scored("listed", {id: texts[:1] for id, texts in OUTPUTS.items()})
    assert listed == entry
    scored("several", OUTPUTS)
    found = compare(tmp_path / "one", tmp_path / "several", output=QUIET)["benchmarks"]["charades"]
    assert found["metrics"]["mIoU"]["difference"] == pytest.approx(100 * (11 / 6 - 2) / 4)
    assert found["warnings"] == ["decoding.samples_per_question: 1 in A, 3 in B"]


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["x"], r"'AAAAA:1' has 1 outputs, those before have 3; give as many of each"),
        ([], 'or "texts" with a list of them'),
        (["x", 1, "y"], 'or "texts" with a list of them'),
    ],
)
def test_faulty_lists_are_named(scored, texts, message):
    with pytest.raises(DataError, match=message):
        scored("faulty", OUTPUTS | {"AAAAA:1": texts})


def test_near_greedy_samples_are_refused():
    with pytest.raises(ValueError, match=r"eval.samples_per_question \(4\) asks for different answers, and eval.temperature"):
        Recipe.model_validate({"eval": {"samples_per_question": 4}})
    Recipe.model_validate({"eval": {"samples_per_question": 4, "temperature": 0.7, "top_p": 0.9}})
