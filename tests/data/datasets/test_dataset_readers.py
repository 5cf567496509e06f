"""What each reader repairs, drops and keeps; all rows are invented."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from dataset_helpers import item, lay_out, write_files

from trlt.data.datasets import Reading, fit_to_file, locate, names, read_source
from trlt.data.datasets import load as load_dataset
from trlt.data.datasets._spans import Fit
from trlt.data.datasets.didemo import choose
from trlt.task.sample import Sample, Span


def test_charades_training_spans_are_repaired_or_dropped(tmp_path: Path) -> None:
    lines = [
        "AAAAA 1.0 11.5##person #2 waves.",  # 1.5 past the end: clamped
        "AAAAA 0.0 11.6##too far past the end.",
        "AAAAA 8.0 7.0##reversed.",
        "AAAAA 5.0 5.0##zero length.",
        "AAAAA 10.0 10.5##starts at the end.",
        "",
        "AAAAA 0.1 9.9##all of it.",
        "AAAAA 2.0##half a line.",
        "AAAAA 1.2.3 4##no number.",
        "BBBBB 1.0 2.0##of unknown length ##1.",
        "AAAAA 1.0 2.0##  ",
    ]
    write_files(tmp_path, {"charades_sta_train.txt": "\n".join(lines), "Charades_v1_train.csv": "id,length\nAAAAA,10.0\n"})
    reading = read_source("charades", tmp_path)
    first, whole, unknown = reading.samples
    assert first.spans == (Span(1.0, 10.0),) and first.meta == {"raw_spans": [[1.0, 11.5]], "flags": ["clamped_end"]}
    assert (first.id, whole.id, unknown.id) == ("charades:train:AAAAA:0", "charades:train:AAAAA:6", "charades:train:BBBBB:9")
    assert unknown.question == "of unknown length ##1." and unknown.duration is None
    assert reading.repaired == {"clamped_end": 1, "whole_video": 1, "no_duration": 1}
    assert reading.dropped == {
        "overshoot": 1,
        "reversed": 1,
        "zero_length": 1,
        "starts_past_end": 1,
        "malformed": 2,
        "empty_question": 1,
    }
    assert reading.read == 10 == len(reading.samples) + reading.dropped.total()
    assert reading.examples["reversed"] == ["charades_sta_train.txt:3: AAAAA 8.0 7.0##reversed."]


def test_charades_gold_spans_of_the_benchmark_are_not_clipped(tmp_path: Path) -> None:
    files = {"charades_sta_test.txt": "AAAAA 1.0 19.0##over.\n", "Charades_v1_test.csv": "id,length\nAAAAA,10.0\n"}
    (sample,) = read_source("charades", write_files(tmp_path, files), purpose="bench").samples
    assert sample.spans == (Span(1.0, 19.0),) and sample.duration == 10.0 and sample.meta == {}


@pytest.mark.parametrize(
    ("times", "best"),
    [
        ([(1, 1), (1, 1), (0, 0), (0, 0)], ((0, 0), 2)),  # a tie: the earliest
        ([(1, 3), (1, 2), (1, 3), (1, 2)], ((1, 2), 2)),  # the same start: the shortest
        ([(4, 4), (0, 0), (4, 4)], ((4, 4), 2)),
        ([(2, 1), (2, 1), (5, 5)], ((5, 5), 1)),  # reversed pairs don't count
        ([(2, 1)], None),
        ([], None),
    ],
)
def test_didemo_takes_the_most_frequent_pair(times: list[tuple[int, int]], best: object) -> None:
    assert choose(times) == best


def didemo(folder: Path, times: list[list[int]], video: str = "1@N02_777_0ab.mov") -> Reading:
    record = {"num_segments": 6, "description": "a dog", "times": times, "video": video, "annotation_id": 7}
    return read_source("didemo", write_files(folder, {"train_data.json": json.dumps([record])}))


def test_didemo_fits_the_video_once_its_length_is_known(tmp_path: Path) -> None:
    (sample,) = didemo(tmp_path, [[4, 5], [4, 5], [0, 0]]).samples
    assert sample.spans == (Span(20.0, 30.0),) and sample.duration is None and sample.meta["agree"] == 2
    short = fit_to_file(sample, 27.5).sample
    assert short and short.spans == (Span(20.0, 27.5),) and short.duration == 27.5 and short.clip is None
    assert short.meta["flags"] == ["clamped_end"]
    long = fit_to_file(sample, 95.0).sample
    assert long and long.spans == sample.spans and long.clip == Span(0.0, 30.0) and long.duration == 30.0
    assert fit_to_file(sample, 19.0).reason == "starts_past_end"
    assert long == fit_to_file(long, 95.0).sample
    assert fit_to_file(long, 3.0).reason == "clip_past_file_end"


def test_didemo_names_without_extension_are_one_key(tmp_path: Path) -> None:
    reading = didemo(tmp_path, [[0, 0], [1, 1]], "1@N02_777_0ab")
    assert reading.samples[0].video_key == "flickr:777" and reading.repaired == {"no_agreement": 1}


def test_didemo_times_without_an_end_are_no_vote(tmp_path: Path) -> None:
    raw = json.dumps([{"video": "a", "description": "b", "times": ["X", [1, 2]], "annotation_id": 1}])
    files = {"train_data.json": raw.replace('"X"', "[0, 1e999]")}
    (sample,) = read_source("didemo", write_files(tmp_path, files)).samples
    assert sample.spans == (Span(5.0, 15.0),) and sample.meta["agree"] == 1


NEXTQA = "video,frame_count,width,height,question,answer,qid,type,a0,a1,a2,a3,a4\n"
NEXTGQA = NEXTQA.replace("video,", "video_id,")


def test_nextqa_duplicate_options(tmp_path: Path) -> None:
    rows = [
        "1,9,9,9,q,1,0,CW,cap,hat, cap,tie,bag",  # another option stands twice: flagged
        "1,9,9,9,q,0,1,CW,cap,hat,cap ,tie,bag",  # the answer stands twice: dropped
        "1,9,9,9,q,5,2,CW,a,b,c,d,e",
        "1,9,9,9,q,-1,3,CW,a,b,c,d,e",
        "1,9,9,9,q," + "1" * 5000 + ",6,CW,a,b,c,d,e",  # more digits than Python makes a number of
        "1,9,9,9,q,0,4,CW,a,b,c,d,",
        "1,9,9,9,,0,5,CW,a,b,c,d,e",
        "1,9,9,9,q,1,0,CW,cap,hat,sock,tie,bag",
    ]
    reading = read_source("nextqa", write_files(tmp_path, {"train.csv": NEXTQA + "\n".join(rows)}))
    (sample,) = reading.samples
    assert sample.options == ("cap", "hat", "cap", "tie", "bag") and sample.meta["flags"] == ["duplicate_options"]
    assert sample.video == "1.mp4" and "map_vid_vidorID.json isn't there" in reading.notes[0]
    assert reading.dropped == {
        "ambiguous_answer": 1,
        "answer_not_an_option": 3,
        "empty_option": 1,
        "empty_question": 1,
        "duplicate_id": 1,
    }


def nextgqa(folder: Path, split: str, spans: list[list[float]], answer: str = "cap") -> Path:
    gsub = {"1": {"duration": 20, "fps": 25.0, "location": {"7": spans}}}
    row = f"1,500,9,9,what is it,{answer},7,TC,cap,hat,cap,tie,bag"
    return write_files(folder, {f"{split}.csv": NEXTGQA + row, f"gsub_{split}.json": json.dumps(gsub)})


def test_nextgqa_two_identical_correct_options(tmp_path: Path) -> None:
    (sample,) = read_source("nextgqa", nextgqa(tmp_path, "test", [[1, 2]]), purpose="bench").samples
    metrics = load_dataset("nextgqa").metrics
    for letter, acc in (("A", 100.0), ("C", 100.0), ("B", 0.0)):
        entry = metrics([item(sample, f"<observe> 1 to 2 </observe> <answer> {letter} </answer>")])
        assert entry["paper"]["acc"] == entry["official"]["acc"] == entry["official"]["acc_gqa"] == acc
    with pytest.raises(Exception, match="1 ambiguous_answer"):
        read_source("nextgqa", nextgqa(tmp_path, "val", [[1, 2]]))


def test_nextgqa_spans(tmp_path: Path) -> None:
    folder = nextgqa(tmp_path, "val", [[18, 20.6], [3, 1], [1, 2]], answer="hat")
    reading = read_source("nextgqa", folder)
    (train,) = reading.samples
    (bench,) = read_source("nextgqa", folder, "val", purpose="bench").samples
    assert (train.id, bench.id) == ("nextgqa:val:1_7", "1:7")
    assert train.spans == (Span(18.0, 20.0), Span(1.0, 2.0)) and bench.spans == (Span(18.0, 20.6), Span(1.0, 2.0))
    assert reading.repaired == {"clamped_end": 1, "dropped_span": 1, "duplicate_options": 1}
    assert train.meta["raw_spans"] == [[18.0, 20.6], [3.0, 1.0], [1.0, 2.0]]


def test_activitynet_drops_what_no_answer_could_reach(tmp_path: Path) -> None:
    record = {"duration": 10, "timestamps": [[1, 4], [6, 5], [2, 99], [-0.5, 3]], "sentences": ["a", "b", " c ", "d"]}
    reading = read_source(
        "activitynet", write_files(tmp_path, {"val_1.json": json.dumps({"v_x": record})}), "val_1", purpose="bench"
    )
    assert [sample.id for sample in reading.samples] == ["v_x:0", "v_x:2", "v_x:3"]
    assert [sample.spans for sample in reading.samples] == [(Span(1, 4),), (Span(2, 99),), (Span(0, 3),)]
    assert reading.dropped == {"reversed": 1} and reading.repaired == {"clamped_start": 1}
    record["sentences"].pop()  # type: ignore[attr-defined]
    with pytest.raises(Exception, match="4 timestamps and 3 sentences"):
        read_source("activitynet", write_files(tmp_path, {"val_1.json": json.dumps({"v_x": record})}), "val_1", purpose="bench")


def row(video: str, answer: str = "b", **more: object) -> dict[str, object]:
    return {"video": video, "question": "q?", "candidates": ["a", "b", "c"], "answer": answer, **more}


def mvbench(folder: Path, **tasks: list[dict[str, object]]) -> Reading:
    write_files(folder, {f"{task}.json": json.dumps(rows) for task, rows in tasks.items()})
    return read_source("mvbench", folder, purpose="bench")


def test_mvbench_bounds_folders_and_missing_tasks(tmp_path: Path) -> None:
    (tmp_path / "json").mkdir()
    mvbench_rows = {
        "action_sequence": [row("AAAAA.mp4", start=1.5, end=4), row("AAAAA.mp4", start=4, end=4), row("A.mp4", answer="x")],
        "action_antonym": [row("77.webm")],
        "object_shuffle": [row("video_1.mp4", start=1.0, end=2.0)],
    }
    for task, rows in mvbench_rows.items():
        (tmp_path / "json" / f"{task}.json").write_text(json.dumps(rows))
    reading = read_source("mvbench", tmp_path, purpose="bench")
    bounded, useless, antonym, shuffle = reading.samples
    assert bounded.clip == Span(1.5, 4.0) and bounded.duration == 2.5 and bounded.video == "star/Charades_v1_480/AAAAA.mp4"
    assert useless.clip is None and reading.repaired == {"bad_bounds": 1}
    assert shuffle.clip is None and shuffle.video == "perception/videos/video_1.mp4"
    assert antonym.answer_index == 1 and antonym.video_key == "ssv2:77" and "fps" not in antonym.meta
    assert reading.dropped == {"answer_not_an_option": 1}
    assert "Fine-grained Pose" in reading.notes[0] and "Action Sequence" not in reading.notes[0]


def test_mvbench_finds_the_layout_that_is_there(tmp_path: Path) -> None:
    bounded, antonym = mvbench(
        tmp_path, action_sequence=[row("AAAAA.mp4", start=1.5, end=4.25)], action_antonym=[row("77.webm")]
    ).samples
    main = locate(bounded, lambda path: True)
    assert main == bounded
    moved = locate(bounded, {"data0613/star/Charades_v1_480/AAAAA.mp4"}.__contains__)
    assert moved and moved.clip == Span(1.5, 4.25) and moved.video.startswith("data0613/")
    for name in ("AAAAA.mp4", "AAAAA_1.5_4.25.mp4"):
        cut = locate(bounded, {f"star/Charades_segment/{name}"}.__contains__)
        assert cut and cut.clip is None and cut.video.endswith(name)
    converted = locate(antonym, {"ssv2_video_mp4/77.mp4"}.__contains__)
    assert converted and converted.video == "ssv2_video_mp4/77.mp4"
    assert locate(bounded, lambda path: False) is None


def test_mvbench_frame_folders(tmp_path: Path) -> None:
    (sample,) = mvbench(tmp_path, episodic_reasoning=[row("show_s01_clip_01", start=0, end=8.1)]).samples
    assert sample.video == "tvqa/frames_fps3_hq/show_s01_clip_01" and sample.meta["fps"] == 3 and sample.clip == Span(0, 8.1)
    cut = locate(sample, {"tvqa/video_fps3_hq_segment/show_s01_clip_01.mp4"}.__contains__)
    assert cut and cut.clip is None and "fps" not in cut.meta


@pytest.mark.parametrize("name", names())
def test_reading_twice_gives_the_same(name: str, tmp_path: Path) -> None:
    example = load_dataset(name).EXAMPLE
    lay_out(tmp_path, example)
    first, second = (read_source(name, tmp_path, example.split, purpose=example.purpose) for _ in range(2))
    assert first == second


CLIPPED = Sample(
    "i:1",
    "internvid",
    "train",
    "grounding",
    "a.mp4",
    "a dog",
    clip=Span(100.0, 160.0),
    duration=60.0,
    spans=(Span(50.0, 60.0),),
    meta={"maybe_cut": True},
)


@pytest.mark.parametrize(
    ("start", "file_s", "flags", "clip"),
    [
        (100.0, 60.4, ("cut_already",), None),  # as long as the clip, which lies further back
        (100.0, 300.0, (), Span(100.0, 160.0)),
        (100.0, 159.0, ("clamped_clip", "clamped_end"), Span(100.0, 159.0)),  # the file lost its last seconds
        (2.0, 60.0, ("cut_already",), None),  # nearer to the clip's length than to its end
        (2.0, 61.5, ("clamped_clip", "clamped_end"), Span(2.0, 61.5)),
        (0.0, 60.0, (), Span(0.0, 60.0)),
    ],
)
def test_a_clip_may_be_cut_already(start: float, file_s: float, flags: tuple[str, ...], clip: Span | None) -> None:
    fit = fit_to_file(replace(CLIPPED, clip=Span(start, start + 60.0)), file_s)
    assert fit.sample is not None and fit.sample.clip == clip and set(fit.flags) == set(flags)
    assert "maybe_cut" not in fit.sample.meta and fit.sample.meta.get("flags", []) == sorted(flags)
    length = 60.0 if clip is None else clip.length
    assert fit.sample.duration == length and fit.sample.spans == (Span(50.0, min(60.0, length)),)


def test_a_clip_that_the_file_does_not_hold_goes() -> None:
    assert fit_to_file(CLIPPED, 110.0).reason == "clip_past_file_end"
    # Without a word that it may be cut, a short file is a short file.
    assert fit_to_file(replace(CLIPPED, meta={}), 60.0).reason == "clip_past_file_end"


def test_a_file_of_another_length_counts_where_it_holds_all_moments() -> None:
    sample = replace(CLIPPED, clip=None, duration=60.0, spans=(Span(20.0, 30.0),), meta={})
    assert fit_to_file(sample, 61.0) == Fit(sample), "within the tolerance, the annotation's own duration stays"
    longer = fit_to_file(sample, 80.0)
    assert longer.flags == ("other_duration",) and longer.sample is not None and longer.sample.duration == 80.0
    assert longer.sample.meta == {"annotated_duration": 60.0, "flags": ["other_duration"]}
    assert fit_to_file(sample, 15.0).reason == "starts_past_end"
    assert fit_to_file(sample, 25.0).reason == "overshoot"
