"""Official files to samples, one data set or several."""

from __future__ import annotations

import json

from made_clips import write_clip

from trlt.files import file_digest
from trlt.rollout import videos_root
from trlt.task.sample import read_samples


def charades(folder):
    folder.mkdir(parents=True)
    (folder / "charades_sta_train.txt").write_text(
        "AAAAA 0.0 1.0##a [red] cat sits\nBBBBB 1.0 2.5##a dog runs\nCCCCC 2 1##no\n"
    )
    (folder / "Charades_v1_train.csv").write_text("id,length\nAAAAA,2.0\nBBBBB,3.0\nCCCCC,3.0\n")


def nextqa(folder):
    folder.mkdir(parents=True)
    head = "video,frame_count,width,height,question,answer,qid,type,a0,a1,a2,a3,a4\n"
    (folder / "train.csv").write_text(head + "777001,90,64,48,what does the cat do,1,0,DO,sit,run,eat,sleep,jump\n")


def test_one_data_set(trlt, tmp_path):
    charades(tmp_path / "ann")
    write_clip(tmp_path / "vid/Charades_v1_480/AAAAA.mp4", 2)
    args = ("prepare", "charades", "--annotations", "ann", "--videos", "vid", "--out", "s.jsonl")
    result = trlt(*args, "--json")
    [sample] = read_samples(tmp_path / "s.jsonl")
    assert sample.video == "Charades_v1_480/AAAAA.mp4" and sample.question == "a [red] cat sits"
    entry = result["sources"][0]
    assert (entry["read"], entry["kept"], entry["dropped"]["video_missing"]) == (3, 1, 1) and entry["paper"] == 12_408
    assert "BBBBB.mp4" in (tmp_path / "s.missing_videos.txt").read_text()
    manifest = json.loads((tmp_path / "s.manifest.json").read_text())
    assert manifest["videos"] == str(tmp_path / "vid") and len(next(iter(entry["files"].values()))) == 64
    assert videos_root(None, tmp_path / "s.jsonl") == tmp_path / "vid"
    shown = trlt(*args)
    assert "12,408" in shown and "video_missing" in shown and "1 samples: s.jsonl" in shown
    trlt(*args, "--no-check-videos")
    assert len(read_samples(tmp_path / "s.jsonl")) == 2 and not (tmp_path / "s.missing_videos.txt").exists()


def pool(folder):
    """Two sources with a video each, and the recipe that names them."""
    charades(folder / "d/charades/ann")
    nextqa(folder / "d/nextqa/ann")
    write_clip(folder / "d/charades/vid/AAAAA.mp4", 2)
    write_clip(folder / "d/nextqa/vid/777001.mp4", 2)
    lines = [f"    - {{dataset: {name}, annotations: d/{name}/ann, videos: d/{name}/vid}}" for name in ("charades", "nextqa")]
    (folder / "r.yaml").write_text("prepare:\n  sources:\n" + "\n".join(lines) + "\n")


def test_a_recipe_makes_a_folder_with_a_file_a_source(trlt, tmp_path):
    pool(tmp_path)
    (tmp_path / "pool").mkdir()
    (tmp_path / "pool/didemo.jsonl").write_text("of an earlier run\n")
    result = trlt("prepare", "r.yaml", "--out", "pool", "--json")
    assert sorted(path.name for path in (tmp_path / "pool").glob("*.jsonl")) == ["charades.jsonl", "nextqa.jsonl"]
    videos = [sample.video for sample in read_samples(tmp_path / "pool")]
    assert videos == ["charades/vid/AAAAA.mp4", "nextqa/vid/777001.mp4"]
    assert videos_root(None, tmp_path / "pool") == tmp_path / "d"
    assert all((tmp_path / "d" / video).is_file() for video in videos)
    manifest = json.loads((tmp_path / "pool/manifest.json").read_text())
    assert [entry["file"] for entry in manifest["sources"]] == ["charades.jsonl", "nextqa.jsonl"]
    assert manifest["statistics"]["tasks"] == {"grounding": 1, "multi_choice": 1} and manifest["samples"] == 2
    assert manifest["sha256"] == file_digest(tmp_path / "pool") == result["sha256"]
    report = (tmp_path / "pool/report.md").read_text()
    assert "12,408" in report and "video_missing" in report
    shown = trlt("prepare", "r.yaml", "--out", "pool")
    assert "2 samples on 2 clips" in shown and "not compared with benchmarks" in shown


def test_a_pool_is_probed_as_it_is(trlt, fast, tmp_path):
    pool(tmp_path)
    trlt("prepare", "r.yaml", "--out", "pool")
    result = trlt(
        "probe", "--data", "pool", "-n", "2", "--set", "select.easy=2", "--set", "probe.max_new_tokens=4", *fast, "--json"
    )
    assert result["summary"]["rows"] == 2 and result["summary"]["errors"] == 0
    assert "runs/trlt/probe-pool" in result["rows"]


