"""A server in this process, with a scripted model or the random one; and videos."""

from __future__ import annotations

import pytest
from made_clips import write_clip


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
