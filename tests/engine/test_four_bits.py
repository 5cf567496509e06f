"""Layers in 4 bits against plain ones that hold the same numbers: alike in rollouts and training, on every processor."""

from __future__ import annotations

import copy

import pytest
import torch

from trlt.engine.model import load, with_adapters
from trlt.engine.shared_prefix import Group, attach, collate
from trlt.recipe import Lora, Model

bitsandbytes = pytest.importorskip("bitsandbytes")
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")


@pytest.fixture
def quantized(tiny_path):
    return load(Model(path=str(tiny_path), dtype="float32", device="cpu"), quantize="nf4")


@pytest.fixture
def plain(tiny, quantized):
    """The same model with the numbers that the 4 bits stand for, in float32."""
    layers = {name: layer for name, layer in quantized.model.named_modules() if isinstance(layer, bitsandbytes.nn.Linear4bit)}
    assert len(layers) == 4 * 7 and all("language_model" in name for name in layers)
    with torch.no_grad():
        for name, layer in layers.items():
            weight = layer.weight
            held = bitsandbytes.functional.dequantize_4bit(weight.data, weight.quant_state)
            tiny.model.get_submodule(name).weight.copy_(held.reshape(weight.quant_state.shape))
    return tiny


@pytest.fixture
def group(tiny, noise_clip):
    from trlt.engine.inputs import InputBuilder

    builder = InputBuilder(tiny.model, tiny.processor)
    clip = builder.clip(noise_clip(frames=6))
    return Group(clip, builder.prompt("sys", "what is shown", clip), ((5, 6, 7, 8), (9, 10)))


def roll_out(loaded, clip):
    from trlt.engine.forest import Engine, PromptRequest, Tree
    from trlt.engine.sampling import Sampling

    engine = Engine(loaded.model, loaded.processor)
    [[completions]] = engine.generate(
        [Tree(clip, (PromptRequest("k", "sys", "what is shown", 3),))], Sampling(max_new_tokens=6)
    )
    return completions


def test_rollouts_are_those_of_the_numbers_that_are_held(quantized, plain, noise_clip):
    ours, theirs = (roll_out(loaded, noise_clip(frames=6)) for loaded in (quantized, plain))
    assert [one.tokens for one in ours] == [one.tokens for one in theirs]
    for one, other in zip(ours, theirs, strict=True):
        assert one.logps == pytest.approx(other.logps, abs=1e-5)


def test_a_rollout_changes_nothing_in_training(quantized, plain, group, noise_clip):
    """Log-probabilities, and gradients that come back through every layer to the adapters of the first."""
    held = {name: weight.clone() for name, weight in quantized.model.named_parameters()}
    roll_out(quantized, noise_clip(frames=6))
    assert all(torch.equal(weight, held[name]) for name, weight in quantized.model.named_parameters())
    gradients, scores = [], []
    for loaded in (quantized, plain):
        model = loaded.model
        attach(model)
        torch.manual_seed(0)
        tuned = with_adapters(model, Lora(rank=4, alpha=8)).train()
        with torch.no_grad():  # else their product is nought, and the first half has no gradient
            for name, weight in tuned.named_parameters():
                if "lora_B" in name:
                    weight.copy_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(len(name))) / 10)
        out = tuned(tree=collate([group]))
        out.logps.sum().backward()
        scores.append(out.logps.detach())
        gradients.append({name: weight.grad for name, weight in tuned.named_parameters() if "lora" in name})
    assert torch.allclose(*scores, atol=1e-5, rtol=0)
    ours, theirs = gradients
    assert len(ours) == 4 * 7 * 2 and ours.keys() == theirs.keys()
    for name, gradient in theirs.items():
        assert gradient.norm() > 0 and (ours[name] - gradient).norm() <= 1e-4 * gradient.norm(), name


def test_a_copy_keeps_its_layout_too(quantized, group):
    """Copies are made of models that are shared out, and of policies."""
    twin = copy.deepcopy(quantized.model)
    before = {name: weight.clone() for name, weight in twin.named_parameters()}
    attach(twin)
    with torch.inference_mode():
        twin(tree=collate([group]))
    assert all(torch.equal(weight, before[name]) for name, weight in twin.named_parameters())
