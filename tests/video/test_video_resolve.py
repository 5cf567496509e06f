"""Finding videos in the layouts that downloads come in."""

import unicodedata
from pathlib import Path

import pytest

from trlt.data.find_videos import find_videos
from trlt.errors import VideoError
from trlt.task.sample import Sample, Span
from trlt.video.resolve import VideoIndex, on_disk


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


NFC, NFD = unicodedata.normalize("NFC", "café"), unicodedata.normalize("NFD", "café")


@pytest.mark.parametrize(("there", "asked"), [(NFD, NFC), (NFC, NFD)])
def test_unicode_forms_of_one_name(tmp_path: Path, there: str, asked: str) -> None:
    index = put(tmp_path, f"{there}/{there}.mp4", f"b/{there} two.mp4", f"b/frames {there}/00001.jpg")
    assert index.find(f"{asked}/{asked}.mp4") == tmp_path / there / f"{there}.mp4"
    for name in (f"{asked} two.mp4", f"{asked} two", f"elsewhere/{asked} two.webm"):
        assert index.find(name) == tmp_path / "b" / f"{there} two.mp4"
    assert index.find(f"frames {asked}") == tmp_path / "b" / f"frames {there}"


def test_both_unicode_forms_side_by_side_are_two_files(tmp_path: Path) -> None:
    index = put(tmp_path, f"{NFC}.mp4", f"{NFD}.mp4")
    assert index.find(f"{NFC}.mp4") == tmp_path / f"{NFC}.mp4" and index.find(f"{NFD}.mp4") == tmp_path / f"{NFD}.mp4"


def test_letter_case_counts_only_where_it_decides(tmp_path: Path) -> None:
    index = put(tmp_path, "Data/Video_ABC.MP4", "x/Other1.mp4", "y/other1.mp4", "Art/1.mp4", "art/1.mp4", "z/ÉCLAIR.mp4")
    assert index.find("data/video_abc.mp4") == tmp_path / "Data/Video_ABC.MP4" == index.find("VIDEO_ABC")
    assert index.find("éclair.mp4") == tmp_path / "z/ÉCLAIR.mp4"
    # Where both are there, each is found by its own name, and another name is never guessed.
    assert index.find("other1") == tmp_path / "y/other1.mp4" and index.find("Other1") == tmp_path / "x/Other1.mp4"
    assert index.find("videos/art/1.mp4") == tmp_path / "art/1.mp4"
    for name in ("OTHER1", "ART/1.mp4"):
        with pytest.raises(VideoError, match=r"ambiguous in .*1\.mp4, .*1\.mp4"):
            index.find(name)


@pytest.mark.parametrize("name", ["x" * 300 + ".mp4", "a/" + "é" * 200 + ".mp4", "x" * 300, "a/" * 2500 + "b.mp4"])
def test_names_that_are_too_long(tmp_path: Path, name: str) -> None:
    index = put(tmp_path, "a/b.mp4")
    with pytest.raises(VideoError, match="too long for the file system"):
        index.find(name)
    assert not index.has(name) and not index.is_at(name)
    left = Sample("1", "made", "train", "grounding", name, "a cat", spans=(Span(0, 1),))
    good = Sample("2", "made", "train", "grounding", "a/b.mp4", "a cat", spans=(Span(0, 1),))
    found = find_videos([left, good], index)
    assert [one.id for one in found.samples] == ["2"] and "too long" in found.missing[name] and found.left_out == 1


def test_links_that_lead_nowhere_or_outside_are_that_videos_error(tmp_path: Path) -> None:
    put(tmp_path / "other", "secret.mp4", "frames/00001.jpg", "frames/00002.jpg")
    root = tmp_path / "root"
    index = put(root, "right.mp4", "mixed/00001.jpg")
    for link, target in {
        "out.mp4": tmp_path / "other/secret.mp4",
        "part2": tmp_path / "other",
        "loop.mp4": "loop.mp4",
        "circle": "circle",
        "one.mp4": "two.mp4",
        "two.mp4": "one.mp4",
        "nothing.mp4": "none.mp4",
        "up": ".",
        "mixed/00002.jpg": tmp_path / "other/frames/00002.jpg",
    }.items():
        (root / link).symlink_to(target)
    reasons = {
        "out.mp4": "leads outside of the video root .* video.links",
        "part2": "leads outside",
        "part2/secret.mp4": "leads outside",
        "loop.mp4": "in a circle",
        "circle": "in a circle",
        "circle/x.mp4": "in a circle",
        "one.mp4": "in a circle",
        "two.mp4": "in a circle",
        "nothing.mp4": "a link to a file that isn't there",
        "mixed": "00002.jpg, a link that leads outside",
    }
    assert index.all() == sorted({*reasons, "right.mp4"} - {"part2/secret.mp4", "circle/x.mp4"})
    for name, reason in reasons.items():
        with pytest.raises(VideoError, match=reason):
            index.find(name)
    assert index.find("right.mp4") == root / "right.mp4" == index.find("elsewhere/right.mp4") and index.find("up/right.mp4")


def test_links_may_lead_into_one_named_folder(tmp_path: Path) -> None:
    put(tmp_path / "cache/blobs", "0a1b", "0c2d", "more/inner12.mp4")
    put(tmp_path / "other", "secret.mp4")
    (tmp_path / "cache/blobs/more/back").symlink_to(tmp_path / "cache/blobs")
    root = tmp_path / "cache/snapshots/f00"
    put(root / "frames/clip1", "00001.jpg")
    for link, target in {
        "videos/v_abcde.mp4": "../../../blobs/0a1b",
        "frames/clip1/00002.jpg": "../../../../blobs/0c2d",
        "linked": "../../blobs/more",
        "out.mp4": tmp_path / "other/secret.mp4",
    }.items():
        (root / link).parent.mkdir(parents=True, exist_ok=True)
        (root / link).symlink_to(target)
    closed = VideoIndex(root)
    for name in ("v_abcde", "frames/clip1", "linked/inner12.mp4", "out.mp4"):
        with pytest.raises(VideoError, match=r"outside of the video root|not in"):
            closed.find(name)
    index = VideoIndex(root, links=tmp_path / "cache/blobs")
    assert index.find("v_abcde") == root / "videos/v_abcde.mp4" and index.find("clip1") == root / "frames/clip1"
    assert index.find("inner12") == root / "linked/inner12.mp4"
    with pytest.raises(VideoError, match="outside of the video root"):
        index.find("out.mp4")
    for name in (str(tmp_path / "cache/blobs/0a1b"), "../../blobs/0a1b", "videos/../../../blobs/0a1b"):
        with pytest.raises(VideoError, match="inside the video root"):
            index.find(name)
    with pytest.raises(VideoError, match=r"video\.links: .*no such folder"):
        VideoIndex(root, links=tmp_path / "none")


def test_a_file_that_is_named_on_the_command_line(tmp_path: Path) -> None:
    put(tmp_path, f"{NFD}.mp4", "Clip.MP4", "a.mp4", "A.mp4")
    (tmp_path / "loop.mp4").symlink_to("loop.mp4")
    assert on_disk(tmp_path / f"{NFC}.mp4") == tmp_path / f"{NFD}.mp4" and on_disk(tmp_path / "a.mp4") == tmp_path / "a.mp4"
    assert on_disk(tmp_path / "clip.mp4") == tmp_path / "Clip.MP4"
    for name, reason in {"none.mp4": "no such file", "loop.mp4": "circle", "x" * 300: "too long", "a.mp4/b": "no such"}.items():
        with pytest.raises(VideoError, match=reason):
            on_disk(tmp_path / name)
