"""What the engine writes is told while it is written, and is what it writes without."""

from __future__ import annotations

import pytest

from trlt.engine.forest import Engine, PromptRequest, Tree
from trlt.engine.sampling import Sampling
from trlt.errors import ModelError
from trlt.serve.streaming import Cancelled, EngineAnswerer

SAMPLING = Sampling(max_new_tokens=24, seed=5)
REQUEST = PromptRequest("k", "You answer questions about a video.", "what moves left", n=3)


def test_pieces_make_up_the_texts_of_the_plain_engine(tiny, noise_clip):
    clip = noise_clip()
    [[plain]] = Engine(tiny.model, tiny.processor).generate([Tree(clip, (REQUEST,))], SAMPLING)
    pieces = {0: [], 1: [], 2: []}
    answerer = EngineAnswerer(Engine(tiny.model, tiny.processor))
    reply = answerer.answer(clip, REQUEST, SAMPLING, lambda number, text: pieces[number].append(text), lambda: False)
    assert list(reply.completions) == plain
    assert ["".join(some) for some in pieces.values()] == [one.text for one in plain]
    assert max(map(len, pieces.values())) > 3, "told step by step"
    assert reply.prompt_tokens > clip.tokens


def test_half_a_character_is_held_back(tiny, noise_clip, monkeypatch):
    engine = Engine(tiny.model, tiny.processor)
    texts = iter(["a", "a\ufffd", "aé", "aé\ufffd", "aé\ufffd"])
    monkeypatch.setattr(engine.builder, "decode", lambda tokens: next(texts))
    pieces = []
    sampling = Sampling(max_new_tokens=4, seed=5)
    request = PromptRequest("k", "", "what", 1)
    EngineAnswerer(engine).answer(noise_clip(), request, sampling, lambda _, text: pieces.append(text), lambda: False)
    assert pieces == ["a", "é", "\ufffd"], "at the end all is told, half a character too"


def test_a_cancelled_one_stops_at_once_and_the_next_is_answered(tiny, noise_clip):
    answerer, steps = EngineAnswerer(Engine(tiny.model, tiny.processor)), []

    def is_cancelled():
        steps.append(1)
        return len(steps) == 3

    with pytest.raises(Cancelled):
        answerer.answer(noise_clip(), REQUEST, SAMPLING, lambda *_: None, is_cancelled)
    assert len(steps) == 3
    assert len(answerer.answer(noise_clip(), REQUEST, SAMPLING, lambda *_: None, lambda: False).completions) == 3


def test_a_vision_mark_in_the_question_is_refused(tiny, noise_clip):
    with pytest.raises(ModelError, match="vision mark"):
        request = PromptRequest("k", "", "what <|video_pad|>")
        answerer = EngineAnswerer(Engine(tiny.model, tiny.processor))
        answerer.answer(noise_clip(), request, SAMPLING, lambda *_: None, lambda: False)
