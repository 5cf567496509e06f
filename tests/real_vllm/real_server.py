"""The real vLLM as an HTTP server, in a process group of its own and from an environment of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from paths import TESTS

from trlt.engine.model import miniature_path

PYTHON = os.environ.get("TRLT_VLLM_PYTHON", "")
"""Of the environment that holds vLLM."""
needs_vllm = pytest.mark.skipif(
    not PYTHON,
    reason="left out: the real vLLM, which `make test-vllm` installs, unless TRLT_VLLM_PYTHON names its Python",
)
FAULTS = TESTS / "real_vllm" / "faults"
START_S = 900
"""A busy machine must not fail a test; on an idle one it takes 40."""
TRUSTING = "--trust-request-mm-kwargs"


def with_fault(name: str) -> dict[str, str]:
    """Environment in which vLLM has a fault of `faults/sitecustomize.py`."""
    return {"PYTHONPATH": str(FAULTS), "TRLT_VLLM_FAULT": name}


class RealServer:
    """A server of `vllm.entrypoints.openai.api_server`; started with the object, to be waited for and stopped.

    Args:
        folder: Gets its log.
        model: Folder of the model.
        dtype: Precision it computes in.
        template: File of a chat template in place of the model's own.
        trusting: Whether requests may say how their frames are processed; trlt's have to.
        env: Added to this process's environment.
    """

    def __init__(
        self,
        folder: Path,
        *,
        model: Path | None = None,
        dtype: str = "float32",
        template: Path | None = None,
        trusting: bool = True,
        env: dict[str, str] | None = None,
    ) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url, self.log = f"http://127.0.0.1:{self.port}", folder / f"vllm-{self.port}.log"
        self._command = [
            *(PYTHON, "-m", "vllm.entrypoints.openai.api_server", "--model", str(model or miniature_path("miniature"))),
            *("--served-model-name", "served", "--host", "127.0.0.1", "--port", str(self.port), "--dtype", dtype),
            *("--max-model-len", "2048", "--enforce-eager", "--limit-mm-per-prompt", '{"image": 0, "video": 1}'),
            # On the CPU, seeds of requests and prefills in chunks end vLLM's engine.
            *("--no-enable-chunked-prefill", "--max-num-batched-tokens", "2048"),
            *((TRUSTING,) if trusting else ()),
            *(("--chat-template", str(template)) if template else ()),
        ]
        self._env = os.environ | {"VLLM_HOST_IP": "127.0.0.1", "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1"}
        # One thread each would be too few here, and vLLM counts for itself.
        self._env = {key: value for key, value in self._env.items() if key != "OMP_NUM_THREADS"} | (env or {})
        self.start()

    def start(self) -> None:
        """Starts it, at the same address as before."""
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(self._command, stdout=out, stderr=out, env=self._env, start_new_session=True)

    def wait(self) -> RealServer:
        """Waits until it is well."""
        for _ in range(2 * START_S):
            try:
                urllib.request.urlopen(f"{self.url}/health", timeout=2).close()
                return self
            except OSError:
                assert self.process.poll() is None, f"vLLM ended:\n{self.log.read_text()[-3000:]}"
                time.sleep(0.5)
        raise AssertionError(f"vLLM isn't well after {START_S} s:\n{self.log.read_text()[-3000:]}")

    def children(self, name: str) -> list[int]:
        """Processes of its group that carry a name."""
        lines = subprocess.run(
            ["ps", "-o", "pid=,args=", "-g", str(self.process.pid)], capture_output=True, text=True, check=False
        )
        return [int(line.split()[0]) for line in lines.stdout.splitlines() if name in line]

    def stop(self) -> None:
        """Ends it with all that it has started."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
