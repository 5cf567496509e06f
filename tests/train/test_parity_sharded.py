"""Where two processes share the weights, what is checked is what draws and what learns: the whole copy, and the slices."""

# ruff: noqa: F811  (fixtures that are imported)

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from test_exactness import (
    ENVIRONMENT,
    data,  # noqa: F401
    recipe,  # noqa: F401
)

from trlt.commands.launch.train_processes import free_port

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

WATCHED = """
import json, os, sys
from contextlib import contextmanager
from pathlib import Path
from trlt.train import grpo, grpo_run
from trlt.engine.sharding import WholeCopy, is_sharded

plain, honest = grpo_run.check, WholeCopy.filled

def check(engine, processor, clips, make, trainer, sampling):
    found = plain(engine, processor, clips, make, trainer, sampling)
    seen = {
        "draws": [str(weight.dtype) for weight in engine.model.parameters()],
        "drawn_by_slices": is_sharded(engine.model),
        "learns": [str(weight.dtype) for weight in trainer.model.parameters()],
        "learnt_by_slices": is_sharded(trainer.model),
        "largest": found.largest, "mean": found.mean, "tokens": found.tokens,
    }
    Path(os.environ["SEEN"], os.environ["RANK"]).write_text(json.dumps(seen))
    return found

grpo_run.check = check
"""
ONE_NUMBER = """
@contextmanager
def filled(self, model):
    with honest(self, model) as copy:
        copy.model.language_model.layers[0].mlp.down_proj.weight.data[-1, -1] += %s
        yield copy

WholeCopy.filled = filled
"""
UNSEEN = "WholeCopy.strays = lambda self, model: []\n"
"""Leaves it to the log-probabilities to notice."""
STALE = """
kept = []

@contextmanager
def filled(self, model):
    with honest(self, model) as copy:
        name = "model.language_model.layers.1.self_attn.q_proj.weight"
        kept.append(copy.get_parameter(name).detach().clone())
        copy.get_parameter(name).data.copy_(kept[0])
        yield copy

WholeCopy.filled = filled
"""
"""One layer's weight stays what it was at the start."""
MAIN = "from trlt.cli import main\nmain()\n"


@pytest.fixture
def go(recipe, tmp_path):
    """`go(code, dtype="bfloat16")` trains in two processes; gives their exit codes, what they said, and what was seen."""

    def start(code="", *, dtype="bfloat16", **changes):
        path = recipe("grpo", processes=2, steps=2, **changes)
        text = path.read_text().replace("dtype: float32", f"dtype: {dtype}")
        path.write_text(text.replace("learning_rate: 1e-3", "learning_rate: 1e-6"))
        meeting = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
        command = [sys.executable, "-c", WATCHED + code + MAIN, "train", str(path), "--out", str(tmp_path / "run")]
        places = [{"RANK": str(rank), "LOCAL_RANK": str(rank), "SEEN": str(tmp_path)} for rank in (0, 1)]
        environments = [{**os.environ, **ENVIRONMENT, **meeting, **place} for place in places]
        processes = [subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True) for env in environments]
        try:
            said = [process.communicate(timeout=240)[1] for process in processes]
        finally:
            for process in processes:
                process.kill()
                process.wait()
        seen = [json.loads((tmp_path / rank).read_text()) for rank in "01" if (tmp_path / rank).exists()]
        return [process.returncode for process in processes], "".join(said), seen

    return start


@pytest.mark.parametrize(("dtype", "drawn"), [("bfloat16", "torch.bfloat16"), ("float32", "torch.float32")])
def test_the_copy_draws_and_the_slices_learn(go, tmp_path, dtype, drawn):
    codes, said, seen = go(dtype=dtype)
    assert codes == [0, 0], said
    for one in seen:
        assert set(one["draws"]) == {drawn} and not one["drawn_by_slices"]
        assert set(one["learns"]) == {"torch.float32"} and one["learnt_by_slices"]
        assert one["tokens"] > 20
        assert 0 < one["largest"] < 1e-4 if dtype == "float32" else 1e-3 < one["largest"] < 0.5
    result = json.loads((tmp_path / "run/result.json").read_text())
    assert result["parity"]["largest"] == seen[0]["largest"] and result["steps"] == 2


def test_without_slices_the_weights_themselves_draw_under_autocast(go):
    codes, said, seen = go(strategy="ddp")
    assert codes == [0, 0], said
    for one in seen:
        assert set(one["draws"]) == set(one["learns"]) == {"torch.float32"} and not one["learnt_by_slices"]
        assert 1e-3 < one["largest"] < 0.5, "BF16 is computed in"


def test_one_number_of_the_copy_that_differs(go):
    codes, said, seen = go(ONE_NUMBER % "0.01")
    assert 6 in codes and not seen
    assert "step 0: 1 weights that draw completions aren't those that are trained (" in said
    assert "layers.0.mlp.down_proj.weight for one" in said


def test_a_layers_weight_that_is_stale_by_one_update(go):
    """At the published learning rate, which moves few numbers of a BF16 weight."""
    codes, said, seen = go(STALE)
    assert 6 in codes and len(seen) == 2, "the check before the first step had nothing to find"
    assert "step 1: 1 weights that draw completions aren't those that are trained (" in said
    assert "layers.1.self_attn.q_proj.weight for one" in said


def test_a_copy_that_scores_otherwise(go):
    codes, said, seen = go(ONE_NUMBER % "1.0" + UNSEEN, dtype="float32")
    assert 6 in codes and not seen
    assert "log-probabilities differ between rollout and trainer: up to" in said and "that float32 explains is" in said
