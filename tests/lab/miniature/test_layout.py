"""A small layout as a reader of the real files would find it."""

import csv
import json
import re
from collections import Counter

import av
import pytest

from trlt.lab.miniature import layout as layout_module
from trlt.lab.miniature import warmup
from trlt.lab.miniature.layout import layout, parts, write
from trlt.lab.miniature.mvbench import TASKS
from trlt.task.sample import Span, read_samples


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return write(tmp_path_factory.mktemp("miniature"), scale=0.1)


def rows(place, name):
    with (place.annotations / name).open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def load(place, name):
    return json.loads((place.annotations / name).read_text(encoding="utf-8"))


def seconds(path):
    with av.open(str(path)) as container:
        return float(container.streams.video[0].frames / container.streams.video[0].average_rate)


@pytest.mark.parametrize(("group", "split"), [("train", "train"), ("bench", "test")])
def test_charades(small, group, split):
    place = getattr(small, group)["charades"]
    lengths = {r["id"]: float(r["length"]) for r in rows(place, f"Charades_v1_{split}.csv")}
    lines = (place.annotations / f"charades_sta_{split}.txt").read_text(encoding="utf-8").splitlines()
    found = [re.fullmatch(r"([A-Z0-9]{5}) (\d+\.\d) (\d+\.\d)##([a-z ]+)", line) for line in lines]
    assert len(found) >= len(lengths) and {m[1] for m in found} == set(lengths)
    assert all(0 <= float(m[2]) < float(m[3]) <= lengths[m[1]] for m in found)
    for name, length in lengths.items():
        assert seconds(place.videos / "Charades_v1_480" / f"{name}.mp4") == pytest.approx(length)
    assert list(rows(place, f"Charades_v1_{split}.csv")[0]) == (
        "id subject scene quality relevance verified script objects descriptions actions length".split()
    )


def test_didemo_annotators_agree_on_chunks_inside_the_video(small):
    place = small.train["didemo"]
    records = load(place, "train_data.json")
    assert len({r["annotation_id"] for r in records}) == len(records)
    for record in records:
        assert re.fullmatch(r"\d+@N0\d_\d{10}_[0-9a-f]{10}\.mp4", record["video"])
        assert seconds(place.videos / record["video"]) == 5 * record["num_segments"]
        assert all(0 <= a <= b < record["num_segments"] for a, b in record["times"])
        assert Counter(map(tuple, record["times"])).most_common(1)[0][1] >= 3
        assert len(record["times"]) == 4 and record["description"]


def test_nextqa(small):
    place = small.train["nextqa"]
    places = load(place, "map_vid_vidorID.json")
    found = rows(place, "train.csv")
    assert list(found[0]) == "video frame_count width height question answer qid type a0 a1 a2 a3 a4".split()
    assert len({(r["video"], r["qid"]) for r in found}) == len(found) and {r["video"] for r in found} == set(places)
    for row in found:
        assert row["type"] in {"CW", "CH", "TN", "TC", "TP", "DC", "DL", "DO"}
        assert int(row["answer"]) in range(5) and len({row[f"a{i}"] for i in range(5)}) == 5
        assert re.fullmatch(rf"\d{{4}}/{row['video']}", places[row["video"]])
        assert seconds(place.videos / f"{places[row['video']]}.mp4") == int(row["frame_count"]) / 8


@pytest.mark.parametrize(("group", "split"), [("train", "val"), ("bench", "test")])
def test_nextgqa(small, group, split):
    place = getattr(small, group)["nextgqa"]
    places, grounds = load(place, "map_vid_vidorID.json"), load(place, f"gsub_{split}.json")
    found = rows(place, f"{split}.csv")
    assert list(found[0])[:2] == ["video_id", "frame_count"] and set(places) == set(grounds)
    for row in found:
        ground = grounds[row["video_id"]]
        spans = ground["location"][row["qid"]]
        assert spans and all(0 <= s < e <= ground["duration"] for s, e in spans)
        options = [row[f"a{i}"] for i in range(5)]
        assert row["answer"] in options and len(set(options)) == 5
        assert row["type"] in {"CW", "CH", "TN", "TC", "TP"}
        assert seconds(place.videos / f"{places[row['video_id']]}.mp4") == ground["duration"]
    assert sum(len(g["location"]) for g in grounds.values()) == len(found)


