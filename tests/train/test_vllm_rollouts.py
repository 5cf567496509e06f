"""Rollouts by vLLM: the process, the check at the start, and the weights on their way; against `fake_vllm`, not vLLM itself."""

from __future__ import annotations

import contextlib
import json
import os
import time

import numpy as np
import pytest
import torch
from paths import ROOT, TESTS
from test_grpo import invented_rewards, pytestmark, recipe, run  # noqa: F401  (fixtures)

from trlt.engine.families import FAMILIES
from trlt.engine.forest import Engine, PromptRequest, Tree
from trlt.engine.model import load, with_adapters
from trlt.engine.mrope import RULE
from trlt.engine.sampling import Sampling
from trlt.engine.shared_prefix import Group, attach, collate, forward
from trlt.engine.vllm import VllmSampler, host
from trlt.engine.vllm import weight_transfer as weights
from trlt.engine.vllm.process import HostProcess, shown_lines
from trlt.errors import DataError, ModelError, ParityError, RecipeError
from trlt.lab.miniature.tiny import CHAT_TEMPLATE
from trlt.recipe import Lora, Model, TemporalContrast, load_recipe
from trlt.recipe.training import Vllm
from trlt.task.prompt import Prompt, build
from trlt.train.vllm_parity import check
from trlt.video.clip import Clip

FAKE = TESTS / "fake_vllm"


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """Lets `import vllm` find the fake one; reads what it was asked."""
    path = tmp_path / "asked.jsonl"
    monkeypatch.setenv("PYTHONPATH", f"{FAKE}{os.pathsep}{ROOT}")
    monkeypatch.setenv("FAKE_VLLM_LOG", str(path))
    # A launcher's: vLLM's process must not take itself for one of several.
    monkeypatch.setenv("GROUP_RANK", "0")

    def read(did: str) -> list[dict]:
        return [row for row in map(json.loads, path.read_text().splitlines()) if row["did"] == did]

    return read


def by_vllm(recipe, **train):  # noqa: F811
    return recipe.model_copy(update={"train": recipe.train.model_copy(update={"rollouts": "vllm", "max_steps": 2} | train)})


def digest(model) -> float:
    return float(sum(weight.double().abs().sum() for weight in model.parameters()))


def is_gone(pid: int) -> bool:
    for _ in range(100):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def test_it_trains_on_what_vllm_draws_with_each_steps_weights(tiny_path, training_data, recipe, tmp_path, asked):  # noqa: F811
    after, rows, parity = run(tiny_path, training_data, by_vllm(recipe, save_steps=1), tmp_path / "run")
    assert [row["step"] for row in rows] == [1, 2] and all(row["grad_norm"] > 0 for row in rows)
    assert parity.vllm.samples == 3 and parity.vllm.tokens > 20 and parity.vllm.largest < 1e-4
    drawn = asked("generate")
    assert [row["temperature"] for row in drawn[:6]] == [0, 1] * 3, "two samples are checked first, one of them slowed as well"
    assert drawn[4]["frames"] == drawn[0]["frames"] and drawn[4]["fps"] == pytest.approx(drawn[0]["fps"] / 3)
    assert [row["temperature"] for row in drawn[10:14]] == [0, 1] * 2, "and one again after the first update"
    steps = [drawn[6:10], drawn[14:18]]
    held = load(Model(path=str(tiny_path), dtype="float32", device="cpu"))
    checkpoint = load(Model(path=str(tmp_path / "run" / "checkpoints" / "checkpoint-1"), dtype="float32", device="cpu"))
    for step, model in zip(steps, (held.model, checkpoint.model), strict=True):
        assert all(row["weights"] == pytest.approx(digest(model), rel=1e-9) for row in step)
    assert digest(held.model) != pytest.approx(digest(checkpoint.model), rel=1e-7)
    assert len({row["seed"] for step in steps for row in step}) == 8 and {row["n"] for step in steps for row in step} == {4}
    assert {(row["temperature"], row["top_p"], row["logprobs"]) for step in steps for row in step} == {(1.0, 0.99, 0)}
    for row in rows:
        assert [row[f"correction/ratio_{name}"] for name in ("mean", "min", "max")] == pytest.approx([1] * 3, abs=1e-4)
        assert row["correction/above_cap"] == 0
    engine = Engine(held.model, held.processor)
    banned = engine.builder.suppressed(held.model.config.text_config.vocab_size).nonzero()[:, 0].tolist()
    assert all(row["biased"] == banned and row["stops"] == sorted(engine.builder.end_tokens) for row in drawn)
    # Of either step, the completions that are trained on are vLLM's.
    kept = {tuple(tokens) for row in steps[0] + steps[1] for tokens in row["completions"]}
    import pandas as pd

    files = sorted((tmp_path / "run" / "completions").rglob("*.parquet"))
    texts = {text for file in files for text in pd.read_parquet(file)["text"]}
    ends = set(engine.builder.end_tokens)
    assert texts <= {engine.builder.decode([t for t in tokens if t not in ends]) for tokens in kept} and len(texts) > 8
    assert is_gone(drawn[0]["pid"]) and "what a library prints" in (tmp_path / "run" / "vllm-0.log").read_text()
    assert not list(weights.MEMORY.glob("trlt-weights-*"))


