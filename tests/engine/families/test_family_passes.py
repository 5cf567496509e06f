"""Log-probabilities, gradients and greedy texts of each family's engine are those of the library's full sequences."""

from __future__ import annotations

import by_library as library
import pytest
import torch

from trlt.engine.features import FeatureCache, FrozenTower
from trlt.engine.forest import Engine, PromptRequest, Tree
from trlt.engine.inputs import InputBuilder
from trlt.engine.marks import VISION_TOKENS
from trlt.engine.model import load
from trlt.engine.sampling import Sampling
from trlt.engine.shared_prefix import Group, attach, collate
from trlt.recipe import Model

FILES = (
    library.File(6, 2, 3, seed=1),
    library.File(44, 1, 2, rate=24000 / 1001, step=37, seed=2),
    library.File(2, 3, 1, rate=25, step=12, seed=3),
)
"""The second is longer than its words, counted in positions."""
ASKED = (("sys", "which of these happened first?"), ("", "A. a dog runs"), ("sys", "when?"))
LENGTHS = ((5, 1, 9), (70, 3, 2), (4, 4, 4))
"""Tokens of each clip's completions."""
ATOL = {"Qwen3.5": 5e-5}
"""Of log-probabilities; 1e-5 where nothing is said. Linear layers add up states in another order by chunk and by token."""
GREEDY = Sampling(temperature=1.0, top_p=1e-9, max_new_tokens=12)
"""The likeliest token alone, however near the next is."""


@pytest.fixture
def rig(family, loaded, tmp_path):
    """Groups of clips, prompts and completions: for the engine, and as the library's processor makes them."""
    return Rig(family, loaded)


class Rig:
    """What both sides are given."""

    def __init__(self, family, loaded, make=None):
        attach(loaded.model)
        self.model, self.builder = loaded.model, InputBuilder(loaded.model, loaded.processor)
        make = make or self.builder.clip
        generator = torch.Generator().manual_seed(3)
        self.groups, self.theirs = [], []
        for file, (system, user), lengths in zip(FILES, ASKED, LENGTHS, strict=True):
            shown = file.clip(family)
            clip = make(shown)
            completions = tuple(tuple(torch.randint(20, 300, (n,), generator=generator).tolist()) for n in lengths)
            self.groups.append(Group(clip, self.builder.prompt(system, user, clip), completions))
            self.theirs.append(library.inputs(loaded.processor, file, shown, system, user))
        # Weights of tokens in a loss, so that no two gradients cancel out.
        self.weights = torch.randn(9, 70, generator=generator)

    def ours(self, **how):
        """(9 x tokens) log-probabilities by the engine, without padding."""
        rows = self.model(tree=collate(self.groups, **how)).logps
        return [row[:n] for row, n in zip(rows, (n for some in LENGTHS for n in some), strict=True)]

    def librarys(self):
        """The same by the library, sequence by sequence."""
        pairs = zip(self.theirs, self.groups, strict=True)
        return [library.logps(self.model, made, tokens) for made, group in pairs for tokens in group.completions]

    def gradients(self, rows):
        """Of a weighted sum, by parameter."""
        self.model.zero_grad()
        sum((row * weights[: len(row)]).sum() for row, weights in zip(rows, self.weights, strict=True)).backward()
        return {name: p.grad.clone() for name, p in self.model.named_parameters() if p.grad is not None}


