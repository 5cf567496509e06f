"""Servers of each family: they are asked with the engine's own prompts, and those that make others of them are refused."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from served import Fake

from trlt.engine.families import FAMILIES
from trlt.engine.forest import Engine, PromptRequest, Tree
from trlt.engine.sampling import Sampling
from trlt.engine.servers import times
from trlt.engine.servers.cards import ModelCard
from trlt.engine.servers.client import Limits, Servers
from trlt.errors import ServerError

LIKELIEST = Sampling(temperature=0.01, top_p=0.001, max_new_tokens=6)
NAMED = {family.name: family for family in FAMILIES}
TELLING = [family for family in FAMILIES if family.time_in == "text"]
"""Families whose prompts state times."""


@pytest.fixture(autouse=True)
def no_keys(monkeypatch):
    for name in ("TRLT_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def started():
    """Servers by the family's name; a start takes seconds."""
    made: dict[str, Fake] = {}
    yield made
    for one in made.values():
        one.end()


@pytest.fixture
def server(family, family_path, started):
    if family.name not in started:
        path = str(family_path(family))
        started[family.name] = Fake("--model", path, "--root", path, env={"PYTHONWARNINGS": "ignore"})
    yield started[family.name]
    started[family.name].control()


def checked(server: Fake, **more) -> Servers:
    servers = Servers([server.url], limits=Limits(timeout_s=60), **more)
    servers.check()
    return servers


@pytest.fixture
def trees(shown):
    """Clips at a constant rate, and at times of every kind."""
    drawn = np.random.default_rng(4)
    steady = shown(frames=6, fps=5.0)
    uneven = replace(shown(frames=12, rows=3, seed=1), stamps=np.sort(drawn.random(12)) * 70)
    # Halves of a tenth, which are rounded by their binary value.
    halves = replace(shown(frames=4, seed=2), stamps=np.array([0.25, 0.25, 13.65, 13.65]))
    asked = (PromptRequest("a", "system", "what moves"), PromptRequest("b", "", "what moves left"))
    return [Tree(clip, asked) for clip in (steady, uneven, halves)]


def test_a_server_answers_as_the_engine(family, loaded, server, trees):
    servers = checked(server)
    assert servers.family is family
    ours = Engine(loaded.model, loaded.processor).generate(trees, LIKELIEST)
    theirs = servers.generate(trees, LIKELIEST)
    assert [[[one.tokens for one in some] for some in tree] for tree in theirs] == [
        [[one.tokens for one in some] for some in tree] for tree in ours
    ]
    assert len({one.tokens for tree in ours for some in tree for one in some}) > 1


@pytest.mark.parametrize("family", TELLING[:1], ids=lambda family: family.name, indirect=True)
@pytest.mark.parametrize(
    ("trait", "words"),
    [
        (
            "outer",
            r"writes vision marks around a whole video.*without them.*--chat-template template.jinja, which .*\n  python",
        ),
        ("timeless", "stand at 0.2, 8.2, 34.9, 549.9 s, and its prompt has 1.2 for number 2: every time"),
        ("untelling", "doesn't tell its prompts .*can't be proved that they state the times"),
    ],
)
def test_a_server_that_makes_another_prompt_is_refused(server, trait, words):
    server.control(traits=[trait])
    asked = len(server.log)
    with pytest.raises(ServerError, match=f"(?s){server.url}: .*{words}"):
        checked(server)
    assert len(server.log) == asked, "no question was"


def test_tokens_and_text_of_a_clip_are_the_prompt_s(family, loaded, trees):
    """As they are counted and read without a tokenizer, against the builder's own."""
    builder = Engine(loaded.model, loaded.processor).builder
    tokenizer = loaded.processor.tokenizer
    for tree in trees:
        ids = family.video_ids(tokenizer, builder.without_patches(tree.clip))
        assert tokenizer.decode(ids) == family.text(tree.clip)
        assert len(ids) == family.length(tree.clip) + (0 if family.time_in == "text" else 2)


