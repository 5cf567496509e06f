"""The gradient of a second step, when the policy has left the reference, against the papers' formulas."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import product
from typing import get_args

import plain_grpo
import pytest
import torch
from paths import TESTS
from second_step import recipe_of, record
from test_exactness import ENVIRONMENT

from trlt.commands.launch.train_processes import free_port
from trlt.recipe.update import Correction

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")
CLOSE = 1e-5
LOSSES = {name: [f"train.algorithm={name}"] for name in ("grpo", "dapo", "dr_grpo", "cispo", "gspo")}
LOSSES["bnpo"] = ["train.loss=bnpo"]
"""With one update a batch, as here, ratios are 1: `gspo` is `grpo` then, and `cispo` is `dapo`."""
ADVANTAGES = {
    "rloo": ["train.algorithm=rloo"],
    "ema_grpo": ["train.algorithm=ema_grpo", "train.task_decay=0.7"],
    "batch": ["train.scale_rewards=batch"],
}
"""Those that differ in what their advantages are."""
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


@pytest.mark.parametrize(
    ("name", "passes"),
    [*product(LOSSES, ["a prompt a pass", "by tokens"]), ("bnpo", "two prompts a pass"), *product(ADVANTAGES, ["by tokens"])],
    ids=str,
)
def test_it_is_the_formulas(tiny_path, clips_and_samples, training_data, tmp_path, name, passes):
    sets = [*(LOSSES | ADVANTAGES)[name], *PASSES[passes]]
    found = record(tiny_path, clips_and_samples.samples, clips_and_samples.videos, sets, tmp_path / "run")
    wanted = plain_grpo.gradient([found], tiny_path, training_data, recipe_of(sets).train)
    gap = plain_grpo.apart(found["gradient"], wanted)
    sizes = [len(some) for some in found["passes"]]
    sys.stdout.write(f"{name}, {passes}: {gap:.2e} apart, {sizes} groups a pass\n")
    assert len(sizes) > 1 and (len(set(sizes)) > 1) == (passes == "by tokens"), "several passes, by tokens unlike ones"
    assert gap <= CLOSE


@pytest.mark.parametrize(
    "sets",
    [
        ["train.kl=k3_corrected"],
        ["train.mask_truncated=true"],
        ["train.mask_truncated=true", "train.loss=dapo"],
        ["train.mask_truncated=true", "train.loss=bnpo"],
        *([f"train.correction={mode}", "train.correction_cap=1.25"] for mode in get_args(Correction) if mode != "none"),
        ["train.correction=token_truncate", "train.correction_cap=1.25", "train.loss=cispo", "train.epsilon_high=5"],
        ["train.correction=sequence_mask", "train.correction_cap=1.25", "train.ratio_level=sequence"],
    ],
    ids=lambda sets: ",".join(sets).replace("train.", ""),
)
def test_what_else_a_recipe_can_say_is_the_formulas(tiny_path, clips_and_samples, training_data, tmp_path, sets):
    sets = [*sets, *PASSES["by tokens"]]
    found = record(tiny_path, clips_and_samples.samples, clips_and_samples.videos, sets, tmp_path / "run")
    train = recipe_of(sets).train
    wanted = plain_grpo.gradient([found], tiny_path, training_data, train)
    without = plain_grpo.gradient([found], tiny_path, training_data, recipe_of([*sets, *NEITHER]).train)
    gap, apart = plain_grpo.apart(found["gradient"], wanted), plain_grpo.apart(without, wanted)
    sys.stdout.write(f"{sets}: {gap:.2e} apart, {apart:.2e} without\n")
    assert gap <= CLOSE and apart > 1e-2


GIVEN = {
    "shaped": ["train.offline={data: FILE, per_group: 2, gamma: 0.2}"],
    "truncated": ["train.offline={data: FILE, weights: truncated}", "train.correction_cap=1.5", "train.beta=0"],
    "beside a correction": ["train.offline={data: FILE}", "train.correction=token_truncate", "train.loss=dapo"],
}


@pytest.mark.parametrize("sets", GIVEN.values(), ids=GIVEN)
def test_given_answers_add_what_their_formulas_say(tiny_path, clips_and_samples, training_data, tmp_path, sets):
    """LUFFY's objective itself is what is differentiated there; here TRL's loss is, with weights."""
    known = "truncated" in sets[0]
    with (path := tmp_path / "answers.jsonl").open("w") as out:
        for number, sample in enumerate(training_data.samples):
            for text in ("it is there", "she left", "no")[: number % 4]:
                line = {"id": sample.id, "text": text}
                tokens = training_data.builder.encode(text)
                out.write(
                    json.dumps(line | ({"logps": [-3.0 - 2 * (i % 3) for i in range(len(tokens) + 1)]} if known else {})) + "\n"
                )
    sets = [*(one.replace("FILE", str(path)) for one in sets), *PASSES["by tokens"]]
    found = record(tiny_path, clips_and_samples.samples, clips_and_samples.videos, sets, tmp_path / "run")
    train = recipe_of(sets).train
    given = [sum(group["given"]) for group in found["groups"]]
    assert all(some <= train.offline.per_group for some in given) and sum(given) >= 2
    assert all(len(group["given"]) == 4 and sorted(group["given"]) == group["given"] for group in found["groups"])
    gap = plain_grpo.apart(found["gradient"], plain_grpo.gradient([found], tiny_path, training_data, train))
    sys.stdout.write(f"{sets}: {gap:.2e} apart, {given} given\n")
    assert gap <= CLOSE


NEITHER = ["train.kl=k3", "train.mask_truncated=false", "train.correction=none"]


@pytest.mark.parametrize("sets", [*LOSSES.values(), ["train.epsilon_high=0.35"]], ids=",".join)
def test_ratios_that_are_not_1_are_clipped_as_the_formulas_say(tiny_path, clips_and_samples, training_data, tmp_path, sets):
    """No update is made from an earlier policy's completions yet; here tokens come with log-probabilities as if one had."""
    found = record(tiny_path, clips_and_samples.samples, clips_and_samples.videos, sets, tmp_path / "run", old=True)
    train = recipe_of(sets).train
    wanted = plain_grpo.gradient([found], tiny_path, training_data, train, old=True)
    gap = plain_grpo.apart(found["gradient"], wanted)
    apart = plain_grpo.apart(plain_grpo.gradient([found], tiny_path, training_data, train), wanted)
    sys.stdout.write(f"{sets}: {gap:.2e} apart, {apart:.2e} at ratios of 1\n")
    assert gap <= CLOSE and apart > 1e-2


