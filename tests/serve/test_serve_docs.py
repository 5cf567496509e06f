"""The page of serving: its command, its program with OpenAI's client, and its lines for curl run as written."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys

import pytest
from paths import ROOT

sys.path.insert(0, str(ROOT))
from docs.tools.blocks import blocks, commands  # noqa: E402

PAGE = ROOT / "docs" / "serve.md"
ADDRESS = "http://127.0.0.1:8765"


@pytest.fixture(scope="module")
def address():
    """Of the server that the page starts, but for its port."""
    [line] = commands(PAGE)
    command = [sys.executable, "-m", *shlex.split(line), "--port", "0"]
    env = {**os.environ, "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=env) as process:
        try:
            assert process.stdout and process.stderr
            found = re.search(r"at (http://127\.0\.0\.1:\d+) ", process.stdout.readline())
            assert found, process.stderr.read()
            yield found[1]
        finally:
            process.terminate()


@pytest.mark.slow
def test_the_program_of_the_page(address, tmp_path, video):
    [block] = blocks(PAGE, "python")
    assert ADDRESS in block.text
    (tmp_path / block.title).write_text(block.text.replace(ADDRESS, address), encoding="utf-8")
    shutil.copy(video, tmp_path / "video.mp4")
    done = subprocess.run([sys.executable, block.title], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    whole, streamed = done.stdout.split("\n")
    assert whole == streamed and len(whole) > 10


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("curl") is None, reason="without curl")
def test_the_lines_for_curl(address, tmp_path, video):
    [_, block] = blocks(PAGE, "sh")
    shutil.copy(video, tmp_path / "video.mp4")
    done = subprocess.run(
        ["bash", "-e"], input=block.text.replace(ADDRESS, address), capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    models, end = json.JSONDecoder().raw_decode(done.stdout)
    answer = json.loads(done.stdout[end:])
    assert models["data"][0]["id"] == answer["model"] == "miniature" and answer["choices"][0]["message"]["content"]
