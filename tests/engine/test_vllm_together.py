"""A failure of one of several processes ends all, each at the same place."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from trlt.commands.launch.train_processes import free_port
from trlt.engine.vllm.together import together
from trlt.errors import DataError, ModelError

CODE = """
import os
from accelerate import PartialState
from trlt.engine.vllm.together import together
from trlt.errors import ModelError, ParityError, TrltError
place = PartialState(cpu=True).process_index
with together():
    pass
for error in (ModelError("vLLM's process ended"), OSError("no space"), None):
    try:
        with together():
            if place == 1 and error:
                raise error
        print("goes on")
    except (TrltError, OSError) as error:
        print(type(error).__name__, getattr(error, "exit_code", None), error)
PartialState().destroy_process_group()
"""


@pytest.mark.slow
def test_the_others_say_who_failed_and_why():
    env = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    both = [
        subprocess.Popen(
            [sys.executable, "-c", CODE], env={**env, "RANK": str(i), "LOCAL_RANK": str(i)}, stdout=subprocess.PIPE, text=True
        )
        for i in range(2)
    ]
    try:
        said = [process.communicate(timeout=120)[0].splitlines() for process in both]
    finally:
        for process in both:
            process.kill()
    assert said[1] == ["ModelError 5 vLLM's process ended", "OSError None no space", "goes on"]
    assert said[0] == [
        "TrltError 5 process 1 failed, and so all end: vLLM's process ended",
        "TrltError 1 process 1 failed, and so all end: no space",
        "goes on",
    ]


def test_a_process_alone_fails_as_it_does():
    with pytest.raises(ModelError, match="^its own$"), together():
        raise ModelError("its own")
    with pytest.raises(DataError, match="^another$"), together():
        raise DataError("another")
    with together():
        pass
