"""The real annotation files through every check, where they stand beside the checkout."""

from __future__ import annotations

import pytest
from paths import SHARED

from trlt.data.preparation import KeptQuestions, Prepared, Rules, benchmark_keys, prepare_source
from trlt.recipe import Source

ANNOTATIONS = SHARED / "data" / "annotations"
pytestmark = pytest.mark.skipif(not ANNOTATIONS.is_dir(), reason="no real annotation files beside the checkout")


def prepared(name: str, folder: str, seen: KeptQuestions, **more: object) -> Prepared:
    split = more.pop("split", None)
    source = Source(dataset=name, annotations=str(ANNOTATIONS / folder), split=split if isinstance(split, str) else None)
    made = prepare_source(source, Rules(), seen, **more)  # type: ignore[arg-type]
    assert made.entry.read == made.entry.kept + made.entry.dropped.total()
    return made


def test_counts() -> None:
    seen = KeptQuestions()
    charades = prepared("charades", "charades_sta", seen).entry
    assert (charades.read, charades.dropped) == (12_408, {"reversed": 4, "duplicate": 141})
    nextgqa = prepared("nextgqa", "nextgqa", seen).entry
    assert (nextgqa.read, nextgqa.kept) == (3_358, 3_358) and not nextgqa.dropped
    didemo = prepared("didemo", "didemo", seen, split="val").entry
    assert (didemo.read, didemo.dropped) == (4_180, {"duplicate": 18})
    # NExT-GQA's questions are NExT-QA's, on the same videos, but another task.
    nextqa = prepared("nextqa", "nextqa", seen, split="val").entry
    assert (nextqa.read, nextqa.dropped) == (4_996, {"duplicate": 2}) and nextqa.repaired["duplicate_options"] == 3


def test_training_on_a_benchmarks_own_videos_is_noticed() -> None:
    leaks = benchmark_keys({"charades": ANNOTATIONS / "charades_sta"})
    assert leaks.videos == {"charades": 1_334}
    made = prepared("charades", "charades_sta", KeptQuestions(), leaks=leaks)
    assert not any(reason.startswith("in_") for reason in made.entry.dropped), "train and test share no video"
    tested = Source(dataset="charades", annotations=str(ANNOTATIONS / "charades_sta"), split="test")
    all_of_it = prepare_source(tested, Rules(allow_test=True), KeptQuestions(), leaks=leaks)
    assert not all_of_it.samples
    # Each line is on a benchmark's video, save those that the reader drops because training can't use their span.
    by_reader = all_of_it.entry.dropped.total() - all_of_it.entry.dropped["in_charades"]
    assert all_of_it.entry.dropped["in_charades"] + by_reader == 3_720 and by_reader < 10
