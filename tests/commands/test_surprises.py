"""Figures that are right and look wrong say why, where they stand; on the command line, over predictions."""

from __future__ import annotations

import json
import re

import pytest
from rich.console import Console

from trlt.data.datasets import load
from trlt.report import gain_table

MVBENCH = "official acc is 0.0 beside 100.0: MVBench's rule reads a letter, such as B or (b), from the first word"
UNTAGGED = (
    "official acc is 100.0 beside 0.0: of an output without the tags that were asked for, the official rule reads the whole"
)


@pytest.fixture
def mvbench(tmp_path):
    """Ten questions whose right answer is the second option."""
    folder = tmp_path / "mvbench"
    folder.mkdir()
    records = [{"question": "?", "candidates": ["red", "blue"], "answer": "blue", "video": f"v{i}.mp4"} for i in range(10)]
    (folder / "action_count.json").write_text(json.dumps(records))
    return folder


@pytest.fixture
def evaluated(trlt, write_jsonl, tmp_path):
    """`evaluated("mvbench", folder, texts, "out")`: what the terminal shows, in one line."""

    def go(bench, folder, texts, out):
        write_jsonl(tmp_path / "p.jsonl", [{"id": id, "text": text} for id, text in texts.items()])
        shown = trlt("eval", "-b", bench, "--annotations", folder, "--predictions", "p.jsonl", "--out", out)
        return " ".join(shown.split())

    return go


def on_page(path):
    """Text of the page's results, in one line, and that of its folded part alone."""
    section = re.search(r'<section id="results".*?</section>', path.read_text(), re.S)[0]
    plain = [re.sub(r"<[^>]+>", " ", part).replace("&#x27;", "'") for part in (section, section[section.index("<details") :])]
    return [" ".join(part.split()) for part in plain]


def test_an_official_value_far_from_the_papers_names_its_rule(evaluated, mvbench, trlt, tmp_path):
    words = {f"action_count:{i}": "<answer> blue </answer>" for i in range(10)}
    assert MVBENCH in evaluated("mvbench", mvbench, words, "words")
    assert MVBENCH in (tmp_path / "words/results.md").read_text()
    trlt("report", "words")
    assert all(MVBENCH in text for text in on_page(tmp_path / "words/report.html")), "beside the official metrics, folded"
    letters = {f"action_count:{i}": "<answer> B </answer>" for i in range(10)}
    assert "beside" not in evaluated("mvbench", mvbench, letters, "letters")
    assert UNTAGGED in evaluated("mvbench", mvbench, dict.fromkeys(words, "B"), "bare")


def test_outputs_without_an_answer_are_told_of(evaluated, mvbench):
    texts = {f"action_count:{i}": "well" if i < 5 else "<answer> A </answer>" for i in range(10)}
    told = "mvbench: 5 of 10 outputs hold no answer in the form that was asked for, and count as wrong; rows/mvbench.jsonl"
    assert told in evaluated("mvbench", mvbench, texts, "half")
    assert "outputs hold no answer" not in evaluated(
        "mvbench", mvbench, texts | {"action_count:0": "<answer> A </answer>"}, "less"
    )


def test_a_recall_that_nothing_reaches_and_an_interval_of_no_width(evaluated, bench, trlt, tmp_path):
    """IoUs of 0.5 on all four queries: 1 of 2 s and so on; what all videos agree on has no interval."""
    texts = {
        "AAAAA:0": "<answer> 0.0 to 2.0 </answer>",
        "AAAAA:1": "<answer> 0.0 to 2.0 </answer>",
        "BBBBB:2": "<answer> 0.5 to 2.5 </answer>",
        "BBBBB:3": "<answer> 1.0 to 2.0 </answer>",
    }
    shown = evaluated("charades", bench, texts, "half")
    assert "charades: R1@0.7 0.0: no answer overlaps the gold span that far" in shown
    assert "│ charades │ mIoU │ 50.0 │ - │ 50.0 │ 50.0 │ 4 │ 0 │" in shown, "not 50.0 to 50.0"
    assert "mIoU, R1@0.3, R1@0.5, R1@0.7: no interval, since there is one video only or all videos agree" in shown
    assert "50.0 to 50.0" not in (tmp_path / "half/results.md").read_text()
    trlt("report", "half")
    whole, _ = on_page(tmp_path / "half/report.html")
    assert "50.0 no interval" in whole and "50.0 to 50.0" not in whole and "R1@0.7 0.0: no answer overlaps" in whole
    both = " ".join(trlt("compare", "half", "half").split())
    assert "charades: R1@0.7 0.0 in both: there is nothing to compare" in both


def test_the_denominator_of_a_single_task_is_its_own(evaluated, tmp_path):
    """The benchmark's own example: a question of each of three tasks."""
    folder = tmp_path / "tempcompass"
    folder.mkdir()
    for name, text in load("tempcompass").EXAMPLE.files.items():
        (folder / name).write_text(text)
    shown = evaluated("tempcompass", folder, {"yes_no:9000001:speed:0": "<answer> no </answer>"}, "one")
    assert "│ acc_yes_no │ 100.0 │ - │ 100.0 │ 100.0 │ 1 │ │" in shown
    assert "│ tempcompass │ acc │ 33.3 │ - │ 33.3 │ 33.3 │ 3 │ 2 │" in shown
    entry = json.loads((tmp_path / "one/results.json").read_text())
    console = Console(width=140)
    with console.capture() as captured:
        console.print(gain_table(entry, entry))
    assert "│ tempcompass │ acc_yes_no │ 100.0 │ 100.0 │ +0.0 │ 1 │" in " ".join(captured.get().split())
