"""The loop: rows, resuming, independence of batches; and run folders that refuse what isn't theirs."""

from __future__ import annotations

import json
from itertools import islice

import pytest
from made_clips import choice, event, pool

from trlt.engine.forest import Engine
from trlt.errors import DataError, ResumeError
from trlt.recipe import Eval, Probe, Recipe, Video, load_recipe
from trlt.rollout import open_run, read_rows, run, to_row
from trlt.rollout.row import Generated, error_row
from trlt.rollout.rows_file import RowFile
from trlt.select import select
from trlt.video import workers
from trlt.video.resolve import VideoIndex
from trlt.video.workers import ClipLoader

SETTINGS = Probe(max_new_tokens=6, n=2, answer_format="letter")


@pytest.fixture
def roll(tiny, tmp_path):
    """`roll(out, samples, **changes)` runs the loop over `tmp_path/videos`."""
    engine = Engine(tiny.model, tiny.processor)

    def go(name, samples, settings=SETTINGS, **changes):
        with ClipLoader(Video(workers=0)) as loader:
            return run(
                samples,
                engine=engine,
                loader=loader,
                videos=VideoIndex(tmp_path / "videos"),
                settings=settings,
                n=settings.n,
                grader=Recipe(probe=settings).grader("probe"),
                out=tmp_path / name,
                **changes,
            )

    go.engine = engine
    return go


def test_a_row_a_sample_in_order_and_faults_are_rows(roll, tmp_path):
    samples = pool(tmp_path / "videos")
    seen = []
    summary = roll("rows.jsonl", samples, progress=lambda done, total: seen.append((done, total)))
    rows = list(read_rows(tmp_path / "rows.jsonl"))
    assert [row["id"] for row in rows] == [sample.id for sample in samples]
    assert (summary.rows, summary.resumed, summary.errors) == (9, 0, 2)
    assert seen[0] == (0, 18) and seen[-1] == (18, 18), "two answers a sample"
    assert seen == sorted(seen)
    good = rows[0]
    assert good["n"] == len(good["texts"]) == len(good["tokens"]) == 2 and good["video_tokens"] == 8
    assert good["correct"] == sum(s["accuracy"] == 1 for s in good["scores"]) and good["ious"] is None
    assert rows[1]["correct"] is None and rows[1]["ious"] == [s["tiou"] for s in rows[1]["scores"]]
    broken, missing = rows[-2:]
    assert "broken.mp4" in broken["error"] and broken["texts"] == [] and broken["n"] == 2
    assert "absent_clip.mp4: not in" in missing["error"]
    assert select(rows, load_recipe(None).select).report.errors == 2


def test_rows_do_not_depend_on_batches(roll, tmp_path):
    samples = pool(tmp_path / "videos")
    for name, most in (("wide.jsonl", 256), ("narrow.jsonl", 1), ("odd.jsonl", 3)):
        seen = []
        one_by_one = SETTINGS.model_copy(update={"max_sequences": most})
        roll(name, samples, one_by_one, progress=lambda done, total, seen=seen: seen.append(done))
        assert seen == sorted(seen) and (most > 1 or {1, 3, 5} < set(seen)), "an answer counts before its sample is whole"
    wide = (tmp_path / "wide.jsonl").read_bytes()
    assert wide == (tmp_path / "narrow.jsonl").read_bytes() == (tmp_path / "odd.jsonl").read_bytes()
    texts = {text for row in read_rows(tmp_path / "wide.jsonl") for text in row["texts"]}
    assert len(texts) > 10, "a random model writes many different things"


def test_resumed_equals_uninterrupted(roll, tmp_path, monkeypatch):
    samples = pool(tmp_path / "videos")
    narrow = SETTINGS.model_copy(update={"max_sequences": 2})
    roll("whole.jsonl", samples, narrow)
    whole = (tmp_path / "whole.jsonl").read_bytes()

    stream = roll.engine.stream

    def dies(*args, **kwargs):
        yield from islice(stream(*args, **kwargs), 3)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(roll.engine, "stream", dies)
        with pytest.raises(KeyboardInterrupt):
            roll("cut.jsonl", samples, narrow)
    cut = tmp_path / "cut.jsonl"
    there = cut.read_bytes()
    assert 0 < there.count(b"\n") < 9
    cut.write_bytes(there + b'{"id": "e0", "sour')  # as a kill in the middle of a write leaves it
    summary = roll("cut.jsonl", samples, narrow)
    assert summary.resumed == there.count(b"\n")
    assert cut.read_bytes() == whole
    monkeypatch.setattr(roll.engine, "stream", lambda trees, *args, **kwargs: (pytest.fail("asked again") for _ in trees))
    assert roll("cut.jsonl", samples, narrow).resumed == 9, "a finished run asks nothing again"
    assert cut.read_bytes() == whole


def test_a_clip_is_decoded_once_for_all_of_its_questions(roll, tmp_path, monkeypatch):
    samples = pool(tmp_path / "videos")
    samples = [*samples[:2], *(choice(f"q{i}", samples[0].video, f"what moves {i}") for i in range(3))]
    asked = []
    load = workers.load_clip
    monkeypatch.setattr(workers, "load_clip", lambda path, **more: asked.append(path) or load(path, **more))
    roll("rows.jsonl", samples, SETTINGS.model_copy(update={"max_sequences": 2}))
    assert len(asked) == 1


