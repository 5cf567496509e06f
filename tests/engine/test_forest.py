from __future__ import annotations

import pytest
import torch

from trlt.engine.forest import Engine, PromptRequest, Tree
from trlt.engine.marks import VISION_TOKENS
from trlt.engine.sampling import Sampling
from trlt.errors import ModelError

SAMPLING = Sampling(temperature=1.0, top_p=0.99, max_new_tokens=12, seed=5)


@pytest.fixture
def engine(tiny):
    return Engine(tiny.model, tiny.processor)


@pytest.fixture
def trees(noise_clip):
    return [
        Tree(
            noise_clip(frames=4 + 2 * c, seed=c, fps=2.0 + 0.3 * c),
            tuple(PromptRequest(f"{c}.{q}", "sys", f"what is shown {q} " * (q + 1), n=2 + q) for q in range(3)),
        )
        for c in range(4)
    ]


def test_counts_and_determinism(engine, trees):
    done = engine.generate(trees, SAMPLING)
    assert [[len(r) for r in t] for t in done] == [[2, 3, 4]] * 4
    assert done == engine.generate(trees, SAMPLING)
    texts = {c.tokens for t in done for r in t for c in r}
    assert len(texts) > 20, "a random model at temperature 1 writes many different things"


def test_completions_do_not_depend_on_batch_order_or_neighbours(engine, trees):
    whole = engine.generate(trees, SAMPLING)
    narrow = engine.generate(trees, SAMPLING, max_sequences=2)
    backwards = engine.generate(trees[::-1], SAMPLING)[::-1]
    alone = [engine.generate([tree], SAMPLING)[0] for tree in trees]
    assert whole == narrow == backwards == alone


def test_more_samples_start_with_the_fewer(engine, trees):
    few = engine.generate(trees[:1], SAMPLING)[0][0]
    request = trees[0].requests[0]
    more = Tree(trees[0].clip, (PromptRequest(request.key, request.system, request.user, n=5),))
    assert engine.generate([more], SAMPLING)[0][0][:2] == few


def test_every_draw_that_is_settled_alone_gives_the_same_tokens(tiny, trees, monkeypatch):
    """With a huge noise bound every draw goes the slow way: that must not change what is sampled."""
    fast = Engine(tiny.model, tiny.processor)
    expected = fast.generate(trees[:2], SAMPLING)
    monkeypatch.setattr("trlt.engine.sampling.NOISE", 0.3)
    slow = Engine(tiny.model, tiny.processor)
    assert slow.generate(trees[:2], SAMPLING) == expected
    assert slow.settled > 50


@pytest.mark.parametrize(("frames", "fps"), [(8, 1.7), (40, 0.27)], ids=["short", "longer than its text"])
def test_matches_the_library_when_greedy(engine, tiny, noise_clip, frames, fps):
    """Near temperature 0 the forest writes what `generate` writes for the same inputs."""
    clip, user = noise_clip(frames=frames, seed=9, fps=fps), "what moves left"
    [[[mine]]] = engine.generate(
        [Tree(clip, (PromptRequest("k", "sys", user),))], Sampling(temperature=1e-3, top_p=1.0, max_new_tokens=16)
    )
    messages = [
        {"role": "system", "content": [{"type": "text", "text": "sys"}]},
        {"role": "user", "content": [{"type": "video"}, {"type": "text", "text": user}]},
    ]
    text = tiny.processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    inputs = tiny.processor(
        text=[text],
        videos=[torch.from_numpy(clip.frames)],
        do_resize=False,
        do_sample_frames=False,
        return_tensors="pt",
    )
    inputs["second_per_grid_ts"] = torch.tensor([clip.seconds_per_grid])
    banned = tiny.processor.tokenizer.convert_tokens_to_ids(list(VISION_TOKENS))
    banned += list(range(len(tiny.processor.tokenizer), tiny.model.config.text_config.vocab_size))
    out = tiny.model.generate(**inputs, max_new_tokens=16, do_sample=False, suppress_tokens=banned)
    assert list(mine.tokens) == out[0, inputs["input_ids"].shape[1] :].tolist()