def test_it_draws_the_second_group_on_shuffled_frames(tiny_path, training_data, recipe, tmp_path, asked):  # noqa: F811
    contrast = TemporalContrast(group_size=2, tasks=("multi_choice", "grounding", "grounded_qa"))
    _, rows, _ = run(tiny_path, training_data, by_vllm(recipe, temporal_contrast=contrast), tmp_path / "run")
    assert len(rows) == 2 and all({"contrast/ordered", "contrast/shuffled"} <= row.keys() for row in rows)
    drawn = [row for row in asked("generate") if row["temperature"] == 1 and row["n"] in (2, 4)]
    # A step has four prompts of four completions, and each of them two on other frames.
    step = drawn[-8:]
    assert [row["n"] for row in step] == [4] * 4 + [2] * 4
    for ordered, shuffled in zip(step[:4], step[4:], strict=True):
        assert ordered["frames"] == shuffled["frames"] and ordered["seed"] != shuffled["seed"]
        assert ordered["digest"] != shuffled["digest"]


def test_frames_and_their_times_are_the_loaders(tiny, noise_clip, recipe, tmp_path, asked, training_data):  # noqa: F811
    tiny.processor.chat_template = CHAT_TEMPLATE.replace("assistant\n' }}", "assistant\n<think>\n' }}")
    engine = Engine(tiny.model, tiny.processor)
    words = [build(sample, think=True, answer_format="letter") for sample in training_data.samples[:2]]
    clips = [noise_clip(frames=8, seed=1, fps=2.0), noise_clip(frames=4, side=84, seed=2, fps=0.7)]
    sampler = VllmSampler(engine, tiny.path, by_vllm(recipe), words, tmp_path / "vllm.log")
    try:
        trees = [
            Tree(clip, (PromptRequest(f"{i}", w.system, w.user, 3), PromptRequest(f"{i}b", w.system, "again", 1)))
            for i, (clip, w) in enumerate(zip(clips, words, strict=True))
        ]
        with sampler.awake(tiny.model):
            found = sampler.generate(trees, Sampling(max_new_tokens=5, seed=4))
            again = sampler.generate(trees[1:], Sampling(max_new_tokens=5, seed=4))
            other = sampler.generate(trees[1:], Sampling(max_new_tokens=5, seed=5))
    finally:
        sampler.close()
    assert [[len(some) for some in one] for one in found] == [[3, 1], [3, 1]]
    assert found[1:] == again != other, "a prompt's draws depend on its own seed alone"
    assert len({one.tokens for one in found[0][0]}) > 1
    for one in [one for of_tree in found for some in of_tree for one in some]:
        drawn = [token for token in one.tokens if token not in engine.ends]
        assert one.text == "<think>\n" + engine.builder.decode(drawn), "what the template begins is read with it"
    rows = asked("generate")[:4]
    assert [row["frames"] for row in rows] == [[8, 56, 56, 3]] * 2 + [[4, 84, 84, 3]] * 2
    assert [row["fps"] for row in rows] == pytest.approx([2, 2, 0.7, 0.7])
    import hashlib

    shown = [hashlib.sha256(np.ascontiguousarray(clip.frames.transpose(0, 2, 3, 1)).tobytes()).hexdigest() for clip in clips]
    assert [row["digest"] for row in rows] == [shown[0], shown[0], shown[1], shown[1]]
    for row, (clip, w) in zip(rows[::2], zip(clips, words, strict=True), strict=True):
        prompt = engine.builder.prompt(w.system, w.user, engine.builder.clip(clip))
        assert row["prompt"] == [*prompt.prefix.tolist(), *prompt.suffix.tolist()]


