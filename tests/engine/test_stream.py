"""Who grows beside whom, and what happens when the memory doesn't suffice."""

from __future__ import annotations

import re

import pytest
import torch

from trlt.engine import forest, memory
from trlt.engine.forest import Engine, PromptRequest, Tree
from trlt.engine.request_queue import Queue, Room
from trlt.engine.sampling import Sampling
from trlt.errors import ModelError

SAMPLING = Sampling(temperature=1.0, top_p=0.99, max_new_tokens=24, seed=5)


def talkative(tiny, **more):
    """An engine whose completions have all lengths: every ninth token ends one."""
    engine = Engine(tiny.model, tiny.processor, **more)
    engine.ends = frozenset(range(0, tiny.model.config.text_config.vocab_size, 9))
    return engine


@pytest.fixture
def engine(tiny):
    return talkative(tiny)


@pytest.fixture
def trees(noise_clip):
    return [Tree(noise_clip(seed=c), (PromptRequest(f"{c}", "sys", f"what is shown {c}", n=3),)) for c in range(8)]


@pytest.fixture
def shapes(engine):
    """(rows, new positions) of each pass through the language model."""
    seen = []
    engine.model.model.language_model.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(tuple(kwargs["inputs_embeds"].shape[:2])), with_kwargs=True
    )
    return seen


def by_place(answers, trees):
    found = {(a.tree, a.request): a.completions for a in answers}
    return [[found[t, r] for r in range(len(tree.requests))] for t, tree in enumerate(trees)]


def test_answers_come_as_they_are_done_and_trees_are_read_as_there_is_room(engine, trees):
    whole = engine.generate(trees, SAMPLING)
    read, answered = [], []

    def reading():
        for t, tree in enumerate(trees):
            read.append(t)
            yield tree

    for answer in engine.stream(reading(), SAMPLING, max_sequences=3):
        answered.append(answer)
        assert len(read) <= len(answered) + 4, "three grow at most, and one more is at hand"
    assert by_place(answered, trees) == whole
    ended = []
    order = [a.tree for a in engine.stream(trees, SAMPLING, max_sequences=24, ended=ended.append)]
    asked = sum(request.n for tree in trees for request in tree.requests)
    assert sum(ended) == asked and len(ended) > len(order), "told of as they end, before their request is whole"
    assert order != sorted(order), "a short one doesn't wait for a long one before it"


@pytest.mark.parametrize("most", [256, 5])
def test_each_step_is_shown_and_changes_nothing(engine, trees, most):
    whole = engine.generate(trees, SAMPLING)
    shown = {}

    def on_token(branches):
        assert len(branches) <= most
        for branch in branches:
            shown.setdefault((branch.job.place, branch.index), []).append((list(branch.tokens), branch.finished))

    assert engine.generate(trees, SAMPLING, max_sequences=most, on_token=on_token) == whole
    for t, [completions] in enumerate(whole):
        for index, one in enumerate(completions):
            steps = [list(one.tokens[: k + 1]) for k in range(len(one.tokens))]
            assert shown.pop(((t, 0), index)) == [(tokens, one.finished and tokens == list(one.tokens)) for tokens in steps]
    assert not shown


def test_new_branches_begin_beside_old_ones(engine, trees, shapes):
    lengths = [[len(c.tokens) for c in tree[0]] for tree in engine.generate(trees, SAMPLING)]
    assert len({length for tree in lengths for length in tree}) > 3, "completions of unequal length"
    shapes.clear()
    engine.generate(trees, SAMPLING, max_sequences=6)
    steps = [rows for rows, new in shapes if new == 1]
    assert max(steps) <= 6
    # In waves of two trees, every wave takes as many steps as its longest completion.
    waves = sum(max(map(max, lengths[i : i + 2])) - 1 for i in range(0, 8, 2))
    assert len(steps) < waves
    first = next(i for i, (_, new) in enumerate(shapes) if new == 1)
    assert any(new > 1 for _, new in shapes[first:]), "prefills between steps"


def test_more_completions_than_may_grow_come_in_parts(engine, noise_clip, shapes):
    tree = Tree(noise_clip(), (PromptRequest("k", "", "what", n=7),))
    [[whole]] = engine.generate([tree], SAMPLING)
    shapes.clear()
    [[parts]] = engine.generate([tree], SAMPLING, max_sequences=2)
    assert parts == whole and max(rows for rows, new in shapes if new == 1) == 2


