"""Every key of a recipe says itself what it changes; runs, their metrics' protocol and cache keys go by that alone."""

from __future__ import annotations

import re

import pytest
from paths import ROOT

from trlt.commands._setup import protocol
from trlt.recipe import Effect, Eval, Recipe, Video, changing, effect, every_key, load_recipe, tells_apart

PLACES = "model.path video.root train.data eval.benchmarks prepare.sources.annotations prepare.sources.videos".split()
PLACES += ["data.map", "data.skip_bad", "data.skip_missing", "eval.benchmarks.data", "eval.benchmarks.dataset"]
PLACES += ["eval.benchmarks.annotations", "eval.benchmarks.videos", "reward.parts.file"]
PLACES += ["train.offline.data", "train.online.probe"]
MEANS = "name model.device probe.max_sequences train.max_sequences eval.max_sequences".split()
MEANS += [f"video.{key}" for key in "store store_gb timeout_s memory_gb workers downloads links".split()]
MEANS += [
    f"train.{key}" for key in "save_steps keep_checkpoints gradient_checkpointing features features_gb max_broken".split()
]
MEANS += ["prompt.name", "train.algorithm"]
MEANS += [f"reward.judge.{key}" for key in "url key_env concurrency timeout_s attempts".split()]
MEANS += [f"train.{key}" for key in "completions_every report_to".split()]
MEANS += [f"train.launch.{key}" for key in "processes strategy gpu_gb".split()]
MEANS += [f"train.vllm.{key}" for key in "python memory sleep".split()]
ROUNDING = [f"train.{key}" for key in "prompts_per_pass tokens_per_pass shared_prefix attention".split()]


def test_no_key_is_without_its_mark():
    keys = dict(every_key())
    assert {
        "train.lora",
        "train.lora.rank",
        "eval.benchmarks.split",
        "prepare.sources",
        "train.sft.batch",
        "name",
    } <= keys.keys()
    for key, field in keys.items():
        assert sum(isinstance(mark, Effect) for mark in field.metadata) == 1, key


def test_which_keys_change_no_outcome():
    found = {kind: {key for key, _ in every_key() if effect(key) is kind} for kind in Effect}
    assert found[Effect.INPUT] == set(PLACES) and found[Effect.MEANS] == set(MEANS) and found[Effect.ROUNDING] == set(ROUNDING)
    assert found[Effect.RESULTS] == {"eval.bootstrap"}


@pytest.mark.parametrize(
    ("kind", "changed", "told"),
    [
        ("train", "video.memory_gb=9", []),
        ("train", "train.prompts_per_pass=2", []),
        ("train", "train.lora={rank: 4}", ["train.lora.rank"]),
        ("train", "eval.temperature=1", []),
        ("eval", "eval.temperature=1", ["eval.temperature"]),
        ("infer", "eval.temperature=1", ["eval.temperature"]),
        ("eval", "eval.benchmarks.charades={annotations: x}", []),
        ("probe", "probe.max_sequences=3", []),
        ("probe", "reward.tiou=2", ["reward.tiou"]),
        ("probe", "reward.parts=[{name: tiou}]", []),
        ("probe", "train.beta=2", []),
    ],
)
def test_what_tells_runs_apart(kind, changed, told):
    found = [line.partition(":")[0] for line in tells_apart(kind, load_recipe(None), load_recipe(None, sets=[changed]))]
    assert [key for key in found if key in told] == told and (told or not found)


def test_a_loss_that_averages_over_a_pass_tells_passes_apart():
    old, new = (load_recipe(None, sets=["train.loss=bnpo", f"train.prompts_per_pass={n}"]) for n in (1, 2))
    assert tells_apart("train", old, new) == ["train.prompts_per_pass: 1 -> 2"]


def test_the_same_marks_make_cache_keys_and_protocols():
    sets = ["train.launch.processes=4", "train.beta=0.5", "train.prompts_per_pass=2", "model.path=x", "model.device=cpu"]
    sets += ["train.data=y", "train.sft.batch=7", "video.memory_gb=9", "video.fps=1"]
    recipe = load_recipe(None, sets=sets)
    assert changing(recipe, "train") == {"beta": 0.5, "prompts_per_pass": 2, "sft": {"batch": 7}}
    assert changing(recipe, "model") == {"path": "x"} and changing(recipe, "video") == {"fps": 1.0}
    assert changing(load_recipe(None, sets=["train.lora={}"]), "train") == {"lora": {}}
    told = protocol(Recipe(), Eval(), Video())
    assert "max_sequences" not in told and "benchmarks" not in told and told["bootstrap"] == 1000
    assert told["video"] == {"fps": 2.0, "min_frames": 4, "max_frames": 768, "min_tokens": 4, "max_tokens": 2048}


def test_no_second_list_of_such_keys():
    for path in (ROOT / "trlt").rglob("*.py"):
        assert not re.search(r"^(IGNORED|WITHOUT_EFFECT)\b", path.read_text(), re.MULTILINE), path