@pytest.mark.parametrize("family", FAMILIES[1:4], ids=lambda family: family.name)
def test_other_families_are_asked_with_the_engine_s_prompts(family, family_path, recipe, tmp_path, asked, monkeypatch):  # noqa: F811
    loaded = load(Model(path=str(family_path(family)), dtype="float32", device="cpu"))
    attach(loaded.model)
    engine, words = Engine(loaded.model, loaded.processor), Prompt("Answer.", "what moves left", False)
    side = family.geometry.side
    noise = np.random.default_rng(3).integers(0, 256, (6, 3, 2 * side, side), dtype=np.uint8)
    stamps = np.array([0.25, 0.25, 3.9, 13.7, 100.0, 1000.1])
    clip = Clip.of(noise, stamps, sample_fps=1.37, duration=6 / 1.37, stamps=stamps, geometry=family.geometry)

    def make_inputs(clip, words):
        inputs = engine.builder.clip(clip)
        return inputs, engine.builder.prompt(words.system, words.user, inputs, think=words.think)

    def checked():
        sampler = VllmSampler(engine, str(family_path(family)), by_vllm(recipe), [words], tmp_path / "vllm.log")
        try:
            with sampler.awake(loaded.model):
                return check(sampler, engine, [("one", clip, words)], make_inputs, Sampling(max_new_tokens=6, seed=1))
        finally:
            sampler.close()

    found = checked()
    assert found.samples == 2 and found.tokens > 12 and found.largest < 1e-4 and found.grids_rounded == 0
    first, slowed = (asked("generate")[place]["prompt"] for place in (0, 2))
    _, prompt = make_inputs(clip, words)
    assert first == [*prompt.prefix.tolist(), *prompt.suffix.tolist()]
    text = loaded.processor.tokenizer.decode(slowed)
    assert slowed.count(loaded.model.config.video_token_id) == 6, "more patches than rows, as the rule for text needs"
    if family.time_in != "text":
        assert "seconds" not in text
        return
    assert "<0.2 seconds>" in loaded.processor.tokenizer.decode(
        first
    ) and "<550.0 seconds>" in loaded.processor.tokenizer.decode(first)
    monkeypatch.setenv("FAKE_VLLM_FAULT", "fps")
    with pytest.raises(ParityError, match=r"sample one: a prompt's tokens \(the video's, mostly\) differ"):
        checked()


@pytest.mark.parametrize(("temperature", "top_p"), [(1.0, 0.8), (0.6, 0.7), (2.5, 1.0)])
def test_log_probabilities_are_those_that_the_trainer_finds(
    tiny,
    noise_clip,
    recipe,  # noqa: F811
    tmp_path,
    asked,
    training_data,
    temperature,
    top_p,
):
    """At the temperature and over the whole vocabulary, whatever the nucleus and whatever isn't drawn."""
    attach(tiny.model)
    engine, words = Engine(tiny.model, tiny.processor), build(training_data.samples[0], think=True, answer_format="letter")
    sampler = VllmSampler(engine, tiny.path, by_vllm(recipe), [words], tmp_path / "vllm.log")
    clip = noise_clip(frames=6)
    try:
        with sampler.awake(tiny.model):
            tree = Tree(clip, (PromptRequest("a", words.system, words.user, 6),))
            [[found]] = sampler.generate([tree], Sampling(temperature, top_p, 8, seed=3))
    finally:
        sampler.close()
    inputs = engine.builder.clip(clip)
    group = Group(inputs, engine.builder.prompt(words.system, words.user, inputs), tuple(c.tokens for c in found))
    wanted = forward(tiny.model, collate([group]), temperature=temperature).logps.tolist()
    for row, completion in zip(wanted, found, strict=True):
        assert row[: len(completion.tokens)] == pytest.approx(completion.logps, abs=1e-4)
    [row] = asked("generate")
    assert (row["temperature"], row["top_p"], row["bias"]) == (1.0, top_p, pytest.approx(-100 / temperature))
    lengths = {len(set(c.tokens)) for c in found}
    assert max(lengths) > 4, "drawn, and not the likeliest again and again"


