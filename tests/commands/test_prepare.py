"""Official files to samples, one data set or several."""

from __future__ import annotations

import json

from made_clips import write_clip

from trlt.rollout import videos_root
from trlt.sample import read_samples


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


def test_a_recipe_pools_its_sources_below_one_folder(trlt, tmp_path):
    charades(tmp_path / "d/charades/ann")
    nextqa(tmp_path / "d/nextqa/ann")
    write_clip(tmp_path / "d/charades/vid/AAAAA.mp4", 2)
    write_clip(tmp_path / "d/nextqa/vid/777001.mp4", 2)
    lines = [f"    - {{dataset: {name}, annotations: d/{name}/ann, videos: d/{name}/vid}}" for name in ("charades", "nextqa")]
    (tmp_path / "r.yaml").write_text("prepare:\n  sources:\n" + "\n".join(lines) + "\n")
    trlt("prepare", "r.yaml", "--out", "pool.jsonl")
    videos = [sample.video for sample in read_samples(tmp_path / "pool.jsonl")]
    assert videos == ["charades/vid/AAAAA.mp4", "nextqa/vid/777001.mp4"]
    assert videos_root(None, tmp_path / "pool.jsonl") == tmp_path / "d"
    assert all((tmp_path / "d" / video).is_file() for video in videos)
    (tmp_path / "none.yaml").write_text("name: none\n")
    assert "prepare.sources is empty" in trlt("prepare", "none.yaml", code=2)
    assert "names its own folders" in trlt("prepare", "r.yaml", "--annotations", "d", code=2)


def test_what_cannot_be_prepared_is_named(trlt, tmp_path):
    charades(tmp_path / "ann")
    (tmp_path / "vid").mkdir()
    assert "did you mean charades" in trlt("prepare", "charadess", code=2)
    assert "the folder that holds charades_sta_train.txt" in trlt("prepare", "charades", code=2)
    assert "which data set?" in trlt("prepare", code=2)
    assert "none of the 2 videos is there" in trlt("prepare", "charades", "--annotations", "ann", "--videos", "vid", code=3)
    assert "nextqa" in {source["name"] for source in trlt("prepare", "--list", "--json")["sources"]}
