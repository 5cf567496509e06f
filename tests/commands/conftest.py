"""The command line in this process, and small official files to use it on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from made_clips import write_clip
from typer.testing import CliRunner

from trlt.cli import app

FAST = ["--set", "model.dtype=float32", "--set", "model.device=cpu", "--set", "video.workers=0"]


@pytest.fixture
def trlt(tmp_path, monkeypatch):
    """`trlt("probe", ...)` in an empty folder; checks the exit code and gives stdout, or with --json the object."""
    monkeypatch.chdir(tmp_path)

    def go(*args, code=0):
        result = CliRunner().invoke(app, [str(arg) for arg in args])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == code, result.output
        if code:
            notes, error, message = result.stderr.partition("error: ")
            assert error and (not notes or notes.endswith("\n")) and "Traceback" not in result.output
            return message
        return json.loads(result.stdout) if "--json" in args else result.stdout

    return go


@pytest.fixture
def fast(tiny_path):
    """Flags of the random model on the CPU."""
    return ["--model", tiny_path, *FAST]


@pytest.fixture
def bench(tmp_path):
    """A benchmark `charades` of four invented queries over two videos, in the official layout."""
    folder = tmp_path / "bench"
    folder.mkdir()
    lines = ["AAAAA 0.0 1.0##a cat sits", "AAAAA 1.0 2.0##a cat runs", "BBBBB 0.5 1.5##a dog sits", "BBBBB 1.0 3.0##a dog runs"]
    (folder / "charades_sta_test.txt").write_text("\n".join(lines) + "\n")
    (folder / "Charades_v1_test.csv").write_text("id,length\nAAAAA,2.0\nBBBBB,3.0\n")
    for seed, (name, seconds) in enumerate((("AAAAA", 2), ("BBBBB", 3))):
        write_clip(folder / f"Charades_v1_480/{name}.mp4", seconds, seed)
    return folder


@pytest.fixture
def write_jsonl():
    def write(path: Path, values):
        path.write_text("".join(json.dumps(value) + "\n" for value in values), encoding="utf-8")
        return path

    return write
