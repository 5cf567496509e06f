"""The readers of the real data read the miniature, and name videos that are there."""

from pathlib import PurePosixPath

import pytest

from trlt.data.datasets import read_source
from trlt.lab.miniature.layout import write


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return write(tmp_path_factory.mktemp("miniature"), scale=0.05)


@pytest.mark.parametrize(
    ("purpose", "name", "task"),
    [
        ("train", "charades", "grounding"),
        ("train", "didemo", "grounding"),
        ("train", "nextqa", "multi_choice"),
        ("train", "nextgqa", "grounded_qa"),
        ("bench", "charades", "grounding"),
        ("bench", "activitynet", "grounding"),
        ("bench", "mvbench", "multi_choice"),
        ("bench", "nextgqa", "grounded_qa"),
    ],
)
def test_read_without_loss(small, purpose, name, task):
    place = getattr(small, purpose)[name]
    reading = read_source(name, place.annotations, purpose=purpose)
    assert len(reading.samples) == reading.read > 0
    assert not reading.dropped and not reading.repaired
    stems = {path.stem for path in place.videos.rglob("*")}
    for sample in reading.samples:
        assert sample.task == task
        assert PurePosixPath(sample.video).stem in stems