def test_errors_are_asked_again_only_on_request(roll, tmp_path):
    samples = pool(tmp_path / "videos")
    roll("rows.jsonl", samples)
    (tmp_path / "videos/broken.mp4").write_bytes((tmp_path / "videos/folder/clip_000.mp4").read_bytes())
    assert roll("rows.jsonl", samples).errors == 2
    summary = roll("rows.jsonl", samples, retry_errors=True)
    assert (summary.errors, summary.resumed, summary.rows) == (1, 7, 9)


def test_row_files_refuse_strangers_and_damage(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"id": "a", "error": null}\n', encoding="utf-8")
    with pytest.raises(ResumeError, match=r"rows.jsonl:1: a row of 'a', which isn't a sample's; .*--fresh"):
        RowFile(path, ["b"])
    path.write_text('{"id": "a", \n{"id": "b", "error": null}\n', encoding="utf-8")
    with pytest.raises(DataError, match="rows.jsonl:1: damaged"):
        RowFile(path, ["a", "b"])
    path.write_text("[]\n", encoding="utf-8")
    with pytest.raises(DataError, match="rows.jsonl:1: no row"):
        list(read_rows(path))


def test_a_row_by_hand():
    sample = event("e", "v.mp4")
    texts = ["<answer> 1.0 to 2.0 </answer>", "<answer> 1.5 to 2.5 </answer>", "no idea"]
    row = to_row(sample, [Generated(text, 5, True) for text in texts], grader=Recipe().grader("probe"), video_tokens=12)
    assert row["ious"] == pytest.approx([1, 1 / 3, 0]) and row["rewards"] == pytest.approx([2, 4 / 3, 0])
    assert row["delta_iou"] == pytest.approx(1 - 4 / 9)
    assert (row["reward_range"], row["mean"], row["format_rate"]) == pytest.approx((2, 10 / 9, 2 / 3))
    assert row["correct"] is None and row["answers"][1]["span"] == [1.5, 2.5] and row["answers"][2]["payload"] is None
    assert row.keys() == error_row(sample, 3, "why").keys()


def test_multi_choice_asked_as_gqa_is_read_with_that_template():
    said = [
        Generated("<observe> 1.0 to 2.0 </observe> <answer> B </answer>", 9, True),
        Generated("<answer> B </answer>", 4, True),
    ]
    row = to_row(
        choice("c", "v.mp4"),
        said,
        grader=Recipe(eval=Eval(think=False, as_gqa=True)).grader("eval"),
        video_tokens=1,
    )
    assert row["correct"] == 2 and [s["format"] for s in row["scores"]] == [1, 0] and row["ious"] is None


@pytest.fixture
def opened(tmp_path):
    def go(out="run", *, sets=(), model="m", data="d", noted=(), **changes):
        return open_run(
            tmp_path / out,
            "probe",
            load_recipe(None, sets=list(sets)),
            model={"sha256": model},
            inputs={"data": {"sha256": data, "path": "x.jsonl", **dict(noted)}},
            protocol={"n": 8},
            **changes,
        )

    return go


@pytest.mark.parametrize("out", ["run", "probe.jsonl"])
def test_a_run_goes_on_only_as_the_same(opened, out, tmp_path):
    first = opened(out)
    rows = first.rows("probe")
    rows.parent.mkdir(exist_ok=True)
    rows.write_text('{"id": "a", "error": null}\n')
    created = first.read_manifest()["created"]
    assert (
        opened(out, sets=["probe.max_sequences=4", "video.workers=0", "name=other", "eval.seed=3"]).read_manifest()["created"]
        == created
    )
    with pytest.raises(
        ResumeError, match=r"belongs to another run(.|\n)*probe.temperature: 1.0 -> 0.5(.|\n)*video.fps: 2.0 -> 1.0"
    ):
        opened(out, sets=["probe.temperature=0.5", "video.fps=1.0"])
    with pytest.raises(ResumeError, match=r"reward.tiou: 1.0 -> 0.5"):
        opened(out, sets=["reward.tiou=0.5", "train.beta=0.5"])
    with pytest.raises(ResumeError, match=r"inputs.data.sha256: 'd' -> 'e'"):
        opened(out, data="e")
    first.write_manifest(first.read_manifest() | {"inputs": {"data": {"sha256": "d", "samples": 3, "path": "/a/x.jsonl"}}})
    for other, told in (
        ({"samples": 3, "path": "/b/x.jsonl"}, "the samples in x.jsonl changed"),
        ({"samples": 1200, "path": "/b/x.jsonl"}, "the samples in x.jsonl changed (3 before, 1,200 now)"),
        ({"samples": 3, "path": "/b/y.jsonl"}, "other samples: x.jsonl -> y.jsonl"),
    ):
        with pytest.raises(ResumeError) as refused:
            opened(out, data="e", noted=other)
        assert str(refused.value).splitlines()[1:] == [f"  {told}"]
    with pytest.raises(ResumeError, match=r"model: the weights or the config.json of an unnamed model changed"):
        opened(out, model="o")
    assert rows.exists()
    opened(out, model="o", fresh=True)
    assert not rows.exists() and first.read_manifest()["model"] == {"sha256": "o"}


def test_rows_without_a_manifest_are_not_taken_over(opened, tmp_path):
    (tmp_path / "probe.jsonl").write_text("{}\n")
    with pytest.raises(ResumeError, match="no probe.manifest.json"):
        opened("probe.jsonl")
    (tmp_path / "probe.manifest.json").write_text(json.dumps([1]))
    with pytest.raises(DataError, match="not a manifest"):
        opened("probe.jsonl")
