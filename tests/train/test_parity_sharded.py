"""Where two processes share the weights, what is checked is what draws and what learns: the whole copy, and the slices."""

# ruff: noqa: F811  (fixtures that are imported)

from __future__ import annotations

import json

import forked_ranks
import pytest
from test_exactness import (
    ENVIRONMENT,
    data,  # noqa: F401
    recipe,  # noqa: F401
)

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


CASES = {
    "bfloat16": {},
    "float32": {"dtype": "float32"},
    "without-slices": {"strategy": "ddp"},
    "a-number-differs": {"code": ONE_NUMBER % "0.01"},
    "a-layer-is-stale": {"code": STALE},
    "scores-otherwise": {"code": ONE_NUMBER % "1.0" + UNSEEN, "dtype": "float32"},
}


@pytest.fixture(scope="module")
def ran(recipe, tmp_path_factory):
    """The folder in which each case was trained by two processes, all of them forks of one; see `forked_ranks`."""
    root, jobs = tmp_path_factory.mktemp("cases"), {}
    for name, case in CASES.items():
        case = {"code": "", "dtype": "bfloat16"} | case
        path = recipe("grpo", processes=2, steps=2, **{key: case[key] for key in ("dtype", "strategy") if key in case})
        path.write_text(path.read_text().replace("learning_rate: 1e-3", "learning_rate: 1e-6"))
        arguments = ["train", str(path), "--out", str(root / name / "run")]
        environment = {"SEEN": str(root / name)}
        jobs[name] = {"code": WATCHED + case["code"] + forked_ranks.TRAIN, "arguments": arguments, "environment": environment}
    forked_ranks.run(root, jobs, ENVIRONMENT)
    return root


@pytest.fixture
def go(ran):
    """`go("bfloat16")` gives a case's exit codes, what its processes said, and what was seen."""

    def get(name):
        seen = [json.loads((ran / name / rank).read_text()) for rank in "01" if (ran / name / rank).exists()]
        said = "".join((ran / name / f"{rank}.txt").read_text() for rank in (0, 1))
        return json.loads((ran / name / "codes.json").read_text()), said, seen

    return get


@pytest.mark.parametrize(("dtype", "drawn"), [("bfloat16", "torch.bfloat16"), ("float32", "torch.float32")])
def test_the_copy_draws_and_the_slices_learn(go, ran, dtype, drawn):
    codes, said, seen = go(dtype)
    assert codes == [0, 0], said
    for one in seen:
        assert set(one["draws"]) == {drawn} and not one["drawn_by_slices"]
        assert set(one["learns"]) == {"torch.float32"} and one["learnt_by_slices"]
        assert one["tokens"] > 20
        assert 0 < one["largest"] < 1e-4 if dtype == "float32" else 1e-3 < one["largest"] < 0.5
    result = json.loads((ran / dtype / "run/result.json").read_text())
    assert result["parity"]["largest"] == seen[0]["largest"] and result["steps"] == 2


def test_without_slices_the_weights_themselves_draw_under_autocast(go):
    codes, said, seen = go("without-slices")
    assert codes == [0, 0], said
    for one in seen:
        assert set(one["draws"]) == set(one["learns"]) == {"torch.float32"} and not one["learnt_by_slices"]
        assert 1e-3 < one["largest"] < 0.5, "BF16 is computed in"


def test_one_number_of_the_copy_that_differs(go):
    codes, said, seen = go("a-number-differs")
    assert 6 in codes and not seen
    assert "step 0: 1 weights that draw completions aren't those that are trained (" in said
    assert "layers.0.mlp.down_proj.weight for one" in said


def test_a_layers_weight_that_is_stale_by_one_update(go):
    """At the published learning rate, which moves few numbers of a BF16 weight."""
    codes, said, seen = go("a-layer-is-stale")
    assert 6 in codes and len(seen) == 2, "the check before the first step had nothing to find"
    assert "step 1: 1 weights that draw completions aren't those that are trained (" in said
    assert "layers.1.self_attn.q_proj.weight for one" in said


def test_a_copy_that_scores_otherwise(go):
    codes, said, seen = go("scores-otherwise")
    assert 6 in codes and not seen
    assert "log-probabilities differ between rollout and trainer: up to" in said and "that float32 explains is" in said
