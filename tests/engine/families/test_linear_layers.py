"""Linear layers of Qwen3.5: states that are forked at the branch give what the library's full sequences give."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
import torch

from trlt.engine.attention import causal_attention
from trlt.engine.cohort import Recorder
from trlt.engine.families import family_named
from trlt.engine.forest import Engine, PromptRequest, Tree
from trlt.engine.inputs import InputBuilder
from trlt.engine.linear_attention import Carried, ForkedLayer
from trlt.engine.model import load
from trlt.engine.sampling import Sampling
from trlt.engine.shared_prefix import Group, attach, collate
from trlt.recipe import Model
from trlt.video.clip import Clip

FAMILY = family_named("qwen3_5")
GREEDY = Sampling(temperature=1e-4, top_p=1.0, max_new_tokens=12)
LENGTHS = ((1, 9, 70), (3, 1, 2), (4, 4, 4))
FORMS = {"blocks": {}, "flex": {"attention": "flex"}, "full": {"full": True}}
unfused = pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")


@pytest.fixture
def tiny(family_path):
    return load(Model(path=str(family_path(FAMILY)), dtype="float32", device="cpu"))


def noise(frames, rows=2, columns=2, seed=0):
    side = FAMILY.geometry.side
    pixels = np.random.default_rng(seed).integers(0, 256, (frames, 3, rows * side, columns * side), dtype=np.uint8)
    return Clip.of(pixels, np.arange(frames) / 2, sample_fps=2.0, duration=frames / 2, geometry=FAMILY.geometry)


@pytest.fixture
def clips():
    """The last is longer than a chunk of the rule, the first alone shorter than one."""
    return [noise(2, 1, 2, seed=1), noise(6, 2, 3, seed=2), noise(44, 1, 2, seed=3)]


@pytest.fixture
def groups(tiny, clips):
    builder = InputBuilder(tiny.model, tiny.processor)
    generator = torch.Generator().manual_seed(0)
    made = []
    for clip, lengths, words in zip(clips, LENGTHS, ("q", "what is shown " * 5, "a red circle"), strict=True):
        inputs = builder.clip(clip)
        completions = tuple(tuple(torch.randint(20, 380, (n,), generator=generator).tolist()) for n in lengths)
        made.append(Group(inputs, builder.prompt("sys", words, inputs), completions))
    assert len({len(group.prompt.prefix) for group in made}) == 3
    return made


def scored(model, group, tokens):
    """Log-probabilities of one completion by the library's own forward on the full sequence, video included."""
    ids = torch.cat([group.prompt.prefix, group.prompt.suffix, torch.tensor(tokens)])[None]
    model.model.rope_deltas = None
    logits = model(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        pixel_values_videos=group.clip.pixels,
        video_grid_thw=group.clip.grid,
        mm_token_type_ids=(ids == model.config.video_token_id).int() * 2,
    ).logits
    logps = logits[0, -len(tokens) - 1 : -1].float().log_softmax(-1)
    return logps.gather(-1, torch.tensor(tokens)[:, None])[:, 0]


def by_the_library(model, groups):
    return [scored(model, group, tokens) for group in groups for tokens in group.completions]


def apart(mine, theirs):
    """The largest difference over rows of unequal length."""
    return max(float((row[: len(one)] - one).abs().max()) for row, one in zip(mine, theirs, strict=True))


# -- the shared prefix ------------------------------------------------------------------------------------------------


@unfused
@pytest.mark.parametrize("form", FORMS)
def test_log_probabilities_equal_the_librarys_full_sequences(tiny, groups, form):
    attach(tiny.model)
    with torch.no_grad():
        mine = tiny.model(tree=collate(groups, **FORMS[form])).logps
        assert apart(mine, by_the_library(tiny.model, groups)) < 2e-5


