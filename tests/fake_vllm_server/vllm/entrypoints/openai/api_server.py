"""Stands for vLLM's server program: takes the options that vLLM 0.32.0 has and no others, and answers as `fake_server.py` does.

It notes its options and environment in the folder FAKE_VLLM_TOLD, with the ids of its process and of one that it starts, as
vLLM starts its engine. FAKE_VLLM_FAULT names what goes wrong; with FAKE_VLLM_ANSWERS, the model in `--model` answers.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(HERE.parent))

from fake_server import Handler, Server, State  # noqa: E402

KNOWN = (HERE / "flags-0.32.txt").read_text().splitlines()
MARKED = "<|vision_start|><|video_pad|><|vision_end|>"
FAULT = os.environ.get("FAKE_VLLM_FAULT", "")
REFUSED = """(APIServer pid=7) INFO 11-30 14:37:01 [utils.py:233] non-default args: {}
(EngineCore pid=9) ERROR 11-30 14:37:33 [core.py:1111] EngineCore failed to start.
(EngineCore pid=9) ERROR 11-30 14:37:33 [core.py:1111] Traceback (most recent call last):
(EngineCore pid=9) ERROR 11-30 14:37:33 [core.py:1111]   File "worker.py", line 227, in determine_available_memory
(EngineCore pid=9) ERROR 11-30 14:37:33 [core.py:1111] ValueError: Free memory on device (3.1/79.3 GiB) is less than desired
(APIServer pid=7) Traceback (most recent call last):
(APIServer pid=7)   File "utils.py", line 1431, in wait_for_engine_startup
(APIServer pid=7) RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {'EngineCore': 1}
"""
DIED = """(EngineCore pid=9) ERROR 11-30 14:39:01 [core.py:999] Traceback (most recent call last):
(EngineCore pid=9) ERROR 11-30 14:39:01 [core.py:999] RuntimeError: CUDA error: an illegal memory access was encountered
(APIServer pid=7) ERROR 11-30 14:39:02 [async_llm.py:700] EngineDeadError: EngineCore encountered an issue.
"""


class Dying(Handler):
    def chat(self, body: dict[str, Any]) -> None:
        if FAULT == "die" and "Question" in body["messages"][-1]["content"][1]["text"]:
            sys.stderr.write(DIED)
            sys.stderr.flush()
            os._exit(1)
        super().chat(body)


def is_held(port: int) -> bool:
    """Whether another program couldn't have the port now."""
    with socket.socket() as other:
        try:
            other.bind(("127.0.0.1", port))
        except OSError:
            return True
        return False


def main() -> None:
    parser = argparse.ArgumentParser(prog="api_server.py", allow_abbrev=False)
    for name in ("model", "served-model-name", "host", "dtype", "generation-config"):
        parser.add_argument(f"--{name}", required=True)
    for name in ("port", "max-model-len", "max-num-batched-tokens", "max-num-seqs", "max-logprobs"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--limit-mm-per-prompt", type=json.loads, required=True)
    parser.add_argument("--gpu-memory-utilization", type=float)
    parser.add_argument("--chat-template")
    for name in ("trust-request-mm-kwargs", "disable-uvicorn-access-log", "enforce-eager", "no-enable-chunked-prefill"):
        parser.add_argument(f"--{name}", action="store_true")
    given = parser.parse_args()
    assert {word for word in sys.argv[1:] if word.startswith("--")} <= set(KNOWN)
    assert given.trust_request_mm_kwargs, "requests would be refused"
    if FAULT == "start":
        sys.stderr.write(REFUSED)
        sys.exit(1)
    engine = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    told = Path(os.environ["FAKE_VLLM_TOLD"], f"{given.port}.json")
    env = {name: os.environ.get(name) for name in ("CUDA_VISIBLE_DEVICES", "VLLM_NO_USAGE_STATS", "HF_HUB_OFFLINE", "RANK")}
    told_all = {"args": vars(given), "env": env, "key": os.environ["VLLM_API_KEY"], "pids": [os.getpid(), engine.pid]}
    text = json.dumps(told_all | {"held": is_held(given.port)})
    # In one step: whoever waits for the file reads it at once.
    told.with_suffix(".new").write_text(text)
    told.with_suffix(".new").rename(told)
    if FAULT == "hang":
        time.sleep(600)
    os.environ["FAKE_KEY"] = os.environ["VLLM_API_KEY"]
    server = Server((given.host, given.port), Dying)
    model = given.model if os.environ.get("FAKE_VLLM_ANSWERS") else None
    server.state = State(kind="vllm", name=given.served_model_name, model=model, root=given.model, video={})
    # vLLM renders by the file that it is given, or else by the folder's own; the model here was loaded by trlt, which rewrites.
    template = Path(given.chat_template or Path(given.model, "chat_template.jinja")).read_text()
    if model and MARKED in template and MARKED not in server.state.loaded.processor.chat_template:
        server.state.traits.add("outer")
    sys.stderr.write("INFO:     Application startup complete.\n")
    sys.stderr.flush()
    server.serve_forever()


if __name__ == "__main__":
    main()
