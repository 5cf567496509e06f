"""VTG-IT: queries out of prompts, seconds out of tokens; all rows are invented."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from trlt.data.datasets import Reading, fit_to_file, read_source
from trlt.data.datasets.vtg_it import inside, query, token_seconds
from trlt.errors import DataError
from trlt.task.sample import Span

NAMES = "ZERO ONE TWO THREE FOUR FIVE SIX SEVEN EIGHT NINE".split()


def stamp(text: str) -> str:
    return "".join("<TIME_DOT>" if sign == "." else f"<TIME_{NAMES[int(sign)]}>" for sign in text)


def answer(start: str, end: str) -> str:
    return f"The given query happens in {stamp(start)} - {stamp(end)} seconds."


ASK = "Find the part for the textual query 'a man opens the oven' and determine its start and end."


def record(video: str, q: str = ASK, a: str = answer("0012.5", "0020.0"), **fields: Any) -> dict[str, Any]:
    return {"video": video, "QA": [{"q": q, "a": a}]} | fields


def merged(folder: Path, *records: Any) -> Reading:
    (folder / "vtg-it-120k.json").write_text(json.dumps(records), encoding="utf-8")
    return read_source("vtg_it", folder, "merged")


def moments(folder: Path, name: str, *records: Any) -> None:
    target = folder / "moment_retrieval" / name
    target.mkdir(parents=True)
    (target / "time_token.json").write_text(json.dumps(records), encoding="utf-8")


@pytest.mark.parametrize(
    ("text", "times"),
    [
        (answer("0012.5", "0020.0"), [(12.5, 20.0)]),
        (f"In {stamp('0000.0')}-{stamp('1234.9')} token_seconds, the man leaves.", [(0.0, 1234.9)]),
        (answer("0001.0", "0002.0").replace("><", "> <"), [(1.0, 2.0)]),
        (answer("0001.0", "0002.0") + answer("0003.0", "0004.0"), [(1.0, 2.0), (3.0, 4.0)]),
        (f"It happens at {stamp('0001.0')}.", None),
        (answer("0001.0", "002.0"), None),
        (answer("0001.0", "00.020"), None),
        (answer("0001.0", "0002.0").replace("TWO", "TEN"), None),
        ("It happens in 1.0 - 2.0 seconds.", None),
    ],
)
def test_times_are_six_tokens(text: str, times: list[tuple[float, float]] | None) -> None:
    assert token_seconds(text) == times


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        (
            "Localize what the given textual query 'The boy's hat falls.' tells in the video, and output both.",
            "The boy's hat falls.",
        ),
        ('Show the segment for the text query "a dog  barks" within the video, including times.', "a dog barks"),
        ("Here is a textual query: “a dog barks”. When does the described content occur?", "a dog barks"),
        (
            "A textual query: 'he says start and leaves at the end' Please give the times.",
            "he says start and leaves at the end",
        ),
        # Without quotes the query ends where known words begin.
        (
            'Here is a textual query: a man says "no" and goes. When does the described content occur?',
            'a man says "no" and goes',
        ),
        ("The natural language query a dog barks is semantically  aligned with a moment, give its times.", "a dog barks"),
        ("Find what the given textual query a dog barks and determine its start and end.", "a dog barks"),
        ("Report the segment that matches the given textual query a dog barks.", "a dog barks."),
        # Other wordings.
        ("When in the video does 'a dog barks' happen?", "a dog barks"),
        ("Find this moment: a dog barks. Answer in seconds.", "a dog barks."),
    ],
)
def test_queries_are_taken_out_of_prompts(prompt: str, text: str) -> None:
    assert query(prompt) == text


@pytest.mark.parametrize(
    "prompt",
    [
        "Take the textual query a dog barks, say when.",
        "Report the segment that matches the given textual query <query_placeholder>.",
        "Find all events, as 'start - end token_seconds, event'.",
        "Localize all actions and describe each.",
        "Note: give the start and the end.",
    ],
)
def test_a_template_is_never_a_query(prompt: str) -> None:
    assert query(prompt) == ""


@pytest.mark.parametrize(
    ("path", "clean"),
    [
        ("data/QuerYD/a.mp4", "data/QuerYD/a.mp4"),
        ("/home/me/videos/a.mp4", "home/me/videos/a.mp4"),
        ("../../videos/./a.mp4", "videos/a.mp4"),
        ("D:\\videos\\a.mp4", "videos/a.mp4"),
        ("..", ""),
    ],
)
def test_videos_stay_below_the_root(path: str, clean: str) -> None:
    assert inside(path) == clean


def test_the_folders_tell_data_set_and_key(tmp_path: Path) -> None:
    moments(tmp_path, "Charades", record("Charades/videos/QX7LK.mp4"))
    moments(tmp_path, "DideMo", record("DiDeMo/1@N02_777_0ab.mov"), record("x/2@N02_778_0ac."))
    moments(tmp_path, "HiREST_grounding", record("HiREST/videos/aB3-_xYz019.mp4"))
    moments(tmp_path, "QueryD", record("QuerYD/video-aB3-_xYz018"))
    reading = read_source("vtg_it", tmp_path)
    assert {sample.id: sample.video_key for sample in reading.samples} == {
        "vtg_it:train:Charades:0:0": "charades:QX7LK",
        "vtg_it:train:DideMo:0:0": "flickr:777",
        "vtg_it:train:DideMo:1:0": "flickr:778",
        "vtg_it:train:HiREST_grounding:0:0": "youtube:aB3-_xYz019",
        "vtg_it:train:QueryD:0:0": "youtube:aB3-_xYz018",
    }
    assert reading.notes == ("not there, so not read: moment_retrieval/VTG-IT-MR/time_token.json",)
    didemo = reading.samples[1]
    assert didemo.duration is None and didemo.spans == (Span(12.5, 20.0),)
    fitted = fit_to_file(didemo, 90.0).sample
    assert fitted and fitted.clip == Span(0.0, 30.0)


def test_files_are_found_one_level_below_and_one_is_enough(tmp_path: Path) -> None:
    moments(tmp_path / "VTG-IT", "VTG-IT-MR", record("a/aB3-_xYz019.mp4"))
    (sample,) = read_source("vtg_it", tmp_path).samples
    assert sample.id == "vtg_it:train:VTG-IT-MR:0:0" and sample.meta == {"origin": "VTG-IT-MR"}
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="one at least of moment_retrieval/Charades/time_token.json"):
        read_source("vtg_it", tmp_path / "empty")


def test_only_moment_retrieval_of_the_merged_file_is_kept(tmp_path: Path) -> None:
    dense = "Find all events. The format is: 'start - end token_seconds, event'."
    told = f"{stamp('0001.0')} - {stamp('0002.0')} token_seconds, a dog barks."
    scores = "Find the highlights. Here is the sentence query: 'a dog'. Return their scores."
    reading = merged(
        tmp_path,
        record("v/1.mp4", source="QueryD"),
        record("data/DiDeMo/1@N02_777_0ab.mp4"),  # without a source: by the prompt, and by the path
        record("v/video-aB3-_xYz019.mp4"),
        record("v/2.mp4", dense, told, source="COIN"),
        record("v/3.mp4", dense, told, source="HiREST_step"),
        record("data/DiDeMo/4.mp4", dense, told),
        record("v/5.mp4", scores, told),
        record("v/6.mp4", source="ViTT"),
        record("v/7.mp4", "Where is it?", source="QueryD"),
    )
    assert [sample.id for sample in reading.samples] == [f"vtg_it:merged:{number}:0" for number in range(3)]
    assert [sample.video_key for sample in reading.samples] == ["youtube:1", "flickr:777", "youtube:aB3-_xYz019"]
    assert [sample.meta.get("origin") for sample in reading.samples] == ["QueryD", "DideMo", None]
    assert reading.dropped == {"other_task": 5, "query_not_found": 1} and reading.read == 9


def test_spans_are_repaired_or_dropped(tmp_path: Path) -> None:
    reading = merged(
        tmp_path,
        record("1.mp4", a=answer("0005.0", "0005.0"), source="QueryD"),
        record("2.mp4", a=answer("0006.0", "0005.0"), source="QueryD"),
        record("3.mp4", a="Never.", source="QueryD"),
        record("4.mp4", a=answer("0005.0", "0011.0"), source="QueryD", duration=10),
    )
    (sample,) = reading.samples
    assert sample.spans == (Span(5.0, 10.0),) and sample.duration == 10.0
    assert sample.meta == {"origin": "QueryD", "raw_spans": [[5.0, 11.0]], "flags": ["clamped_end"]}
    assert reading.dropped == {"zero_length": 1, "reversed": 1, "no_times": 1}


def test_malformed_records_are_dropped_with_their_place(tmp_path: Path) -> None:
    bad = ["no object", record("/"), record("1.mp4") | {"QA": {}}, record("1.mp4") | {"QA": [{"q": "?"}]}, {"QA": []}]
    reading = merged(tmp_path, *bad, record("1.mp4", source="QueryD"))
    assert reading.dropped == {"malformed": 5} and reading.samples[0].id == "vtg_it:merged:5:0"
    assert reading.examples["malformed"][1] == "vtg-it-120k.json[1]: video: '/' names no file"


def test_time_tokens_in_a_query_are_no_query(tmp_path: Path) -> None:
    ask = f"The textual query: 'at {stamp('0001.0')} a dog barks'. When does the described content occur?"
    reading = merged(tmp_path, record("1.mp4", ask, source="QueryD"), record("2.mp4", source="QueryD"))
    assert reading.dropped == {"placeholder_left": 1}