def test_recipes_that_cannot_be_prepared(trlt, tmp_path):
    pool(tmp_path)
    (tmp_path / "none.yaml").write_text("name: none\n")
    assert "prepare.sources is empty" in trlt("prepare", "none.yaml", code=2)
    assert "names its own folders" in trlt("prepare", "r.yaml", "--annotations", "d", code=2)
    assert "give pool" in trlt("prepare", "r.yaml", "--out", "pool.jsonl", code=2)
    twice = "{dataset: charades, annotations: d/charades/ann}"
    (tmp_path / "twice.yaml").write_text(f"prepare: {{sources: [{twice}, {twice}]}}\n")
    assert "named twice" in trlt("prepare", "twice.yaml", "--out", "p", code=2)
    assert "prepare.leaks" in trlt("prepare", "r.yaml", "--leaks", "hide", code=2)


def test_one_data_set_in_two_splits(trlt, tmp_path):
    charades(tmp_path / "ann")
    (tmp_path / "ann/charades_sta_test.txt").write_text("DDDDD 0 1##a cow\n")
    sources = "{dataset: charades, annotations: ann}, {dataset: charades, annotations: ann, split: test}"
    (tmp_path / "r.yaml").write_text(f"prepare: {{sources: [{sources}]}}\n")
    assert "--allow-test" in trlt("prepare", "r.yaml", "--out", "p", code=2)
    trlt("prepare", "r.yaml", "--out", "p", "--allow-test")
    assert sorted(path.name for path in (tmp_path / "p").glob("*.jsonl")) == ["charades-default.jsonl", "charades-test.jsonl"]


def test_footage_of_benchmarks_is_left_out_or_listed(trlt, tmp_path):
    charades(tmp_path / "ann")
    (tmp_path / "data/charades").mkdir(parents=True)
    (tmp_path / "data/charades/charades_sta_test.txt").write_text("AAAAA 0 1##another sentence\n")
    args = ("prepare", "charades", "--annotations", "ann", "--against", "benchmarks", "--out", "s.jsonl")
    result = trlt(*args, "--json")
    assert [sample.video for sample in read_samples(tmp_path / "s.jsonl")] == ["BBBBB.mp4"]
    assert result["against"]["leaked"] == {"charades": 1} and "mvbench" in result["against"]["unchecked"]
    assert (tmp_path / "s.leaks.tsv").read_text() == "charades:train:AAAAA:0\tcharades:AAAAA\tcharades\n"
    assert "left out" in (tmp_path / "s.report.md").read_text()
    trlt(*args, "--leaks", "list")
    assert len(read_samples(tmp_path / "s.jsonl")) == 2 and (tmp_path / "s.leaks.tsv").exists()


def test_strict_ends_with_an_error_and_writes_all_the_same(trlt, tmp_path):
    charades(tmp_path / "ann")
    args = ("prepare", "charades", "--annotations", "ann", "--out", "s.jsonl")
    assert "1 records were dropped; s.report.md says which" in trlt(*args, "--strict", code=3)
    assert len(read_samples(tmp_path / "s.jsonl")) == 2
    (tmp_path / "ann/charades_sta_train.txt").write_text("AAAAA 0.0 1.0##a cat\n")
    trlt(*args, "--strict")


def test_the_scan_of_videos_is_kept(trlt, tmp_path):
    charades(tmp_path / "ann")
    write_clip(tmp_path / "vid/AAAAA.mp4", 2)
    (tmp_path / "vid/BBBBB.mp4").write_bytes(b"no video")
    args = ("prepare", "charades", "--annotations", "ann", "--videos", "vid", "--out", "s.jsonl", "--json")
    first = trlt(*args)
    assert first["sources"][0]["dropped"] == {"reversed": 1, "video_broken": 1}
    assert "BBBBB.mp4" in (tmp_path / "s.missing_videos.txt").read_text()
    scan = tmp_path / "runs/video-scan.jsonl"
    lines = scan.read_text()
    assert len(lines.splitlines()) == 2
    assert trlt(*args)["sha256"] == first["sha256"] and scan.read_text() == lines


def test_what_cannot_be_prepared_is_named(trlt, tmp_path):
    charades(tmp_path / "ann")
    (tmp_path / "vid").mkdir()
    assert "did you mean charades" in trlt("prepare", "charadess", code=2)
    assert "the folder that holds charades_sta_train.txt" in trlt("prepare", "charades", code=2)
    assert "which data set?" in trlt("prepare", code=2)
    message = trlt("prepare", "charades", "--annotations", "ann", "--videos", "vid", code=3)
    assert "no sample is left of 3 records (2 video_missing, 1 reversed)" in message and "check --videos" in message
    assert "ends in .jsonl" in trlt("prepare", "charades", "--annotations", "ann", "--out", "folder", code=2)
    listed = trlt("prepare", "--list", "--json")
    assert {"charades", "nextqa"} <= {source["name"] for source in listed["sources"]}
    assert all(source["where"] and source["license"] for source in listed["sources"])
