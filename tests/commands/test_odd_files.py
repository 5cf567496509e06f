"""Links, names and folders as people have them: each file's fault is its own, and every command goes on with the rest."""

from __future__ import annotations

import json
import shutil
import unicodedata
from pathlib import Path

import pytest
from made_clips import write_clip

from trlt.rollout import read_rows
from trlt.task.sample import Sample, Span, write_samples

NFC, NFD = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
LONG = "x" * 300 + ".mp4"


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    write_clip(folder / "one.mp4", 2, 0)
    return folder / "one.mp4"


@pytest.fixture
def videos(tmp_path, made) -> Path:
    """A good video, one in another Unicode form, links out, to itself and to nothing, and a name that is no text."""
    root = tmp_path / "videos"
    root.mkdir()
    shutil.copy(made, root / "right.mp4")
    shutil.copy(made, root / f"{NFD}.mp4")
    (root / "out.mp4").symlink_to(made)
    (root / "outside").symlink_to(made.parent)
    (root / "loop.mp4").symlink_to("loop.mp4")
    (root / "nothing.mp4").symlink_to("none.mp4")
    (root / "again").symlink_to(".")
    (root / "no\udcfftext.mp4").write_text("<html>gone</html>")
    return root


@pytest.fixture
def data(tmp_path) -> Path:
    names = ["right.mp4", f"{NFC}.mp4", "out.mp4", "loop.mp4", "nothing.mp4", LONG]
    made = [
        Sample(str(place), "made", "train", "grounding", name, "a cat", spans=(Span(0, 1),)) for place, name in enumerate(names)
    ]
    write_samples(tmp_path / "samples.jsonl", made)
    return tmp_path / "samples.jsonl"


REASONS = {
    "out.mp4": "leads outside of the video root",
    "loop.mp4": "in a circle",
    "nothing.mp4": "a link to a file that isn't there",
    LONG: "too long for the file system",
}


def test_check_of_a_folder_goes_on(trlt, videos):
    found = trlt("video", "check", videos, "--json", "--out", "rows.jsonl", "--set", "video.max_tokens=64")
    rows = {row["video"]: row["error"] for row in map(json.loads, Path("rows.jsonl").read_text().splitlines())}
    wanted = {**REASONS, "outside": "leads outside", "no\udcfftext.mp4": "a web page, not a video"}
    del wanted[LONG]
    assert {name for name, error in rows.items() if error is None} == {"right.mp4", f"{NFD}.mp4"} == set(rows) - set(wanted)
    assert all(reason in rows[name] for name, reason in wanted.items())
    assert (found["clips"], found["sound"], found["broken"]) == (7, 2, 5)
    assert "no\\udcfftext.mp4" in trlt("video", "check", videos, "--set", "video.max_tokens=64")


def test_check_of_a_folder_whose_links_are_allowed(trlt, videos, made):
    flags = ("--json", "--set", "video.max_tokens=64", "--set", f"video.links={made.parent}")
    found = trlt("video", "check", videos, *flags)
    assert (found["clips"], found["sound"], found["broken"]) == (7, 4, 3), "out.mp4 and outside/one.mp4 too"


def test_check_of_samples_and_warming_go_on(trlt, videos, data, made):
    flags = ("--videos", videos, "--json", "--set", "video.max_tokens=64")
    trlt("video", "check", data, *flags, "--out", "rows.jsonl")
    rows = {row["video"]: row["error"] for row in map(json.loads, Path("rows.jsonl").read_text().splitlines())}
    assert rows.pop("right.mp4") is None and rows.pop(f"{NFC}.mp4") is None and set(rows) == set(REASONS)
    assert all(reason in rows[name] for name, reason in REASONS.items())
    warmed = trlt("video", "cache", "warm", "--data", data, *flags, "--store", "store")
    assert warmed["decoded"] == 2 and set(warmed["broken"]) == set(REASONS)


def test_prepare_goes_on(trlt, videos, tmp_path):
    annotations = tmp_path / "ann"
    annotations.mkdir()
    names = ["right", NFC, "out", "loop", "nothing", "x" * 300]
    (annotations / "charades_sta_train.txt").write_text(
        "".join(f"{name} 0.0 1.0##a cat sits\n" for name in names), encoding="utf-8"
    )
    (annotations / "Charades_v1_train.csv").write_text(
        "id,length\n" + "".join(f"{name},2.0\n" for name in names), encoding="utf-8"
    )
    made = trlt("prepare", "charades", "--annotations", annotations, "--videos", videos, "--json")
    [entry] = made["sources"]
    assert entry["kept"] == 2 and entry["dropped"] == {"video_missing": 4}
    listed = Path(made["missing_videos"]).read_text(encoding="utf-8")
    assert all(reason in listed for reason in REASONS.values())


def test_probe_and_infer_go_on(trlt, fast, videos, data, made):
    flags = ("--videos", videos, *fast, "--set", "video.max_tokens=64", "--json")
    for command, sets in (
        ("probe", ("--set", "probe.max_new_tokens=2")),
        ("infer", ("--set", "eval.max_new_tokens=2")),
    ):
        trlt(command, *(["--data"] if command == "probe" else []), data, *flags, *sets, "--out", command)
        rows = {row["id"]: row.get("error") for row in read_rows(Path(command, "rows", f"{command}.jsonl"))}
        assert rows["0"] is None and rows["1"] is None and len(rows) == 6
        for place, name in ((2, "out.mp4"), (3, "loop.mp4"), (4, "nothing.mp4"), (5, LONG)):
            assert REASONS[name] in rows[str(place)]
    for name, reason in (("loop.mp4", "circle"), (LONG, "too long"), ("none.mp4", "no such file")):
        assert reason in trlt("infer", videos / name, "a cat", *fast, code=4)


def test_eval_lists_them_as_missing(trlt, fast, bench, tmp_path):
    video = bench / "Charades_v1_480/AAAAA.mp4"
    for fault, reason in (
        (lambda: video.symlink_to("AAAAA.mp4"), "circle"),
        (lambda: video.symlink_to(tmp_path / "o.mp4"), "outside"),
    ):
        video.rename(tmp_path / "o.mp4") if not video.is_symlink() else video.unlink()
        fault()
        sets = ("--annotations", bench, "--videos", bench, *fast, "--set", "eval.max_new_tokens=2", "--out", reason, "--json")
        entry = trlt("eval", "-b", "charades", *sets, "--allow-missing")["benchmarks"]["charades"]
        assert entry["n"] == 2 and entry["missing_videos"] == 1
        [line] = Path(reason, "charades.missing_videos.txt").read_text().splitlines()
        assert line.startswith("AAAAA.mp4\t") and reason in line
