"""Further benchmarks as a reader of the real files would find them, and as the real readers read them."""

from __future__ import annotations

import io
import json
import re
from collections import Counter
from pathlib import Path

import av
import pytest

from trlt.data.datasets import read_source
from trlt.lab.miniature.benchmarks import _claim
from trlt.lab.miniature.layout import _write_annotation, parts, render_all
from trlt.lab.miniature.questions import SceneQuestion
from trlt.video.resolve import VideoIndex

NAMES = ("activitynet_rtl", "tempcompass", "videomme", "mmvu")
YOUTUBE = "[A-Za-z0-9_-]{11}"
WAYS = ("multi-choice", "yes_no", "caption_matching", "captioning")


@pytest.fixture(scope="module")
def made():
    return {name: part for key, part in parts().items() for group, _, name in [key.partition("/")] if group == "bench"}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Folder of each benchmark, written small; others have tests of their own."""
    root = tmp_path_factory.mktemp("miniature")
    for key, part in parts(scale=0.2).items():
        group, _, benchmark = key.partition("/")
        if group == "bench" and benchmark in NAMES:
            for name, content in part.annotations.items():
                _write_annotation(root / benchmark / "annotations" / name, content)
            render_all((root / benchmark / "videos" / path, scene) for path, scene in part.videos.items())
    return {name: root / name for name in NAMES}


def load(part, name):
    return json.loads(part.annotations[name])


def parquet(part):
    import pyarrow.parquet as pq

    return pq.read_table(io.BytesIO(part.annotations["videomme/test-00000-of-00001.parquet"])).to_pylist()


def seconds(path: Path) -> float:
    with av.open(str(path)) as container:
        return float(container.streams.video[0].frames / container.streams.video[0].average_rate)


def test_sizes_and_domains(made):
    assert [len(made[name].videos) for name in NAMES] == [48, 30, 20, 60]
    domains = [{scene.domain for scene in made[name].videos.values()} for name in NAMES]
    assert domains == [{"shifted"}, {"train"}, {"shifted"}, {"shifted"}]


def test_activitynet_rtl_has_the_moment_inside_the_answer(made):
    part = made["activitynet_rtl"]
    records = load(part, "annot_val_1_q229.json")
    for record in records:
        assert set(record) == {"vid", "question", "answer", "duration", "question_id"}
        scene = part.videos[f"v_{record['vid']}.mp4"]
        assert re.fullmatch(YOUTUBE, record["vid"]) and record["duration"] == scene.duration
        found = re.match(r"<(\d+(?:\.\d)?)> <(\d+(?:\.\d)?)> \w", record["answer"])
        assert (float(found[1]), float(found[2])) in {(s.start, s.end) for s in scene.shows}
        assert len(re.findall("<", record["answer"])) == 2
        assert record["question"].startswith(("what", "which", "to which"))
    assert len({record["question_id"] for record in records}) == len(records) >= 30


def test_tempcompass_asks_in_four_ways(made):
    part = made["tempcompass"]
    files = {way: load(part, f"{way}.json") for way in WAYS}
    assert list(part.annotations) == [f"{way}.json" for way in WAYS]
    dims, answers, heads = Counter(), Counter(), set()
    for video in files["yes_no"]:
        assert re.fullmatch(r"\d{10}", video) and f"{video}.mp4" in part.videos
        assert len({tuple(files[way][video]) for way in WAYS}) == 1
        for dim in files["yes_no"][video]:
            dims[dim] += 1
            choice, yes_no, matching, captioning = (files[way][video][dim][0] for way in WAYS)
            _, *options = choice["question"].split("\n")
            assert [o[:3] for o in options] == ["A. ", "B. ", "C. "] and choice["answer"] in options
            assert yes_no["answer"] in ("yes", "no") and yes_no["question"].startswith(("is there a ", "does a "))
            answers[yes_no["answer"]] += 1
            head, *lines = matching["question"].split("\n")
            heads.add((head, *(line.partition(": ")[0] for line in lines)))
            assert len(set(lines)) == 2 and matching["answer"] in lines
            assert set(captioning) == {"question", "answer", "mc_question", "mc_answer"}
            assert captioning["mc_question"] == choice["question"] and captioning["mc_answer"] == choice["answer"]
            assert captioning["answer"] == choice["answer"] and captioning["question"].endswith("Generated Caption:")
    assert set(dims) == {"action", "direction", "order", "attribute_change"} and len(heads) == 3
    assert min(answers.values()) >= 0.3 * answers.total() and len(files["yes_no"]) == 30


def reading_of(scene, text):
    """Whether a caption of a scene is true, by its words: `the red circle moves left`, `the cross turns blue`."""
    subject, verb, rest = re.fullmatch(r"the (.+) (appear|move|stay|turn)s (.+)", text).groups()
    *colour, kind = subject.split()
    shows = [s for s in scene.shows if kind in (s.kind, "shape") and (not colour or colour[0] in s.colours)]
    if verb == "turn":
        return any(s.turns_to == rest for s in shows)
    if verb in ("move", "stay"):
        return all(s.motion == rest for s in shows)
    shows = [s for s in scene.shows if s.colour == colour[0] and s.kind == kind]
    order = sorted(scene.shows, key=lambda s: s.start)
    if rest in ("first", "second", "last"):
        return order[{"first": 0, "second": 1, "last": -1}[rest]] in shows
    step = 1 if rest.startswith("right after") else -1
    name = rest.partition(" the ")[2].split()
    (base,) = [i for i, s in enumerate(order) if name[-1] in (s.kind, "shape") and (len(name) < 2 or name[0] in s.colours)]
    return 0 <= base + step < len(order) and order[base + step] in shows


def test_what_tempcompass_calls_right_is_true_and_the_rest_is_not(made):
    part = made["tempcompass"]
    for video, dims in load(part, "yes_no.json").items():
        scene = part.videos[f"{video}.mp4"]
        for (row,) in dims.values():
            *_, colour, kind = row["question"].removesuffix(" appear").split()
            there = any(s.kind == kind and colour in s.colours for s in scene.shows)
            assert there == (row["answer"] == "yes"), row
    for video, dims in load(part, "caption_matching.json").items():
        scene = part.videos[f"{video}.mp4"]
        for (row,) in dims.values():
            for line in row["question"].split("\n")[1:]:
                assert reading_of(scene, line.partition(": ")[2].removesuffix(".")) == (line == row["answer"]), row


@pytest.mark.parametrize(
    ("text", "option", "told"),
    [
        ("what does the red circle do", "moves left", "the red circle moves left"),
        ("what does the circle do", "stays still", "the circle stays still"),
        ("in which direction does the cross move", "up", "the cross moves up"),
        ("where does the cross move", "nowhere", "the cross stays still"),
        ("to which colour does the cross turn", "red", "the cross turns red"),
        ("which shape appears last", "red cross", "the red cross appears last"),
        ("what appears right after the square", "red cross", "the red cross appears right after the square"),
    ],
)
def test_an_option_becomes_a_caption(text, option, told):
    assert _claim(SceneQuestion("multi_choice", "action", text, (option, "x"), 0, None, ""), option) == told


def test_videomme_is_a_parquet_file_with_three_questions_a_video(made):
    part = made["videomme"]
    rows = parquet(part)
    columns = "video_id duration domain sub_category url videoID question_id task_type question options answer".split()
    assert len(rows) == 60 and all(list(row) == columns for row in rows)
    assert Counter(row["videoID"] for row in rows).most_common() == [(row["videoID"], 3) for row in rows[::3]]
    for row in rows:
        scene = part.videos[f"data/{row['videoID']}.mp4"]
        assert row["url"].endswith(f"watch?v={row['videoID']}") and re.fullmatch(YOUTUBE, row["videoID"])
        assert re.fullmatch(rf"{row['video_id']}-[123]", row["question_id"])
        assert [option[:3] for option in row["options"]] == ["A. ", "B. ", "C. ", "D. "] and row["answer"] in "ABCD"
        assert row["duration"] == ("short" if scene.duration <= 11 else "medium" if scene.duration <= 12 else "long")
    assert {row["duration"] for row in rows} == {"short", "medium", "long"}
    assert len({row["question_id"] for row in rows}) == 60


def test_mmvu_has_five_choices_save_for_open_questions(made):
    part = made["mmvu"]
    records = load(part, "validation.json")
    keys = "id video youtube_url question_type metadata question choices answer".split()
    for record in records:
        assert list(record) == keys and list(record["choices"]) == list("ABCDE")
        assert re.search(r"/videos/[A-Z]\w+/\d+\.mp4$", record["video"])
        assert record["video"].partition("/videos/")[2] in part.videos
        assert record["metadata"]["subject"].replace(" ", "_") == record["video"].split("/")[-2]
        texts = set(record["choices"].values())
        if record["question_type"] == "open-ended":
            assert texts == {""} and record["answer"]
        else:
            assert record["question_type"] == "multiple-choice" and len(texts) == 5 and record["answer"] in "ABCDE"
    assert Counter(r["question_type"] for r in records) == {"multiple-choice": 56, "open-ended": 4}
    assert len({r["id"] for r in records}) == len(records) == len(part.videos)


@pytest.mark.parametrize(
    ("name", "split", "task"),
    [
        ("activitynet_rtl", None, "grounding"),
        ("tempcompass", None, "multi_choice"),
        ("tempcompass", "captioning", "multi_choice"),
        ("videomme", None, "multi_choice"),
        ("mmvu", None, "multi_choice"),
    ],
)
def test_read_without_loss(small, name, split, task):
    reading = read_source(name, small[name] / "annotations", split, purpose="bench")
    assert len(reading.samples) + reading.dropped["open_ended"] == reading.read and reading.samples
    assert set(reading.dropped) == ({"open_ended"} if name == "mmvu" else set()) and not reading.repaired
    videos = VideoIndex(small[name] / "videos")
    for sample in reading.samples:
        assert sample.task == task
        length = seconds(videos.find(sample.video))
        assert sample.duration in (None, length) and all(span.end <= length for span in sample.spans or ())


def test_the_pose_task_of_mvbench_is_avi(tmp_path, made):
    part = made["mvbench"]
    rows = load(part, "json/fine_grained_pose.json")
    assert len(rows) == 18 and all(re.fullmatch(r"S\d{3}C\d{3}P\d{3}R\d{3}A\d{3}_rgb\.avi", row["video"]) for row in rows)
    scene = part.videos[f"nturgbd/{rows[0]['video']}"]
    render_all([(tmp_path / rows[0]["video"], scene)])
    with av.open(str(tmp_path / rows[0]["video"])) as container:
        assert container.format.name == "avi" and container.streams.video[0].codec_context.name == "mpeg4"
        assert sum(1 for _ in container.decode(video=0)) == scene.duration * 8
