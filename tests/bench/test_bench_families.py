"""`bench.families` runs for every family that trlt knows, and finds trlt equal to the library."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from paths import ROOT

from trlt.engine.families import FAMILIES


def test_what_a_vllm_says_that_ends():
    from bench.families_vllm import last_words

    assert (
        last_words("[rank0]:   File x\n[rank0]: AssertionError: it needs BF16.\n[rank0]: \n\n")
        == "AssertionError: it needs BF16."
    )
    assert last_words("vLLM ended; its log:\nno [space]: left") == "no [space]: left"


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """One run for all families: what it says, the line of JSON at its end, and what it has kept."""
    out = tmp_path_factory.mktemp("families") / "made.json"
    command = [sys.executable, "-m", "bench.families", "--repeats", "1", "--threads", "1", "--json", "--out", str(out)]
    without = {key: value for key, value in os.environ.items() if key != "TRLT_VLLM_PYTHON"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=without)
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads(done.stdout.splitlines()[-1]), json.loads(out.read_text())


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_a_family_is_as_the_library_has_it(family, ran):
    said, metrics, kept = ran
    assert f"\n| {family.name} | equal | equal | equal | " in f"\n{said}"
    found = metrics["families"][family.name]
    assert found["ids"] and found["positions"] and found["greedy"] and found["saved"]
    # Not 0: that would be the same pass on both sides.
    assert 0 < found["logp_max_diff"] <= 2e-5 and 0 < found["grad_rel_diff"] <= 2e-5
    assert found["loss_diff"] <= 1e-6 and 0 < found["step_grad_diff"] <= 1e-4
    assert found["vllm"]["words"] == "not run"
    assert len(found["shared_s"]) == len(found["full_s"]) == 1
    assert found["ratio"] == pytest.approx(found["full_s"][0] / found["shared_s"][0])
    assert kept["families"].keys() == metrics["families"].keys() and kept["hardware"]["cores"] == os.cpu_count()