def test_what_vllm_is_told_gives_the_engine_s_times(family, trees):
    """By vLLM's own arithmetic: number / rate, and the middle of a patch's first and last frame."""
    for tree in trees:
        clip = tree.clip
        fps, numbers, seconds = family.told_vllm(clip)
        assert all(type(number) is int for number in numbers) and len(numbers) == len(clip.frames)
        assert seconds == pytest.approx(len(clip.frames) / clip.sample_fps)
        if family.time_in != "text":
            assert numbers == list(range(len(clip.frames))) and fps == pytest.approx(clip.sample_fps, rel=1e-6)
            continue
        at = [number / fps for number in numbers]
        told = [f"{(first + last) / 2:.1f}" for first, last in zip(at[::2], at[1::2], strict=True)]
        pairs = clip.stamps.reshape(-1, 2).tolist()
        assert told == [f"{(first + last) / 2:.1f}" for first, last in pairs]


@pytest.mark.parametrize("family", TELLING[:1], ids=lambda family: family.name)
def test_sglang_is_refused(family):
    fake = Fake("--kind", "sglang", "--root", "/models/Qwen3-VL-8B-Instruct")
    try:
        with pytest.raises(
            ServerError, match=rf"{fake.url}: SGLang wasn't seen to read videos of {family.name} .*`trlt serve`"
        ):
            checked(fake)
    finally:
        fake.end()


@pytest.mark.parametrize(
    ("root", "name"),
    [
        ("Qwen/Qwen2.5-VL-7B-Instruct", "Qwen2.5-VL"),
        ("Qwen/Qwen2-VL-2B-Instruct", "Qwen2-VL"),
        ("/data/Qwen3-VL-8B-Instruct", "Qwen3-VL"),
        ("/data/tuned", None),
    ],
)
def test_a_family_by_its_published_name(root, name):
    found = ModelCard("tuned", {"tuned": {"root": root}}).family
    assert (found and found.name) == name


def test_a_family_by_its_config_comes_first(tmp_path, family):
    (tmp_path / "Qwen2-VL").mkdir()
    (tmp_path / "Qwen2-VL" / "config.json").write_text(f'{{"model_type": "{family.model_types[0]}"}}')
    cards = {"adapter": {"root": "a", "parent": "base"}, "base": {"root": str(tmp_path / "Qwen2-VL")}}
    assert ModelCard("adapter", cards).family is family
    (tmp_path / "Qwen2-VL" / "config.json").write_text('{"model_type": "llava"}')
    with pytest.raises(ServerError, match=r"says model_type 'llava'; trlt asks Qwen2.5-VL, Qwen2-VL"):
        ModelCard("adapter", cards).family  # noqa: B018


VIDEO = NAMED["Qwen3-VL"].text(SimpleNamespace(tokens=4, stamps=np.array([0.0, 0.5, 1.0, 1.5])))


@pytest.mark.parametrize(
    ("prompt", "outer", "words"),
    [
        (f"user\n{VIDEO}what", False, None),
        (f"user\n<|vision_start|>{VIDEO}<|vision_end|>what", True, None),
        (f"user\n{VIDEO}what", True, "writes no vision marks around a whole video, .* trained with them"),
        (f"user\n<|vision_start|>{VIDEO}<|vision_end|>what", False, "writes vision marks around .* trained without them"),
        (f"user\n<|vision_start|>{VIDEO}what", False, "another form"),
        (f"user\n{VIDEO.replace('0.2', '0.3')}what", False, r"stand at 0\.2, 1\.2 s, and its prompt has 0\.3 for number 1"),
        (f"user\n{VIDEO[: len(VIDEO) // 2]}what", False, "its prompt has none for number 2"),
        (f"user\n{VIDEO.replace('<|video_pad|>', '', 1)}what", False, "another form"),
    ],
)
def test_what_is_wrong_with_a_prompt(prompt, outer, words):
    found = times.fault(prompt, VIDEO, outer, "Qwen3-VL", "/data/it")
    if words is None:
        assert found is None
    else:
        import re

        assert found is not None and re.search(words, found), found
