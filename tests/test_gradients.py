"""The gradient of a second step, when the policy has left the reference, against the papers' formulas."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import plain_grpo
import pytest
import torch
from second_step import recipe_of, record
from test_exactness import ENVIRONMENT

from trlt.commands._launch import free_port

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")
CLOSE = 1e-5
LOSSES = {
    "grpo": ["train.loss=grpo"],
    "bnpo": ["train.loss=bnpo"],
    "dapo": ["train.loss=dapo"],
    "grpo, k3_corrected": ["train.kl=k3_corrected"],
    "dr_grpo": ["train.loss=dr_grpo", "train.scale_rewards=none"],
}
PASSES = {
    "a prompt a pass": ["train.prompts_per_pass=1"],
    "two prompts a pass": ["train.prompts_per_pass=2"],
    "by tokens": ["train.tokens_per_pass=400"],
}

OF_TWO = {
    "a prompt a pass": ["train.prompts_per_pass=1"],
    "by tokens": ["train.tokens_per_pass=400", "train.prompts_per_step=6"],
}
"""The same for two processes: three prompts each make two passes, and a turn without any."""


@pytest.mark.parametrize("passes", PASSES)
@pytest.mark.parametrize("name", LOSSES)
def test_it_is_the_formulas(tiny_path, clips_and_samples, material, tmp_path, name, passes):
    sets = [*LOSSES[name], *PASSES[passes]]
    found = record(tiny_path, clips_and_samples.samples, clips_and_samples.videos, sets, tmp_path / "run")
    wanted = plain_grpo.gradient([found], tiny_path, material, recipe_of(sets).train)
    gap = plain_grpo.apart(found["gradient"], wanted)
    sizes = [len(some) for some in found["passes"]]
    sys.stdout.write(f"{name}, {passes}: {gap:.2e} apart, {sizes} groups a pass\n")
    assert len(sizes) > 1 and (len(set(sizes)) > 1) == (passes == "by tokens"), "several passes, by tokens unlike ones"
    assert gap <= CLOSE


@pytest.fixture(scope="module")
def by_two(tiny_path, clips_and_samples, tmp_path_factory):
    """What two processes (DDP on gloo) recorded: `by_two(name, passes)`, a record a process. All runs in one start of both."""
    root = tmp_path_factory.mktemp("two")
    runs = {f"{name}, {passes}": [*LOSSES[name], *OF_TWO[passes]] for name in LOSSES for passes in OF_TWO}
    told = {
        "tiny": str(tiny_path),
        "samples": str(clips_and_samples.samples),
        "videos": str(clips_and_samples.videos),
        "runs": runs,
        "out": str(root),
    }
    (root / "settings.json").write_text(json.dumps(told))
    meeting = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    command = [sys.executable, str(Path(__file__).parent / "second_step.py"), str(root / "settings.json")]
    places = [{"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in (0, 1)]
    processes = [
        subprocess.Popen(command, env={**os.environ, **ENVIRONMENT, **meeting, **place}, stderr=subprocess.PIPE)
        for place in places
    ]
    try:
        ended = [process.communicate(timeout=600)[1].decode() for process in processes]
        assert [process.returncode for process in processes] == [0, 0], ended[0][-3000:] + ended[1][-3000:]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    return lambda name, passes: [torch.load(root / f"{name}, {passes}" / f"rank{rank}.pt") for rank in (0, 1)]


@pytest.mark.slow
@pytest.mark.parametrize("passes", OF_TWO)
@pytest.mark.parametrize("name", LOSSES)
def test_two_processes_follow_the_formulas_of_one_step(by_two, tiny_path, material, name, passes):
    found = by_two(name, passes)
    assert all(torch.equal(value, found[1]["gradient"][key]) for key, value in found[0]["gradient"].items())
    wanted = plain_grpo.gradient(found, tiny_path, material, recipe_of([*LOSSES[name], *OF_TWO[passes]]).train)
    gap = plain_grpo.apart(found[0]["gradient"], wanted)
    sizes = [[len(some) for some in one["passes"]] for one in found]
    sys.stdout.write(f"{name}, {passes}, two processes: {gap:.2e} apart, {sizes} groups a pass\n")
    assert sizes == [[1, 1]] * 2 or all(len(some) == 2 and sum(some) == 3 for some in sizes)
    assert gap <= CLOSE
