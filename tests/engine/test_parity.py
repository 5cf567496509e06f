"""The first completion of an engine is held to the library's own forward, and nothing is answered before."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch

from trlt.engine import cohort
from trlt.engine import first_completion as first
from trlt.engine import library_forward as library
from trlt.engine import window_attention as windows
from trlt.engine.agreement import TOLERANCES, Agreement, Tolerance, join
from trlt.engine.attention import branch_attention
from trlt.engine.forest import Engine, PromptRequest, Tree
from trlt.engine.inputs import InputBuilder
from trlt.engine.model import load
from trlt.engine.sampling import Sampling
from trlt.errors import ModelError, ParityError
from trlt.recipe import Model

SAMPLING = Sampling(temperature=1.0, top_p=0.99, max_new_tokens=12, seed=5)


@pytest.fixture
def trees(noise_clip):
    """Clips that last longer than their prompts have words, with two prompts each, of which each is answered three times."""
    words = [PromptRequest(f"{k}", "sys", f"what is shown {k}", n=3) for k in range(2)]
    return [Tree(noise_clip(frames=12, seed=c, fps=0.05), tuple(words)) for c in range(3)]


@pytest.fixture
def engine(tiny):
    return Engine(tiny.model, tiny.processor, compare_first=True)


@pytest.mark.parametrize("sequences", [256, 4, 1])
def test_it_agrees_and_changes_no_draw(tiny, engine, trees, sequences):
    said = []
    engine.on_event = said.append
    plain = Engine(tiny.model, tiny.processor).generate(trees, SAMPLING)
    assert engine.generate(trees, SAMPLING, max_sequences=sequences) == plain
    count = len(plain[0][0][0].tokens)
    assert engine.parity and engine.parity.samples == 1 and engine.parity.tokens == count
    assert 0 < engine.parity.mean <= engine.parity.largest < 1e-4
    assert said == [engine.parity.words] and f"over {count} tokens" in said[0]
    measured = engine.parity
    assert engine.generate(trees, SAMPLING) == plain and engine.parity is measured, "once a run"


def test_in_bf16_it_agrees_and_changes_no_draw(trees):
    """Clips and prompts share passes there, with padding."""
    loaded = load(Model(path="miniature", dtype="bfloat16", device="cpu"))
    plain = Engine(loaded.model, loaded.processor).generate(trees, SAMPLING)
    engine = Engine(loaded.model, loaded.processor, compare_first=True)
    assert engine.generate(trees, SAMPLING) == plain
    assert engine.parity and 1e-4 < engine.parity.largest and engine.parity.tokens == len(plain[0][0][0].tokens)


def test_what_enters_is_what_the_library_takes(tiny, trees):
    """Tokens and positions by hand: text, a video of 6 x 2 x 2 tokens 40 s (80 positions) apart, text, completion."""
    told = []
    engine = Engine(tiny.model, tiny.processor)
    engine.first = first.FirstClip(told.append)
    [[[drawn, *_], _], *_] = engine.generate(trees, SAMPLING)
    [seen] = told
    entered = seen.scored.entered
    assert seen.tokens == drawn.tokens and entered.ids[-len(drawn.tokens) + 1 :].tolist() == list(drawn.tokens[:-1])
    assert seen.scored.logps.tolist() == pytest.approx(list(drawn.logps), abs=1e-6), "at temperature 1"
    video = (entered.ids == tiny.processor.video_token_id).nonzero()[:, 0].tolist()
    start, stop = video[0], video[-1] + 1
    assert entered.grid.tolist() == [6, 4, 4] and stop - start == 24
    assert entered.positions[0, start:stop].tolist() == [start + 80 * t for t in range(6) for _ in range(4)]
    after = entered.positions[:, stop:]
    assert torch.equal(after, (start + 401 + torch.arange(after.shape[1])).expand(3, -1))
    assert entered.pixels.shape == (96, 1176)


def test_log_probabilities_are_compared_at_temperature_1(tiny, engine, trees):
    """At 0.01 those of what is drawn are next to 0 on both sides, whatever the logits."""
    cold = replace(SAMPLING, temperature=0.01, top_p=0.001)
    plain = Engine(tiny.model, tiny.processor).generate(trees, cold)
    assert max(plain[0][0][0].logps) > -1e-3
    assert engine.generate(trees, cold) == plain and 0 < engine.parity.largest < 1e-4


# -- what is refused --------------------------------------------------------------------------------------------------------


def refused(engine, trees, match, sampling=SAMPLING):
    """No answer came before."""
    answered = []
    with pytest.raises(ParityError, match=match) as caught:
        answered += engine.stream(trees, sampling)
    assert not answered and engine.parity is None
    assert re.search("at most|must be equal|explains is", str(caught.value)) and "`trlt doctor`" in str(caught.value)


def changed_clip(monkeypatch, **changes):
    """The engine's inputs, with fields changed by functions."""
    honest = InputBuilder.clip

    def clip(self, shown):
        made = honest(self, shown)
        return replace(made, **{name: change(getattr(made, name)) for name, change in changes.items()})

    monkeypatch.setattr(InputBuilder, "clip", clip)


