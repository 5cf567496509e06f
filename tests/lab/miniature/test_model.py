"""The model that ships with trlt: what is promised of it."""

from __future__ import annotations

import pytest

from trlt.engine.model import load, miniature_path
from trlt.lab.miniature.tiny import SPECIAL
from trlt.recipe import Model
from trlt.task.answer import parse
from trlt.task.prompt import asked_format, build


@pytest.fixture(scope="module")
def shipped():
    return load(Model(path="miniature", dtype="float32", device="cpu"))


def test_it_is_small_and_real(shipped):
    assert 1e6 <= sum(p.numel() for p in shipped.model.parameters()) <= 5e6
    files = {path.name: path.stat().st_size for path in miniature_path().iterdir()}
    assert sum(files.values()) <= 8 * 2**20
    assert set(files) == {
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "processor_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert type(shipped.model).__name__ == "Qwen2_5_VLForConditionalGeneration"
    assert type(shipped.processor).__name__ == "Qwen2_5_VLProcessor"


def test_special_tokens_are_the_real_ones(shipped):
    tokenizer = shipped.processor.tokenizer
    for token in SPECIAL:
        assert len(tokenizer(token, add_special_tokens=False)["input_ids"]) == 1
    assert shipped.model.config.video_token_id == tokenizer.convert_tokens_to_ids("<|video_pad|>")


@pytest.mark.parametrize("think", [False, True])
def test_it_behaves_as_a_base_model(shipped, clips_and_samples, think):
    """Mostly the right format, and neither always right nor always wrong."""
    from trlt.engine.forest import Engine, PromptRequest, Tree
    from trlt.engine.sampling import Sampling
    from trlt.recipe import Video
    from trlt.task.sample import read_samples
    from trlt.video.resolve import VideoIndex
    from trlt.video.workers import ClipLoader

    samples, videos = read_samples(clips_and_samples.samples), VideoIndex(clips_and_samples.videos)
    loader, engine = ClipLoader(Video(max_tokens=32, workers=0)), Engine(shipped.model, shipped.processor)
    trees = []
    for sample in samples:
        words = build(sample, think=think, answer_format="letter")
        trees.append(Tree(loader.load(videos.find(sample.video)), (PromptRequest(sample.id, words.system, words.user, 4),)))
    done = engine.generate(trees, Sampling(top_p=0.99, max_new_tokens=96))
    parsed = [
        parse(c.text, task=s.task, think=think, options=s.options, answer_format=asked_format(s, "letter"))
        for s, [completions] in zip(samples, done, strict=True)
        for c in completions
    ]
    assert sum(a.well_formed for a in parsed) / len(parsed) > 0.8
