"""Two processes that share the weights by DeepSpeed learn what one learns; only where DeepSpeed is installed."""

# ruff: noqa: F811  (fixtures that are imported)

from __future__ import annotations

import importlib.util
import json

import forked_ranks
import pytest
from safetensors.torch import load_file
from test_exactness import (
    ENVIRONMENT,
    SHORT_CHUNKS,
    alone,  # noqa: F401
    apart,
    assert_equal,
    data,  # noqa: F401
    killed_in_the_midst,
    read,
    recipe,  # noqa: F401
    start,
    untied,  # noqa: F401
)

from trlt.engine.model import load
from trlt.recipe import Model

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("deepspeed") is None, reason="DeepSpeed isn't installed"),
    pytest.mark.filterwarnings("ignore"),
]

EVERYTHING_IN_SLICES = {
    **dict.fromkeys(("train_batch_size", "train_micro_batch_size_per_gpu"), "auto"),
    **dict.fromkeys(("gradient_accumulation_steps", "gradient_clipping"), "auto"),
    "zero_optimization": {
        "stage": 3,
        "stage3_param_persistence_threshold": 0,
        "stage3_max_live_parameters": 0,
        "stage3_max_reuse_distance": 0,
        "stage3_gather_16bit_weights_on_model_save": True,
    },
}
"""By default DeepSpeed keeps small weights whole, and gathered ones for a while: all of a miniature."""


@pytest.fixture(autouse=True)
def slices(request, tmp_path, monkeypatch):
    """Has every weight shared out by ZeRO-3, and gathered anew for each call."""
    if "zero2" not in request.node.name:
        path = tmp_path / "deepspeed.json"
        path.write_text(json.dumps(EVERYTHING_IN_SLICES))
        monkeypatch.setenv("ACCELERATE_DEEPSPEED_CONFIG_FILE", str(path))


@pytest.mark.parametrize("method", ["grpo", "sft"])
@pytest.mark.parametrize(("strategy", "checkpointing"), [("zero2", "false"), ("zero3", "true")])
def test_two_equal_one_though_one_of_them_is_killed(alone, recipe, tmp_path, method, strategy, checkpointing):
    folder, path = tmp_path / "run", recipe(method, processes=2, strategy=strategy, checkpointing=checkpointing, steps=6)
    kept = killed_in_the_midst(path, folder, after=3)
    run = start(path, folder)
    assert run.wait() == 0, run.stderr.read().decode()
    assert (folder / "log.jsonl").read_text().startswith(kept), "it went on from a checkpoint"
    assert_equal(folder, alone(method), 1e-4, steps=6)
    final = load_file(folder / "model" / "model.safetensors")
    assert apart(final, read(folder, steps=6)[1]) == 0 and "lm_head.weight" not in final
    load(Model(path=str(folder / "model"), dtype="float32", device="cpu"))


def test_answers_of_any_length_keep_the_processes_together(alone, recipe, untied, tmp_path):
    path = recipe("grpo", processes=2, model=untied, strategy="zero3", steps=6)
    job = {"arguments": ["train", str(path), "--out", str(tmp_path / "run")], "code": SHORT_CHUNKS + forked_ranks.TRAIN}
    forked_ranks.run(tmp_path, {"chunks": job}, ENVIRONMENT)
    assert json.loads((tmp_path / "chunks" / "codes.json").read_text()) == [0, 0], (tmp_path / "chunks" / "0.txt").read_text()
    assert_equal(tmp_path / "run", alone("grpo", untied), 1e-4, steps=6)
