"""The trainer's handle of a vLLM process: starts it, asks it, ends it. POSIX only."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from trlt.engine.vllm import host
from trlt.engine.vllm.environment import standing_alone, visible_gpus
from trlt.errors import ModelError
from trlt.recipe import advice

SHOWN = 8
"""Last lines of a log that an error shows,"""
WIDTH = 240
"""and the characters of each: vLLM prints its whole configuration as one line."""
TELLING = re.compile(r"Error\b|Exception\b|\berror\b|Fatal|CRITICAL|ERROR|terminate called|what\(\)|out of memory")
"""A line that says what went wrong; vLLM may write a page of other things after it."""
HARD = " (as the system does where memory runs out; train.vllm.memory is the share that vLLM takes)"
SHARE = re.compile(r"gpu.memory.utilization|kv.?cache|out of memory|available memory", re.IGNORECASE)
"""What fails for too much or too little memory."""


class HostProcess:
    """A vLLM process.

    Args:
        python: Of the environment that holds vLLM.
        settings: Of `host.Host`.
        device: Where vLLM computes.
        log: Gets what vLLM writes.

    Raises:
        ModelError: it can't be started, has no vLLM, or vLLM refuses the model.
    """

    def __init__(self, python: str, settings: Mapping[str, Any], device: torch.device, log: Path) -> None:
        self._python, self._log = python, log
        log.parent.mkdir(parents=True, exist_ok=True)
        # What an earlier run has left there is none of this one's words.
        self._begin = log.stat().st_size if log.exists() else 0
        # A Python of its own: each release of vLLM pins one torch, and none of them the one that trlt needs.
        command = [python, str(Path(host.__file__).resolve()), json.dumps(settings)]
        try:
            with log.open("ab") as out:
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=out,
                    bufsize=0,
                    env=_environment(device),
                    # Ctrl-C reaches the trainer alone, which then decides; and
                    # `close` can end the whole group, with what vLLM has started.
                    start_new_session=True,
                )
        except OSError as error:
            raise ModelError(
                f"train.vllm.python: {python} can't be started ({error.strerror}); give the Python of an environment that "
                "holds vLLM, e.g. /path/to/vllm-env/bin/python"
            ) from None
        try:
            self._receive()
        except BaseException:
            self.close()
            raise

    def ask(self, message: Mapping[str, Any], *parts: bytes | memoryview) -> dict[str, Any]:
        """The answer to a message.

        Raises:
            ModelError: vLLM failed, or its process ended.
        """
        assert self._process.stdin is not None
        try:
            host.send(self._process.stdin.fileno(), message, *parts)
            return self._receive()
        except BrokenPipeError:
            raise self._ended() from None
        except BaseException:
            # Interrupted half-way: what is left in the pipe would be taken for the next answer.
            self.close()
            raise

    @property
    def runs(self) -> bool:
        """Whether it can be asked."""
        return self._process.poll() is None

    def close(self) -> None:
        """Ends the process, with whatever it has started."""
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def _receive(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        try:
            answer, _ = host.receive(self._process.stdout.fileno())
        except EOFError:
            raise self._ended() from None
        if answer.get("missing"):
            raise ModelError(
                f"train.rollouts: vllm: {self._python} has no vLLM; install it into an environment of its own (`python -m venv "
                "vllm-env && vllm-env/bin/pip install vllm`) and give that one's Python as train.vllm.python or "
                f"TRLT_VLLM_PYTHON, or take {advice('train.rollouts: engine')}"
            )
        if "error" in answer:
            without = advice("take train.rollouts: engine")
            share = "raise train.vllm.memory, its share, or free some; " if SHARE.search(answer["error"]) else ""
            raise ModelError(f"vLLM failed: {answer['error']}\n({share}more in {self._log}; to do without, {without})")
        return answer

    def _ended(self) -> ModelError:
        with contextlib.suppress(subprocess.TimeoutExpired):
            # The pipe closes a moment before the exit status is there.
            self._process.wait(5)
        code = self._process.poll()
        with self._log.open("rb") as said:
            said.seek(self._begin)
            lines = said.read().decode("utf-8", "replace").splitlines()
        if code is None or code >= 0:
            how = f"with status {code}"
        else:
            how = f"by {signal.Signals(-code).name}{HARD if -code == signal.SIGKILL else ''}"
        without = advice("take train.rollouts: engine")
        return ModelError(f"vLLM's process ended {how}; to do without, {without}; the end of {self._log}:{shown_lines(lines)}")


def shown_lines(lines: Sequence[str]) -> str:
    """What an error shows of a log: its end, and the last line before it that says what went wrong."""
    # vLLM repeats itself: of lines that differ in numbers alone, the last is shown.
    distinct: dict[str, str] = {}
    for line in reversed(lines):
        distinct.setdefault(re.sub(r"\d+", "", line.strip()), line.rstrip())
    lines = [line for line in reversed(distinct.values()) if line]
    last = lines[-SHOWN:]
    telling = [] if any(map(TELLING.search, last)) else [line for line in lines[:-SHOWN] if TELLING.search(line)]
    shown = [*telling[-1:], "…", *last] if telling else last
    if not shown:
        return " nothing was written"
    return "".join(f"\n  {line if len(line) <= WIDTH else f'{line[:WIDTH]}…'}" for line in shown)


def _environment(device: torch.device) -> dict[str, str]:
    """This process's, without what a launcher told it, and with its own GPU alone."""
    kept = standing_alone()
    # In one process with its model, so that weights can be put into it.
    kept["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    # It would report its use to its makers.
    kept.setdefault("VLLM_NO_USAGE_STATS", "1")
    if device.type == "cuda":
        visible = visible_gpus()
        index = torch.cuda.current_device() if device.index is None else device.index
        kept["CUDA_VISIBLE_DEVICES"] = visible[index] if visible else str(index)
    return kept