def gap(ours, theirs):
    """Largest difference of log-probabilities."""
    return max(float((a - b).detach().abs().max()) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_log_probabilities_equal_full_sequences(family, rig):
    for group, made in zip(rig.groups, rig.theirs, strict=True):
        assert torch.cat([group.prompt.prefix, group.prompt.suffix]).tolist() == made["input_ids"][0].tolist()
        assert torch.equal(group.clip.pixels, made["pixel_values_videos"])
    with torch.no_grad():
        theirs = rig.librarys()
        for how in ({}, {"attention": "flex"}, {"full": True}):
            assert gap(rig.ours(**how), theirs) < ATOL.get(family.name, 1e-5), how


def test_the_library_makes_no_mask(rig):
    """It would have a row of a mask for every token of a packed row, and isn't looked at."""
    masks = []
    for layer in rig.model.model.language_model.layers:
        layer.register_forward_pre_hook(lambda module, args, given: masks.append(given["attention_mask"]), with_kwargs=True)
    with torch.no_grad():
        for how in ({}, {"full": True}):
            rig.ours(**how)
    assert masks == [None] * 2 * len(rig.model.model.language_model.layers)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradients_equal_full_sequences(rig, checkpointing):
    theirs = rig.gradients(rig.librarys())
    rig.model.train()
    if checkpointing:
        rig.model.activation_checkpointing_enable({"use_reentrant": False})
    ours = rig.gradients(rig.ours())
    assert ours.keys() == theirs.keys()
    assert all(g.abs().sum() > 0 for name, g in theirs.items() if "visual" in name and "weight" in name)
    for name, reference in theirs.items():
        assert (ours[name] - reference).norm() <= 1e-4 * reference.norm() + 1e-6, name


def test_features_of_a_frozen_tower_come_back_from_the_store(family, loaded, tmp_path):
    """All of them, those that go to other layers too."""
    engine = Engine(loaded.model, loaded.processor)
    loaded.model.model.visual.requires_grad_(False)

    def tower():
        return FrozenTower(loaded.model, engine.builder, engine.encode, FeatureCache(tmp_path, 10**8))

    first, again = tower(), tower()
    made = Rig(family, loaded, first.inputs)
    kept = Rig(family, loaded, again.inputs)
    assert (first.passes, again.passes) == (3, 0)
    for one, other in zip(made.groups, kept.groups, strict=True):
        assert torch.equal(one.clip.features, other.clip.features) and other.clip.pixels is None
        assert other.clip.stamps == one.clip.stamps and torch.equal(one.clip.grid, other.clip.grid)
    theirs = kept.librarys()
    for how in ({}, {"full": True}):
        ours = kept.ours(**how)
        assert gap(ours, theirs) < ATOL.get(family.name, 1e-5), how
        assert {n for n in kept.gradients(ours) if "visual" in n} == set()
    ours, theirs = kept.gradients(kept.ours()), kept.gradients(theirs)
    for name, reference in theirs.items():
        assert (ours[name] - reference).norm() <= 1e-4 * reference.norm() + 1e-6, name


def test_the_store_tells_towers_of_other_settings_apart(loaded, shown, tmp_path):
    """Which weights alone don't show: by other blocks' features, or another rule of windows."""
    engine = Engine(loaded.model, loaded.processor)

    def passes():
        tower = FrozenTower(loaded.model, engine.builder, engine.encode, FeatureCache(tmp_path, 10**8))
        tower.inputs(shown())
        return tower.passes

    assert [passes(), passes()] == [1, 0]
    loaded.model.config.vision_config.depth += 1
    assert passes() == 1


def trees(family):
    """Two prompts of each clip under one system text, so that they share its prefix; three branches of each."""
    asked = [PromptRequest(f"{k}", "sys", user, n=3) for k, (_, user) in enumerate(ASKED[:2])]
    return [Tree(file.clip(family), tuple(asked)) for file in FILES]


def test_greedy_texts_are_those_of_generate(family, loaded):
    engine = Engine(loaded.model, loaded.processor)
    done = engine.generate(trees(family), GREEDY)
    words = loaded.processor.tokenizer
    banned = words.convert_tokens_to_ids(list(VISION_TOKENS))
    banned += range(len(words), loaded.model.config.text_config.vocab_size)
    seen = set()
    for file, answers in zip(FILES, done, strict=True):
        for (_, user), completions in zip(ASKED[:2], answers, strict=True):
            made = library.inputs(loaded.processor, file, file.clip(family), "sys", user)
            expected = library.greedy(loaded.model, made, banned, 12)
            assert [list(one.tokens) for one in completions] == [expected] * 3
            seen.add(tuple(expected))
    assert len(seen) > 2, "clip and question decide what is said"


def test_in_bf16_the_first_completion_agrees_with_the_library(family, family_path):
    """Clips and prompts share passes there, with padding."""
    loaded = load(Model(path=str(family_path(family)), dtype="bfloat16", device="cpu"))
    engine = Engine(loaded.model, loaded.processor, compare_first=True)
    done = engine.generate(trees(family), Sampling(temperature=1.0, max_new_tokens=8, seed=1))
    assert [[len(answers) for answers in tree] for tree in done] == [[3, 3]] * 3
    assert engine.parity and 1e-4 < engine.parity.largest
