from __future__ import annotations

import numpy as np
import pytest
import torch

from trlt.engine import sampling
from trlt.engine.sampling import Sampling, draw, uniforms


def test_streams_depend_on_their_arguments_alone():
    base = uniforms(0, "a", 0, 50)
    assert np.array_equal(uniforms(0, "a", 0, 20), base[:20])
    for other in (uniforms(1, "a", 0, 50), uniforms(0, "b", 0, 50), uniforms(0, "a", 1, 50)):
        assert not np.array_equal(base, other)
    assert 0 <= base.min() and base.max() < 1 and abs(uniforms(3, "x", 0, 20000).mean() - 0.5) < 0.01


def test_draws_follow_the_distribution_within_the_nucleus():
    p = torch.tensor([0.5, 0.2, 0.15, 0.1, 0.05])
    count = 20000
    logits = p.log().expand(count, -1)
    banned = torch.tensor([False, True, False, False, False])
    uniform = torch.from_numpy(uniforms(0, "k", 0, count))
    tokens = draw(logits, uniform, Sampling(top_p=0.9), banned).tokens
    # Without token 1 the shares are .625 .1875 .125 .0625; the first three reach .9.
    shares = torch.bincount(tokens, minlength=5) / count
    expected = torch.tensor([0.625, 0, 0.1875, 0.125, 0]) / 0.9375
    assert torch.allclose(shares, expected, atol=0.01)
    assert shares[1] == 0 and shares[4] == 0


def test_temperature_and_greedy():
    logits = torch.tensor([[1.0, 2.0, 0.0]]).expand(4000, -1)
    uniform = torch.from_numpy(uniforms(0, "k", 0, 4000))
    none = torch.zeros(3, dtype=torch.bool)
    hot = torch.bincount(draw(logits, uniform, Sampling(temperature=2.0), none).tokens, minlength=3) / 4000
    assert torch.allclose(hot, (torch.tensor([1.0, 2.0, 0.0]) / 2).softmax(-1), atol=0.03)
    cold = draw(logits, uniform, Sampling(temperature=0.01, top_p=0.001), none)
    assert (cold.tokens == 1).all() and not cold.unsure.any()


@pytest.mark.parametrize("top_p", [1.0, 0.99, 0.7])
@pytest.mark.parametrize("temperature", [1.0, 0.3])
def test_noise_never_changes_a_draw_that_is_sure(top_p, temperature):
    """The promise behind exactness: only draws that are reported unsure may differ between two evaluations."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(30000, 40, generator=generator) * 4
    noisy = logits + (torch.rand(logits.shape, generator=generator) - 0.5) * 1e-5
    uniform = torch.from_numpy(uniforms(0, "k", 0, len(logits)))
    settings, none = Sampling(temperature=temperature, top_p=top_p), torch.zeros(40, dtype=torch.bool)
    one, other = draw(logits, uniform, settings, none), draw(noisy, uniform, settings, none)
    assert torch.equal(one.tokens[~one.unsure], other.tokens[~one.unsure])
    assert one.unsure.float().mean() < 0.01


def test_log_probabilities_are_those_of_the_whole_vocabulary():
    logits = torch.randn(5, 9, generator=torch.Generator().manual_seed(1))
    banned = torch.zeros(9, dtype=torch.bool)
    banned[3] = True
    drawn = draw(logits, torch.full((5,), 0.5, dtype=torch.float64), Sampling(temperature=0.7, top_p=0.9), banned)
    expected = (logits / 0.7).log_softmax(-1).gather(-1, drawn.tokens[:, None])[:, 0]
    assert torch.allclose(drawn.logps, expected)


def test_the_largest_uniform_stays_in_the_nucleus():
    logits = torch.tensor([[2.0, 1.0, -5.0, -6.0]])
    last = torch.tensor([np.nextafter(1.0, 0.0)])
    assert draw(logits, last, Sampling(top_p=0.9), torch.zeros(4, dtype=torch.bool)).tokens.item() == 1


@pytest.mark.parametrize("scale", [0.5, 3.0, 9.0])
@pytest.mark.parametrize("top_p", [0.1, 0.9, 0.99])
def test_the_nucleus_of_a_real_vocabulary_is_that_of_a_whole_sort(scale, top_p):
    """Of BF16 logits, of which many are equal: the lowest ids among them count first."""
    logits = (torch.randn(2, 152_064, generator=torch.Generator().manual_seed(int(10 * scale))) * scale).bfloat16()
    kept, surely, maybe = sampling._nucleus(logits.double().softmax(-1), top_p, 1e-5)
    for row in range(2):
        p = logits[row].double().softmax(-1).numpy()
        order = np.lexsort((np.arange(len(p)), -p))
        count = 1 + int(np.searchsorted(np.cumsum(p[order]), top_p))
        assert set(order[:count]) == set(np.flatnonzero(kept[row].numpy()))
        assert bool((kept[row] | ~surely[row]).all()) and bool((maybe[row] | ~kept[row]).all())


def test_rows_are_drawn_in_parts_of_bounded_memory(monkeypatch):
    logits, uniform = torch.randn(7, 50), torch.rand(7, dtype=torch.float64)
    banned = torch.zeros(50, dtype=torch.bool)
    whole = draw(logits, uniform, Sampling(top_p=0.9), banned)
    monkeypatch.setattr(sampling, "AT_ONCE", 100)
    parts = draw(logits, uniform, Sampling(top_p=0.9), banned)
    assert all(torch.equal(a, b) for a, b in zip(whole, parts, strict=True))