@pytest.mark.parametrize("how", ["plain", "checkpointing", "frozen tower"])
def test_gradients_equal_those_of_the_librarys_full_sequences(tiny, groups, how):
    model = tiny.model
    attach(model)
    weights = [torch.randn(n, generator=torch.Generator().manual_seed(n)) for lengths in LENGTHS for n in lengths]
    if how == "frozen tower":
        model.model.visual.requires_grad_(False)

    def gradients(rows):
        model.zero_grad()
        sum((row[: len(weight)] * weight).sum() for row, weight in zip(rows, weights, strict=True)).backward()
        return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}

    theirs = gradients(by_the_library(model, groups))
    if how == "checkpointing":
        plain = gradients(model(tree=collate(groups)).logps)
        model.train()
        model.activation_checkpointing_enable({"use_reentrant": False})
    mine = gradients(model(tree=collate(groups)).logps)
    if how == "checkpointing":
        assert all(torch.equal(mine[name], plain[name]) for name in plain)
    assert mine.keys() == theirs.keys() and any("linear_attn.A_log" in name for name in theirs)
    assert any("visual" in name for name in theirs) == (how != "frozen tower")
    for name, reference in theirs.items():
        assert reference.norm() > 0 or "visual" in name, name
        assert (mine[name] - reference).norm() <= 1e-4 * reference.norm() + 1e-6, name


def test_no_state_outlives_its_layer(tiny, groups, monkeypatch):
    attach(tiny.model)
    alive, plain = [], ForkedLayer.advance

    def watched(self, *args, **kwargs):
        out, carried = plain(self, *args, **kwargs)
        alive.append(weakref.ref(carried.state))
        return out, carried

    monkeypatch.setattr(ForkedLayer, "advance", watched)
    tiny.model.train()
    tiny.model.activation_checkpointing_enable({"use_reentrant": False})
    logps = tiny.model(tree=collate(groups)).logps
    gc.collect()
    assert len(alive) == 3 * 3 * 2 and not any(one() is not None for one in alive), "layers x groups x (prompt, completions)"
    logps.sum().backward()
    assert len(alive) == 2 * 3 * 3 * 2, "each layer is computed again"


# -- faults that must show --------------------------------------------------------------------------------------------


def broken(monkeypatch, fault):
    """Lets states go wrong in one way."""
    plain = ForkedLayer.advance
    if fault == "states aren't forked":
        monkeypatch.setattr(Carried, "spread", lambda self, size: Carried(*(torch.zeros(size, *t.shape[1:]) for t in self)))
        rows = Carried.rows
        monkeypatch.setattr(Carried, "rows", lambda self, index: Carried(*(torch.zeros_like(t) for t in rows(self, index))))
    elif fault == "inputs of the convolution aren't":
        blank = lambda self: Carried(torch.zeros_like(self.inputs), self.state)  # noqa: E731
        spread, rows = Carried.spread, Carried.rows
        monkeypatch.setattr(Carried, "spread", lambda self, size: spread(blank(self), size))
        monkeypatch.setattr(Carried, "rows", lambda self, index: rows(blank(self), index))
    elif fault == "one row's state goes to the next":
        monkeypatch.setattr(
            ForkedLayer,
            "advance",
            lambda self, given, before=None, lengths=None, **kw: plain(
                self, given, before if before is None else Carried(*(t.roll(1, 0) for t in before)), lengths, **kw
            ),
        )
    elif fault == "padding is taken for tokens":
        monkeypatch.setattr(
            ForkedLayer, "advance", lambda self, given, before=None, lengths=None, **kw: plain(self, given, before, None, **kw)
        )


@pytest.mark.parametrize("fault", ["", "states aren't forked", "inputs of the convolution aren't"])
def test_the_shared_prefix_without_its_states_is_wrong(tiny, groups, monkeypatch, fault):
    attach(tiny.model)
    broken(monkeypatch, fault)
    with torch.no_grad():
        gap = apart(tiny.model(tree=collate(groups)).logps, by_the_library(tiny.model, groups))
    assert gap > 0.05 if fault else gap < 2e-5


FAULTS = [
    "states aren't forked",
    "inputs of the convolution aren't",
    "one row's state goes to the next",
    "padding is taken for tokens",
]


