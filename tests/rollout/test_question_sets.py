"""Several sets of questions asked together: each clip once, and the rows that each set gets alone."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from trlt.errors import ResumeError, VideoError
from trlt.recipe import Probe, Recipe, Video
from trlt.rollout import QuestionSet, Sharing, WorkFiles, read_rows, run_sets
from trlt.rollout.question_sets import by_clip
from trlt.rollout.rows_file import encode
from trlt.rollout.shared.leases import Leases
from trlt.rollout.shared.rank_files import prepare
from trlt.rollout.shared.work_files import part_file
from trlt.task.sample import Sample, Span
from trlt.video.resolve import VideoIndex

SETTINGS = Probe(n=2, max_sequences=4)


def event(id: str, video: str, clip: Span | None = None) -> Sample:
    return Sample(id, "made", "test", "grounding", video, "it falls", spans=(Span(0.5, 1.0),), duration=9.0, clip=clip)


class Loader:
    """Clips of one picture; files whose name begins with `broken` can't be read."""

    waited_s = 0.0

    def map(self, requests):
        from trlt.video.clip import Clip
        from trlt.video.workers import LoadedClip

        clip = Clip.of(np.zeros((2, 3, 28, 28), np.uint8), np.arange(2.0), sample_fps=1.0, duration=2.0)
        for request in requests:
            bad = request.path.name.startswith("broken")
            yield LoadedClip(request, None if bad else clip, VideoError(f"{request.path}: broken") if bad else None)


class Asker:
    """Answers by the sample's id alone; counts the clips that it encodes, and notes whom it asks."""

    parity = None

    def __init__(self):
        self.clips, self.asked = 0, []

    def stream(self, trees, sampling, *, max_sequences=256, ended=None):
        from trlt.engine.forest import Answered, Completion

        for t, tree in enumerate(trees):
            self.clips += 1
            for r, request in enumerate(tree.requests):
                self.asked.append(request.key)
                digests = [hashlib.sha256(f"{request.key} {k}".encode()).hexdigest() for k in range(request.n)]
                said = [Completion(f"<answer> 0.{d[:2]} to 1 {d} </answer>", tuple(d.encode()), True) for d in digests]
                yield Answered(t, r, said)


@pytest.fixture
def sets(tmp_path):
    """Two benchmarks about the same three files, which each names in its own way; ids occur in both."""
    inner = tmp_path / "videos/inner"
    inner.mkdir(parents=True)
    for name in ("a.mp4", "b.mp4", "broken.mp4", "c.mp4"):
        (inner / name).touch()
    one = [event(f"q{k}", f"inner/{name}.mp4") for k, name in enumerate(["a", "b", "a", "broken", "c"])]
    two = [event(f"q{k}", f"{name}.mp4") for k, name in enumerate(["b", "a", "broken", "a"])]
    two.append(event("part", "a.mp4", Span(1.0, 2.0)))
    grader = Recipe(probe=SETTINGS).grader("probe")

    def made(name, samples, root):
        return QuestionSet(name, samples, VideoIndex(root), Video(), settings=SETTINGS, n=2, grader=grader)

    return [made("one", one, inner.parent), made("two", two, inner)]


def files(folder: Path, sets) -> WorkFiles:
    return WorkFiles.several(folder, {one.name: [sample.id for sample in one.samples] for one in sets})


def go(folder: Path, sets, sharing=None, **changes):
    """Asks; the engine that was asked, and the rows of each set."""
    engine = Asker()
    work = files(folder, sets)
    run_sets(sets, engine=engine, loaders=lambda _: Loader(), work=work, sharing=sharing, **changes)
    assert {path.name for path in folder.iterdir()} >= {f"{one.name}.jsonl" for one in sets}
    assert not work.folder.exists()
    return engine, {name: path.read_bytes() for name, path in work.files.items()}


@pytest.mark.parametrize("sharing", [None, Sharing(poll_s=0.01)], ids=["alone", "shared"])
def test_a_clip_is_encoded_once_for_all_sets(sets, tmp_path, sharing):
    alone = {}
    clips = 0
    for one in sets:
        engine, rows = go(tmp_path / "alone", [one])
        alone |= rows
        clips += engine.clips
    engine, together = go(tmp_path / "together", sets, sharing)
    assert together == alone, "also the fault of the broken file, by the path of each"
    # a, b, c of the first; a, b and a part of a of the second. Together, a and b once.
    assert (clips, engine.clips, len(engine.asked)) == (6, 4, 8)
    broken = [row["error"] for row in read_rows(tmp_path / "together/two.jsonl") if row["error"]]
    assert broken == [f"{tmp_path}/videos/inner/broken.mp4: broken"]


