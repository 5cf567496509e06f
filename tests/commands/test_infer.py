"""One question about one video."""

from __future__ import annotations

import pytest
from made_clips import write_clip

from trlt.engine.forest import Completion, Engine

SHORT = ["--no-think", "--set", "eval.max_new_tokens=4"]


@pytest.fixture
def video(tmp_path):
    return write_clip(tmp_path / "clip.mp4", 4)


@pytest.fixture
def saying(monkeypatch):
    """Makes the model say a text; keeps what it was asked."""
    asked = []

    def say(text):
        def generate(self, trees, sampling, **_):
            asked.append(trees[0].requests[0].user)
            return [[[Completion(text, (1, 2), True)]]]

        monkeypatch.setattr(Engine, "generate", generate)
        return asked

    return say


def test_a_model_is_asked(trlt, fast, video):
    result = trlt("infer", video, "a red circle is shown", *fast, *SHORT, "--json")
    assert result["task"] == "grounding" and result["duration"] == pytest.approx(4) and isinstance(result["text"], str)


def test_a_span_is_drawn(trlt, fast, video, saying):
    asked = saying("<think> It [bold]starts[/] late. </think> <answer> 1.0 to 3.0 </answer>")
    shown = trlt("infer", video, "a red circle is shown", *fast)
    assert "Event: a red circle is shown" in asked[0] and "<think>" in asked[0]
    assert "It [bold]starts[/] late." in shown and "1.0 to 3.0 s" in shown
    line = next(line for line in shown.splitlines() if "█" in line)
    assert line.count("█") == 30 and line.count("─") == 30


def test_an_option_is_named(trlt, fast, video, saying):
    asked = saying("<answer> B </answer>")
    options = ["--option", "red", "--option", "blue"]
    assert "B. blue" in trlt("infer", video, "which colour", *options, *fast, *SHORT)
    assert "A. red\nB. blue" in asked[0]
    result = trlt("infer", video, "which colour", "--task", "grounded_qa", *options, *fast, *SHORT, "--json")
    assert result["option"] == 1 and result["well_formed"] is False and result["span"] is None


def test_a_free_question_and_an_unreadable_answer(trlt, fast, video, saying):
    saying("<observe> 1.0 to 2.0 </observe> <answer> a circle </answer>")
    result = trlt("infer", video, "what is shown", "--task", "grounded_qa", *fast, *SHORT, "--json")
    assert result["answer"] == "a circle" and result["span"] == [1.0, 2.0]
    saying("who knows")
    shown = trlt("infer", video, "what is shown", *fast, *SHORT)
    assert "No answer in the form that was asked for" in shown and "who knows" in shown


def test_flags_that_do_not_fit_are_named(trlt, video):
    assert "no such file" in trlt("infer", "absent.mp4", "what", code=4)
    assert "did you mean grounding" in trlt("infer", video, "what", "--task", "groundin", code=2)
    assert "takes no --option" in trlt("infer", video, "what", "--task", "grounding", "-o", "a", "-o", "b", code=2)
    assert "at least two" in trlt("infer", video, "what", "--task", "multi_choice", code=2)
    assert "two different" in trlt("infer", video, "what", "-o", "a", "-o", "a", code=2)


def test_a_broken_video_is_told_before_the_model_loads(trlt, fast, tmp_path, monkeypatch):
    monkeypatch.setattr("trlt.commands.infer.make_engine", pytest.fail)
    (tmp_path / "torn.mp4").write_bytes(b"nothing")
    assert "torn.mp4" in trlt("infer", "torn.mp4", "what", *fast, code=4)


def test_an_address_is_refused_unless_downloads_are_allowed(trlt, fast):
    message = trlt("infer", "https://example.org/a.mp4", "the cat runs", *fast, code=4)
    assert "https://example.org/a.mp4" in message and "set video.downloads" in message