def test_inputs_equal_the_processors(engine, tiny, noise_clip):
    clip = noise_clip(frames=6, side=84, seed=1)
    made = engine.builder.clip(clip)
    prompt = engine.builder.prompt("sys", "hello there", made)
    messages = [
        {"role": "system", "content": [{"type": "text", "text": "sys"}]},
        {"role": "user", "content": [{"type": "video"}, {"type": "text", "text": "hello there"}]},
    ]
    text = tiny.processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    theirs = tiny.processor(
        text=[text], videos=[torch.from_numpy(clip.frames)], do_resize=False, do_sample_frames=False, return_tensors="pt"
    )
    assert torch.equal(theirs["pixel_values_videos"], made.pixels)
    assert torch.equal(theirs["video_grid_thw"], made.grid)
    assert made.grid.tolist() == [list(clip.grid)]
    assert theirs["input_ids"][0].tolist() == [*prompt.prefix.tolist(), *prompt.suffix.tolist()]
    assert prompt.prefix.tolist()[-1] == tiny.model.config.vision_end_token_id


def test_positions_follow_the_true_rate(engine, noise_clip):
    """Seconds per grid reach the positions: 0.5 fps and 4 fps must not look alike."""
    spans = {}
    for fps in (0.5, 2.0, 4.0):
        clip = engine.builder.clip(noise_clip(frames=8, fps=fps))
        prompt = engine.builder.prompt("", "q", clip)
        video = prompt.prefix == engine.model.config.video_token_id
        times = prompt.positions[0, : len(prompt.prefix)][video]
        spans[fps] = int(times.max() - times.min())
    assert spans == {0.5: 24, 2.0: 6, 4.0: 3}


def test_vision_tokens_are_never_sampled(tiny, noise_clip):
    """Even where the model wants nothing else."""
    engine = Engine(tiny.model, tiny.processor)
    banned = tiny.processor.tokenizer.convert_tokens_to_ids(list(VISION_TOKENS))
    head = torch.nn.Linear(tiny.model.lm_head.in_features, tiny.model.lm_head.out_features)
    with torch.no_grad():
        head.weight.zero_()
        head.bias.zero_()
        head.bias[banned] = 50.0
    engine.model.lm_head = head
    tree = Tree(noise_clip(), (PromptRequest("k", "", "q", n=8),))
    [[completions]] = engine.generate([tree], Sampling(max_new_tokens=20))
    seen = {token for c in completions for token in c.tokens}
    assert seen and not seen & set(banned)
    assert max(seen) < len(tiny.processor.tokenizer)


def test_token_limit_and_end(engine, noise_clip):
    [[completions]] = engine.generate([Tree(noise_clip(), (PromptRequest("k", "", "q", n=64),))], Sampling(max_new_tokens=40))
    ends = set(engine.builder.end_tokens)
    assert any(c.finished for c in completions) and any(not c.finished for c in completions)
    for c in completions:
        assert c.finished == (c.tokens[-1] in ends)
        assert c.finished or len(c.tokens) == 40
        assert not ends & set(c.tokens[:-1])
        assert "<|im_end|>" not in c.text


def test_a_vision_mark_in_a_question_is_an_error(engine, noise_clip):
    with pytest.raises(ModelError, match="exactly one video"):
        engine.generate([Tree(noise_clip(), (PromptRequest("k", "", "what is <|video_pad|> this"),))], SAMPLING)


def test_the_vision_tower_runs_once_a_clip_and_the_prompt_once(engine, noise_clip, monkeypatch):
    patches, positions = [], []
    visual, language = engine.model.model.visual, engine.model.model.language_model
    visual.register_forward_pre_hook(lambda m, args, kw: patches.append(args[0].shape[0]), with_kwargs=True)
    language.register_forward_pre_hook(
        lambda m, args, kw: positions.append(tuple(kw["inputs_embeds"].shape[:2])), with_kwargs=True
    )
    engine.exact = False
    tree = Tree(noise_clip(frames=8), tuple(PromptRequest(str(q), "", f"question {q}", n=4) for q in range(3)))
    engine.generate([tree], Sampling(max_new_tokens=3))
    assert patches == [4 * 16]
    assert positions[0][0] == 1 and positions[1][0] == 3 and all(p[1] == 1 for p in positions[2:])