def test_draws_at_a_temperature_are_as_likely_as_it_makes_them(tiny, noise_clip, recipe, tmp_path, asked, training_data):  # noqa: F811
    """First tokens of 400 completions: as often in a nucleus as its probabilities at the temperature say, and never outside."""
    engine, words = Engine(tiny.model, tiny.processor), build(training_data.samples[0], think=True, answer_format="letter")
    sampler = VllmSampler(engine, tiny.path, by_vllm(recipe), [words], tmp_path / "vllm.log")
    clip = noise_clip(frames=4)
    try:
        with sampler.awake(tiny.model):
            tree = Tree(clip, (PromptRequest("a", words.system, words.user, 400),))
            [[found]] = sampler.generate([tree], Sampling(0.5, 0.4, 1, seed=3))
    finally:
        sampler.close()
    inputs = engine.builder.clip(clip)
    prompt = engine.builder.prompt(words.system, words.user, inputs)
    vocabulary = tiny.model.config.text_config.vocab_size
    attach(tiny.model)
    allowed = (~engine.builder.suppressed(vocabulary)).nonzero()[:, 0].tolist()
    every = tuple((token,) for token in allowed)
    p = forward(tiny.model, collate([Group(inputs, prompt, every)]), temperature=0.5).logps[:, 0].exp()
    ordered, order = (p / p.sum()).sort(descending=True)
    inside = ordered.cumsum(0) - ordered < 0.4
    drawn = [c.tokens[0] for c in found]
    assert set(drawn) <= {allowed[place] for place in order[inside].tolist()} and 3 < inside.sum() < len(allowed) / 3
    share = float(ordered[0] / ordered[inside].sum())
    count = drawn.count(allowed[order[0]])
    assert count / 400 == pytest.approx(share, abs=4 * (share * (1 - share) / 400) ** 0.5)


def test_what_it_draws_otherwise_is_weighed(tiny_path, training_data, recipe, tmp_path, asked, monkeypatch):  # noqa: F811
    monkeypatch.setenv("FAKE_VLLM_FAULT", "inexact")
    _, rows, parity = run(tiny_path, training_data, by_vllm(recipe, temperature=0.8), tmp_path / "run")
    assert 5e-5 < parity.vllm.largest < 1e-3
    for row in rows:
        low, mean, high = (row[f"correction/ratio_{name}"] for name in ("min", "mean", "max"))
        assert 0.9995 < low < 0.99995 < 1.00005 < high < 1.0005 and low < mean < high
    _, others, _ = run(tiny_path, training_data, by_vllm(recipe, temperature=0.8, correction="none"), tmp_path / "without")
    assert not any(name.startswith("correction/") for row in others for name in row)
    drawn = [row for row in asked("generate") if row["n"] > 1]
    assert [row["logprobs"] for row in drawn] == [0] * 8 + [None] * 8
    assert rows[0]["reward"] == others[0]["reward"] and rows[0]["grad_norm"] != others[0]["grad_norm"]


def test_a_temperature_that_vllm_passes_by_stops_a_run(tiny_path, training_data, recipe, tmp_path, asked, monkeypatch):  # noqa: F811
    monkeypatch.setenv("FAKE_VLLM_FAULT", "bypass")
    with pytest.raises(ParityError, match="log-probabilities differ between vLLM and the trainer"):
        run(tiny_path, training_data, by_vllm(recipe, temperature=0.7), tmp_path / "run")
    run(tiny_path, training_data, by_vllm(recipe), tmp_path / "at 1")


