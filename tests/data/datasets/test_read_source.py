from __future__ import annotations

from pathlib import Path

import pytest
from dataset_helpers import write_files

from trlt.data.datasets import read_source
from trlt.data.datasets._common import youtube_key
from trlt.data.datasets._files import Records, parse_file
from trlt.errors import DataError, UsageError

CHARADES = {
    "charades_sta_train.txt": "AAAAA 1.0 2.0##a cat sits.\n",
    "Charades_v1_train.csv": "id,length\nAAAAA,10.0\n",
    "charades_sta_test.txt": "AAAAA 1.0 2.0##a cat sits.\n",
}
HEADER = "video_id,frame_count,width,height,question,answer,qid,type,a0,a1,a2,a3,a4\n"


def test_finds_files_in_a_subfolder_and_beside_a_file(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    write_files(tmp_path / "sub", CHARADES)
    assert read_source("charades", tmp_path).samples == read_source("charades", tmp_path / "sub/charades_sta_train.txt").samples
    (tmp_path / "sub/mine.txt").write_text("AAAAA 3.0 4.0##a cat runs.\n")
    assert read_source("charades", tmp_path / "sub/mine.txt").samples[0].question == "a cat runs."
    (tmp_path / "twin").mkdir()
    write_files(tmp_path / "twin", CHARADES)
    with pytest.raises(DataError, match="more than once"):
        read_source("charades", tmp_path)


def test_a_test_split_is_no_training_data_unless_asked(tmp_path: Path) -> None:
    write_files(tmp_path, CHARADES)
    with pytest.raises(UsageError, match="--allow-test"):
        read_source("charades", tmp_path, "test")
    with pytest.raises(UsageError, match="--allow-test"):
        read_source("charades", tmp_path / "charades_sta_test.txt")
    with pytest.raises(UsageError, match="belongs to charades's split 'test'"):
        read_source("charades", tmp_path / "charades_sta_test.txt", "train")
    assert read_source("charades", tmp_path, "test", allow_test=True).samples[0].id == "charades:test:AAAAA:0"
    bench = read_source("charades", tmp_path, purpose="bench")
    assert bench.samples[0].id == "AAAAA:0" and "Charades_v1_test.csv isn't there" in bench.notes[0]


def test_roles_and_splits(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="activitynet is no training source"):
        read_source("activitynet", tmp_path)
    with pytest.raises(UsageError, match="didemo is no benchmark"):
        read_source("didemo", tmp_path, purpose="bench")
    with pytest.raises(UsageError, match="unknown split 'vall'; did you mean val"):
        read_source("didemo", tmp_path, "vall")
    with pytest.raises(DataError, match=r"no such file or folder; didemo needs train_data\.json"):
        read_source("didemo", tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"wants charades_sta_train\.txt, Charades_v1_train\.csv; found an empty folder"):
        read_source("charades", tmp_path)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "git-LFS pointer.*git lfs pull"),
        (b"\n<!DOCTYPE html><html></html>", "an HTML page"),
        (b"<html>", "an HTML page"),
        (b"PK\x03\x04rest", "archive"),
        (b" \n", "empty"),
        (b"[{\xff}]", "not UTF-8"),
        (b'[{"a": 1}, {"b', "truncated"),
        (b'[{"a": 1}', "truncated"),
        (b"[{'a': 1}, 2, 3]", "is this the official file"),
        (b'{"a": 1}', "expected a list of records"),
        (b"[1]", r"train_data\.json\[0\]: expected an object"),
        (b'[{"video": "a"}]', "no field 'description'; found video"),
        (b'[{"video": 3}]', "video: expected str, got 3"),
        (b"[]", "no usable record of 0"),
    ],
)
def test_faulty_json_is_named(raw: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "train_data.json").write_bytes(raw)
    with pytest.raises(DataError, match=message) as caught:
        read_source("didemo", tmp_path)
    assert "train_data.json" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("video,question\n1,2\n", "no column video_id, answer, .*found video, question. NExT-QA's files"),
        (HEADER + "1,2,3,4,q,a,0,CW,a,b,c\n", r"val\.csv:2: 11 fields where the header has 13; the file is truncated"),
        (HEADER + '1,2,3,4,"q,a\n', "not csv"),
        (HEADER, "found no rows"),
        (HEADER + "1,2,3,4,q,z,0,CW,a,b,c,d,e\n", "no usable record of 1: 1 answer_not_an_option .as val.csv: video 1, qid 0"),
        (HEADER + "1,2,3,4,q,a,0,CW,a,b,c,d,e\n", "1 no_span"),
    ],
)
def test_faulty_csv_is_named(text: str, message: str, tmp_path: Path) -> None:
    write_files(tmp_path, {"val.csv": text, "gsub_val.json": "{}"})
    with pytest.raises(DataError, match=message):
        read_source("nextgqa", tmp_path)


def records(folder: Path, raw: bytes) -> Records:
    path = folder / "r.json"
    path.write_bytes(raw)
    return Records(path)


def test_records_are_read_one_at_a_time_and_again(tmp_path: Path) -> None:
    found = records(tmp_path, b'\xef\xbb\xbf [{"a": 1.5, "b": [1, "x"]}, 2,\n"\xc3\xa9"]')
    assert list(found) == [{"a": 1.5, "b": [1, "x"]}, 2, "\u00e9"] == list(found)
    assert type(next(iter(found))["a"]) is float, "no Decimal reaches a sample"
    assert next(iter(records(tmp_path, b'[{"a": 1}, {"b"'))) == {"a": 1}, "what comes before a fault is there"


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"version https://git-lfs.github.com/spec/v1\n", "git-LFS pointer"),
        (b"<!DOCTYPE html>", "an HTML page"),
        (b"\x1f\x8b", "archive"),
        (b" ", "empty"),
        (b'{"a": [1]}', "expected a list of records, got an object"),
        (b"12", "got something else"),
        (b'[{"a": 1}, {"b', "not JSON after 1 records .*truncated"),
        (b'[{"a": 1}, {"a": 2}', "not JSON after 2 records .*truncated"),
        (b'[{"a": 1}, {a: 2}]', "not JSON after 1 records .*official file"),
        (b'[{"a": "\xff"}]', "not JSON after 0 records"),
    ],
)
def test_faulty_records_are_named(raw: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"r\.json: .*{message}"):
        list(records(tmp_path, raw))


def test_parquet(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [{"id": "1", "options": ["a", "b"]}, {"id": "2", "options": []}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    assert parse_file(tmp_path / "t.parquet") == rows
    (tmp_path / "t.parquet").write_bytes(b"PAR1 and nothing else")
    with pytest.raises(DataError, match="not a parquet file"):
        parse_file(tmp_path / "t.parquet")
    (tmp_path / "t.parquet").write_bytes(b"<html>")
    with pytest.raises(DataError, match="an HTML page"):
        parse_file(tmp_path / "t.parquet")
    with pytest.raises(DataError, match="can't be read"):
        parse_file(tmp_path / "none.parquet")


@pytest.mark.parametrize("name", ["ytb_{}", "video-{}", "v_{}", "{}_12_30", "{}_60.0_210.0", "{}", "v_{}_1_2"])
@pytest.mark.parametrize("key", ["dQw4w9WgXcQ", "-_-_-_-_-_-", "v_abcdefghi"])
def test_all_spellings_of_a_youtube_video_are_one_key(name: str, key: str) -> None:
    assert youtube_key(name.format(key)) == f"youtube:{key}"


def test_a_name_that_is_no_youtube_id_stays() -> None:
    assert youtube_key("v_miniature_0003") == "youtube:miniature_0003"