BY_TWO = [*product(LOSSES, OF_TWO), *product(ADVANTAGES, ["by tokens"])]


@pytest.fixture(scope="module")
def by_two(tiny_path, clips_and_samples, tmp_path_factory):
    """What two processes (DDP on gloo) recorded: `by_two(name, passes)`, a record a process. All runs in one start of both."""
    root = tmp_path_factory.mktemp("two")
    runs = {f"{name}, {passes}": [*(LOSSES | ADVANTAGES)[name], *OF_TWO[passes]] for name, passes in BY_TWO}
    told = {
        "tiny": str(tiny_path),
        "samples": str(clips_and_samples.samples),
        "videos": str(clips_and_samples.videos),
        "runs": runs,
        "out": str(root),
    }
    (root / "settings.json").write_text(json.dumps(told))
    meeting = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    command = [sys.executable, str(TESTS / "second_step.py"), str(root / "settings.json")]
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
@pytest.mark.parametrize(("name", "passes"), BY_TWO, ids=str)
def test_two_processes_follow_the_formulas_of_one_step(by_two, tiny_path, training_data, name, passes):
    found = by_two(name, passes)
    assert all(torch.equal(value, found[1]["gradient"][key]) for key, value in found[0]["gradient"].items())
    wanted = plain_grpo.gradient(
        found, tiny_path, training_data, recipe_of([*(LOSSES | ADVANTAGES)[name], *OF_TWO[passes]]).train
    )
    gap = plain_grpo.apart(found[0]["gradient"], wanted)
    sizes = [[len(some) for some in one["passes"]] for one in found]
    sys.stdout.write(f"{name}, {passes}, two processes: {gap:.2e} apart, {sizes} groups a pass\n")
    assert sizes == [[1, 1]] * 2 or all(len(some) == 2 and sum(some) == 3 for some in sizes)
    assert gap <= CLOSE