def test_a_vllm_that_cannot_normalize_in_the_model_is_not_asked_to(tiny, recipe, tmp_path, asked, training_data, monkeypatch):  # noqa: F811
    monkeypatch.setenv("FAKE_VLLM_FAULT", "older")
    VllmSampler(Engine(tiny.model, tiny.processor), tiny.path, by_vllm(recipe), [], tmp_path / "vllm.log").close()
    assert asked("start")


@pytest.mark.parametrize(("memory", "takes"), [(0.3, True), (1e-4, False)])
def test_on_the_cpu_the_cache_is_no_larger_than_it_is_of_use(tiny, recipe, tmp_path, asked, memory, takes):  # noqa: F811
    """vLLM fills its share of the machine's memory otherwise: 5.9 GiB for a model of 1.1M weights."""
    settings = by_vllm(recipe, vllm=Vllm(memory=memory), max_sequences=3)
    VllmSampler(Engine(tiny.model, tiny.processor), tiny.path, settings, [], tmp_path / "vllm.log").close()
    [row] = asked("start")
    text = tiny.model.config.text_config
    # Keys and values in float32, of 3 sequences and a block of 128 each.
    token = 2 * 4 * text.num_hidden_layers * text.num_key_value_heads * text.hidden_size // text.num_attention_heads
    assert row["cache"] == (token * 3 * (row["max_model_len"] + 128) if takes else None) and row["memory"] == memory


@pytest.mark.parametrize(
    ("fault", "error", "told"),
    [
        (
            "fps",
            ParityError,
            r"sample '.+' \(.+\.mp4\), slowed \d+ times: positions .*differ: .*vLLM has .*; take another version of vLLM, or "
            "train.rollouts: engine in a new run",
        ),
        ("resampled", ParityError, r"a prompt's tokens .*differ"),
        (
            "silent",
            ParityError,
            r"log-probabilities differ between vLLM and the trainer: up to .*, for sample '.+' \(.+\.mp4\).*0\.001",
        ),
        ("pixels", ParityError, r"log-probabilities differ between vLLM"),
        ("left out", ModelError, r"weights of vLLM's model weren't sent: inner\.model.*layers\.2\.mlp"),
        ("banned", ModelError, r"drew token \d+, which it was told never to draw"),
        ("refuses", ModelError, r"vLLM failed: ValueError: no room for the cache"),
        ("dies", ModelError, r"(?s)ended with status 3; to do without.*; the end of .*vllm-0\.log:.*illegal memory access"),
        ("buffer", ModelError, "this version has buffers that started at random and that no weights right: input_norm\n"),
        ("packs", ModelError, r"this version packs weights away, so that no others can be loaded: inner.*q_proj, .* more\n"),
        ("unseen", ParityError, "this version of vLLM doesn't tell how it places tokens"),
        ("library", ParityError, r"positions .*differ: on the temporal axis, for token \d+ \(after the video\), vLLM has"),
        ("late", ParityError, r"positions .*differ: on the temporal axis, for token \d+ \(of the video\), vLLM has"),
    ],
    ids="fps, resampled, silent, pixels, left out, banned, refuses, dies, buffer, packs, unseen, library, late".split(", "),
)
def test_what_differs_or_fails_stops_a_run_before_its_first_step(
    tiny_path,
    training_data,
    recipe,  # noqa: F811
    tmp_path,
    asked,
    monkeypatch,
    fault,
    error,
    told,
):
    monkeypatch.setenv("FAKE_VLLM_FAULT", fault)
    with pytest.raises(error, match=told):
        run(tiny_path, training_data, by_vllm(recipe), tmp_path / "run")
    assert not (tmp_path / "run" / "log.jsonl").exists()
    assert fault == "refuses" or is_gone(asked("start")[0]["pid"])


