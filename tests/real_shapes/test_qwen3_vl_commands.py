"""Qwen3-VL and its mixture of experts in the published layout, with the published vocabulary, by the commands in BF16."""

from __future__ import annotations

import json

import pytest
from real_shapes.qwen3_vl import SHAPES

from trlt.files import read_log
from trlt.rollout import read_rows

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")
SETS = ("model.dtype=bfloat16", "model.device=cpu", "video.workers=0", "video.max_tokens=64")


@pytest.mark.parametrize("kind", SHAPES)
def test_probe(trlt, published, samples, clips_and_samples, tmp_path, kind):
    """The first completion is compared with the library's own forward before any row is written."""
    folder = published(kind, "bfloat16")
    said = json.loads((folder / "tokenizer_config.json").read_text())
    assert said["model_max_length"] == int(1e30), "as transformers writes it, in 31 digits"
    sets = [word for one in (*SETS, "probe.answer_format=letter", "probe.max_new_tokens=12") for word in ("--set", one)]
    asked = ("--data", samples, "--videos", clips_and_samples.videos, "-n", 4, "--model", folder)
    trlt("probe", *asked, *sets, "--out", "probe", "--json")
    rows = list(read_rows(tmp_path / "probe" / "rows" / "probe.jsonl"))
    assert len(rows) == 6 and not [row for row in rows if row["error"]]
    if not SHAPES[kind].experts:  # whose last layer knows how answers begin
        assert any(text.startswith(("<answer>", "<observe>")) for row in rows for text in row["texts"])


@pytest.mark.parametrize("method", ["grpo", "sft"])
def test_train(trlt, written, tmp_path, method):
    found = trlt("train", written("4b", method, "{rank: 4}"), "--out", "run", "--json")
    steps = read_log(tmp_path / "run" / "log.jsonl")
    assert found["steps"] == 2
    if method == "grpo":
        assert found["parity"]["mean"] < 0.03 and found["parity"]["largest"] < 0.2
    else:  # a random model earns no reward, and learns from targets alone
        assert max(row["grad_norm"] for row in steps) > 0
