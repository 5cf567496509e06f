"""Which lines of a vLLM server's log are told; in the forms that vLLM 0.32 writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from trlt.engine.vllm.server_log import reasons, said_last

FAILED = """\
(APIServer pid=7) INFO 11-30 14:37:01 [utils.py:233] non-default args: {'model': '/m', 'port': 18477}
(EngineCore pid=9) Process EngineCore:
(EngineCore pid=9) ERROR 11-30 14:37:33 [core.py:1111] EngineCore failed to start.
(EngineCore pid=9) ERROR 11-30 14:37:33 [core.py:1111] Traceback (most recent call last):
(EngineCore pid=9) ERROR 11-30 14:37:33 [core.py:1111]   File "worker.py", line 227, in determine_available_memory
(EngineCore pid=9) ERROR 11-30 14:37:33 [core.py:1111]     raise ValueError(
(EngineCore pid=9) ERROR 11-30 14:37:33 [core.py:1111] ValueError: Free memory on device (3.1/79.3 GiB) is less than desired
(EngineCore pid=9) Traceback (most recent call last):
(EngineCore pid=9) ValueError: Free memory on device (3.1/79.3 GiB) is less than desired
(APIServer pid=7) RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}
/usr/lib/python3.11/multiprocessing/resource_tracker.py:254: UserWarning: resource_tracker: There appear to be 1 leaked objects
  warnings.warn('resource_tracker: There appear to be %d '
"""
ECHO = "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}"
STARTING = """\
(EngineCore pid=9) INFO 11-30 14:37:05 [gpu_model_runner.py:4001] Starting to load model /m...
(EngineCore pid=9) \rLoading safetensors checkpoint shards:   0% Completed | 0/5\rshards:  40%|####  | 2/5 [00:02<00:03]
/usr/lib/python3.11/site-packages/torch/x.py:1: UserWarning: something
"""


def lines(text: str, place: Path) -> Path:
    place.write_text(text)
    return place


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (FAILED, ["ValueError: Free memory on device (3.1/79.3 GiB) is less than desired"]),
        # Nothing else is there: then that a process has failed is told at least.
        (FAILED.splitlines()[9], [ECHO]),
        (
            "usage: api_server.py [-h]\napi_server.py: error: unrecognized arguments: --new\n",
            ["api_server.py: error: unrecognized arguments: --new"],
        ),
        (
            "pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig\n  Value error, no such dtype\n",
            ["pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig", "Value error, no such dtype"],
        ),
        ("".join(f"line {i}\n" for i in range(20)), [f"line {i}" for i in range(12, 20)]),
        ("", []),
    ],
)
def test_the_lines_that_say_why(tmp_path, text, expected):
    assert reasons(lines(text, tmp_path / "vllm.log")) == expected


def test_the_step_that_it_is_at(tmp_path):
    assert said_last(lines(STARTING, tmp_path / "vllm.log")) == "shards:  40%|####  | 2/5 [00:02<00:03]"
    assert said_last(lines(STARTING.splitlines()[0], tmp_path / "vllm.log")) == "Starting to load model /m..."
    assert said_last(tmp_path / "none.log") == ""