@pytest.mark.parametrize("place", ["at start", "in load", "in generate"])
def test_a_vllm_that_is_killed_ends_what_asks_it(tiny, recipe, tmp_path, asked, training_data, noise_clip, monkeypatch, place):  # noqa: F811
    """Promptly, with its own last words alone, and with nothing left behind."""
    monkeypatch.setenv("FAKE_VLLM_FAULT", f"killed {place}")
    log = tmp_path / "vllm.log"
    log.write_text("the last words of another run\n")
    words = build(training_data.samples[0], think=True, answer_format="letter")
    with pytest.raises(ModelError) as raised:
        sampler = VllmSampler(Engine(tiny.model, tiny.processor), tiny.path, by_vllm(recipe), [words], log)
        with contextlib.closing(sampler), sampler.awake(tiny.model):
            tree = Tree(noise_clip(frames=4), (PromptRequest("a", words.system, words.user, 2),))
            sampler.generate([tree], Sampling(max_new_tokens=5))
    told = str(raised.value)
    assert "ended by SIGKILL (as the system does where memory runs out; train.vllm.memory is the share" in told
    assert "another run" not in told and ("what a library prints" in told) == (place != "at start")
    assert not list(weights.MEMORY.glob("trlt-weights-*"))


def looked_at(tiny, settings, training_data, clip, log):
    """What the check before the first step finds for one clip."""
    attach(tiny.model)
    engine, words = Engine(tiny.model, tiny.processor), build(training_data.samples[0], think=True, answer_format="letter")
    sampler = VllmSampler(engine, tiny.path, settings, [words], log)

    def made(clip, words):
        inputs = engine.builder.clip(clip)
        return inputs, engine.builder.prompt(words.system, words.user, inputs)

    with contextlib.closing(sampler), sampler.awake(tiny.model):
        return check(sampler, engine, [("a", clip, words)], made, Sampling(max_new_tokens=8))


def test_a_clip_whose_times_round_both_ways_passes_and_is_told(tiny, recipe, tmp_path, asked, training_data, noise_clip):  # noqa: F811
    """No rate that can be told gives the trainer's positions: grids 5 and 10 of 4.2 positions each would end at 21 and 42."""
    found = looked_at(tiny, by_vllm(recipe), training_data, noise_clip(frames=32, side=28, fps=20 / 21), tmp_path / "vllm.log")
    assert found.largest < 1e-4, "at vLLM's positions, it computes the same"
    assert (found.clips_rounded, found.grids_rounded, found.grids) in ((1, 2, 16), (2, 4, 32))
    assert found.shift > 1e-4
    assert (
        f"one position lower at {found.grids_rounded} of {found.grids} grids, by which log-probabilities change" in found.words
    )


@pytest.mark.parametrize("fault", ["fps", "library"])
@pytest.mark.parametrize(("frames", "side"), [(2, 28), (2, 140), (4, 140)])
def test_short_clips_show_a_wrong_rate_or_rule_too(
    tiny,
    recipe,  # noqa: F811
    tmp_path,
    asked,
    training_data,
    noise_clip,
    monkeypatch,
    fault,
    frames,
    side,
):
    """Of two frames no position depends on either; of few and large ones the text goes on after their width."""
    monkeypatch.setenv("FAKE_VLLM_FAULT", fault)
    clip = noise_clip(frames=frames, side=side)
    with pytest.raises(ParityError, match=r"slowed \d+ times: positions .*differ"):
        looked_at(tiny, by_vllm(recipe), training_data, clip, tmp_path / "vllm.log")


def test_vllm_sleeps_also_after_an_error(tiny, recipe, tmp_path, asked, training_data, monkeypatch):  # noqa: F811
    sampler = VllmSampler(Engine(tiny.model, tiny.processor), tiny.path, by_vllm(recipe), [], tmp_path / "vllm.log")
    asks, ask = [], HostProcess.ask
    monkeypatch.setattr(HostProcess, "ask", lambda self, message: asks.append(message["do"]) or ask(self, message))
    with contextlib.closing(sampler):
        with pytest.raises(DataError, match="of the caller"), sampler.awake(tiny.model):
            raise DataError("of the caller")
        assert asks == ["load", "sleep"]


