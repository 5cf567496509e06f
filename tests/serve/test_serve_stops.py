"""Stop texts: what stands before them is told, all of it and nothing else, wherever the tokens end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trlt.engine.forest import Engine, PromptRequest, Tree
from trlt.engine.sampling import Sampling
from trlt.serve.stops import before_stop
from trlt.serve.streaming import EngineAnswerer


@pytest.mark.parametrize(
    "text, stops, whole, expected",
    [
        ("abc", [], False, ("abc", False)),
        ("abc", ["b"], False, ("a", True)),
        ("abc", ["abc", "b"], True, ("a", True)),  # b is complete first
        ("abc", ["c", "bc"], True, ("a", True)),  # both end at once
        ("ab</", ["</answer>", "b!"], False, ("ab", False)),
        ("ab</", ["</answer>"], True, ("ab</", False)),
        ("aab", ["aac", "ab"], False, ("a", True)),
        ("aa", ["aab"], False, ("", False)),
        ("xaa", ["aaa", "a\n"], False, ("x", False)),
    ],
)
def test_what_stands_before_a_stop_text(text, stops, whole, expected):
    assert before_stop(text, stops, whole=whole) == expected


def read_by_characters(text, stops):
    """The rule, in the plainest way."""
    for end in range(len(text) + 1):
        if ends := [stop for stop in stops if text[:end].endswith(stop)]:
            return text[: end - max(map(len, ends))], True
    return text, False


FEW = st.text("ab", max_size=12)


@given(FEW, st.lists(st.text("ab", min_size=1, max_size=4), max_size=4), st.lists(st.integers(0, 12), max_size=6))
def test_a_text_in_pieces_is_cut_as_the_whole(text, stops, ends):
    expected = read_by_characters(text, stops)
    assert before_stop(text, stops, whole=True) == expected
    for end in sorted(ends):
        part, stopped = before_stop(text[:end], stops)
        assert expected[0].startswith(part), "nothing is told that isn't in the end"
        if stopped:
            assert (part, stopped) == expected
            break


def test_the_engine_stops_soon_and_says_nothing_of_the_stop_text(tiny, noise_clip):
    clip, request = noise_clip(), PromptRequest("k", "You answer questions about a video.", "what moves left", n=2)
    sampling = Sampling(max_new_tokens=24, seed=5)
    engine = Engine(tiny.model, tiny.processor)
    [[plain]] = engine.generate([Tree(clip, (request,))], sampling)
    # One in the first completion, and one in the second; each is found at its first place in either.
    stops = (plain[0].text[5:8], plain[1].text[9:11])
    expected = [read_by_characters(one.text, stops)[0] for one in plain]
    pieces, steps = {0: "", 1: ""}, []

    def write(number, text):
        pieces[number] += text

    def is_cancelled():
        steps.append(1)
        return False

    reply = EngineAnswerer(engine).answer(clip, request, sampling, write, is_cancelled, stops)
    assert [one.text for one in reply.completions] == expected == list(pieces.values()) and all(expected)
    for whole, one, text in zip(plain, reply.completions, expected, strict=True):
        assert one.finished and one.tokens == whole.tokens[: len(one.tokens)] and one.logps == whole.logps[: len(one.tokens)]
        # The tokens end with the one that completes the stop text.
        assert any(text + stop in engine.builder.decode(one.tokens) for stop in stops)
        assert not any(text + stop in engine.builder.decode(one.tokens[:-1]) for stop in stops)
    assert len(steps) == max(len(one.tokens) for one in reply.completions) < 24
