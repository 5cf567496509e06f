"""What a command names as the next one is typed as it stands, and works."""

from __future__ import annotations

import shlex

import pytest

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")
SETS = "probe.max_new_tokens=4 select.by=random train.max_new_tokens=4 train.group_size=2 train.gradient_checkpointing=false"


def test_each_next_command_works(trlt, fast, clips_and_samples, tmp_path):
    sets = [*(word for one in SETS.split() for word in ("--set", one)), "--set", "video.max_tokens=32"]
    words = ["probe", "--data", clips_and_samples.samples, "--videos", clips_and_samples.videos, "-n", "4", *sets, *fast]
    done = []
    for _ in range(4):
        said = trlt(*words, "--out", "a folder") if words[0] == "probe" and not done else trlt(*words)
        done.append(words[0])
        program, *words = shlex.split(said.split("Next: ")[1])
        assert program == "trlt"
    assert done == ["probe", "select", "train", "probe"]