def test_what_is_shown_of_a_log_is_what_helps():
    repeated = [f"WARNING 11-30 15:07:{second:02} [cpu_worker.py:140] threads" for second in range(20)]
    assert shown_lines(["INFO begins", *repeated]) == "\n  INFO begins\n  WARNING 11-30 15:07:19 [cpu_worker.py:140] threads"
    many = [f"INFO {'x' * n}" for n in range(1, 20)]
    told = shown_lines(["RuntimeError: the first", "INFO y", "RuntimeError: CUDA error: out of memory", *many, ""])
    assert told.split("\n  ")[1:] == ["RuntimeError: CUDA error: out of memory", "…", *many[-8:]]
    assert shown_lines([*many, "ValueError: at the end"]).split("\n  ")[1:] == [*many[-7:], "ValueError: at the end"]
    assert shown_lines(["", ""]) == " nothing was written"
    assert shown_lines(["config: " + "y" * 9000]) == f"\n  config: {'y' * 232}…"


def test_weights_that_do_not_arrive_later_stop_a_run_too(tiny_path, training_data, recipe, tmp_path, asked, monkeypatch):  # noqa: F811
    monkeypatch.setenv("FAKE_VLLM_FAULT", "stale")
    with pytest.raises(ParityError, match="log-probabilities differ between vLLM and the trainer"):
        run(tiny_path, training_data, by_vllm(recipe), tmp_path / "run")
    assert (tmp_path / "run" / "log.jsonl").read_text().count("\n") == 1, "the first step was done with the right weights"


def test_features_of_an_older_tower_are_not_used(tiny, noise_clip, recipe, tmp_path, asked, training_data):  # noqa: F811
    engine = Engine(tiny.model, tiny.processor)
    words = build(training_data.samples[0], think=True, answer_format="letter")
    sampler = VllmSampler(engine, tiny.path, by_vllm(recipe), [words], tmp_path / "vllm.log")
    try:
        told = []
        for scale in (1.0, 1.5):
            with torch.no_grad():
                tiny.model.model.visual.merger.mlp[2].weight.mul_(scale)
            with sampler.awake(tiny.model):
                told.append(sampler.explain(noise_clip(), words, Sampling(max_new_tokens=4))[0].logps)
    finally:
        sampler.close()
    assert told[0] != pytest.approx(told[1], abs=1e-4)


def test_adapters_are_sent_added_to_their_weights(tiny_path, training_data, recipe, tmp_path, asked):  # noqa: F811
    lora = by_vllm(recipe, lora=Lora(rank=4, alpha=8), learning_rate=1e-2)
    _, rows, parity = run(tiny_path, training_data, lora, tmp_path / "run")
    assert parity.vllm.largest < 1e-4 and len(rows) == 2
    drawn = asked("generate")
    assert drawn[6]["weights"] != pytest.approx(drawn[-1]["weights"], rel=1e-7)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_whole_weights_leave_the_base_as_it_is(tiny_path, dtype):
    plain = load(Model(path=str(tiny_path), dtype="float32", device="cpu")).model.to(dtype)
    model = with_adapters(
        load(Model(path=str(tiny_path), dtype="float32", device="cpu")).model.to(dtype), Lora(rank=4, alpha=8)
    )
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.05)
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    sent = {name: value.to(dtype) for name, value in weights.whole_weights(model.get_base_model())}
    assert all(torch.equal(weight, before[name]) for name, weight in model.named_parameters())
    assert sent.keys() == dict(plain.named_parameters()).keys()
    merged = dict(model.merge_and_unload().named_parameters())
    changed = 0
    for name, weight in plain.named_parameters():
        assert torch.allclose(
            sent[name].float(), merged[name].float(), rtol=1e-2, atol=1e-6 if dtype == torch.float32 else 1e-3
        )
        changed += not torch.equal(sent[name], weight)
    assert changed == sum("lora_B" in name for name in before)


def test_weights_are_written_in_several_files(tiny, tmp_path, monkeypatch):
    from safetensors.torch import load_file

    monkeypatch.setattr(weights, "FILE_BYTES", 500_000)
    weights.write_weights(tiny.model, tmp_path, torch.bfloat16)
    files = sorted(tmp_path.glob("*.safetensors"))
    found = {name: value for file in files for name, value in load_file(file).items()}
    assert len(files) > 3 and found.keys() == dict(tiny.model.named_parameters()).keys()
    assert all(torch.equal(found[name], weight.to(torch.bfloat16)) for name, weight in tiny.model.named_parameters())