def test_activitynet(small):
    place = small.bench["activitynet"]
    for name, entry in load(place, "val_2.json").items():
        assert len(entry["timestamps"]) == len(entry["sentences"]) == len(set(entry["sentences"])) >= 1
        assert all(0 <= s < e <= entry["duration"] for s, e in entry["timestamps"])
        assert name.startswith("v_") and seconds(place.videos / f"{name}.mp4") == entry["duration"] >= 10


def test_mvbench(small):
    place = small.bench["mvbench"]
    assert sorted(p.name for p in (place.annotations / "json").iterdir()) == [f"{name}.json" for name in TASKS]
    for name, task in TASKS.items():
        for row in load(place, f"json/{name}.json"):
            path = place.videos / task.folder / row["video"]
            frames = path.is_dir() and sorted(p.name for p in path.iterdir())
            duration = len(frames) / 3 if frames else seconds(path)
            assert not frames or (frames[0], frames[-1]) == ("00001.jpg", f"{len(frames):05d}.jpg")
            assert bool(frames) == (name == "episodic_reasoning")
            assert row["answer"] in row["candidates"] and len(set(row["candidates"])) == len(row["candidates"]) >= 3
            assert ("start" in row) == ("end" in row) == task.bounded
            assert not task.bounded or 0 <= row["start"] < row["end"] <= duration


def test_gold_answers_stand_everywhere():
    made = parts(scale=1)
    grid = list(csv.DictReader(made["train/nextqa"].annotations["train.csv"].splitlines()))
    counts = Counter(int(r["answer"]) for r in grid)
    assert len(counts) == 5 and max(counts.values()) < 0.35 * len(grid)
    questions = json.loads(made["bench/activitynet"].annotations["val_2.json"]).values()
    assert sum(len(e["sentences"]) for e in questions) >= 120
    assert 260 <= len(made["bench/charades"].annotations["charades_sta_test.txt"].splitlines()) <= 360


def test_no_clip_is_used_twice(tmp_path):
    made = parts(scale=0.5)
    scenes = [s for part in made.values() for s in part.videos.values()]
    assert len({s.seed for s in scenes}) == len({s.shows for s in scenes}) == len(scenes)
    stems = [path.rsplit("/", 1)[-1] for part in made.values() for path in part.videos]
    assert len(set(stems)) == len(stems)
    other = [s for part in parts(seed=1, scale=0.5).values() for s in part.videos.values()]
    assert not {s.seed for s in scenes} & {s.seed for s in other}
    keys = {s.video_key for seed in (0, 1) for s in read_samples(warmup.write(tmp_path / str(seed), 40, seed).samples)}
    assert not keys & {f"miniature:{s.seed}" for s in scenes + other}


def test_a_graded_world_is_another_one_and_its_benchmarks_have_a_size_of_their_own():
    plain, graded = parts(scale=0.1), parts(scale=0.1, bench_scale=0.05, graded=True)
    assert plain.keys() == graded.keys()
    for key, part in graded.items():
        assert all(scene.grade is not None for scene in part.videos.values())
        assert len(part.videos) <= len(plain[key].videos)
    assert len(graded["bench/charades"].videos) == 10 and len(graded["train/charades"].videos) == 24
    assert {s.shows for s in plain["train/charades"].videos.values()}.isdisjoint(
        s.shows for s in graded["train/charades"].videos.values()
    )


def test_the_domains_are_where_they_belong():
    for key, part in parts(scale=0.2).items():
        assert {s.domain for s in part.videos.values()} == {"shifted" if key in _SHIFTED else "train"}


