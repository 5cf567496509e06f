"""A server in this process, with a scripted model or the random one; videos, and OpenAI's own client."""

from __future__ import annotations

import base64

import openai
import pytest
from made_clips import write_clip

from trlt.serve import uploads


@pytest.fixture(scope="session")
def video(tmp_path_factory):
    """Four seconds."""
    return write_clip(tmp_path_factory.mktemp("video") / "clip.mp4", 4)


@pytest.fixture
def run():
    """Starts servers: `run(Scripted(...))`; they end with the test."""
    from running import Running

    started = []

    def start(answerer, **settings):
        started.append(Running(answerer, **settings))
        return started[-1]

    yield start
    for one in started:
        one.end()


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """Where servers put videos."""
    monkeypatch.setattr(uploads.tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def connect():
    """Clients, which close with the test."""
    made = []

    def client(server, **given):
        made.append(openai.OpenAI(**{"base_url": f"{server.url}/v1", "api_key": "x", "max_retries": 0, **given}))
        return made[-1]

    yield client
    for one in made:
        one.close()


@pytest.fixture
def asked(video):
    """What every client asks."""
    address = "data:video/mp4;base64," + base64.b64encode(video.read_bytes()).decode()
    parts = [{"type": "video_url", "video_url": {"url": address}}, {"type": "text", "text": "what moves?"}]
    return {"model": "made-model", "messages": [{"role": "user", "content": parts}]}
