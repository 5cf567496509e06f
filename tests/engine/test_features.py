"""Features of a tower that isn't trained stand in for pixels, in rollouts and in training."""

from __future__ import annotations

import pytest
import torch

from trlt.engine.features import FeatureCache, FrozenTower, digest_of
from trlt.engine.forest import Engine, PromptRequest, Tree
from trlt.engine.sampling import Sampling
from trlt.engine.shared_prefix import Group, attach, collate


@pytest.fixture
def engine(tiny):
    attach(tiny.model)
    return Engine(tiny.model, tiny.processor)


@pytest.fixture
def frozen(engine, tmp_path):
    def make(store=True):
        return FrozenTower(engine.model, engine.builder, engine.encode, FeatureCache(tmp_path, 10**7) if store else None)

    return make


def test_completions_and_log_probabilities_are_the_same(engine, frozen, noise_clip):
    clips = [noise_clip(frames=4 + 2 * c, seed=c) for c in range(3)]
    tower, requests = frozen(store=False), (PromptRequest("k", "sys", "what is shown", n=3),)
    inputs = [tower.inputs(clip) for clip in clips]
    passes = []
    engine.model.model.visual.register_forward_pre_hook(lambda module, args: passes.append(1))
    done = engine.generate([Tree(one, requests) for one in inputs], Sampling(max_new_tokens=8))
    groups = []
    for one, [some] in zip(inputs, done, strict=True):
        prompt = engine.builder.prompt("sys", "what is shown", one)
        groups.append(Group(one, prompt, tuple(c.tokens for c in some)))
    for full in (False, True):
        logps = engine.model(tree=collate(groups, full=full)).logps
        logps.sum().backward()
        assert passes == [], "the tower is left alone"
        pixels = [Group(engine.builder.clip(clip), g.prompt, g.completions) for clip, g in zip(clips, groups, strict=True)]
        assert torch.allclose(logps, engine.model(tree=collate(pixels, full=full)).logps, atol=1e-5, rtol=0)
        passes.clear()
    assert done == engine.generate([Tree(clip, requests) for clip in clips], Sampling(max_new_tokens=8))


def test_the_store_keeps_features_by_frames_and_weights(engine, frozen, noise_clip, tmp_path):
    clip, other = noise_clip(seed=1), noise_clip(seed=2)
    first = frozen()
    made = first.inputs(clip)
    assert first.inputs(clip).pixels is None and first.passes == 1
    first.inputs(other)
    assert first.passes == 2
    again = frozen()
    assert torch.equal(again.inputs(clip).features, made.features) and again.passes == 0
    entry = next(tmp_path.glob("??/*.safetensors"))
    entry.write_bytes(entry.read_bytes()[:50])
    healed = frozen()
    assert torch.equal(healed.inputs(clip).features, made.features)
    healed.inputs(other)
    assert healed.passes == 1, "a damaged entry is made anew"
    with torch.no_grad():
        engine.model.model.visual.patch_embed.proj.weight[0, 0] += 1
    changed = frozen()
    assert not torch.equal(changed.inputs(clip).features, made.features) and changed.passes == 1


def test_features_with_any_bit_flipped_are_dropped(tmp_path):
    store, made = FeatureCache(tmp_path, 10**7), torch.arange(64.0).reshape(4, 16)
    store.put("ab1", made)
    [path] = tmp_path.glob("??/*")
    whole = path.read_bytes()
    for bit in [*range(8 * 200), *range(8 * 200, 8 * len(whole), 7), 8 * len(whole) - 1]:
        data = bytearray(whole)
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        assert store.get("ab1") is None and not path.exists(), bit
    path.write_bytes(whole)
    assert torch.equal(store.get("ab1"), made)


def test_a_digest_tells_weights_and_precision_apart(tiny):
    visual = tiny.model.model.visual
    whole = digest_of(visual)
    assert digest_of(visual) == whole and digest_of(visual.bfloat16()) != whole