def test_only_what_is_sampled_alike_shares_clips(sets, tmp_path):
    one, two = sets
    assert len(by_clip([one, replace(two, n=5)])) == 5, "the number of completions doesn't matter"
    for other in (
        replace(two, video=two.video.model_copy(update={"max_tokens": 64})),
        replace(two, settings=two.settings.model_copy(update={"temperature": 0.5})),
        replace(two, settings=two.settings.model_copy(update={"max_new_tokens": 5})),
    ):
        groups = by_clip([one, other])
        assert len(groups) == 8 and all(len({question.of for question in group}) == 1 for group in groups)
        for sharing in (None, Sharing(poll_s=0.01)):
            engine, _ = go(tmp_path / f"apart{len(list(tmp_path.iterdir()))}", [one, other], sharing)
            assert engine.clips == 6
    moved = replace(two, video=two.video.model_copy(update={"root": "elsewhere"}))
    assert len(by_clip([one, moved])) == 5, "the folder isn't part of the budget"


def test_rows_that_are_there_count_and_a_set_may_come_later(sets, tmp_path):
    """As an earlier version leaves them: one benchmark after the other, the second one in the midst."""
    _, whole = go(tmp_path / "whole", sets)
    for sharing in (None, Sharing(poll_s=0.01)):
        folder = tmp_path / f"old{sharing is None}"
        folder.mkdir()
        (folder / "one.jsonl").write_bytes(whole["one"])
        lines = whole["two"].splitlines(keepends=True)
        (folder / "two.jsonl").write_bytes(lines[3] + lines[0] + lines[1][:20])
        engine, rows = go(folder, sets, sharing)
        assert rows == whole and sorted(engine.asked) == ["part", "q1"]
        third = replace(sets[0], name="three")
        engine, rows = go(folder, [*sets, third], sharing)
        assert rows == {**whole, "three": whole["one"]} and len(engine.asked) == 4


def test_a_killed_work_goes_on_with_other_sets(sets, tmp_path):
    """Two processes were killed at both sets; then only one of them is asked, and the other's rows aren't lost."""
    _, whole = go(tmp_path / "whole", sets)
    lines = {name: text.splitlines(keepends=True) for name, text in whole.items()}
    for sharing in (None, Sharing(poll_s=0.01)):
        folder = tmp_path / f"killed{sharing is None}"
        work = files(folder, sets)
        prepare(work)
        part_file(work.folder, "x-1-ab", "one").write_bytes(lines["one"][0] + lines["one"][1][:9])
        part_file(work.folder, "x-1-ab", "two").write_bytes(lines["two"][4])
        part_file(work.folder, "x-2-cd", "two").write_bytes(lines["two"][0])
        engine, rows = go(folder, sets[:1], sharing)
        assert rows["one"] == whole["one"] and sorted(engine.asked) == ["q1", "q2", "q4"]
        assert (folder / "two.jsonl").read_bytes() == lines["two"][4] + lines["two"][0]
        engine, rows = go(folder, sets, sharing)
        assert rows == whole and sorted(engine.asked) == ["q1", "q3"]


def test_others_at_work_on_other_sets_are_told(sets, tmp_path):
    work = files(tmp_path / "rows", sets)
    prepare(work)
    with Leases(work.folder, 60), pytest.raises(ResumeError, match=r"rows: other processes are at work on one, two; wait"):
        go(tmp_path / "rows", sets[:1])


@pytest.mark.parametrize("sharing", [None, Sharing(poll_s=0.01)], ids=["alone", "shared"])
def test_errors_are_asked_again_in_every_file(sets, tmp_path, sharing):
    go(tmp_path / "rows", sets)
    (tmp_path / "videos/inner/broken.mp4").unlink()
    (tmp_path / "videos/inner/repaired.mp4").touch()
    fixed = [
        replace(one, samples=[replace(s, video=s.video.replace("broken", "repaired")) for s in one.samples]) for one in sets
    ]
    work = files(tmp_path / "rows", fixed)
    if sharing:
        prepare(work, retry_errors=True)
    engine, _ = go(tmp_path / "rows", fixed, sharing, retry_errors=sharing is None)
    assert engine.asked == ["q3", "q2"] and engine.clips == 1
    assert all(row["error"] is None for name in work.files for row in read_rows(work.files[name]))
    assert encode(next(iter(read_rows(work.files["one"]))))
