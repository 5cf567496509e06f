"""The real SGLang on the CPU against the engine; skipped unless TRLT_SGLANG_PYTHON names the Python of its environment.

`install.sh` makes such an environment.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from paths import TESTS

from trlt.engine.forest import Completion, Engine, PromptRequest, Tree
from trlt.engine.model import load, miniature_path
from trlt.engine.sampling import Sampling
from trlt.engine.servers.client import Servers
from trlt.engine.servers.sglang import START
from trlt.errors import ServerError
from trlt.recipe import Model
from trlt.video.clip import Clip

PYTHON = os.environ.get("TRLT_SGLANG_PYTHON", "")
"""Of the environment that holds SGLang."""
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON, reason="left out: the real SGLang, unless TRLT_SGLANG_PYTHON names its Python"),
]
CLIPS = ((6, 56, 84, 1.37), (40, 56, 56, 2.0), (16, 84, 56, 5.0), (2, 28, 28, 2.0))
"""Frames, height, width and rate."""
LIKELIEST = Sampling(max_new_tokens=16, temperature=0.01, top_p=0.001)
START_S = 600


def words() -> tuple[dict[str, str], list[str]]:
    """Environment and arguments of the command that trlt tells."""
    told = re.fullmatch(r"((?:\w+=\S+ )+)sglang serve --model-path MODEL (.*)", START)
    assert told
    return dict(one.split("=", 1) for one in told[1].split()), shlex.split(told[2])


@pytest.fixture
def start(tmp_path_factory) -> Iterator[Callable[..., str]]:
    """Starts one server at a time, since an idle one takes a core: `start(env, arguments)` gives its address."""
    started: list[subprocess.Popen[bytes]] = []

    def end() -> None:
        while started:
            os.killpg(started[-1].pid, signal.SIGKILL)
            started.pop().wait()

    def go(env: dict[str, str], arguments: list[str]) -> str:
        end()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        log = tmp_path_factory.mktemp("sglang") / "log"
        folders = [str(TESTS / "real_sglang" / "cpu"), *(env[name] for name in ("PYTHONPATH",) if name in env)]
        libraries = Path(PYTHON).parent.parent / "ffmpeg", *Path(PYTHON).parent.parent.glob("lib/python*/site-packages/av.libs")
        env = os.environ | env | {"SGLANG_USE_CPU_ENGINE": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": ":".join(folders)}
        env["LD_LIBRARY_PATH"] = ":".join(map(str, libraries))
        command = [
            *(PYTHON, "-m", "sglang.launch_server", "--model-path", str(miniature_path("miniature")), "--port", str(port)),
            *("--host", "127.0.0.1", "--device", "cpu", "--dtype", "float32", "--attention-backend", "torch_native"),
            *("--mem-fraction-static", "0.3", "--max-total-tokens", "8192", "--disable-overlap-schedule", *arguments),
        ]
        with log.open("wb") as out:
            started.append(subprocess.Popen(command, stdout=out, stderr=out, env=env, start_new_session=True))
        for _ in range(START_S):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
                return f"http://127.0.0.1:{port}"
            except OSError:
                assert started[-1].poll() is None, f"SGLang ended:\n{log.read_text(errors='replace')[-3000:]}"
                time.sleep(1)
        raise AssertionError(f"SGLang isn't well after {START_S} s:\n{log.read_text(errors='replace')[-3000:]}")

    yield go
    end()


def trees(rate: float | None = None) -> list[Tree]:
    """Three answers to two questions about each clip of colored blocks, at its own rate or at another."""
    found = []
    for k, (frames, height, width, own) in enumerate(CLIPS):
        fps = rate or own
        blocks = np.random.default_rng(k).integers(0, 255, (frames, 3, height // 14, width // 14), dtype=np.uint8)
        clip = Clip.of(blocks.repeat(14, 2).repeat(14, 3), np.arange(frames) / fps, sample_fps=fps, duration=frames / fps)
        asked = "Event: a shape moves right\nGive the event's start and end in seconds with one decimal."
        system = "You answer questions about a video."
        found.append(Tree(clip, (PromptRequest(f"{k}", system, asked, 2), PromptRequest(f"{k}b", system, "what is it?", 1))))
    return found


def alike(ones: list[list[list[Completion]]], others: list[list[list[Completion]]]) -> int:
    """Answers that are equal, to the id."""
    flat = [[one for tree in side for request in tree for one in request] for side in (ones, others)]
    assert len(flat[0]) == len(flat[1]) == 3 * len(CLIPS)
    return sum(one == other for one, other in zip(*flat, strict=True))


def test_a_server_started_as_told_answers_as_the_engine(start):
    servers = Servers([start(*words())])
    servers.check()
    loaded = load(Model(path="miniature", dtype="float32", device="cpu"))
    engine = Engine(loaded.model, loaded.processor)
    theirs = servers.generate(trees(), LIKELIEST)
    assert all(token >= 0 for tree in theirs for request in tree for one in request for token in one.tokens)
    assert alike(theirs, engine.generate(trees(), LIKELIEST)) == 3 * len(CLIPS)
    assert alike(theirs, engine.generate(trees(24.0), LIKELIEST)) <= 3 * len(CLIPS) / 2


def test_without_its_settings_frames_are_resized_and_without_its_processor_the_rate_is_lost(start):
    env, arguments = words()
    with pytest.raises(ServerError, match="of its video and .* were due; .* samples or resizes its frames again") as error:
        Servers([start({}, [])]).check()
    assert START in str(error.value)
    with pytest.raises(ServerError, match=r"differ by 0\.0e\+00 at most, .*it drops the rate of the frames") as error:
        Servers([start({}, arguments)]).check()
    assert START in str(error.value)
