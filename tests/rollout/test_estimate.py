"""`trlt probe --estimate`: the statistics by simulation, and the estimate against the truth on small pools."""

from __future__ import annotations

import json
import math
import shutil

import numpy as np
import pytest
from made_clips import choice, event, pool, write_clip

from trlt.commands._output import Output
from trlt.commands.probe import probe
from trlt.commands.probe_estimate import LABELS, estimate
from trlt.errors import ResumeError, UsageError, VideoError
from trlt.recipe import Decoding, Probe, Recipe, Video
from trlt.rollout import read_rows
from trlt.rollout.estimate.probe_cost import ClipGroup, SamplePool, clips_for, look, pending
from trlt.rollout.estimate.stratified import Quantity, Stratum, Stretch, draw, flow, share, total
from trlt.rollout.estimate.timing import Taking, steady
from trlt.rollout.shared.work_files import work_folder
from trlt.stats.intervals import student
from trlt.task.sample import write_samples
from trlt.video.clip_cache import ClipCache
from trlt.video.resolve import VideoIndex

# -- statistics -------------------------------------------------------------------------------------------------------


def test_student_as_in_the_tables():
    table = {1: 12.7062, 2: 4.3027, 3: 3.1824, 7: 2.3646, 30: 2.0423, 120: 1.9799, math.inf: 1.96}
    for freedom, bound in table.items():
        assert student(freedom) == pytest.approx(bound, abs=1e-4)
    assert student(1) > student(1.5) > student(2) and student(0.5) == student(1)


def made_pool(rng, count=1500):
    """Kinds, durations, samples a clip, and two costs: one goes with the duration, one with the number of samples."""
    kinds = rng.choice(list("abcd"), count, p=[0.6, 0.3, 0.08, 0.02]).tolist()
    durations, samples = rng.lognormal(3, 0.8, count), 1.0 + rng.poisson(0.6, count)
    factor = np.array([{"a": 1, "b": 3, "c": 0.5, "d": 5}[kind] for kind in kinds])
    cost = factor * np.sqrt(durations) * rng.lognormal(0, 0.4, count)
    return kinds, durations, samples, cost, samples * rng.gamma(4, 10, count)


@pytest.mark.parametrize("count", [24, 96])
def test_intervals_hold_the_truth_as_often_as_they_say(count):
    held = np.zeros(3)
    for seed in range(300):
        kinds, durations, samples, cost, said = made_pool(np.random.default_rng(seed))
        strata = draw(kinds, durations.tolist(), count, seed)
        drawn = [place for stratum in strata for place in stratum.drawn]
        plain = Quantity({p: cost[p] for p in drawn})
        by_sample = Quantity({p: said[p] for p in drawn}, {p: samples[p] for p in drawn}, samples.sum())
        truths = (cost.sum(), said.sum(), cost.sum() + said.sum())
        for k, asked in enumerate([(plain,), (by_sample,), (plain, by_sample)]):
            found = total(strata, *asked)
            held[k] += found.low <= truths[k] <= found.high
    assert all(held >= 0.9 * 300) and all(held < 300), held / 300


def test_estimates_are_right_in_the_mean():
    kinds, durations, _, cost, _ = made_pool(np.random.default_rng(1), 400)
    found = []
    for seed in range(400):
        strata = draw(kinds, durations.tolist(), 24, seed)
        found.append(total(strata, Quantity({p: cost[p] for s in strata for p in s.drawn})).total)
    assert abs(np.mean(found) - cost.sum()) < 4 * np.std(found) / math.sqrt(len(found))