@pytest.mark.parametrize("fault", ["", *FAULTS])
def test_the_engine_without_its_states_is_wrong(tiny, clips, monkeypatch, fault):
    """Clips and prompts of unequal length prefilled in one pass, two prompts a clip, several completions of each."""
    broken(monkeypatch, fault)
    engine = Engine(tiny.model, tiny.processor, exact=False)
    requests = ("q", 2), ("what is shown here", 3)
    trees = [Tree(c, tuple(PromptRequest(f"{i}{w}", "sys", w, n=n) for w, n in requests)) for i, c in enumerate(clips)]
    drawn = engine.generate(trees, Sampling(max_new_tokens=10, seed=2))
    gaps = []
    with torch.no_grad():
        for tree, answers in zip(trees, drawn, strict=True):
            inputs = engine.builder.clip(tree.clip)
            for request, completions in zip(tree.requests, answers, strict=True):
                group = Group(inputs, engine.builder.prompt("sys", request.user, inputs), ())
                gaps += [apart([torch.tensor(c.logps)], [scored(tiny.model, group, c.tokens)]) for c in completions]
    assert len(gaps) == 15
    assert max(gaps) > 0.05 if fault else max(gaps) < 2e-5


class Blind:
    """Branches as for attention alone."""

    def attend(self, layer, query, key, value, scale):
        return causal_attention(query, key, value, scale)


def test_branches_that_know_nothing_of_linear_layers_are_refused(tiny):
    ids, positions = torch.tensor([[5, 6, 7]]), torch.arange(3).expand(3, 1, -1)
    with pytest.raises(TypeError, match="takes no branches yet"):
        FAMILY.states(tiny.model, ids, positions, branches=Recorder())
    attach(tiny.model)
    with pytest.raises(TypeError, match="Blind has no `mix`: linear layers would take all branches for one sequence"):
        FAMILY.states(tiny.model, ids, positions, branches=Blind())
    with pytest.raises(TypeError, match="has no `mix`"):  # past the family
        tiny.model.model.language_model(
            inputs_embeds=torch.zeros(1, 3, 128), position_ids=positions, attention_mask=FAMILY.no_mask(), branches=Blind()
        )
    forward = tiny.model.model.language_model.layers[0].linear_attn.forward
    attach(tiny.model)
    assert tiny.model.model.language_model.layers[0].linear_attn.forward is forward, "a second call changes nothing"


# -- the engine -------------------------------------------------------------------------------------------------------


def generated(model, processor, builder, clip, words, count):
    """What the library writes, token by token the likeliest that the engine may draw."""
    prompt = builder.prompt("sys", words, builder.clip(clip))
    ids = torch.cat([prompt.prefix, prompt.suffix])[None]
    inputs = builder.clip(clip)
    model.model.rope_deltas = None
    banned = builder.suppressed(model.config.text_config.vocab_size).nonzero()[:, 0].tolist()
    out = model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        pixel_values_videos=inputs.pixels,
        video_grid_thw=inputs.grid,
        mm_token_type_ids=(ids == model.config.video_token_id).int() * 2,
        max_new_tokens=count,
        do_sample=False,
        suppress_tokens=banned,
    )
    return tuple(out[0, ids.shape[1] :].tolist())


@pytest.mark.parametrize("exact", [True, False])
def test_many_branches_write_what_the_library_writes(tiny, clips, exact):
    engine = Engine(tiny.model, tiny.processor, exact=exact)
    words = ("which first", "what moves left and why")
    trees = [Tree(clip, tuple(PromptRequest(f"{c}{w}", "sys", w, n=3) for w in words)) for c, clip in enumerate(clips)]
    # Seven at a time: several cohorts take their steps together.
    done = engine.generate(trees, GREEDY, max_sequences=7)
    for clip, answers in zip(clips, done, strict=True):
        for text, completions in zip(words, answers, strict=True):
            expected = generated(tiny.model, tiny.processor, engine.builder, clip, text, 12)
            assert {one.tokens for one in completions} == {expected}
