"""Further training sources as a reader of the real files would find them, and as the real readers read them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import av
import pytest

from trlt.data.datasets import fit_to_file, read_source
from trlt.lab.miniature.layout import _write_annotation, parts, render_all
from trlt.video.resolve import VideoIndex

NAMES = ("llava_video", "perceptiontest", "internvid", "vtg_it", "gvideollm")
TASKS = dict(zip(NAMES, ("multi_choice", "multi_choice", "grounding", "grounding", "grounded_qa"), strict=True))
YOUTUBE = "[A-Za-z0-9_-]{11}"


@pytest.fixture(scope="module")
def made():
    """Annotation and scenes at full size, and what they are called."""
    return {name: part for key, part in parts().items() for group, _, name in [key.partition("/")] if group == "train"}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Folder of each source, written small; other sources have tests of their own."""
    root = tmp_path_factory.mktemp("miniature")
    for key, part in parts(scale=0.2).items():
        if key.partition("/")[2] in NAMES:
            folder = root / key.partition("/")[2]
            for name, content in part.annotations.items():
                _write_annotation(folder / "annotations" / name, content)
            render_all((folder / "videos" / path, scene) for path, scene in part.videos.items())
    return {name: root / name for name in NAMES}


def load(part, name):
    return json.loads(part.annotations[name])


def seconds(path: Path) -> float:
    with av.open(str(path)) as container:
        return float(container.streams.video[0].frames / container.streams.video[0].average_rate)


def stem(path: str) -> str:
    return path.rsplit("/", 1)[-1].removesuffix(".mp4")