def test_no_room_for_the_weights_is_said(tiny, monkeypatch):
    monkeypatch.setattr(weights.shutil, "disk_usage", lambda place: type("Usage", (), {"free": 10}))
    with pytest.raises(ModelError, match=r"neither /dev/shm nor .* has 0\.0 GB free; .*TMPDIR"):
        weights.hand_over(tiny.model, torch.float32, lambda folder: None)


def test_without_vllm_it_says_how_to_get_it(tiny_path, training_data, recipe, tmp_path):  # noqa: F811
    with pytest.raises(
        ModelError, match=r"has no vLLM; install it .*train\.vllm\.python or TRLT_VLLM_PYTHON, or take train\.rollouts: engine"
    ):
        run(tiny_path, training_data, by_vllm(recipe), tmp_path / "run")


def test_a_python_that_is_not_there_is_named(tiny_path, training_data, recipe, tmp_path):  # noqa: F811
    other = by_vllm(recipe, vllm=Vllm(python=str(tmp_path / "nowhere" / "python")))
    with pytest.raises(ModelError, match=r"train\.vllm\.python: .*nowhere/python can't be started \(No such file"):
        run(tiny_path, training_data, other, tmp_path / "run")


def test_weights_with_other_positions_are_refused(tiny, recipe, tmp_path):  # noqa: F811
    engine = Engine(tiny.model, tiny.processor)
    setattr(tiny.model.config, RULE, "library")
    with pytest.raises(ModelError, match="text_after_video: library.*published rule; take train.rollouts: engine"):
        VllmSampler(engine, tiny.path, recipe, [], tmp_path / "vllm.log")


def test_frames_are_needed(tiny, noise_clip):
    from trlt.engine.vllm.sampler import _clip

    with pytest.raises(TypeError, match="frames"):
        _clip(Tree(Engine(tiny.model, tiny.processor).builder.clip(noise_clip()), ()))


@pytest.mark.parametrize(
    ("sets", "told"),
    [
        (["train.method=sft"], "train.rollouts: vllm needs train.method: grpo; sft draws no completions"),
        (["train.lora={quantize: nf4}"], r"train\.lora\.quantize \(nf4\) holds none"),
        (["train.vllm.memory=1.5"], r"train\.vllm\.memory"),
    ],
)
def test_what_vllm_cannot_do_is_refused_with_the_recipe(sets, told):
    with pytest.raises(RecipeError, match=told):
        load_recipe(None, sets=["train.rollouts=vllm", *sets])
    assert load_recipe(None, sets=["train.rollouts=vllm"]).train.vllm == Vllm()


def test_the_plan_counts_its_share_of_the_memory():
    from trlt.train.memory_plan import GB, estimate, find_architecture

    model, lines = find_architecture("Qwen/Qwen2.5-VL-7B-Instruct"), {}
    for name, sets in {"sleeps": [], "stays": ["train.vllm.sleep=false"], "engine": ["train.rollouts=engine"]}.items():
        planned = load_recipe(None, sets=["train.rollouts=vllm", "train.vllm.memory=0.4", *sets])
        memory = estimate(model, planned, 8, 80 * GB)
        lines[name] = [(line.when, line.size / GB, line.formula) for line in memory.lines if line.name == "vLLM"]
        assert ("drawing" in {line.name for line in memory.lines}) == (name == "engine")
    assert lines == {"sleeps": [("rollout", 32, "0.4 of the GPU")], "stays": [("held", 32, "0.4 of the GPU")], "engine": []}


def test_messages_are_read_as_they_were_written(tmp_path):
    path = tmp_path / "pipe"
    with path.open("wb") as out:
        host.send(out.fileno(), {"a": [1, "é"]}, b"some", memoryview(b"more"))
        host.send(out.fileno(), {})
    with path.open("rb") as read:
        assert host.receive(read.fileno()) == ({"a": [1, "é"]}, bytearray(b"somemore"))
        assert host.receive(read.fileno()) == ({}, bytearray())
        with pytest.raises(EOFError):
            host.receive(read.fileno())
