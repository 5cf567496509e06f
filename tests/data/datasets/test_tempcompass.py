"""TempCompass: hand-computed metrics, each official rule, and the real files."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from dataset_helpers import item, write_files

from trlt.data.datasets import Reading, gold_text, read_source
from trlt.data.datasets.tempcompass import metrics, official
from trlt.errors import DataError
from trlt.evaluate.summary import summary
from trlt.task.answer import LETTERS
from trlt.task.sample import Sample

TASKS = {"multi-choice": 1_580, "yes_no": 2_453, "caption_matching": 1_503}


def sample(task: str, number: int = 0, dim: str = "order", gold: int = 1, **meta: Any) -> Sample:
    options = {"yes_no": ("yes", "no"), "caption_matching": ("A man bows.", "A man sits.")}.get(
        task, ("a jump", "a bow", "a song")
    )
    return Sample(
        id=f"{task}:v{number}:{dim}:0",
        source="tempcompass",
        split="test",
        task="multi_choice",
        video=f"v{number}.mp4",
        question="q",
        options=options,
        answer=options[gold],
        answer_index=gold,
        meta={"task": task, "dim": dim, **meta},
    )


def matching(*labels: str) -> Sample:
    return sample("caption_matching", labels=list(labels))


def read(folder: Path, split: str | None = None) -> Reading:
    return read_source("tempcompass", folder, split, purpose="bench")


def test_metrics_by_hand() -> None:
    items = [
        item(sample("multi-choice", 0), "<answer> B </answer>"),
        item(sample("multi-choice", 1, "speed"), "<answer> A </answer>"),
        item(sample("yes_no", 2), "<answer> no </answer>"),
        item(sample("yes_no", 3), "No, he does not."),  # untagged: right by the official rule only
        item(sample("yes_no", 4, "speed"), ""),
        item(matching("Sentence A", "Sentence B"), "<answer> (B) </answer>"),  # brackets: wrong by the official rule
        item(sample("yes_no", 5), "<answer> B </answer>"),
        item(sample("yes_no", 6), "<answer> A </answer>"),
    ]
    entry = summary("tempcompass", items, bootstrap=100)
    assert entry["unanswered"] == 2
    assert entry["paper"] == {
        "acc": 50.0,
        "acc_multi-choice": 50.0,
        "acc_micro_without_captioning": 50.0,
        "acc_yes_no": 40.0,
        "acc_caption_matching": 100.0,
    }
    assert entry["official"] == {
        "acc": 50.0,
        "acc_multi-choice": 50.0,
        "acc_micro_without_captioning": 50.0,
        "acc_yes_no": 60.0,
        "acc_caption_matching": 0.0,
    }
    assert set(entry["ci95"]) == set(entry["paper"]) and entry["ci95"]["acc_caption_matching"] == [100.0, 100.0]
    assert entry["by"]["task"]["yes_no"] == {"n": 5, "acc": 40.0, "official_acc": 60.0}
    assert entry["by"]["dim"]["speed"] == {"n": 2, "acc": 0.0, "official_acc": 0.0}
    assert entry["by"]["dim"]["order"]["n"] == 6


def test_captioning_counts_apart() -> None:
    items = [item(sample("yes_no", 0), "<answer> B </answer>")]
    items += [item(sample("captioning", n), f"<answer> {'A' if n else 'B'} </answer>") for n in range(4)]
    entry = summary("tempcompass", items, bootstrap=100)
    assert set(entry["ci95"]) == set(entry["paper"])
    assert entry["paper"] == {
        "acc": 40.0,
        "acc_yes_no": 100.0,
        "acc_micro_without_captioning": 100.0,
        "acc_captioning": 25.0,
        "acc_micro": 40.0,
    }


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("B. a bow", True),
        ("B", True),
        (" B</s>", True),
        ("B.", True),
        ("B)", True),
        ("B) whatever follows", True),
        ("<answer> B </answer> A", True),
        ("b", False),
        ("(B)", False),
        ("Because", False),
        ("a bow", False),
        ("A. a bow", False),
        ("The answer is B.", False),
        ("<answer> A </answer> B", False),
        ("", False),
    ],
)
def test_multi_choice_rule(text: str, right: bool) -> None:
    assert official(item(sample("multi-choice"), text))["acc"] == right
    assert official(item(sample("captioning"), text))["acc"] == right


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("no", True),
        ("No.", True),
        ("NO, it isn't", True),
        ("not really", True),  # the official rule looks at the start only
        ("<answer> no </answer> yes", True),
        ("B", True),  # the letter that our prompt gives it
        ("B.", True),
        ("yes", False),
        ("A", False),
        ("A. no", False),
        ("It does not", False),
        ("", False),
    ],
)
def test_yes_no_rule(text: str, right: bool) -> None:
    assert official(item(sample("yes_no"), text))["acc"] == right


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("Option 2: A man sits.", True),
        ("A man sits.", True),
        ("(2) A man sits.", True),
        ("Option 2", True),
        ("Option 2.", True),
        ("2", True),
        ("2.", True),
        ("B", True),  # the letter that our prompt gives it
        ("<answer> B </answer>", True),
        ("Option 1", False),
        ("1", False),
        ("A", False),
        ("A man bows.", False),
        ("a man sits.", False),
        ("Option 2: A man bows.", False),
        ("B. A man sits.", False),
        ("", False),
        (".", False),
    ],
)
def test_matching_rule(text: str, right: bool) -> None:
    assert official(item(matching("Option 1", "Option 2"), text))["acc"] == right


def test_matching_labels_with_letters() -> None:
    one = matching("Caption A", "Caption B")
    assert all(official(item(one, text))["acc"] == 1 for text in ("Caption B", "B", "Caption B: A man sits."))
    assert all(official(item(one, text))["acc"] == 0 for text in ("Caption A", "A", "Sentence B", "2"))


def test_captioning_takes_its_own_question_or_the_first(tmp_path: Path) -> None:
    question = {"question": "What is it?\nA. a jump\nB. a bow", "answer": "A. a jump"}
    later = {"question": "Which is it?\nA. a bow\nB. a jump", "answer": "B. a jump"}
    caption = {"question": "Tell it.\nInformation A: x\nGenerated Caption:", "answer": "B. a jump"}
    own = caption | {"mc_question": "Who?\nA. a man\nB. a cat", "mc_answer": "B. a cat"}
    write_files(
        tmp_path,
        {
            "multi-choice.json": json.dumps({"v": {"action": [question, later]}}),
            "captioning.json": json.dumps({"v": {"action": [caption, own], "speed": [caption]}}),
        },
    )
    reading = read(tmp_path, "captioning")
    assert [one.id for one in reading.samples] == ["captioning:v:action:0", "captioning:v:action:1"]
    assert [(one.question, one.answer_index) for one in reading.samples] == [("What is it?", 0), ("Who?", 1)]
    assert all(one.meta["caption_prompt"] == caption["question"] for one in reading.samples)
    assert reading.dropped == {"no_mc_question": 1} and "judge" in reading.notes[0]


def test_faults_are_named(tmp_path: Path) -> None:
    files = {
        "multi-choice.json": '{"v": {"order": [{"question": "Which?\\nA. x\\nB. y", "answer": "D. x"}]}}',
        "yes_no.json": '{"v": {"order": [{"question": "Is it?", "answer": "maybe"}, {"question": "Is it?", "answer": "yes"}]}}',
        "caption_matching.json": '{"v": {"order": [{"question": "Which?\\n: left.\\n: right.", "answer": ": right."}]}}',
    }
    reading = read(write_files(tmp_path, files))
    assert reading.dropped == {"letter_out_of_range": 1, "answer_not_an_option": 2} and reading.read == 4
    with pytest.raises(DataError, match=r"yes_no.json: v: order: expected list"):
        read(write_files(tmp_path, files | {"yes_no.json": '{"v": {"order": {}}}'}))
    with pytest.raises(DataError, match="expected an object of videos"):
        read(write_files(tmp_path, files | {"yes_no.json": "[1]"}))


def test_real_files(annotations: Path) -> None:
    reading = read(annotations / "tempcompass")
    assert len(reading.samples) == reading.read == 5_536 and not reading.dropped and not reading.repaired
    assert Counter(one.meta["task"] for one in reading.samples) == TASKS
    assert len({one.video for one in reading.samples}) == 410
    gold = summary("tempcompass", [item(one, gold_text(one)) for one in reading.samples], bootstrap=10)
    assert gold["unanswered"] == 0 and set(gold["paper"].values()) == set(gold["official"].values()) == {100.0}
    assert {task: part["n"] for task, part in gold["by"]["task"].items()} == TASKS
    assert gold["by"]["dim"]["action"]["n"] == 338 + 592 + 297


def test_real_files_with_the_next_gold_letter(annotations: Path) -> None:
    samples = read(annotations / "tempcompass").samples
    places = [one.answer_index or 0 for one in samples]
    said = places[1:] + places[:1]
    hits = [place == other for place, other in zip(places, said, strict=True)]
    items = [item(one, f"<answer> {LETTERS[place]} </answer>") for one, place in zip(samples, said, strict=True)]
    entry = metrics(items)
    assert entry["paper"]["acc"] == entry["official"]["acc"] == pytest.approx(100 * sum(hits) / 5_536)
    for task, count in TASKS.items():
        right = sum(hit for hit, one in zip(hits, samples, strict=True) if one.meta["task"] == task)
        assert entry["paper"][f"acc_{task}"] == pytest.approx(100 * right / count)


def test_the_real_answers_as_they_stand_are_officially_right(annotations: Path) -> None:
    raw = {
        f"{task}:{video}:{dim}:{index}": record["answer"]
        for task in TASKS
        for video, dims in json.loads((annotations / "tempcompass" / f"{task}.json").read_text()).items()
        for dim, records in dims.items()
        for index, record in enumerate(records)
    }
    entry = metrics([item(one, raw[one.id]) for one in read(annotations / "tempcompass").samples])
    assert set(entry["official"].values()) == {100.0} and set(entry["paper"].values()) == {0.0} and entry["unanswered"] == 5_536


def test_real_captioning(annotations: Path) -> None:
    reading = read(annotations / "tempcompass", "captioning")
    assert len(reading.samples) == reading.read == 2_004 and not reading.dropped
    assert all(one.meta["caption_prompt"].endswith("Generated Caption:") for one in reading.samples)
    both = [*read(annotations / "tempcompass").samples, *reading.samples]
    entry = metrics([item(one, gold_text(one) if one.meta["task"] == "captioning" else "") for one in both])
    assert entry["n"] == 7_540 and entry["paper"]["acc_captioning"] == 100.0
    assert entry["official"]["acc_micro"] == pytest.approx(100 * 2_004 / 7_540)
    assert entry["paper"]["acc_micro_without_captioning"] == 0.0


def test_all_tasks_together_give_the_leaderboards_average(annotations: Path) -> None:
    """The judge's answers are predictions like the others: micro over 7,540 questions."""
    samples = read_source("tempcompass", annotations / "tempcompass", "all", purpose="bench").samples
    assert len(samples) == 7_540 and len({sample.id for sample in samples}) == 7_540
    # A judge who finds every caption wrong, and everything else right.
    texts = ["" if sample.meta["task"] == "captioning" else gold_text(sample) for sample in samples]
    entry = summary("tempcompass", [item(sample, text) for sample, text in zip(samples, texts, strict=True)], bootstrap=100)
    assert entry["paper"]["acc_captioning"] == 0.0 and entry["paper"]["acc_micro_without_captioning"] == 100.0
    assert entry["paper"]["acc_micro"] == pytest.approx(100 * 5_536 / 7_540) == entry["official"]["acc_micro"]