def talk(turns):
    """(question, answer) of each pair of turns."""
    assert [turn["from"] for turn in turns] == ["human", "gpt"] * (len(turns) // 2)
    assert all(set(turn) == {"from", "value"} for turn in turns)
    return list(zip((t["value"] for t in turns[::2]), (t["value"] for t in turns[1::2]), strict=True))


def test_sizes(made):
    assert [len(made[name].videos) for name in NAMES] == [40, 24, 32, 24, 24]
    assert {scene.domain for name in NAMES for scene in made[name].videos.values()} == {"train"}


def test_llava_video_has_options_and_answers_with_letters(made):
    part = made["llava_video"]
    bucket = "0_30_s_youtube_v0_1"
    assert list(part.annotations) == [f"{bucket}/0_30_s_youtube_mc_v0_1_qa_processed.json"]
    records, turns = load(part, *part.annotations), []
    for record in records:
        assert set(record) == {"id", "conversations", "data_source", "video"} and record["data_source"] == bucket
        assert re.fullmatch(YOUTUBE, record["id"])
        assert record["video"] == f"liwei_youtube_videos/videos/youtube_video_2024/ytb_{record['id']}.mp4"
        assert f"{bucket}/{record['video']}" in part.videos
        said = talk(record["conversations"])
        assert [question.startswith("<image>\n") for question, _ in said] == [True, False][: len(said)]
        for question, answer in said:
            _, head, *options, tail = question.removeprefix("<image>\n").split("\n")
            assert head == "Options:" and [option[:3] for option in options] == ["A. ", "B. ", "C. ", "D. ", "E. "]
            assert answer in options and tail == (
                "Please provide your answer by stating the letter followed by the full option."
            )
        turns.append(len(said))
    assert set(turns) == {1, 2} and len({r["id"] for r in records}) == len(records) == len(part.videos)


def test_perceptiontest_has_three_options_and_cuts_inside_the_video(made):
    part = made["perceptiontest"]
    entries, cuts = load(part, "mc_question_train.json"), load(part, "cut_frame_mapping_train.json")
    assert set(cuts) == set(entries) and {f"{name}.mp4" for name in entries} == set(part.videos)
    for name, entry in entries.items():
        scene, metadata = part.videos[f"{name}.mp4"], entry["metadata"]
        assert re.fullmatch(r"video_\d{4}", name) and metadata["video_id"] == name and metadata["split"] == "train"
        assert metadata["num_frames"] / metadata["frame_rate"] == scene.duration
        assert cuts[name] == -1 or 0 < cuts[name] < metadata["num_frames"]
        # A cut is where nothing is visible that is still visible after it, and hides something.
        cut = scene.duration if cuts[name] == -1 else cuts[name] / metadata["frame_rate"]
        assert not any(s.start < cut < s.end for s in scene.shows)
        assert any(s.start >= cut for s in scene.shows) == (cuts[name] != -1)
        assert [q["id"] for q in entry["mc_question"]] == list(range(len(entry["mc_question"])))
        for q in entry["mc_question"]:
            assert set(q) == {"id", "question", "options", "answer_id", "area", "reasoning", "tag"}
            assert len(set(q["options"])) == 3 and q["answer_id"] in range(3) and isinstance(q["tag"], list)
    assert 3 <= sum(cut != -1 for cut in cuts.values()) <= 12


def test_a_cut_hides_what_is_asked_about_no_more(made):
    entries, cuts = (load(made["perceptiontest"], n) for n in ("mc_question_train.json", "cut_frame_mapping_train.json"))
    counts = [
        (cuts[name], q["options"][q["answer_id"]], made["perceptiontest"].videos[f"{name}.mp4"])
        for name, entry in entries.items()
        for q in entry["mc_question"]
        if q["question"].startswith("how many shapes") and "mov" not in q["question"]
    ]
    assert counts
    for cut, answer, scene in counts:
        shown = [s for s in scene.shows if cut == -1 or s.end <= cut / 8]
        assert ("one", "two", "three", "four")[len(shown) - 1] == answer


def test_internvid_splits_are_parts_of_whole_videos_or_of_the_files_length(made):
    part = made["internvid"]
    whole, forms = 0, set()
    for record in load(part, "stage2.json"):
        meta, scene = record["meta"], part.videos[f"{record['id']}.mp4"]
        assert set(record) == {"source", "id", "conversations", "meta"} and record["source"] == "internvid"
        assert set(meta) == {"split", "duration", "token"} and re.fullmatch(YOUTUBE, record["id"])
        start, end = meta["split"]
        assert end - start == meta["duration"]
        uncut = meta["duration"] < scene.duration
        whole += uncut
        assert end <= scene.duration if uncut else start >= 10 and meta["duration"] == scene.duration
        said = talk(record["conversations"])
        placeholders = re.findall(r"<[se]\d+>", " ".join(text for pair in said for text in pair))
        assert sorted(placeholders) == sorted(meta["token"]) and len(meta["token"]) >= 4
        forms.add((len(said) > 1, "<s0>" in said[0][0]))
        ends = {(s.start, s.end) for s in scene.shows} | {(s.start, s.turns_at) for s in scene.shows}
        ends |= {(s.turns_at, s.end) for s in scene.shows}
        for number in range(len(meta["token"]) // 2):
            times = [meta["token"][f"<{side}{number}>"] for side in "se"]
            assert 0 <= times[0] < times[1] <= meta["duration"]
            # Relative to the split, so an uncut file shows it that much later.
            assert tuple(t + (start if uncut else 0) for t in times) in ends
    assert whole == 16 and forms == {(False, False), (True, True), (True, False)}


def test_vtg_it_states_times_as_six_tokens(made):
    part = made["vtg_it"]
    assert list(part.annotations) == [f"moment_retrieval/{name}/time_token.json" for name in ("Charades", "QueryD")]
    patterns = {"Charades": "data/Charades/videos/[A-Z0-9]{5}.mp4", "QueryD": f"data/QuerYD/videos/video-{YOUTUBE}.mp4"}
    stamp = "(?:<TIME_[A-Z]+>){4}<TIME_DOT><TIME_[A-Z]+>"
    prompts = set()
    for name, pattern in patterns.items():
        records = load(part, f"moment_retrieval/{name}/time_token.json")
        assert len(records) == 12
        for record in records:
            assert set(record) == {"video", "QA"} and re.fullmatch(pattern, record["video"]) and record["video"] in part.videos
            for turn in record["QA"]:
                assert set(turn) == {"q", "a"}
                assert re.fullmatch(f"The given query happens in {stamp} - {stamp} seconds.", turn["a"])
                prompts.add(re.sub("'.*'", "", turn["q"]))
    assert len(prompts) == 6


def test_gvideollm_names_and_moments(made):
    part = made["gvideollm"]
    origins, lone = set(), 0
    for record in load(part, "G-VideoQA-gpt4o-mini-anno.json"):
        assert set(record) == {"question_id", "video_id", "video_file", "conversation", "dataset_name"}
        name, scene = record["video_id"], part.videos[record["video_file"]]
        assert record["video_file"].endswith(f"/videos/{name}.mp4")
        cut = re.fullmatch(rf"{YOUTUBE}_(\d+\.\d)_(\d+\.\d)", name)
        assert cut or re.fullmatch(f"v_{YOUTUBE}", name)
        assert not cut or float(cut[2]) - float(cut[1]) == scene.duration
        origins.add(record["video_file"].partition("/")[0])
        said = talk(record["conversation"])
        assert said[0][0].startswith("<image>\n") and re.match(r"\([A-E]\) ", said[0][1])
        times = [float(t) for t in re.findall(r"<(\d+(?:\.\d)?)>", said[-1][1])]
        spans = list(zip(times[::2], times[1::2], strict=True))
        assert spans and set(spans) <= {(s.start, s.end) for s in scene.shows}
        lone += len(said) == 1
        assert (len(said) == 1) == (len(spans) == 1)
    assert origins == {"activitynet", "qvhighlights"} and lone >= 20


@pytest.mark.parametrize("name", NAMES)
def test_read_without_loss(small, name):
    reading = read_source(name, small[name] / "annotations")
    assert len(reading.samples) == reading.read > 0
    assert not reading.dropped and not reading.repaired
    videos = VideoIndex(small[name] / "videos")
    for sample in reading.samples:
        assert sample.task == TASKS[name]
        length = seconds(videos.find(sample.video))
        fitted = fit_to_file(sample, length).sample
        assert fitted is not None and fitted.spans == sample.spans
        shown = fitted.clip.length if fitted.clip else length
        assert sample.duration is None or sample.duration == shown
        assert all(span.end <= shown for span in sample.spans or ())
    assert {stem(s.video) for s in reading.samples} == {stem(path) for path in videos.all()}


def test_whole_and_cut_files_of_internvid_are_told_apart(small):
    videos = VideoIndex(small["internvid"] / "videos")
    kept = {
        sample.video: fit_to_file(sample, seconds(videos.find(sample.video))).sample.clip
        for sample in read_source("internvid", small["internvid"] / "annotations").samples
    }
    assert len(kept) == 6 and sum(clip is not None for clip in kept.values()) == 3
