"""Real servers that would answer about something else than what they are sent: refused before any question is asked."""

from __future__ import annotations

import pytest
from real_cases import AT_THEIR_RATES, sets
from real_server import TRUSTING, RealServer, needs_vllm, with_fault

from trlt.engine.model import miniature_path
from trlt.errors import ServerError

pytestmark = [needs_vllm, pytest.mark.slow]


@pytest.fixture(scope="module")
def servers(start) -> dict[str, RealServer]:
    """They start side by side."""
    return {
        "untrusting": start(trusting=False),
        "dropped_rate": start(env=with_fault("dropped_rate")),
        "library": start(model=miniature_path("miniature-plain")),
    }


@pytest.fixture
def refused(trlt, questions, servers, tmp_path):
    """What `trlt probe` says of a server that it refuses, without a row."""

    def go(name: str) -> str:
        common = ("probe", "--data", questions, "--videos", questions.parent, *AT_THEIR_RATES, *sets("video.workers=0"))
        server = servers[name].wait()
        message = trlt(*common, "--server", server.url, "--out", "p", code=ServerError.exit_code)
        assert server.url in message and not (tmp_path / "p" / "rows" / "probe.jsonl").exists()
        return message

    return go


def test_one_that_takes_no_word_on_how_frames_are_processed(refused):
    assert f"start vLLM with {TRUSTING}" in refused("untrusting")


def test_one_that_drops_the_rate(refused, servers):
    message = refused("dropped_rate")
    assert "the same 40 frames at" in message and "rate" in message
    assert "fault: dropped_rate" in servers["dropped_rate"].log.read_text()


def test_one_whose_weights_count_positions_as_the_library_does(refused):
    assert "says text_after_video: library in its config.json, and vllm places" in refused("library")
