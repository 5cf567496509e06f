"""Tables of every usual format and layout become the same samples."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from trlt.data.own import Columns, convert, read_table
from trlt.errors import DataError, RecipeError

ROWS = [
    {"video": "a b.mp4", "question": "why?", "options": ["red", "blue", "green"], "answer": "B"},
    {"video": "ü.mp4", "question": "when?", "options": ["red", "blue"], "answer": "A"},
]


def made(path, mapping=None, root=None):
    table = read_table(path)
    return convert(table.rows, table.faults, Columns(mapping or {}), path=str(path), stem=path.stem, root=root)


def core(samples):
    return [(s.task, s.video, s.question, s.options, s.answer, s.answer_index, s.spans) for s in samples]


WANTED = [
    ("multi_choice", "a b.mp4", "why?", ("red", "blue", "green"), "blue", 1, None),
    ("multi_choice", "ü.mp4", "when?", ("red", "blue"), "red", 0, None),
]


def write(folder, kind):
    frame, path = pd.DataFrame(ROWS), folder / f"mine{kind.partition(' ')[0]}"
    match kind:
        case ".csv":
            frame.to_csv(path)
        case ".csv excel":
            frame.to_csv(path, sep=";", encoding="utf-8-sig", index=False, lineterminator="\r\n")
        case ".csv sep":
            path.write_text("sep=;\n" + frame.to_csv(sep=";", index=False))
        case ".tsv":
            frame.to_csv(path, sep="\t", encoding="utf-16", index=False)
        case ".parquet":
            frame.to_parquet(path)
        case ".jsonl":
            path.write_text("\n".join([json.dumps(ROWS[0]), "", json.dumps(ROWS[1]), " "]), encoding="utf-8-sig")
        case ".json lines":
            frame.to_json(path, orient="records", lines=True)
        case ".jsonl list":
            path.write_text(json.dumps(ROWS, indent=1))
        case ".json lists":
            path.write_text(json.dumps({name: [row[name] for row in ROWS] for name in ROWS[0]}))
        case ".json wrapped":
            path.write_text(json.dumps({"version": 1, "data": ROWS}))
        case _:
            frame.to_json(path, orient=kind.partition(" ")[2])
    return path


@pytest.mark.parametrize(
    "kind",
    [
        *(".csv", ".csv excel", ".csv sep", ".tsv", ".parquet", ".jsonl", ".json lines", ".jsonl list", ".json lists"),
        *(".json wrapped", ".json records", ".json columns", ".json index", ".json split", ".json table"),
    ],
)
def test_every_format_gives_the_same_samples(kind, tmp_path):
    found = made(write(tmp_path, kind))
    assert core(found.samples) == WANTED and not found.bad and not found.unused and found.rows == 2
    assert {name: list(columns) for name, columns in found.used.items() if name != "id"} == {name: [name] for name in ROWS[0]}


def test_ids_are_those_of_lines_and_stay(tmp_path):
    path = write(tmp_path, ".jsonl")
    assert [s.id for s in made(path).samples] == ["mine:1", "mine:3"]
    assert [s.id for s in made(write(tmp_path, ".csv")).samples] == ["mine:2", "mine:3"]
    assert [s.id for s in made(write(tmp_path, ".parquet")).samples] == ["mine:1", "mine:2"]


def test_gaps_in_columns_of_pandas_hold_nothing(tmp_path):
    frame = pd.DataFrame(
        {
            "id": [1, 2, 3],
            "video": ["a", "b", "c"],
            "query": ["p", "q", "r"],
            "start": [1.0, None, 2.0],
            "end": [3, None, 4.5],
            "answer": [None, "yes", "no"],
        }
    )
    for path in (tmp_path / "gaps.parquet", tmp_path / "gaps.csv"):
        frame.to_parquet(path) if path.suffix == ".parquet" else frame.to_csv(path, index=False)
        found = made(path)
        assert [s.id for s in found.samples] == ["1", "2", "3"]
        assert core(found.samples) == [
            ("grounding", "a", "p", None, None, None, ((1.0, 3.0),)),
            ("multi_choice", "b", "q", None, "yes", None, None),
            ("grounded_qa", "c", "r", None, "no", None, ((2.0, 4.5),)),
        ]


LAYOUTS = {
    "ms-swift": (
        {
            "messages": [
                {"role": "system", "content": "x"},
                {"role": "user", "content": "<video>What is it?\nA. cat\nB. dog\nAnswer with the letter only."},
                {"role": "assistant", "content": "B"},
            ],
            "videos": ["a.mp4"],
        },
        ("multi_choice", "a.mp4", "What is it?", ("cat", "dog"), "dog", 1, None),
    ),
    "ms-swift, GRPO": (
        {
            "messages": [{"role": "user", "content": "<video>he runs"}],
            "videos": ["a.mp4"],
            "solution": "<answer>1.0 to 3.5</answer>",
        },
        ("grounding", "a.mp4", "he runs", None, None, None, ((1.0, 3.5),)),
    ),
    "LLaVA": (
        {
            "id": 7,
            "video": "a.mp4",
            "conversations": [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "red"}],
        },
        ("multi_choice", "a.mp4", "What?", None, "red", None, None),
    ),
    "Video-R1": (
        {
            **{"problem_id": 2, "problem": "What?", "data_type": "video", "problem_type": "multiple choice"},
            **{"options": ["A. Sings", "B. Leaves"], "solution": "<answer>B</answer>", "path": "./v/a.mp4", "data_source": "S"},
        },
        ("multi_choice", "v/a.mp4", "What?", ("Sings", "Leaves"), "Leaves", 1, None),
    ),
    "TimeChat": (
        {"video": "a.mp4", "QA": [{"q": "he runs", "a": "The given query happens in 24.3 - 30.4 seconds."}]},
        ("grounding", "a.mp4", "he runs", None, None, None, ((24.3, 30.4),)),
    ),
    "Charades": (
        {"video": "AO8RW", "duration": 33.67, "timestamp": [0.0, 6.9], "sentence": "he runs"},
        ("grounding", "AO8RW", "he runs", None, None, None, ((0.0, 6.9),)),
    ),
    "QVHighlights": (
        {"qid": 1, "query": "he runs", "duration": 150, "vid": "x", "relevant_windows": [[56, 76], [96, 150]]},
        ("grounding", "x", "he runs", None, None, None, ((56, 76), (96, 150))),
    ),
    "NExT-QA": (
        {"video": 4010, "question": "how", "answer": 0, "qid": 6, "a0": "x", "a1": "y", "a2": "z"},
        ("multi_choice", "4010", "how", ("x", "y", "z"), "x", 0, None),
    ),
    "letters": (
        {"Video Path": "a.mp4", "Question": "why?", "A": "x", "B": "y", "C": None, "Correct Answer": "b"},
        ("multi_choice", "a.mp4", "why?", ("x", "y"), "y", 1, None),
    ),
    "MMVU": (
        {"video": "a.mp4", "question": "why?", "choices": {"A": "", "B": ""}, "answer": "so"},
        ("multi_choice", "a.mp4", "why?", None, "so", None, None),
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_of_other_tools(layout, tmp_path):
    row, wanted = LAYOUTS[layout]
    path = tmp_path / "mine.jsonl"
    path.write_text(json.dumps(row) + "\n")
    found = made(path)
    assert not found.bad and core(found.samples) == [wanted]


def test_each_turn_of_a_chat_is_a_question(tmp_path):
    turns = [("human", "what?"), ("gpt", "red"), ("human", "who?"), ("gpt", "a man")]
    path = tmp_path / "mine.json"
    path.write_text(json.dumps([{"id": "7", "video": "a", "conversations": [{"from": a, "value": b} for a, b in turns]}]))
    assert [(s.id, s.question, s.answer) for s in made(path).samples] == [("7:1", "what?", "red"), ("7:2", "who?", "a man")]


def lines(tmp_path, *rows):
    path = tmp_path / "mine.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


ASKED = {"video": "a", "question": "q"}
CHOICE = ASKED | {"options": ["x", "y", "z"]}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (ASKED, "answer, spans: both are missing"),
        (CHOICE, "answer: is missing; write the right option's letter"),
        (CHOICE | {"answer": "none"}, "answer: 'none' names none of the options"),
        (ASKED | {"start": 3, "end": 2}, "spans: 3.0 to 2.0 ends before it starts"),
        (ASKED | {"start": 3}, "start: its end is missing; give both"),
        (ASKED | {"start": "1:99", "end": 4}, "start: '1:99' is no time"),
        (ASKED | {"spans": [[3, 4]], "duration": 3}, r"starts at or after the end of the video \(3 s\)"),
        (ASKED | {"spans": [[1, 9]], "duration": 3}, r"ends after the video \(3 s\)"),
        (ASKED | {"spans": [[2, 4]], "clip": [10, 20]}, "lies outside of the clip 10.0 to 20.0"),
        (ASKED | {"clip": [20, 10], "answer": "x"}, "clip: .* must be one"),
        (ASKED | {"answer": True}, "answer: True is no text; write the words"),
        (ASKED | {"answer": "x", "id": True}, "id: True is no name of a row"),
        (ASKED | {"answer": "1-3", "start": 0, "end": 9}, "answer: '1-3' is a span, and other columns name one as well"),
        ({"question": "q", "answer": "x"}, "video: is missing; say which column holds it with --map video=COLUMN"),
        ({"video": "a", "answer": "x"}, "question: is missing"),
        (ASKED | {"question": "<video>", "answer": "x"}, "question: is empty"),
        (CHOICE | {"options": ["x", "x"], "answer": "x"}, "options: .* must be at least 2 distinct"),
        (ASKED | {"answer": "x", "duration": "short"}, "duration: 'short' is no time"),
        (ASKED | {"spans": [1, 3], "several": "perhaps"}, "several: 'perhaps' is neither; write true or false"),
        (ASKED | {"answer": "x", "several": True}, "several: True must be true or false, and true for grounding alone"),
        (ASKED | {"answer": "x", "numeric": "yes"}, "numeric: needs a number for an answer, and no options; the answer is 'x'"),
        ({"video": "../a", "question": "q", "answer": "x"}, "video: '../a' must be a path inside"),
    ],
)
def test_faults_name_line_field_value_and_remedy(row, message, tmp_path):
    path = lines(tmp_path, ASKED | {"answer": "fine"}, row)
    found = made(path)
    assert len(found.bad) == found.bad_rows == 1 and len(found.samples) == 1
    with pytest.raises(DataError, match=message):
        raise DataError(found.bad[0])
    assert found.bad[0].startswith(f"{path}:2: ")


def test_lines_that_are_no_json_are_told_with_the_others(tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_text('{"video":"a","question":"q","answer":"x"}\n{broken\n[1]\n{"video":"a","question":"q"}\n')
    found = made(path)
    assert [fault.removeprefix(f"{path}:").partition(": ")[0] for fault in found.bad] == ["2", "3", "4"]
    assert found.rows == 4 and found.bad_rows == 3 and "not JSON" in found.bad[0] and "expected an object" in found.bad[1]


def test_ids_that_stand_twice(tmp_path):
    found = made(lines(tmp_path, *[ASKED | {"answer": "x", "id": id} for id in (5, "6", "5", 7, 8)]))
    assert [s.id for s in found.samples] == ["5", "6", "7", "8"]
    assert len(found.bad) == 1 and "mine.jsonl:3: id: '5' stands already at" in found.bad[0] and "mine.jsonl:1" in found.bad[0]


def test_ids_that_name_no_rows_are_one_fault(tmp_path):
    path = lines(tmp_path, *[ASKED | {"answer": "x", "qid": n % 2} for n in range(6)])
    with pytest.raises(DataError, match=r"id \(column 'qid'\): 4 of 6 values stand in another row, too, .*--map id="):
        made(path)
    assert [s.id for s in made(path, {"id": ""}).samples] == [f"mine:{n}" for n in range(1, 7)]


def test_numbers_that_may_count_from_0_or_1_are_asked_about(tmp_path):
    path = lines(tmp_path, *[CHOICE | {"label": n} for n in (1, 2)])
    with pytest.raises(
        DataError, match="2 answers are numbers from 1 to 2, .* --map answer_from_0=label or --map answer_from_1=label"
    ):
        made(path)
    assert [s.answer for s in made(path, {"answer_from_0": "label"}).samples] == ["y", "z"]
    assert [s.answer for s in made(path, {"answer_from_1": "label"}).samples] == ["x", "y"]


def test_mapped_columns(tmp_path):
    path = lines(
        tmp_path, {"clipname": "a", "ask": "q", "one": "x", "two": "y", "key": "two", "start": 1, "end": 9, "answer": "no"}
    )
    mapping = {
        "video": "clipname",
        "question": "ask",
        "options": "one+two",
        "answer": "key",
        "clip_start": "start",
        "clip_end": "end",
    }
    with pytest.raises(
        DataError,
        match="video, question: no column has a name .* --map video=COLUMN,question=COLUMN; there are 'clipname', 'ask'",
    ):
        made(path)
    found = made(
        lines(tmp_path, {"clipname": "a", "ask": "q", "one": "x", "two": "y", "key": "B", "start": 1, "end": 9}), mapping
    )
    (sample,) = found.samples
    assert (sample.video, sample.question, sample.options, sample.answer) == ("a", "q", ("x", "y"), "y")
    assert sample.clip == (1, 9) and sample.duration == 8 and sample.spans is None and not found.unused


def test_maps_that_fit_nothing(tmp_path):
    with pytest.raises(RecipeError, match="answr: unknown field; did you mean answer"):
        Columns({"answr": "label"})
    with pytest.raises(DataError, match="--map answer=labl: no column 'labl'; did you mean label"):
        made(lines(tmp_path, CHOICE | {"label": "A"}), {"answer": "labl"})


def test_spans_become_seconds_of_the_clip(tmp_path):
    (sample,) = made(lines(tmp_path, ASKED | {"spans": "12-14", "clip": [10, 20]})).samples
    assert sample.clip == (10, 20) and sample.spans == ((2.0, 4.0),) and sample.duration == 10


def test_rows_ask_for_all_spans_and_for_numbers(tmp_path):
    rows = [ASKED | {"spans": "1-3; 5-7", "several": "TRUE"}, ASKED | {"spans": "1-3; 5-7", "several": 0.0}]
    rows += [ASKED | {"answer": "12.5 m", "numeric": 1}]
    assert [(one.several, one.numeric) for one in made(lines(tmp_path, *rows)).samples] == [
        *((True, False), (False, False), (False, True))
    ]


def test_an_end_a_little_past_the_video_is_clamped_and_flagged(tmp_path):
    (sample,) = made(lines(tmp_path, ASKED | {"spans": [1, 4.0], "duration": 3.5})).samples
    assert sample.spans == ((1.0, 3.5),) and sample.meta == {"flags": ["clamped_end"]}


def test_answers_are_spans_only_if_all_are(tmp_path):
    rows = [ASKED | {"answer": "1.5-3"}, ASKED | {"answer": "2 to 4"}]
    assert [s.spans for s in made(lines(tmp_path, *rows)).samples] == [((1.5, 3.0),), ((2.0, 4.0),)]
    mixed = made(lines(tmp_path, *rows, ASKED | {"answer": "two"})).samples
    assert [(s.answer, s.spans) for s in mixed] == [("1.5-3", None), ("2 to 4", None), ("two", None)]
    assert made(lines(tmp_path, *rows), {"answer": "answer"}).samples[0].answer == "1.5-3"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "video,question\nä".encode("latin-1"), r"not UTF-8 text .*\(in Excel: CSV UTF-8\)"),
        ("a.csv", b'video,question,answer\n"a,b,c\n', "not CSV"),
        ("a.csv", b"video,question,question\na,b,c\n", "'question' stands twice"),
        ("a.json", b'[{"video": "a"}, {"vid', "not JSON after 1 records"),
        ("a.json", b'{"video": ["a", "b"], "question": ["c"]}', "columns are of different lengths: 'video' 2, 'question' 1"),
        ("a.jsonl", b"version https://git-lfs.github.com/spec/v1\n", "git-LFS pointer"),
        ("a.csv", b"<!DOCTYPE html><html>", "an HTML page"),
        ("a.csv", b"", "empty; give a table with rows"),
        ("a.parquet", b"PAR1 nonsense", "not a parquet file"),
        ("a.xlsx", b"PK\x03\x04", "save it as one of these"),
        ("a.csv", b"PK\x03\x04", "compressed archive"),
    ],
)
def test_files_that_are_no_tables(name, content, message, tmp_path):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_table(path)


def test_ragged_lines_are_faults_of_theirs(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text('video,question,answer\n"a\nb",q,x\na,b,c,d\n,,\na,"say ""hi""",x\n')
    found = made(path)
    assert [s.id for s in found.samples] == ["mine:2", "mine:6"] and found.samples[1].question == 'say "hi"'
    assert len(found.bad) == 1 and found.bad[0].startswith(f"{path}:4: 4 fields where the header has 3")
