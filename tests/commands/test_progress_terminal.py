"""What a terminal, a log and a reader of JSON get to see of progress: a real command, its stderr a terminal or a file."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest
from made_clips import write_clip
from paths import ROOT

pty = pytest.importorskip("pty", reason="no terminals of this kind here")


@pytest.fixture
def videos(tmp_path):
    for i in range(4):
        write_clip(tmp_path / f"videos/v{i}.mp4", 1, i)
    return tmp_path / "videos"


def check(videos, *more, stderr):
    """Exit code and stdout of `trlt video check`, whose stderr goes somewhere."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "100", "LINES": "30", "PYTHONIOENCODING": "utf-8"}
    command = [sys.executable, "-m", "trlt", "video", "check", str(videos), "--set", "video.workers=0", *more]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=stderr, cwd=videos.parent, env=env, check=False)
    return done.returncode, done.stdout.decode()


@pytest.fixture
def terminal():
    """`terminal(run)` gives what `run(descriptor)` returns, and what it wrote to that terminal."""

    def go(run):
        ours, theirs = pty.openpty()
        try:
            result = run(theirs)
        finally:
            os.close(theirs)
        shown = b""
        try:
            while block := os.read(ours, 65536):
                shown += block
        except OSError:  # the other end is closed, and all is read
            pass
        os.close(ours)
        return result, shown.decode()

    return go


@pytest.mark.parametrize("more", [(), ("--json",)])
def test_a_terminal_sees_a_bar_with_units_beside_json_too(videos, terminal, more):
    (code, out), shown = terminal(lambda stderr: check(videos, *more, stderr=stderr))
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
    assert code == 0
    assert re.search(r"check █+ 4/4 clips  \d:\d\d, [\d.]+ clips/(s|min)", shown), shown
    assert "clips/" not in out, "stdout is for the result"
    if more:
        assert json.loads(out)["clips"] == 4
        assert "video check: 4 clips" not in shown, "notes are for people without --json"


def test_a_log_gets_plain_lines_and_a_reader_of_json_none(videos, tmp_path):
    log = tmp_path / "log"
    with log.open("wb") as file:
        code, _ = check(videos, stderr=file)
    assert code == 0
    assert re.fullmatch(
        r"video check: 4 clips; rows in .*\ncheck: 4 of 4 clips, [\d.]+ clips/(s|min), \d:\d\d in all\n", log.read_text()
    )
    with log.open("wb") as file:
        code, out = check(videos, "--json", "--fresh", stderr=file)
    assert (code, json.loads(out)["clips"], log.read_text()) == (0, 4, "")