def test_positions_by_the_librarys_rule(tiny_path, trees, monkeypatch):
    monkeypatch.setattr("trlt.engine.mrope.follow_published_positions", lambda model: None)
    loaded = load(Model(path=str(tiny_path), dtype="float32", device="cpu"))
    engine = Engine(loaded.model, loaded.processor, compare_first=True)
    refused(
        engine, trees, r"sample '0': positions .*between the engine and the library's forward: up to 39\d apart, from token"
    )


def test_weights_that_follow_the_library_pass(tiny_path, trees, monkeypatch):
    honest = load(Model(path=str(tiny_path), dtype="float32", device="cpu"))
    honest.model.config.text_after_video = "library"
    honest.model.model.get_rope_index = type(honest.model.model).get_rope_index.__get__(honest.model.model)
    engine = Engine(honest.model, honest.processor, compare_first=True)
    engine.generate(trees, SAMPLING)
    assert engine.parity.largest < 1e-4
    # The mark alone, on a model that places text by the published rule, isn't believed.
    loaded = load(Model(path=str(tiny_path), dtype="float32", device="cpu"))
    loaded.model.config.text_after_video = "library"
    refused(Engine(loaded.model, loaded.processor, compare_first=True), trees, "positions .*differ")


@pytest.mark.parametrize("change", [lambda p: p * 1.001, lambda p: p + 1e-4, lambda p: p[:, torch.arange(1176).flip(0)]])
def test_frames_normalised_otherwise(engine, trees, monkeypatch, change):
    changed_clip(monkeypatch, pixels=change)
    refused(engine, trees, r"sample '0': frames differ .*: pixels are up to \S+ apart after normalization; at most 1e-05")


def test_a_processor_of_another_model(tiny, trees):
    """Its mean and deviation are those of other frames."""
    other = load(Model(path=tiny.path, dtype="float32", device="cpu")).processor
    other.video_processor.image_mean = [0.5, 0.5, 0.5]
    engine = Engine(tiny.model, tiny.processor, compare_first=True)
    engine.builder = InputBuilder(tiny.model, other)
    refused(engine, trees, "sample '0': frames differ")


@pytest.mark.parametrize("rate", [1.0, 80.0])
def test_a_wrong_rate(engine, trees, monkeypatch, rate):
    changed_clip(monkeypatch, seconds_per_grid=lambda _: rate)
    refused(engine, trees, rf"sample '0': positions .*up to {5 * 2 * abs(40 - rate):g} apart")


def test_other_tokens(engine, trees, monkeypatch):
    honest = InputBuilder.prompt
    monkeypatch.setattr(InputBuilder, "prompt", lambda self, system, user, clip, **how: honest(self, "", user, clip, **how))
    refused(engine, trees, r"sample '0': tokens differ .*: \d+ and \d+, of which number \d+ is the first that differs")


def test_a_completion_that_goes_on_elsewhere(engine, trees, monkeypatch):
    """Its prompt stands where it should."""
    honest = cohort.Cohort.positions.fget
    monkeypatch.setattr(cohort.Cohort, "positions", property(lambda self: honest(self) + 1))
    refused(engine, trees, r"sample '0': positions .*up to 1 apart")


def test_attention_that_is_computed_otherwise(engine, trees, monkeypatch):
    """Nothing is wrong with what enters."""
    monkeypatch.setattr(
        "trlt.engine.cohort.branch_attention",
        lambda query, key, value, levels, layer, scale: branch_attention(query, key, value, levels[:1], layer, scale),
    )
    refused(engine, trees, r"sample '0': log-probabilities differ .*: up to .* over \d+ tokens; the most that float32 explains")


