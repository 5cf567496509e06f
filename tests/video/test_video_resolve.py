"""Finding videos in the layouts that downloads come in."""

from pathlib import Path

import pytest

from trlt.errors import VideoError
from trlt.video.resolve import VideoIndex


def put(root: Path, *names: str) -> VideoIndex:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return VideoIndex(root)


def test_exact_path_first(tmp_path: Path) -> None:
    index = put(tmp_path, "a/x123456.mp4", "b/x123456.mp4", "b/x123456.mkv")
    assert index.find("a/x123456.mp4") == tmp_path / "a/x123456.mp4"
    assert index.find("b/x123456.mkv").name == "x123456.mkv"


@pytest.mark.parametrize("name", ["v_abc.mp4", "v_abc", "val/v_abc.mp4", "v_abc.webm", "some/where/v_abc"])
def test_other_layouts_and_extensions(tmp_path: Path, name: str) -> None:
    index = put(tmp_path, "train/videos/v_abc.MKV", "train/videos/v_abd.mp4", "train/v_abc.json")
    assert index.find(name) == tmp_path / "train/videos/v_abc.MKV"
    assert index.has(name) and not index.has("v_abe.mp4")


def test_names_with_dots(tmp_path: Path) -> None:
    index = put(tmp_path, "s1/clip.v2.mp4", "s1/clip.mp4")
    assert index.find("clip.v2").name == "clip.v2.mp4" and index.find("clip").name == "clip.mp4"


def test_trailing_folders_decide(tmp_path: Path) -> None:
    index = put(tmp_path, "data/Art/1.mp4", "data/Law/1.mp4", "data/Law/2.mp4")
    assert index.find("videos/Art/1.mp4") == tmp_path / "data/Art/1.mp4"
    with pytest.raises(VideoError, match=r"ambiguous.*data/Art/1\.mp4, data/Law/1\.mp4"):
        index.find("1.mp4")
    # a short name in another folder is another video, never a substitute
    with pytest.raises(VideoError, match="not in"):
        index.find("videos/Art/2.mp4")


def test_folders_of_frames(tmp_path: Path) -> None:
    index = put(
        tmp_path, "tvqa/frames/castle_s01/00001.jpg", "tvqa/frames/castle_s01/00002.jpg", "tvqa/frames/empty/readme.txt"
    )
    assert index.find("tvqa/frames/castle_s01") == tmp_path / "tvqa/frames/castle_s01" == index.find("castle_s01")
    assert not index.has("tvqa/frames/empty")


@pytest.mark.parametrize("name", ["", "/etc/hosts", "../secret.mp4", "a/../../secret.mp4"])
def test_never_outside_by_name(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret.mp4").touch()
    with pytest.raises(VideoError, match="inside the video root"):
        put(tmp_path / "root", "a/b.mp4").find(name)


def test_never_outside_by_link(tmp_path: Path) -> None:
    put(tmp_path / "other", "secret.mp4")
    index = put(tmp_path / "root", "a/inside.mp4")
    (tmp_path / "root" / "linked.mp4").symlink_to(tmp_path / "other" / "secret.mp4")
    (tmp_path / "root" / "folder").symlink_to(tmp_path / "other")
    (tmp_path / "root" / "good.mp4").symlink_to(tmp_path / "root" / "a" / "inside.mp4")
    for name in ("linked.mp4", "folder/secret.mp4", "x/linked.mp4"):
        with pytest.raises(VideoError, match="leads outside"):
            index.find(name)
    assert index.find("good.mp4").exists()


def test_missing_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match=r"a/b\.mp4: not in .*looked for that path, then for b\."):
        put(tmp_path, "c.mp4").find("a/b.mp4")
    with pytest.raises(VideoError, match="no such folder"):
        VideoIndex(tmp_path / "none")


def test_the_root_may_be_a_link(tmp_path: Path) -> None:
    put(tmp_path / "real", "a/b.mp4")
    (tmp_path / "root").symlink_to(tmp_path / "real")
    assert VideoIndex(tmp_path / "root").find("a/b.mp4").is_file()
