"""A row that was changed is noticed, whichever bit it is; rows without a checksum, of older runs, are read as before."""

from __future__ import annotations

import json
import zlib

import pytest

from trlt.errors import DataError
from trlt.report.page.questions import RowIndex
from trlt.rollout import read_rows
from trlt.rollout.rows_file import RowFile, encode, unsealed

ROW = {"id": "a", "texts": ["<answer> \u00e4 \ud800 </answer>"], "rewards": [0.1 + 0.2, 1e-7], "n": 1, "error": None}


def changed(line, bit):
    data = bytearray(line)
    data[bit // 8] ^= 1 << bit % 8
    return bytes(data)


def test_the_checksum_is_that_of_the_line_without_it():
    line = encode(ROW)
    body = json.dumps(ROW, ensure_ascii=False).encode("utf-8", "backslashreplace")
    assert line == body[:-1] + b', "checksum": "' + f"{zlib.crc32(body):08x}".encode() + b'"}\n'
    assert unsealed(json.loads(line)) == ROW and encode(json.loads(line)) == line
    assert unsealed(ROW) == ROW


def test_every_flipped_bit_is_noticed_when_rows_are_read(tmp_path):
    line, path = encode(ROW), tmp_path / "rows.jsonl"
    # Another way to write the same numbers and letters is the same row.
    ways = {b"0004,": (b"0005,", b"0006,"), b"1e-07": (b"1E-07",), b"ud800": (b"uD800",)}
    same = {line.replace(known, other) for known, others in ways.items() for other in others}
    for bit in range(8 * (len(line) - 1)):
        now = changed(line, bit)
        if now in same:
            continue
        path.write_bytes(now + encode({**ROW, "id": "b"}))
        with pytest.raises(DataError, match=rf"{path}:1: "):
            list(read_rows(path))
        with pytest.raises(DataError), RowFile(path, ["a", "b"]):
            pass


def test_every_reader_names_the_line_and_the_remedy(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(encode(ROW).replace(b"0.3", b"0.4"))
    for read in (lambda: list(read_rows(path)), lambda: RowIndex([path])):
        with pytest.raises(DataError, match="rows.jsonl:1: the row was changed after it was written; run its sample again"):
            read()
    with pytest.raises(DataError, match="rows.jsonl:1: damaged, not a row as written; delete the line, or"):
        RowFile(path, ["a"])


def test_rows_of_older_runs_stay_and_new_ones_are_sealed(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({**ROW, "texts": []}) + "\n")
    with RowFile(path, ["b", "a"]) as rows:
        rows.append({**ROW, "id": "b"})
        rows.finish()
    assert [row["id"] for row in read_rows(path)] == ["b", "a"] and path.read_bytes().count(b"checksum") == 1
