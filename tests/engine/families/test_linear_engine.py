"""States of linear layers through the engine: batches, a lack of memory in the midst of a step, and the room that they take."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from trlt.engine import forest, memory
from trlt.engine.cohort import Recorder, Together
from trlt.engine.families import family_named
from trlt.engine.forest import Engine, PromptRequest, Tree
from trlt.engine.model import load
from trlt.engine.request_queue import Costs, Queue, Room
from trlt.engine.sampling import Sampling
from trlt.recipe import Model
from trlt.video.clip import Clip

FAMILY = family_named("qwen3_5")
SAMPLING = Sampling(temperature=1.0, top_p=0.99, max_new_tokens=12, seed=5)


@pytest.fixture
def tiny(family_path):
    return load(Model(path=str(family_path(FAMILY)), dtype="float32", device="cpu"))


@pytest.fixture
def trees():
    """Clips of unequal length with two prompts each."""
    side = FAMILY.geometry.side
    made = []
    for c, frames in enumerate((2, 4, 10, 6)):
        pixels = np.random.default_rng(c).integers(0, 256, (frames, 3, side, 2 * side), dtype=np.uint8)
        clip = Clip.of(pixels, np.arange(frames) / 2, sample_fps=2.0, duration=frames / 2, geometry=FAMILY.geometry)
        asked = enumerate(("what is shown", "which of them moves left and why"))
        made.append(Tree(clip, tuple(PromptRequest(f"{c}.{q}", "sys", words, n=3) for q, words in asked)))
    return made


def engine_of(tiny, **settings):
    """An engine whose completions have all lengths: every ninth token ends one."""
    engine = Engine(tiny.model, tiny.processor, **settings)
    engine.ends = frozenset(range(0, tiny.model.config.text_config.vocab_size, 9))
    return engine


# -- what else grows --------------------------------------------------------------------------------------------------


def test_completions_do_not_depend_on_batch_order_or_neighbours(tiny, trees):
    """Decoded in whatever company, and settled alone, by the same rule, where a draw is close."""
    whole = engine_of(tiny).generate(trees, SAMPLING)
    every = [one.tokens for tree in whole for answers in tree for one in answers]
    assert len(set(every)) > 20 and len(set(map(len, every))) > 6, "rows leave at all times"
    narrow = engine_of(tiny).generate(trees, SAMPLING, max_sequences=3)
    backwards = engine_of(tiny).generate(trees[::-1], SAMPLING)[::-1]
    alone = [engine_of(tiny).generate([tree], SAMPLING)[0] for tree in trees]
    assert whole == narrow == backwards == alone


def test_every_draw_that_is_settled_alone_gives_the_same_tokens(tiny, trees, monkeypatch):
    expected = engine_of(tiny).generate(trees[:2], SAMPLING)
    monkeypatch.setattr("trlt.engine.sampling.NOISE", 0.3)
    slow = engine_of(tiny)
    assert slow.generate(trees[:2], SAMPLING) == expected
    assert slow.settled > 30


# -- a lack of memory -------------------------------------------------------------------------------------------------


PLACES = ["layer 0", "layer 2", "head", "draw"]


@pytest.mark.parametrize(("where", "exact"), [*((where, True) for where in PLACES), ("layer 1", False)])
def test_a_step_that_fails_leaves_no_state_behind(tiny, trees, monkeypatch, where, exact):
    """Of a step that fails behind some layers, those would else have read its token twice."""
    whole = engine_of(tiny, exact=exact).generate(trees, SAMPLING)
    said, passes = [], []
    engine = engine_of(tiny, exact=exact, on_event=said.append)

    def begin(module, args, kwargs):
        # Half of the cohorts go, so that of one alone nothing would be left to be wrong.
        passes.append(isinstance(kwargs["branches"], Together) and len(kwargs["branches"]._cohorts) > 1)

    def fail(*_):
        if passes[-1] and sum(passes) in (2, 4):
            passes.append(True)
            raise torch.OutOfMemoryError("no more")

    language = engine.model.model.language_model
    language.register_forward_pre_hook(begin, with_kwargs=True)
    if where == "draw":
        plain = forest.draw
        monkeypatch.setattr(forest, "draw", lambda *args: fail() or plain(*args))
    elif where == "head":
        engine.model.lm_head.register_forward_pre_hook(fail)
    else:
        language.layers[int(where[-1])].register_forward_hook(fail)
    again = engine.generate(trees, SAMPLING, max_sequences=16)
    assert said and all(re.search("out of memory with", text) for text in said)
    if exact:
        assert again == whole
    else:
        for mine, theirs in zip(again, whole, strict=True):
            for some, others in zip(mine, theirs, strict=True):
                assert [one.tokens for one in some] == [one.tokens for one in others]
                pairs = [pair for a, b in zip(some, others, strict=True) for pair in zip(a.logps, b.logps, strict=True)]
                assert max(abs(a - b) for a, b in pairs) < 2e-4


def test_states_go_back_to_before_a_step_that_fails(tiny):
    engine_of(tiny)
    recorder = Recorder()

    def step(token, position):
        FAMILY.states(tiny.model, torch.tensor([[token], [token + 1]]), torch.full((3, 2, 1), position), branches=recorder)
        return {layer: [t.clone() for t in one] for layer, one in recorder.states.items()}

    with torch.no_grad():
        first = step(5, 0)
        recorder.complete()
        second = step(7, 1)
        recorder.cut(1)
        assert recorder.states.keys() == {0, 1, 2} == first.keys() and recorder.keys.keys() == {3}
        for layer, one in recorder.states.items():
            assert all(torch.equal(a, b) for a, b in zip(one, first[layer], strict=True))
            assert not torch.equal(one.state, second[layer][1])
        assert recorder.keys[3].shape[2] == 1
        for layer, one in step(7, 1).items():
            assert all(torch.equal(a, b) for a, b in zip(one, second[layer], strict=True)), "as if nothing had been"
        recorder.complete()
        recorder.cut(2)
        assert torch.equal(recorder.states[0].state, second[0][1]), "a step that is complete stays"


# -- room -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_bytes_of_a_token_and_of_a_state(tiny, dtype):
    engine, recorder = engine_of(tiny), Recorder()
    engine.model.to(dtype)
    with torch.no_grad():
        FAMILY.states(engine.model, torch.tensor([[5, 6, 7, 8, 9]]), torch.arange(5).expand(3, 1, -1), branches=recorder)
    text = engine.model.config.text_config
    held = sum(t.nbytes for side in (recorder.keys, recorder.values) for t in side.values())
    assert memory.token_bytes(text, dtype) * 5 == held
    states = sum(t.nbytes for one in recorder.states.values() for t in one)
    # Three layers of 4 heads of 16 x 32 float32, and 3 inputs of 2 x 2 x 16 + 4 x 32 numbers.
    assert memory.state_bytes(text, dtype) == states == 3 * (4 * 16 * 32 * 4 + 3 * 192 * dtype.itemsize)


def test_states_of_published_models():
    """48 MiB a branch and 32 KiB a token for 9B in BF16, with the inputs of convolutions."""
    from transformers import Qwen3_5TextConfig

    text = Qwen3_5TextConfig()
    assert memory.token_bytes(text, torch.bfloat16) == 32 * 2**10
    assert memory.state_bytes(text, torch.bfloat16) == 24 * (32 * 128 * 128 * 4 + 3 * 8192 * 2) == 48 * 2**20 + 24 * 48 * 2**10


def test_states_take_room(trees):
    """A prompt's once and a branch's twice; the text of times counts as tokens."""
    clips = [tree.clip for tree in trees]
    costs = Costs(state=100, time=12)
    assert [costs.clip(clip) for clip in clips] == [2 + 12, 4 + 24, 10 + 60, 6 + 36]
    assert costs.grown(2, 4, 24) == 4 * 24 + 2 * 100 + 2 * 4 * 100
    each = 3 * 24 + 100 + 2 * 3 * 100
    first = 2 + 12
    second = 4 + 24
    for room, wanted in (
        (first + each, 1),
        (first + 2 * each - 1, 1),
        (first + 2 * each, 2),
        (first + 3 * each, 2),
        (first + second + 3 * each, 3),
        (first + second + 4 * each, 4),
    ):
        assert len(Queue(trees, 24, costs).take(Room(100, room), most=100, alone=False)) == wanted


def test_the_room_bounds_what_grows(tiny, trees, monkeypatch):
    engine = engine_of(tiny)
    state = memory.state_tokens(engine.model)
    assert state == memory.state_bytes(engine.model.config.text_config, torch.float32) / (2 * 1 * 2 * 32 * 4) > 50
    rows = []
    layer = engine.model.model.language_model.layers[0]
    layer.register_forward_hook(lambda module, args, out: rows.append(len(out)) if out.shape[1] == 1 else None)
    whole = engine.generate(trees, SAMPLING)
    steps = len(rows)
    # By tokens alone there would be room for all: 24 completions of 12, and prompts of fewer than 200.
    room = 24 * 12 + 8 * 200
    monkeypatch.setattr(forest, "room_for_tokens", lambda model: room)
    assert engine.generate(trees, SAMPLING) == whole
    before, after = max(rows), max(rows[steps:])
    assert before > 16 and after <= room / (12 + 2 * state) < 16