def test_a_draw_covers_kinds_and_durations():
    kinds, durations = ["many"] * 180 + ["few"] * 20, [float(k % 90) for k in range(200)]
    strata = draw(kinds, durations, 40, seed=3)
    assert sum(s.size for s in strata) == 200 and sum(len(s.drawn) for s in strata) == 40
    for stratum in strata:
        assert len({kinds[place] for place in stratum.drawn}) == 1 and len(set(stratum.drawn)) == len(stratum.drawn) >= 3
    spans = [[durations[p] for p in s.drawn] for s in strata if kinds[s.drawn[0]] == "many"]
    assert all(max(a) <= min(b) for a, b in zip(spans, spans[1:], strict=False)) and len(spans) == 9
    assert draw(kinds, durations, 40, seed=3) == strata != draw(kinds, durations, 40, seed=4)

    names = [str(k) for k in range(50)]
    assert sum(len(s.drawn) for s in draw(names, [0.0] * 50, 12, seed=0)) == 12, "kinds of one unit go together"
    assert draw([], [], 5, seed=0) == [] and draw(["a"], [1.0], 5, seed=0) == [Stratum(1, (0,))]
    assert [len(s.drawn) for s in draw(["a"] * 9, [0.0] * 9, 0, seed=0)] == [3]
    rare = draw(["a"] * 995 + ["b"] * 5, [0.0] * 1000, 40, seed=0)
    assert sum(p >= 995 for s in rare for p in s.drawn) == 3 and sum(len(s.drawn) for s in rare) == 40


def test_all_of_a_population_leaves_no_doubt():
    values = {p: float(p * p) for p in range(30)}
    strata = draw([p % 4 for p in range(30)], [float(p) for p in range(30)], 30, seed=0)
    found = total(strata, Quantity(values), Quantity({p: 2.0 * p for p in values}, {p: 1.0 + p for p in values}, 465.0))
    assert found.total == found.low == found.high == pytest.approx(sum(values.values()) + 870)
    assert share(strata, frozenset({1, 2, 3})) == pytest.approx(share(strata, frozenset({1, 2, 3})))
    assert share(strata, frozenset({1, 2, 3})).low == share(strata, frozenset({1, 2, 3})).high == pytest.approx(0.1)


def test_by_hand():
    # Two strata of 10 and 5: means 2 and 6, variances 2 and 8.
    strata = [Stratum(10, (0, 1)), Stratum(5, (10, 11))]
    found = total(strata, Quantity({0: 1.0, 1: 3.0, 10: 4.0, 11: 8.0}))
    terms = 10 * 8 / 2 * 2, 5 * 3 / 2 * 8
    factor = math.exp(student(sum(terms) ** 2 / sum(t * t for t in terms)) * math.sqrt(sum(terms)) / 50)
    assert found.total == 10 * 2 + 5 * 6 and found.high == pytest.approx(50 * factor)
    assert found.low == pytest.approx(50 / factor)
    assert total([Stratum(3, (0, 1))], Quantity({0: 1.0, 1: 9.0})).low == 10, "no less than what was seen"
    # Values in proportion to the auxiliary: its whole decides, without doubt.
    exact = total(strata, Quantity({0: 2.0, 1: 4.0, 10: 6.0, 11: 2.0}, {0: 1.0, 1: 2.0, 10: 3.0, 11: 1.0}, 40.0))
    assert (exact.total, exact.low, exact.high) == pytest.approx((80, 80, 80))
    # Wilson's interval of 0 of 50, out of very many: 0 to z^2 / (n + z^2).
    none = share([Stratum(10**9, tuple(range(50)))], frozenset())
    assert (none.low, none.high) == pytest.approx((0.0, 3.8415 / 53.8415), abs=1e-4)


def test_time_carries_over_from_stretches():
    even = flow([Stretch(2.0, 4, 40.0)] * 5, 200.0)
    assert (even.total, even.low, even.high) == pytest.approx((100, 100, 100))
    two = flow([Stretch(1.0, 10, 10.0), Stretch(3.0, 10, 10.0)], 100.0)
    # d = -1 and 1: V = 5^2 * 2 / 2 * 4 = 100, and one degree of freedom.
    assert two.total == 20 and two.high == pytest.approx(20 + student(1) * 10) and two.low == 0
    assert flow([Stretch(3.0, 6, 6.0)], 10.0).low is None and math.isnan(flow([], 10.0).total)
    held = 0
    for seed in range(300):  # work that becomes shorter, and noise
        rng = np.random.default_rng(seed)
        truth = np.linspace(3, 1, 8)
        seconds = truth * rng.gamma(25, 1 / 25, 8)
        found = flow([Stretch(float(s), 16, 160.0) for s in seconds], 1280.0)
        held += found.low <= 10 * truth.sum() <= found.high
    assert 0.9 * 300 <= held < 300


