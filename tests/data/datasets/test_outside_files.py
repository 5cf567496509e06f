"""Files of data sets outside of the package: how they are run, and what `trlt dataset check` finds in them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import ModuleType

import pytest
from paths import ROOT

from trlt.data.datasets import load, name_fault, open_dataset
from trlt.errors import DataError, UsageError
from trlt.evaluate.annotation_check import check_annotation
from trlt.evaluate.dataset_check import check_dataset

KITCHEN = (
    (ROOT / "docs/adding-a-dataset.md").read_text(encoding="utf-8").partition('title="kitchen.py"\n')[2].partition("```")[0]
)
OWN = """
def values(item):
    return {"mIoU": %s}


def official(item):
    return {"mIoU": %s}


def metrics(items):
    return benchmark_entry(items, paper=values, official=official, answered=is_answered)
"""


def with_metrics(paper: str, official: str = "paper_tiou(item)") -> str:
    text = KITCHEN.replace(
        "from trlt.data.kit import Collector", "from trlt.data.kit import benchmark_entry, is_answered, paper_tiou, Collector"
    )
    for name in ("metrics", "official", "values"):
        text = text.replace(f"from trlt.data.kit import {name} as {name}\n", "")
    return text + OWN % (paper, official)


def outside(folder: Path, text: str, name: str = "kitchen.py") -> ModuleType:
    (folder / name).write_text(text, encoding="utf-8")
    return open_dataset(str(folder / name))


def found(folder: Path, text: str) -> dict[str, str]:
    """Names of failed checks with the first fault of each."""
    return {one.name: one.faults[0] for one in check_dataset(outside(folder, text)) if one.faults}


def test_the_documented_file_is_whole(tmp_path: Path) -> None:
    assert found(tmp_path, KITCHEN) == {} == found(tmp_path, with_metrics("paper_tiou(item)"))


@pytest.mark.parametrize(
    ("old", "new", "check", "message"),
    [
        ("Origin: ", "From: ", "docstring", "has no paragraph `Origin: …`"),
        ("Protocol: ", "Scores: ", "docstring", "has no paragraph `Protocol: …`"),
        ("EXAMPLE = Example(", "SHOWN = Example(", "constants", "EXAMPLE: is missing"),
        (
            "spans=(Span(2.0, 6.5),)",
            "spans=(Span(2.0, 6.0),)",
            "example is read",
            "spans: states [[2.0, 6.0]], read gives [[2.0, 6.5]]",
        ),
        ('"end": 6.5', '"end": 1.5', "example is read", "no usable record of 1: 1 reversed (as kitchen_train.json[0])"),
        ('            video_key=f"kitchen:{video}",\n', "", "example is read", "video_key: states 'kitchen:k7', read gives ''"),
        (
            "return out.reading()",
            "out.read += 1; return out.reading()",
            "example is read",
            "counts 2 records, but keeps 1 and drops 0",
        ),
        (
            'source="kitchen", split=split',
            'source="kitchn", split=split',
            "example is read",
            "has the source 'kitchn'; it must be the file's name",
        ),
        (
            "split=split, task=TASK",
            "split='test', task=TASK",
            "example is read",
            "has the split 'test', but 'train' was asked for",
        ),
        ("return out.reading()", "return list(out.samples.values())", "example is read", "gives a list, not a Reading"),
        ('"sentence", str, where', '"sentense", str, where', "example is read", "no field 'sentense'; found video, sentence"),
    ],
)
def test_faults_of_reading_are_found(tmp_path: Path, old: str, new: str, check: str, message: str) -> None:
    assert old in KITCHEN
    assert message in found(tmp_path, KITCHEN.replace(old, new))[check]


def test_reading_that_depends_on_what_was_read_before_is_found(tmp_path: Path) -> None:
    text = KITCHEN.replace("FILES = {", "SEEN = []\nFILES = {").replace('{index}"', '{index}" + "again" * len(SEEN)')
    text = text.replace("    return out.reading()", "    SEEN.append(files)\n    return out.reading()")
    assert "('kitchen:train:0'): ids and order may not depend" in found(tmp_path, text)["reading twice gives the same"]


@pytest.mark.parametrize(
    ("suffix", "text"),
    [
        ("jsonl", '{"video": "k7", "sentence": "she opens the  fridge", "start": 2, "end": 6.5, "length": 30}\\n'),
        ("parquet", '[{"video": "k7", "sentence": "she opens the  fridge", "start": 2, "end": 6.5, "length": 30.0}]'),
        ("tsv", "video\\tsentence\\tstart\\tend\\tlength\\nk7\\tshe opens the  fridge\\t2\\t6.5\\t30\\n"),
    ],
)
def test_annotation_in_other_files_is_read(tmp_path: Path, suffix: str, text: str) -> None:
    record = '[{"video": "k7", "sentence": "she opens the  fridge", "start": 2, "end": 6.5, "length": 30}]'
    assert record in KITCHEN
    other = (
        KITCHEN.replace(record, text).replace('_train.json"', f'_train.{suffix}"').replace('_test.json"', f'_test.{suffix}"')
    )
    if suffix == "tsv":
        other = other.replace("get(record, key, (int, float), where)", "get(record, key, str, where)")
    assert found(tmp_path, other) == {}


@pytest.mark.parametrize(
    ("paper", "official", "check", "message"),
    [
        ("0.5 * paper_tiou(item)", "paper_tiou(item)", "gold answers score 100", "paper mIoU is 50, not 100"),
        ("1.0", "paper_tiou(item)", "wrong answers score 0", "paper mIoU is 100, not 0"),
        ("1.0", "paper_tiou(item)", "no answers score 0", "paper mIoU is 100, not 0"),
        (
            "paper_tiou(item)",
            "100 * paper_tiou(item)",
            "gold answers score 100",
            "mIoU: gives 100.0; a question's metric is a number from 0 to 1",
        ),
        (
            "float(item.answer.span.start == 2)",
            "paper_tiou(item)",
            "no answers score 0",
            "in values: AttributeError: 'NoneType' object",
        ),
        ("float(len(item.text) < 200 or 2)", "paper_tiou(item)", "values are from 0 to 1", "mIoU: gives 2.0"),
    ],
)
def test_faults_of_metrics_are_found(tmp_path: Path, paper: str, official: str, check: str, message: str) -> None:
    assert message in found(tmp_path, with_metrics(paper, official))[check]


def test_metrics_that_lean_on_the_order_or_on_questions_are_found(tmp_path: Path) -> None:
    first = with_metrics("paper_tiou(item)").replace("return benchmark_entry(items,", "return benchmark_entry(items[:1],")
    more = first.replace(
        '"length": 30}]', '"length": 30}, {"video": "k8", "sentence": "b", "start": 1, "end": 2, "length": 3}]'
    )
    assert "mIoU is 0, and 100.0 with the questions in another order" in check_of(tmp_path, more, "metrics follow the values")
    empty = '    if not items:\n        return {"n": 0, "unanswered": 0, "paper": {}, "official": {}, "by": {}}\n'
    always = with_metrics("paper_tiou(item)").replace("    return benchmark_entry(", f"{empty}    return benchmark_entry(")
    assert "metrics([]) must raise DataError" in found(tmp_path, always)["no question at all is an error"]


def check_of(folder: Path, text: str, name: str) -> str:
    """The first fault of a check, of a file whose example states what it reads."""
    module = outside(folder, text)
    example = module.EXAMPLE
    made = module.read({"kitchen_train.json": json.loads(example.files["kitchen_train.json"])}, "train", "train")
    module.EXAMPLE = type(example)(example.split, example.purpose, example.files, made.samples)
    return next(one.faults[0] for one in check_dataset(module) if one.name == name)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('LICENSE = "Apache-2.0"\n', "", "kitchen.py:43: when it is run: NameError"),
        ('WHERE = "nowhere: it is invented"\n', "", "WHERE: is missing; write a text: where to get its files"),
        (
            'TASK: Task = "grounding"',
            'TASK = "grounded"',
            "kitchen.py:34: when it is run: sample 'kitchen:train:0': task: 'grounded' is unknown",
        ),
        ('FILES = {"train"', 'FILES = {"training"', "TRAIN_SPLIT: 'train' is no split of FILES (training, test)"),
        ("def read(", "def reads(", "read: is missing; write `def read(files, split, purpose)`"),
        ("from trlt.data.kit import values as values\n", "", "values: is missing; a benchmark has a function of this name"),
        ("import Collector,", "import Colector,", "kitchen.py:13: when it is run: ImportError"),
        ("import Collector,", "import helper, Collector,", "ImportError"),
        (
            "from __future__",
            "import kitchen_helper\nfrom __future__",
            "not Python (from __future__ imports must occur at the beginning",
        ),
        ("for index, record in", "for index record in", "kitchen.py:54: not Python (invalid syntax"),
        ('("kitchen_test.json",)', '"kitchen_test.json"', "FILES: is {"),
    ],
)
def test_a_file_that_describes_no_data_set_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in KITCHEN
    with pytest.raises(DataError) as caught:
        outside(tmp_path, KITCHEN.replace(old, new))
    assert message in str(caught.value)


def test_pairs_and_lists_are_as_good_as_spans_and_tuples(tmp_path: Path) -> None:
    pairs = KITCHEN.replace("spans=(repair.span,)", "spans=[[start, end]]")
    assert pairs != KITCHEN and found(tmp_path, pairs) == {}
    message = found(tmp_path, KITCHEN.replace("float(get(record, key, (int, float), where))", "float('x' + key)"))[
        "example is read"
    ]
    assert "could not convert string to float: 'xstart'; `out.drop(reason, where)` leaves a record out" in message


def test_names_of_files(tmp_path: Path) -> None:
    for name in ("charades.py", "all.py", "my bench.py"):
        with pytest.raises(UsageError, match="rename the file"):
            outside(tmp_path, KITCHEN, name)
    with pytest.raises(DataError, match=r"can't be read \(No such file or directory\); did you mean kitchen.py"):
        outside(tmp_path, KITCHEN) and open_dataset(str(tmp_path / "kitchn.py"))


def test_an_edited_file_is_run_anew(tmp_path: Path) -> None:
    first = outside(tmp_path, KITCHEN)
    assert open_dataset(str(tmp_path / "kitchen.py")) is first
    assert outside(tmp_path, KITCHEN.replace('"Kitchen"', '"Kitchem"')).TITLE == "Kitchem", "of the same size, within a second"


def test_gold_that_scores_less_than_another_answer_is_found(tmp_path: Path) -> None:
    records = (
        '[{"video": "k1", "sentence": "a", "start": 0, "end": 2, "length": 3}, '
        '{"video": "k2", "sentence": "b", "start": 1, "end": 2, "length": 3}]'
    )
    (tmp_path / "kitchen_test.json").write_text(records)
    upside_down = (
        with_metrics("1 - paper_tiou(item)")
        .replace("def official(item):", "def other(item):")
        .replace("def metrics", "official = values\n\n\ndef metrics")
    )
    real = check_annotation(outside(tmp_path, upside_down), tmp_path, None)
    [fault] = [one for one in real.checks if one.faults]
    assert fault.name == "gold answers score most" and "have 50.00, gold answers 0.00" in fault.faults[0]
    whole = check_annotation(outside(tmp_path, KITCHEN), tmp_path, None)
    assert not [one for one in whole.checks if one.faults] and whole.split == "test"
    assert whole.baselines["whole video, first option"]["paper"]["mIoU"] == pytest.approx(100 * (2 / 3 + 1 / 3) / 2)
    assert whole.baselines["answers of other questions"]["official"]["mIoU"] == pytest.approx(50)
    assert whole.baselines["gold answers"]["paper"]["R1@0.7"] == 100


# -- TVGBench once more, in a file as a user would write it, by another name -------------------------------------------------


def test_a_real_benchmark_outside_of_the_package(annotations: Path) -> None:
    """The file of TVGBench as a user would write it agrees with the one that ships, whose name it couldn't have."""
    assert name_fault("tvgbench") == "'tvgbench' is the name of a data set of trlt"
    module = open_dataset(str(Path(__file__).parent / "outside/grounding_800.py"))
    assert not [one for one in check_dataset(module) if one.faults]
    real = check_annotation(module, annotations / "tvgbench", None)
    assert len(real.reading.samples) == real.reading.read == 800 and not [one for one in real.checks if one.faults]
    assert set(real.baselines["gold answers"]["official"].values()) == {98.625}
    whole = real.baselines["whole video, first option"]
    assert whole["official"] == pytest.approx({"mIoU": 17.40, "R1@0.3": 19.875, "R1@0.5": 3.875, "R1@0.7": 0.5}, abs=0.005)
    assert whole["paper"]["R1@0.5"] == 4.0, "at least, not above"
    shipped = check_annotation(load("tvgbench"), annotations / "tvgbench", None)
    assert shipped.baselines == real.baselines


GROUPED = """
def group(sample):
    return %s


def together(items, rows):
    return %s


def values(item):
    return {"mIoU": paper_tiou(item)}


official = values


def metrics(items):
    rows = dict(zip(map(id, items), together(items, [values(item) for item in items])))
    return benchmark_entry(items, paper=lambda item: rows[id(item)], official=official, answered=is_answered, group=group)
"""


def test_groups_and_metrics_that_questions_have_together(tmp_path: Path) -> None:
    base = with_metrics("0").partition("\ndef values(item)")[0]
    fine = base + GROUPED % ("sample.video", '[row | {"all": min(one["mIoU"] for one in rows)} for row in rows]')
    assert not found(tmp_path, fine)
    for group, together, message in (
        ("3", "rows", "group: gives 3; it must give a text"),
        ("sample.video", "rows[1:]", "together: gives .*; it must give a list with one dict of metrics per question"),
        (
            "sample.video",
            '[{"all": 7.0} for row in rows]',
            "together: all: gives 7.0; a question's metric",
        ),
    ):
        checks = found(tmp_path, base + GROUPED % (group, together))
        assert any(re.search(message, fault) for fault in checks.values()), (message, checks)