def test_keys_and_values_are_bounded(engine, trees, shapes, monkeypatch):
    whole = engine.generate(trees, SAMPLING)
    shapes.clear()
    clip = trees[0].clip.tokens
    monkeypatch.setattr(forest, "room_for_tokens", lambda model: 2.5 * (clip + 3 * 24))
    assert engine.generate(trees, SAMPLING) == whole
    assert max(rows for rows, new in shapes if new == 1) <= 6, "two clips at a time"


@pytest.mark.parametrize("layer", [0, 1], ids=["before anything is written", "in the midst of the layers"])
def test_out_of_memory_halves_and_goes_on(tiny, trees, layer):
    whole = talkative(tiny).generate(trees, SAMPLING)
    said = []
    engine = talkative(tiny, on_event=said.append)
    full = []

    def hook(module, args, kwargs):
        rows, new = args[0].shape[:2]
        if new == 1 and rows > 5:
            full.append(rows)
            raise torch.OutOfMemoryError("no more")

    engine.model.model.language_model.layers[layer].register_forward_pre_hook(hook, with_kwargs=True)
    assert engine.generate(trees, SAMPLING, max_sequences=16) == whole
    assert len(full) > 1 and full[-1] < full[0], "halved until it was enough"
    numbers = [re.search(r"memory with (\d+) completions side by side; going on with (\d+) ", text) for text in said]
    assert len(said) == len(full) and all(int(found[2]) == int(found[1]) // 2 for found in numbers)
    full.clear()
    assert engine.generate(trees, SAMPLING, max_sequences=16) == whole
    assert not full, "what was learnt holds for the next call"


def test_out_of_memory_while_others_grow(tiny, trees):
    """A prefill that fails beside old branches: these go on, and the new ones come later."""
    whole = talkative(tiny).generate(trees, SAMPLING)
    said, passes = [], []
    engine = talkative(tiny, on_event=said.append)

    def fails(*_):
        passes.append("clip")
        if passes.count("clip") == 5:
            torch.empty(2**50)

    engine.model.model.visual.register_forward_pre_hook(fails)
    assert engine.generate(trees, SAMPLING, max_sequences=12, on_token=lambda branches: passes.append(len(branches))) == whole
    assert passes[:5] == ["clip"] * 4 + [12] and len(said) == 1, "those that grow have tokens when the fifth clip fails"


def test_one_completion_that_does_not_fit_is_an_error(engine, trees):
    def hook(module, args):
        raise torch.OutOfMemoryError("no more")

    engine.model.model.visual.register_forward_pre_hook(hook)
    with pytest.raises(ModelError, match="one completion; take a device with more, or lower video.max_tokens"):
        engine.generate(trees, SAMPLING)


def test_other_errors_are_not_taken_for_a_lack_of_memory():
    def wrong():
        return torch.ones(2) @ torch.ones(3)

    with pytest.raises(RuntimeError, match="size"):
        memory.fits(wrong)
    assert memory.fits(lambda: 3) == 3
    assert memory.fits(lambda: torch.empty(2**50)) is None


def test_bytes_of_a_token(tiny):
    from trlt.engine.cohort import Recorder

    engine, recorder = Engine(tiny.model, tiny.processor), Recorder()
    with torch.inference_mode():
        engine.model.model.language_model(
            inputs_embeds=torch.zeros(1, 5, tiny.model.config.text_config.hidden_size),
            position_ids=torch.zeros(3, 1, 5).long(),
            attention_mask={"full_attention": None},
            use_cache=False,
            branches=recorder,
        )
    held = sum(t.nbytes for side in (recorder.keys, recorder.values) for t in side.values())
    assert memory.token_bytes(tiny.model.config.text_config, tiny.model.dtype) * 5 == held


def test_what_is_put_back_is_taken_first(trees):
    queue = Queue(trees, 24)
    taken = queue.take(Room(7, 1e9), most=7, alone=True)
    assert [job.place for job in taken] == [(0, 0), (1, 0)]
    queue.put_back([taken[0].only([2]), taken[1]])
    again = queue.take(Room(4, 1e9), most=7, alone=False)
    assert [(job.place, job.indices) for job in again] == [((0, 0), (2,)), ((1, 0), (0, 1, 2))]
    assert queue.take(Room(2, 1e9), most=7, alone=False) == [], "a request isn't begun in part where it fits as a whole later"
    assert [job.indices for job in queue.take(Room(2, 1e9), most=2, alone=True)] == [(0, 1)]