def test_start_and_end_are_told_from_the_steady_part():
    # 4 side by side: the first 4 take 5 s to begin, then 2 begin each second; the last two take 3 s to end.
    taken = [Taking(0.0, 1.0, list("abcd"))]
    taken += [Taking(5.0 + k, 0.25, [f"{k}x", f"{k}y"]) for k in range(6)]
    weights = {id: 10.0 for one in taken for id in one.ids}
    found = steady(taken, 4, weights, 160, seconds=13.0)
    assert found.stretches == 5 and found.metrics["wall_s"].total == pytest.approx(80)
    assert found.metrics["waiting_s"].total == pytest.approx(20) and found.metrics["model_s"].total == pytest.approx(60)
    assert found.fixed_s == pytest.approx(13 - 16 / 2)
    short = steady(taken[:2], 4, {id: 1.0 for one in taken[:2] for id in one.ids}, 12, seconds=6.0)
    assert (short.stretches, short.fixed_s) == (1, 0.0) and short.metrics["wall_s"].total == 12.0


def test_how_many_clips_are_drawn():
    groups = tuple(ClipGroup((choice(f"{k}", "v.mp4"), choice(f"{k}b", "v.mp4")), False) for k in range(400))
    # 16 samples side by side; one filling, and stretches of half as many: 8, and what ends the last.
    assert clips_for(SamplePool(groups, 0), Decoding(max_sequences=128), 8) == 16 * 5.5 / 2
    assert (
        clips_for(SamplePool(groups, 0), Decoding(max_sequences=8), 8) == 32
        and clips_for(SamplePool((), 0), Decoding(), 8) == 0
    )


# -- the command ------------------------------------------------------------------------------------------------------