def test_windows_of_the_vision_tower_that_are_mixed_up(engine, trees, monkeypatch):
    """The library's side attends window by window, not by the batch."""
    plain = windows.scaled_dot_product_attention
    monkeypatch.setattr(windows, "scaled_dot_product_attention", lambda q, k, v, scale: plain(q, k.roll(1, 0), v, scale=scale))
    refused(engine, trees, "log-probabilities differ between the engine and the library's forward")


def test_what_is_not_a_number(engine, trees, monkeypatch):
    honest = first.score

    def score(*args, **kwargs):
        found = honest(*args, **kwargs)
        return found._replace(logps=found.logps * torch.nan)

    monkeypatch.setattr(first, "score", score)
    refused(engine, trees, "up to nan")


# -- what happens to it on the way ------------------------------------------------------------------------------------------


def test_it_is_made_before_anything_is_answered_and_soon(tiny, engine, trees, monkeypatch):
    """A completion of 40 tokens is compared when it has some of them."""
    monkeypatch.setattr(first, "TOKENS", 5)
    engine.ends = frozenset()
    steps, settled = [], []
    engine.on_event = lambda _: settled.append(engine.settled)
    engine.model.model.language_model.register_forward_pre_hook(lambda *_: steps.append(engine.parity is not None))
    answers = engine.stream(trees, replace(SAMPLING, max_new_tokens=40))
    next(answers)
    assert engine.parity.tokens == 5
    prefills = 3 + 6
    assert steps.index(True) == prefills + 4 + 1 + settled[0], "four steps after the prefills, and the library's pass"


def test_answers_that_are_done_earlier_wait_for_it(tiny, noise_clip, monkeypatch):
    ends = frozenset(range(0, tiny.model.config.text_config.vocab_size, 9))
    trees = [Tree(noise_clip(seed=c), (PromptRequest(f"{c}", "", "what is shown"),)) for c in (1, 0, 2, 3, 4)]
    plain = Engine(tiny.model, tiny.processor)
    plain.ends = ends
    places = [one.tree for one in plain.stream(trees, SAMPLING)]
    assert places.index(0) > 2, "others end before the first"
    engine = Engine(tiny.model, tiny.processor, compare_first=True)
    engine.ends = ends
    seen = [(one.tree, engine.parity is not None) for one in engine.stream(trees, SAMPLING)]
    assert seen == [(place, True) for place in places]
    monkeypatch.setattr("trlt.engine.cohort.Cohort.positions", property(lambda self: self._start))
    wrong = Engine(tiny.model, tiny.processor, compare_first=True)
    wrong.ends = ends
    refused(wrong, trees, "positions")


def test_too_little_memory_for_it_makes_room(tiny, engine, trees, monkeypatch):
    monkeypatch.setattr(first, "TOKENS", 3)
    plain = Engine(tiny.model, tiny.processor).generate(trees, SAMPLING)
    honest, tries, said = first.score, [], []
    engine.on_event = said.append

    def score(*args, **kwargs):
        tries.append(len(args))
        if len(tries) < 2:
            raise torch.OutOfMemoryError("no more")
        return honest(*args, **kwargs)

    monkeypatch.setattr(first, "score", score)
    assert engine.generate(trees, SAMPLING) == plain
    assert len(tries) == 2 and "out of memory" in said[0] and said[1:] == [engine.parity.words]


def test_never_enough_memory_for_it_is_an_error(engine, trees, monkeypatch):
    def score(*args, **kwargs):
        raise torch.OutOfMemoryError("no more")

    monkeypatch.setattr(first, "score", score)
    answered = []
    with pytest.raises(ModelError, match="doesn't suffice for one completion"):
        answered += engine.stream(trees, SAMPLING)
    assert not answered


@pytest.mark.parametrize("after", ["tower", "prefill", "steps"])
def test_a_first_completion_that_was_dropped_is_watched_anew(tiny, engine, trees, after):
    plain = Engine(tiny.model, tiny.processor).generate(trees, SAMPLING)
    calls = []

    def hook(module, args, kwargs):
        calls.append(module)
        if len(calls) == (4 if after == "steps" else 1):
            raise torch.OutOfMemoryError("no more")

    def only_steps(module, args, kwargs):
        if kwargs["inputs_embeds"].shape[1] == 1:
            hook(module, args, kwargs)

    inner = engine.model.model
    if after == "steps":
        inner.language_model.register_forward_pre_hook(only_steps, with_kwargs=True)
    elif after == "prefill":
        inner.language_model.norm.register_forward_pre_hook(hook, with_kwargs=True)
    else:
        inner.visual.merger.register_forward_pre_hook(hook, with_kwargs=True)
    assert engine.generate(trees, SAMPLING) == plain
    assert len(calls) > 1 and engine.parity.largest < 1e-4 and engine.parity.tokens == len(plain[0][0][0].tokens)


