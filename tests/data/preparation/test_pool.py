"""What becomes of a source's records on their way into the pool; all rows are invented."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from made_clips import write_clip

from trlt.data.preparation import KeptQuestions, Leaks, Rules, prepare_source, several_spans
from trlt.recipe import Source, Video
from trlt.task.sample import Sample, Span
from trlt.video.scan import Scan

HEAD = "video,frame_count,width,height,question,answer,qid,type,a0,a1,a2,a3,a4\n"


def charades(folder: Path, lines: list[str], lengths: dict[str, float]) -> Source:
    (folder / "ann").mkdir(exist_ok=True)
    (folder / "ann/charades_sta_train.txt").write_text("\n".join(lines))
    rows = "".join(f"{video},{length}\n" for video, length in lengths.items())
    (folder / "ann/Charades_v1_train.csv").write_text("id,length\n" + rows)
    (folder / "vid").mkdir(exist_ok=True)
    return Source(dataset="charades", annotations=str(folder / "ann"), videos=str(folder / "vid"))


def scan(folder: Path) -> Scan:
    return Scan(folder / "scan.jsonl", Video(timeout_s=60))


def test_nothing_is_lost_without_a_reason(tmp_path: Path) -> None:
    lines = [
        "AAAAA 0.0 1.0##a cat sits.",
        "AAAAA 0.0 1.0##A cat sits",  # said twice
        "BBBBB 0.5 1.5##a dog runs.",  # in a benchmark
        "CCCCC 0.0 1.0##a bird sings.",  # no such file
        "DDDDD 0.0 1.0##a fish swims.",  # no video at all
        "EEEEE 2 1##reversed.",
        "FFFFF 5.0 6.0##the file ends before.",
        "GGGGG 0.0 1.0##the file is longer than annotated.",
    ]
    lengths = dict.fromkeys(("AAAAA", "BBBBB", "CCCCC", "DDDDD", "EEEEE"), 2.0) | {"FFFFF": 8.0, "GGGGG": 2.0}
    source = charades(tmp_path, lines, lengths)
    for name, seconds in (("AAAAA", 2), ("BBBBB", 2), ("EEEEE", 2), ("FFFFF", 2), ("GGGGG", 5)):
        write_clip(tmp_path / f"vid/{name}.mp4", seconds)
    (tmp_path / "vid/DDDDD.mp4").write_bytes(b"<html>not found</html>")
    leaks = Leaks({"charades:BBBBB": ("mvbench",)}, {"mvbench": 1}, ())
    said: list[str] = []
    made = prepare_source(source, Rules(), KeptQuestions(), leaks=leaks, scan=scan(tmp_path), say=said.append)
    entry = made.entry
    assert [sample.id for sample in made.samples] == ["charades:train:AAAAA:0", "charades:train:GGGGG:7"]
    assert entry.dropped == {
        "duplicate": 1,
        "in_mvbench": 1,
        "video_missing": 1,
        "video_broken": 1,
        "reversed": 1,
        "starts_past_end": 1,
    }
    assert entry.read == entry.kept + entry.dropped.total() == len(lines)
    assert set(entry.examples) >= set(entry.dropped), "each reason shows an example"
    assert set(entry.missing) == {"CCCCC.mp4", "DDDDD.mp4"} and "web page" in entry.missing["DDDDD.mp4"]
    assert entry.leaked == [("charades:train:BBBBB:2", "charades:BBBBB", "mvbench")]
    longer = made.samples[1]
    assert longer.duration == pytest.approx(5, abs=0.2) and longer.meta["annotated_duration"] == 2.0
    assert longer.meta["flags"] == ["other_duration"] and entry.repaired == {"other_duration": 1}
    assert said[0] == "reading" and "checking videos: 0 of 4" in said
    assert re.fullmatch(r"checking videos: 4 of 4, [\d.,]+ videos/(s|min)", said[-1]), "a rate, and nothing is left"
    assert any(re.fullmatch(r"checking videos: 3 of 4, .*/(s|min), \d:\d\d left", line) for line in said)


def test_leaks_can_be_kept_and_listed(tmp_path: Path) -> None:
    source = charades(tmp_path, ["AAAAA 0 1##a cat sits.", "BBBBB 0 1##a dog."], {"AAAAA": 2.0, "BBBBB": 2.0})
    leaks = Leaks({"charades:AAAAA": ("charades", "mvbench")}, {}, ())
    made = prepare_source(source, Rules(leaks="list", check_videos=False), KeptQuestions(), leaks=leaks)
    first, second = made.samples
    assert first.meta["flags"] == ["in_charades", "in_mvbench"] and second.meta == {}
    assert made.entry.repaired == {"in_charades": 1} and not made.entry.dropped
    assert made.entry.leaked == [(first.id, "charades:AAAAA", "charades,mvbench")]


def test_a_second_source_gives_way(tmp_path: Path) -> None:
    (tmp_path / "ann").mkdir()
    row = "7,9,9,9,why did he run,1,{},CW,cold,to catch the bus,fun,rain,dog\n"
    (tmp_path / "ann/train.csv").write_text(HEAD + row.format(0) + row.format(1))
    source = Source(dataset="nextqa", annotations=str(tmp_path / "ann"))
    seen = KeptQuestions()
    first = Sample(
        "x",
        "llava_video",
        "train",
        "multi_choice",
        "a.mp4",
        "Why did he run?",
        video_key="flickr:7",
        options=("To catch the bus.", "No"),
        answer="To catch the bus.",
        answer_index=0,
    )
    assert seen.source_of(first) is None
    made = prepare_source(source, Rules(), seen)
    assert not made.samples and made.entry.dropped == {"duplicate_of_llava_video": 2}


def test_questions_that_need_their_options_are_flagged(tmp_path: Path) -> None:
    (tmp_path / "ann").mkdir()
    rows = "7,9,9,9,which of the following happens last,1,0,TN,a run,a jump,a fall,a walk,a dance\n"
    rows += "7,9,9,9,what happens last,1,1,TN,a run,a jump,a fall,a walk,a dance\n"
    (tmp_path / "ann/train.csv").write_text(HEAD + rows)
    made = prepare_source(Source(dataset="nextqa", annotations=str(tmp_path / "ann")), Rules(), KeptQuestions())
    assert [sample.meta.get("flags") for sample in made.samples] == [["needs_options"], None]
    assert made.entry.repaired == {"needs_options": 1}


SPANS = Sample("g", "nextgqa", "val", "grounded_qa", "a.mp4", "q", answer="x", spans=(Span(1, 3), Span(8, 12), Span(20, 24)))


@pytest.mark.parametrize(
    ("rule", "span"), [("longest", Span(8, 12)), ("hull", Span(1, 24))], ids=["longest, the first of equals", "hull"]
)
def test_one_span_of_several(rule: Any, span: Span) -> None:
    made = several_spans(SPANS, rule)
    assert made is not None and made.spans == (span,)
    assert made.meta == {"flags": [f"span_rule_{rule}"], "all_spans": [[1, 3], [8, 12], [20, 24]]}


def test_spans_that_are_kept_or_dropped() -> None:
    assert several_spans(SPANS, "keep") is SPANS and several_spans(SPANS, "drop") is None
    single = replace(SPANS, spans=(Span(1, 2),))
    assert several_spans(single, "drop") is single and several_spans(single, "hull") is single


def test_a_query_can_ask_for_all_its_spans() -> None:
    query = replace(SPANS, task="grounding", answer=None)
    made = several_spans(query, "ask")
    assert made == replace(query, several=True, meta={"flags": ["span_rule_ask"]})
    assert several_spans(SPANS, "ask") is SPANS, "an answer has one place"
    for kept in (replace(query, spans=SPANS.spans[:1]), replace(query, several=True)):
        assert several_spans(kept, "ask") is kept


def test_several_spans_are_counted(tmp_path: Path) -> None:
    (tmp_path / "ann").mkdir()
    row = "7,9,9,9,why did he run,cold,0,CW,cold,to catch the bus,fun,rain,dog\n"
    (tmp_path / "ann/val.csv").write_text(HEAD.replace("video,", "video_id,") + row)
    grounds = {"7": {"duration": 30, "fps": 30, "location": {"0": [[1, 2], [5, 9]]}}}
    (tmp_path / "ann/gsub_val.json").write_text(json.dumps(grounds))
    source = Source(dataset="nextgqa", annotations=str(tmp_path / "ann"))
    made = prepare_source(source, Rules(several_spans="hull"), KeptQuestions())
    assert made.samples[0].spans == (Span(1, 9),) and made.entry.repaired == {"span_rule_hull": 1}
    dropped = prepare_source(source, Rules(several_spans="drop"), KeptQuestions())
    assert not dropped.samples and dropped.entry.dropped == {"several_spans": 1}
