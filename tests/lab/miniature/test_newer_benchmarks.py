"""The newer benchmarks of the miniature as the readers of the real files read them."""

from __future__ import annotations

import pytest

from trlt.data.datasets import read_source
from trlt.lab.miniature.layout import layout, parts

NAMES = {
    "timelens_charades": "grounding",
    "timelens_activitynet": "grounding",
    "timelens_qvhighlights": "grounding",
    "qvhighlights": "grounding",
    "tvgbench": "grounding",
    "videommmu": "multi_choice",
    "longvideobench": "multi_choice",
    "videoholmes": "multi_choice",
    "videomme_v2": "multi_choice",
    "mlvu": "multi_choice",
    "mlvu_test": "multi_choice",
    "lvbench": "multi_choice",
    "vsibench": "multi_choice",
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The annotation alone, with an empty file where a video would be."""
    root = tmp_path_factory.mktemp("miniature")
    found = parts(bench_scale=0.2, scale=0.01, newer=True)
    for key, part in found.items():
        for name, content in part.annotations.items():
            path = root / key / "annotations" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        for name in (*part.videos, *part.beside):
            path = root / key / "videos" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    return layout(root)


@pytest.mark.parametrize("name", NAMES)
def test_read_without_loss(made, name):
    place = made.bench[name]
    reading = read_source(name, place.annotations, purpose="bench")
    assert len(reading.samples) == reading.read > 3
    assert not reading.dropped
    stems = {path.stem for path in place.videos.rglob("*") if path.is_file()}
    for sample in reading.samples:
        assert sample.task == NAMES[name]
        assert sample.video.rpartition("/")[2].removesuffix(".mp4") in stems


def test_some_queries_have_several_windows(made):
    samples = read_source("qvhighlights", made.bench["qvhighlights"].annotations, purpose="bench").samples
    assert sum(len(sample.spans) > 1 for sample in samples) >= 5
    for sample in samples:
        assert list(sample.spans) == sorted(sample.spans) and sample.spans[-1].end <= sample.duration
