"""Every command on models in the published layout, with the published vocabulary: BF16, and once float32."""

from __future__ import annotations

import json

import pytest

from trlt.files import read_log
from trlt.rollout import read_rows

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")

CASES = [("3b", "bfloat16"), ("7b", "bfloat16"), ("7b", "float32")]


@pytest.fixture(params=CASES, ids="-".join)
def model(request, published):
    """Flags of a model."""
    kind, dtype = request.param
    sets = (f"model.dtype={dtype}", "model.device=cpu", "video.workers=0", "video.max_tokens=64", "eval.think=false")
    return ["--model", published(kind, dtype), *(word for one in sets for word in ("--set", one))]


def test_infer(trlt, model, clips_and_samples):
    video = next(clips_and_samples.videos.rglob("*.mp4"))
    asked = ["--option", "a red circle", "--option", "a blue square", "--set", "eval.temperature=1", "--set", "eval.top_p=0.9"]
    found = trlt("infer", video, "what moves left?", *asked, *model, "--set", "eval.max_new_tokens=12", "--json")
    assert found["task"] == "multi_choice" and found["text"].startswith(("<answer>", "<observe>"))


def test_probe_earns_rewards(trlt, model, samples, clips_and_samples, tmp_path):
    sets = ["--set", "probe.answer_format=letter", "--set", "probe.max_new_tokens=16"]
    trlt("probe", "--data", samples, "--videos", clips_and_samples.videos, "-n", 8, *model, *sets, "--out", "probe", "--json")
    rows = list(read_rows(tmp_path / "probe" / "rows" / "probe.jsonl"))
    assert len(rows) == 6 and not [row for row in rows if row["error"]]
    rewards = [reward for row in rows for reward in row["rewards"]]
    assert max(rewards) > 0 and len(set(rewards)) > 1
    assert {row["task"] for row in rows if row["mean"] > 0} >= {"multi_choice"}


def test_eval(trlt, model, bench):
    where = ["--annotations", bench, "--videos", bench]
    sets = ["--set", "eval.max_new_tokens=12", "--set", "eval.temperature=1", "--set", "eval.top_p=0.99"]
    found = trlt("eval", "--bench", "charades", *where, *model, *sets, "--out", "eval", "--json")
    assert found["benchmarks"]["charades"]["n"] == 4


@pytest.mark.parametrize(
    ("kind", "method", "lora"),
    [("3b", "grpo", "null"), ("7b", "grpo", "{rank: 4}"), ("3b", "sft", "{rank: 4}"), ("7b", "sft", "null")],
)
def test_train(trlt, written, tmp_path, kind, method, lora):
    """Every pair of model and method, model and adapters, method and adapters; a run of all weights writes 4.7 GB."""
    found = trlt("train", written(kind, method, lora), "--out", "run", "--json")
    steps = read_log(tmp_path / "run" / "log.jsonl")
    assert found["steps"] == 2 and max(row["grad_norm"] for row in steps) > 0
    if method == "grpo":
        assert max(row["reward"] for row in steps) > 0 and max(row["reward_range"] for row in steps) > 0
        assert found["parity"]["mean"] < 0.03 and found["parity"]["largest"] < 0.2
    saved = tmp_path / "run" / "model"
    generation = json.loads((saved / "generation_config.json").read_text())
    assert sorted(generation["eos_token_id"]) == [151643, 151645]
