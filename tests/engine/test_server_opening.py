"""Servers whose chat template begins the completion: what they are asked, and the texts that are made of their answers."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from served import Fake

from trlt.engine.families import FAMILIES
from trlt.engine.forest import Engine, PromptRequest, Tree
from trlt.engine.model import load
from trlt.engine.sampling import Sampling
from trlt.engine.servers.client import Limits, Servers
from trlt.errors import ServerError
from trlt.lab.miniature.tiny import CHAT_TEMPLATE
from trlt.recipe import Model
from trlt.video.clip import Clip

FAMILY = FAMILIES[-1]
LIKELIEST = Sampling(temperature=0.01, top_p=0.001, max_new_tokens=5)
ASSISTANT = "assistant\n' }}"
ALWAYS = ASSISTANT.replace("\n'", "\n<think>\n'")
SMALL = ASSISTANT + "{{- '<think>\n' if enable_thinking else '<think>\n\n</think>\n\n' }}"
"""As Qwen3.5's small sizes: left to itself, it closes the reasoning."""


@pytest.fixture
def served(tmp_path, family_path):
    """`served(begins)`: the engine and checked servers of one tiny model with such a template."""
    started = []

    def serve(begins):
        folder = tmp_path / "model"
        shutil.copytree(family_path(FAMILY), folder)
        (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE.replace(ASSISTANT, begins))
        loaded = load(Model(path=str(folder), dtype="float32", device="cpu"))
        # As a server is to be given it: with videos in the form that the weights have seen.
        (folder / "chat_template.jinja").write_text(loaded.processor.chat_template)
        started.append(Fake("--model", str(folder), "--root", str(folder), env={"PYTHONWARNINGS": "ignore"}))
        servers = Servers([started[-1].url], limits=Limits(timeout_s=60), key="none")
        servers.check()
        return Engine(loaded.model, loaded.processor), servers

    yield serve
    for one in started:
        one.end()


def asked(*thinks):
    side = FAMILY.geometry.side
    frames = np.random.default_rng(5).integers(0, 256, (4, 3, 2 * side, 2 * side), dtype=np.uint8)
    clip = Clip.of(frames, np.arange(4) / 2.0, sample_fps=2.0, duration=2.0, geometry=FAMILY.geometry)
    # Texts of one token each: nothing hides that a prompt has fewer tokens than another.
    return [Tree(clip, tuple(PromptRequest(f"{think}", "?", "?", think=think) for think in thinks))]


def test_a_switch_is_told_and_the_opening_is_put_in_front(served):
    engine, servers = served(SMALL)
    trees = asked(None, True, False)
    ours, theirs = engine.generate(trees, LIKELIEST), servers.generate(trees, LIKELIEST)
    assert [[(one.text, one.tokens) for one in some] for some in theirs[0]] == [
        [(one.text, one.tokens) for one in some] for some in ours[0]
    ]
    assert [some[0].text.startswith("<think>\n") for some in theirs[0]] == [False, True, False]


def test_a_template_that_always_reasons_does_so_or_refuses(served):
    engine, servers = served(ALWAYS)
    trees = asked(None, True)
    ours, theirs = engine.generate(trees, LIKELIEST), servers.generate(trees, LIKELIEST)
    assert [some[0].text for some in theirs[0]] == [some[0].text for some in ours[0]]
    assert all(some[0].text.startswith("<think>\n") for some in theirs[0])
    with pytest.raises(ServerError, match="begins every answer with <think>; ask it with reasoning"):
        servers.generate(asked(False), LIKELIEST)
