"""A mixture of experts whose routers can hardly decide: completions don't depend on what else is decoded even so."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from trlt.engine import forest
from trlt.engine.families import family_named
from trlt.engine.forest import Engine, PromptRequest, Tree
from trlt.engine.model import load
from trlt.engine.routers import watched
from trlt.engine.sampling import Sampling
from trlt.recipe import Model
from trlt.video.clip import Clip

FAMILY = family_named("qwen3_vl_moe")
SAMPLING = Sampling(temperature=1.0, top_p=0.99, max_new_tokens=12, seed=5)


@pytest.fixture(scope="module")
def torn(family_path):
    """Of eight experts, two are chosen; of these three and three are told apart by the last bits alone."""
    loaded = load(Model(path=str(family_path(FAMILY)), dtype="float32", device="cpu"))
    torch.manual_seed(0)
    for name, weight in loaded.model.named_parameters():
        if name.endswith("mlp.gate.weight"):
            for first in (0, 3):
                alike = weight.data[first] + 1e-8 * torch.randn(3, weight.shape[1])
                weight.data[first : first + 3] = alike * (1 + 1e-7 * torch.randn(3, 1))
        if name.endswith("experts.down_proj"):
            weight.data *= 4  # so that it matters
    return loaded


@pytest.fixture(scope="module")
def trees():
    """Two clips with two prompts each, three completions of each."""
    side, made = FAMILY.geometry.side, []
    for c, frames in enumerate((2, 4)):
        pixels = np.random.default_rng(c).integers(0, 256, (frames, 3, side, 2 * side), dtype=np.uint8)
        clip = Clip.of(pixels, np.arange(frames) / 2, sample_fps=2.0, duration=frames / 2, geometry=FAMILY.geometry)
        asked = enumerate(("what is shown", "which of them moves left and why"))
        made.append(Tree(clip, tuple(PromptRequest(f"{c}.{q}", "sys", words, n=3) for q, words in asked)))
    return made


def drawn(loaded, trees, **settings):
    """Tokens of all completions, and how many draws were settled alone."""
    engine = Engine(loaded.model, loaded.processor)
    engine.ends = frozenset(range(0, loaded.model.config.text_config.vocab_size, 9))
    found = engine.generate(trees, SAMPLING, **settings)
    return [one.tokens for tree in found for answers in tree for one in answers], engine.settled


def test_completions_do_not_depend_on_what_else_is_decoded(torn, trees):
    whole, settled = drawn(torn, trees)
    assert len(set(map(tuple, whole))) > 8 and settled > 30
    assert drawn(torn, trees, max_sequences=1)[0] == drawn(torn, trees, max_sequences=3)[0] == whole


def test_without_the_watch_they_would(torn, trees, monkeypatch):
    """Else the watch may go."""
    monkeypatch.setattr(forest, "watched", lambda model, router, bound: watched(model, "", bound))
    assert len({str(drawn(torn, trees, max_sequences=width)[0]) for width in (1, 3, 99)}) > 1


def test_routers_of_an_ordinary_model_decide(family_path, trees, monkeypatch):
    loaded = load(Model(path=str(family_path(FAMILY)), dtype="float32", device="cpu"))
    found = drawn(loaded, trees)
    monkeypatch.setattr(forest, "watched", lambda model, router, bound: watched(model, "", bound))
    assert drawn(loaded, trees) == found, "as many draws are settled as without the watch"