SETS = ("model.device=cpu", "video.workers=0", "probe.max_new_tokens=24", "select.easy=2", "select.hard=0")
COUNTS = ("tokens", "video_tokens", "sampled_tokens", "row_bytes", "store_bytes")


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in ("RANK", "WORLD_SIZE", "SLURM_PROCID", "SLURM_NTASKS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def go(tmp_path):
    """`go(estimate, ...)`, or `go(probe, ...)`, with the frame store in the recipe."""

    def run(command, *, output=None, sets=(), **changes):
        values = {"n": 2, "model": "miniature", "out": tmp_path / "run"} | changes
        every = (*SETS, "video.store=store", *sets)
        return command(tmp_path / "pool.jsonl", sets=every, output=output or Output(json_mode=True), **values)

    return run


@pytest.fixture
def small(tmp_path):
    """Five clips: three with questions, a broken one, and one that is missing."""
    samples = pool(tmp_path)
    write_samples(tmp_path / "pool.jsonl", samples)
    return samples


def truth(folder, samples):
    """What a finished run has cost."""
    rows = {row["id"]: row for row in read_rows(folder / "run/rows/probe.jsonl")}
    clips = {(s.video, s.clip): rows[s.id]["video_tokens"] or 0 for s in samples}
    sampled = sum(sum(row["tokens"]) for row in rows.values() if row["error"] is None)
    return {
        "video_tokens": sum(clips.values()),
        "sampled_tokens": sampled,
        "row_bytes": (folder / "run/rows/probe.jsonl").stat().st_size,
        "store_bytes": ClipCache(folder / "store", 10**12).info().bytes,
    }


def test_all_measured_is_the_truth(go, small, tmp_path):
    result = go(estimate, clips=99)
    assert {path.name for path in tmp_path.iterdir()} >= {"store"} and not (tmp_path / "run").exists()
    assert (result["samples"], result["clips"], result["missing"], result["resumed"]) == (8, 5, 1, 0)
    assert (result["measured"]["clips"], result["measured"]["samples"], result["measured"]["broken"]) == (5, 8, 1)
    assert "broken.mp4" in result["measured"]["error"]
    for metric in (result["metrics"][name] for name in COUNTS):
        assert metric["total"] == metric["low"] == metric["high"] > 0
    assert result["metrics"]["broken_share"] == {"total": 0.2, "low": 0.2, "high": 0.2}
    assert list(result["metrics"]) == list(LABELS) and json.loads(json.dumps(result)) == result
    parts = ("video_tokens", "prompt_tokens", "sampled_tokens")
    assert result["metrics"]["tokens"]["total"] == pytest.approx(sum(result["metrics"][p]["total"] for p in parts))
    assert 0 < result["metrics"]["hours"]["total"] * 3600 == pytest.approx(result["measured"]["seconds"])

    shutil.rmtree(tmp_path / "store")
    go(probe)
    there = [s for s in small if s.video != "absent_clip.mp4"]
    lines = (tmp_path / "run/rows/probe.jsonl").read_bytes().splitlines(keepends=True)
    missing = sum(len(line) for line in lines if b"absent_clip" in line)
    real = truth(tmp_path, there)
    real["row_bytes"] -= missing
    for name, value in real.items():
        assert result["metrics"][name]["total"] == value, name


def test_tokens_of_prompts_are_those_of_the_model(go, small):
    from trlt.engine.inputs import InputBuilder
    from trlt.engine.model import load
    from trlt.recipe import Model
    from trlt.rollout import request
    from trlt.video.workers import ClipLoader

    loaded = load(Model(path="miniature", dtype="float32", device="cpu"))
    builder = InputBuilder(loaded.model, loaded.processor)
    clip = builder.clip(ClipLoader(Video(workers=0)).load("folder/clip_000.mp4"))
    asked = [
        request(s, Recipe(probe=Probe(answer_format="open")).form("probe"), 2)
        for s in small
        if s.video not in ("broken.mp4", "absent_clip.mp4")
    ]
    prompts = [builder.prompt(one.system, one.user, clip) for one in asked]
    due = sum(len(p.prefix) + len(p.suffix) - clip.tokens for p in prompts)
    assert go(estimate, clips=99)["metrics"]["prompt_tokens"]["total"] == due


@pytest.fixture
def many(tmp_path):
    """Forty clips of two sources and three lengths, one or two samples each."""
    samples = []
    for k in range(40):
        seconds = 1.0 + k % 3
        write_clip(tmp_path / f"{k:02}.mp4", seconds, seed=k)
        source = "other" if k % 4 == 0 else "made"
        samples.append(choice(f"c{k}", f"{k:02}.mp4", duration=seconds, source=source))
        if k % 2:
            samples.append(event(f"e{k}", f"{k:02}.mp4", duration=seconds, source=source))
    write_samples(tmp_path / "pool.jsonl", samples)
    return samples


def test_a_part_estimates_the_whole(go, many, tmp_path):
    result = go(estimate, clips=16, sets=("probe.max_sequences=4",))
    assert result["measured"]["clips"] == 16 and result["measured"]["stretches"] > 4 and result["missing"] == 0
    assert len(list((tmp_path / "store").glob("*/*.clip"))) == 16, "clips stay, rows don't"
    shutil.rmtree(tmp_path / "store")
    go(probe)
    for name, value in truth(tmp_path, many).items():
        metric = result["metrics"][name]
        assert metric["low"] <= value <= metric["high"], name
        assert metric["high"] - metric["low"] < metric["total"], name
    hours = result["metrics"]["hours"]
    assert 0 <= hours["low"] < hours["total"] < hours["high"]
    eight = go(estimate, clips=16, processes=8, fresh=True, sets=("probe.max_sequences=4",))
    fixed, one = eight["measured"]["fixed_s"] / 3600, eight["metrics"]
    whole = one["model_hours"]["total"] + one["waiting_hours"]["total"]
    assert eight["processes"] == 8 and one["hours"]["total"] == pytest.approx(whole + fixed)


def test_only_what_is_left_is_estimated(go, many, tmp_path):
    go(probe)
    rows = tmp_path / "run/rows/probe.jsonl"
    lines = rows.read_text(encoding="utf-8").splitlines(keepends=True)
    rows.write_text("".join(lines[:30]), encoding="utf-8")
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    held = ClipCache(tmp_path / "store", 10**12).info().bytes
    result = go(estimate, clips=99)
    assert result["resumed"] == 30 and result["samples"] == len(many) - 30 == result["measured"]["samples"]
    assert result["metrics"]["row_bytes"]["total"] == sum(len(line.encode()) for line in lines[30:])
    assert result["metrics"]["store_bytes"]["total"] == 0 and result["store"]["bytes_there"] == held, "it holds all clips"
    assert {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()} == before
    assert go(estimate, clips=99, fresh=True)["samples"] == len(many)
    with pytest.raises(ResumeError, match=r"run: belongs to another run(.|\n)*probe.temperature") as caught:
        go(estimate, sets=("probe.temperature=0.5",))
    assert "trlt-estimate" not in str(caught.value)
    rows.write_text("".join(lines), encoding="utf-8")
    assert go(estimate) == {"samples": 0, "clips": 0, "resumed": len(many), "missing": 0, "measured": None, "metrics": {}}


def test_what_is_pending(small, tmp_path):
    rows = tmp_path / "rows.jsonl"
    assert pending(small, rows) == small
    good, bad, part = ({"id": small[k].id, "error": error} for k, error in ((0, None), (1, "broken"), (2, None)))
    rows.write_text(f"{json.dumps(good)}\n{json.dumps(bad)}\n")
    assert pending(small, rows) == small[2:] and pending(small, rows, retry_errors=True) == small[1:]
    (work_folder(rows) / "parts").mkdir(parents=True)
    (work_folder(rows) / "parts/one.jsonl").write_text(json.dumps(part) + "\n")
    assert pending(small, rows) == small[3:]


def test_what_is_stored_is_told_apart(small, tmp_path, go):
    settings, index = Video(store=str(tmp_path / "store"), workers=0), VideoIndex(tmp_path)
    assert not any(group.stored for group in look(small, index, settings).groups)
    go(estimate, clips=99)
    fresh = look(small, index, Video(workers=0))
    assert not any(group.stored for group in fresh.groups) and fresh.missing == 1
    assert sum(group.stored for group in look(small, index, settings).groups) == 4, "all but the broken one"


def test_broken_videos(go, many, tmp_path):
    for k in range(0, 40, 2):
        (tmp_path / f"{k:02}.mp4").write_bytes(b"no video")
    result = go(estimate, clips=20)
    broken = result["metrics"]["broken_share"]
    assert broken["low"] < 0.5 < broken["high"] and broken["high"] - broken["low"] < 0.6 and result["measured"]["broken"] > 4
    for k in range(1, 40, 2):
        (tmp_path / f"{k:02}.mp4").write_bytes(b"no video")
    with pytest.raises(VideoError, match="not one of 40 drawn videos could be read; the first"):
        go(estimate)


def test_a_person_reads_a_table(go, small, capsys):
    go(estimate, clips=99, output=Output(), processes=2)
    said = capsys.readouterr().out
    for text in ("8 samples on 5 clips", "1 have no video", "95% interval", "time", "frame store", "stay in store"):
        assert text in said
    assert "Too few clips for an interval of the time" in said and "2 processes" in said and "broken.mp4" in said
    go(estimate, clips=99, output=Output(), sets=("video.store_gb=1e-5",))
    assert "raise video.store_gb" in capsys.readouterr().out


def test_servers_are_estimated(go, small, fake):
    server = fake("--kind", "vllm")
    result = go(estimate, clips=99, model=None, servers=[server.url])
    assert "prompt_tokens" not in result["metrics"] and result["metrics"]["sampled_tokens"]["total"] > 0 and server.log
    with pytest.raises(UsageError, match="leave it out with --server"):
        go(estimate, servers=[server.url], processes=2)


def test_neither_clusters_nor_ranks_estimate(go, small, tmp_path, monkeypatch):
    with pytest.raises(UsageError, match="leave out --ray"):
        go(estimate, ray="auto")
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="without a launcher"):
        go(estimate)
    assert not (tmp_path / "store").exists()