_SHIFTED = tuple(f"bench/{name}" for name in ("activitynet", "activitynet_rtl", "mvbench", "videomme", "mmvu"))


def test_the_same_seed_writes_the_same_annotation():
    assert parts(seed=3, scale=0.1) == parts(seed=3, scale=0.1) != parts(seed=4, scale=0.1)


def test_an_interrupted_layout_goes_on_and_another_seed_replaces_it(tmp_path, monkeypatch):
    told = []
    real = layout_module.render_all

    def interrupted(videos, progress):
        real(list(videos)[:20], progress)
        raise KeyboardInterrupt

    monkeypatch.setattr(layout_module, "render_all", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path, scale=0.02)
    monkeypatch.undo()
    total = sum(len(p.videos) for p in parts(scale=0.02).values())
    assert write(tmp_path, scale=0.02, progress=lambda done, of: told.append((done, of))) == layout(tmp_path)
    assert told == [(k, total - 20) for k in range(total - 19)]
    told.clear()
    write(tmp_path, scale=0.02, progress=lambda done, of: told.append(done))
    assert not told
    write(tmp_path, scale=0.02, seed=1, progress=lambda done, of: told.append(done))
    assert told[0] == 0 and told[-1] == len(told) - 1 == sum(len(p.videos) for p in parts(scale=0.02, seed=1).values())


def test_warmup_mixes_tasks_with_reasoning_and_long_clips(tmp_path):
    written = warmup.write(tmp_path, 90, 0)
    samples = read_samples(written.samples)
    assert len(samples) == 90
    assert {s.task for s in samples} == {"grounding", "multi_choice", "grounded_qa"}
    for sample in samples:
        assert sample.meta["reasoning"].endswith(" .") and (written.videos / sample.video).is_file()
        assert all(isinstance(s, Span) and s.end <= sample.duration for s in sample.spans or ())
    domains = {s.video: s.meta["domain"] for s in samples}
    assert 0.15 < sum(domain == "shifted" for domain in domains.values()) / len(domains) < 0.35
    long = [s for s in samples if s.duration > 10 and s.meta["domain"] == "train"]
    assert long and all(t % 5 == 0 for s in long for span in s.spans or () for t in span)
    assert {len(s.options) for s in samples if s.options} >= {3, 4, 5}


def test_a_warm_up_may_have_loose_spans(tmp_path):
    exact, loose = (read_samples(warmup.write(tmp_path / str(s), 60, slack_s=s).samples) for s in (0.0, 1.5))
    pairs = [
        (a, b) for one, other in zip(exact, loose, strict=True) for a, b in zip(one.spans or (), other.spans or (), strict=True)
    ]
    assert [s.id for s in exact] == [s.id for s in loose] and [s.meta for s in exact] == [s.meta for s in loose]
    early, late = [a.start - b.start for a, b in pairs], [b.end - a.end for a, b in pairs]
    assert {*early, *late} == {0.0, 0.5, 1.0, 1.5}
    assert all(0 <= b.start and b.end <= s.duration for s in loose for b in s.spans or ())


def test_a_warm_up_may_be_mirrored(tmp_path):
    right, all_wrong, some = (read_samples(warmup.write(tmp_path / str(m), 150, mirrored=m).samples) for m in (0.0, 1.0, 0.5))
    changed = [(a, b) for a, b in zip(right, all_wrong, strict=True) if a.answer != b.answer]
    assert {a.meta["kind"] for a, _ in changed} == {"first", "last", "direction", "action"}
    assert all(b.answer == b.options[b.answer_index] and a.options == b.options and a.spans == b.spans for a, b in changed)
    moves = {(a.answer, b.answer) for a, b in changed if a.meta["kind"] == "direction"}
    assert moves <= {("left", "right"), ("right", "left"), ("up", "down"), ("down", "up")} and moves
    assert 0 < sum(a.answer != b.answer for a, b in zip(right, some, strict=True)) < len(changed)