def test_what_an_earlier_call_began_is_forgotten(engine, trees):
    def torn():
        yield trees[0]
        raise RuntimeError("the disk is gone")

    with pytest.raises(RuntimeError, match="disk"):
        engine.generate(torn(), SAMPLING)
    assert engine.first and engine.parity is None
    engine.generate(trees[1:], SAMPLING)
    assert engine.parity.largest < 1e-4


def test_the_librarys_logits_are_those_of_the_completion_alone(tiny, trees, monkeypatch):
    """Not of the whole prompt: 2,048 video tokens times a vocabulary of 152k are 1.2 GB in float32."""
    rows = []
    tiny.model.lm_head.register_forward_pre_hook(lambda module, args: rows.append(args[0].shape[1]))
    found = library.score(tiny.model, tiny.processor, trees[0].clip, "sys", "what", [5, 6, 7])
    assert rows == [3] and found.logps.shape == (3,) and found.entered.ids[-2:].tolist() == [5, 6]


# -- how far apart is too far -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "dtype"), [("3b", "bfloat16"), ("7b", "bfloat16"), ("7b", "float32")])
def test_models_of_published_shape_agree(published, noise_clip, kind, dtype):
    """With the published vocabulary, and biases that take attention scores into the hundreds."""
    loaded = load(Model(path=str(published(kind, dtype)), dtype=dtype, device="cpu"))
    words = [PromptRequest("a", "", "what moves?\nA. the dog\nB. the cat", 4), PromptRequest("b", "", "when does it stop?", 4)]
    trees = [Tree(noise_clip(frames=frames, side=112, fps=0.5, seed=frames), tuple(words)) for frames in (16, 40)]
    engine = Engine(loaded.model, loaded.processor, compare_first=True)
    engine.generate(trees, replace(SAMPLING, max_new_tokens=16))
    noise = {"bfloat16": Tolerance(0.25, 0.025, 0), "float32": Tolerance(5e-5, 5e-6, 0)}[dtype]
    assert engine.parity.tokens > 1 and noise.allows(engine.parity), engine.parity


def test_completions_that_do_not_see_their_clip_in_bf16(noise_clip, monkeypatch):
    """Far beyond rounding, for a model that has learned to look."""
    loaded = load(Model(path="miniature", dtype="bfloat16", device="cpu"))
    monkeypatch.setattr(
        "trlt.engine.cohort.branch_attention",
        lambda query, key, value, levels, layer, scale: branch_attention(query, key, value, levels[-1:], layer, scale),
    )
    trees = [Tree(noise_clip(frames=12, seed=1), (PromptRequest("0", "", "Event: a red circle moves left"),))]
    refused(Engine(loaded.model, loaded.processor, compare_first=True), trees, "the most that bfloat16 explains is")


def test_few_tokens_may_be_further_off_in_the_mean():
    """0.05, and four times 0.05 over the root of the number."""
    bf16 = TOLERANCES["bfloat16"]
    assert [bf16.mean_of(count) for count in (1, 4, 16, 400)] == pytest.approx([0.25, 0.15, 0.1, 0.06])
    assert bf16.allows(Agreement(1, 4, 0.5, 0.14)) and not bf16.allows(Agreement(1, 4, 0.5, 0.16))
    assert not bf16.allows(Agreement(1, 400, 0.5, 0.07)) and not bf16.allows(Agreement(1, 400, 1.1, 0.01))
    assert not bf16.allows(Agreement(1, 4, float("nan"), 0.0)) and not bf16.allows(Agreement(1, 4, 0.0, float("nan")))
    assert "bfloat16 explains is 1 and 0.15" in bf16.words(4, "bfloat16")


def test_several_processes_measures_become_one():
    parts = [Agreement(1, 10, 0.3, 0.1), Agreement(1, 30, 0.2, 0.02)]
    assert join([]) is None
    assert join([part.to_json() for part in parts]) == Agreement(2, 40, 0.3, pytest.approx(0.04))
    line = "parity with the library's forward: 1.3e-06 at most, 2.1e-07 on average, over 24 tokens"
    assert Agreement(1, 24, 1.3e-6, 2.1e-7).words == line
