"""The parent's handle of one decoding process: starts it, asks it, kills it on a time limit, replaces it. POSIX only."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trlt.errors import DecoderDiedError, UnforeseenError, VideoError
from trlt.video.clip import Clip
from trlt.video.clip_codec import DamagedEntry, unpack
from trlt.video.decoder_process import CLIP, HEAD, READY, SYSTEM, UNFORESEEN, Config

START_S = 60.0
"""A process that can't import itself in this time never will."""
GRACE_S = 1.0
PIPE_BYTES = 1 << 20


class Decoder:
    """One decoding process, started at the first request. Used by one thread at a time; `close` may come from any."""

    def __init__(self, config: Config, timeout_s: float) -> None:
        self._config = config
        self._timeout_s = timeout_s
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._closed = False

    def decode(self, path: Path, start: float | None, end: float | None, key: str | None) -> Clip:
        """The clip; `key` names its entry in the frame store.

        Raises:
            VideoError: the file can't be read, or takes too long.
            DecoderDiedError: the process ended: by the file, or with its machine.
            OSError: the process's own.
        """
        process = self._running()
        request = json.dumps({"path": str(path), "start": start, "end": end, "key": key}).encode() + b"\n"
        deadline = time.monotonic() + self._timeout_s
        try:
            assert process.stdin is not None
            process.stdin.write(request)
            process.stdin.flush()
            kind, data = _receive(process, deadline)
            if kind == CLIP:
                return unpack(data)
        except TimeoutError:
            self._end()
            raise VideoError(
                f"{path}: not decoded in {self._timeout_s:g} s, given up; raise video.timeout_s if it is only long"
            ) from None
        except (EOFError, OSError, DamagedEntry):
            raise DecoderDiedError(
                f"{path}: the decoding process {self._end(GRACE_S)} while reading it; the file is damaged or too large"
            ) from None
        except BaseException:
            # Interrupted half-way: what is left in the pipe would be taken for the next answer.
            self._end()
            raise
        if kind == SYSTEM:
            raise OSError(*json.loads(data.tobytes()))
        if kind == UNFORESEEN:
            raise UnforeseenError(*json.loads(data.tobytes()))
        raise VideoError(data.tobytes().decode("utf-8", "surrogateescape"))

    def close(self) -> None:
        """Kills the process, also in the middle of a file; no other is started."""
        self._closed = True
        self._end()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is None:
            return self._process
        self._end()
        with self._lock:
            if self._closed:
                raise VideoError("the clip loader is closed")
            process = self._process = _start(self._config)
        try:
            kind, _ = _receive(process, time.monotonic() + START_S)
        except (TimeoutError, EOFError, OSError):
            kind = b""
        if kind != READY:
            raise DecoderDiedError(
                f"a decoding process can't be started: it {self._end(GRACE_S)}; `video.workers: 0` decodes without one"
            )
        return process

    def _end(self, grace_s: float = 0.0) -> str:
        """Kills and reaps the process, if there is one; how it ended.

        A crash closes the pipe a moment before the exit status is there: `grace_s` tells it from our own kill.
        """
        with self._lock:
            process, self._process = self._process, None
        if process is None:
            return "was closed"
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(grace_s)
        process.kill()
        code = process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"


def _start(config: Config) -> subprocess.Popen[bytes]:
    # The child imports from where this process does. An empty entry is the current folder.
    paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
    # A session of its own: Ctrl-C reaches only the parent, which then decides. One BLAS thread: the processes run in parallel.
    process = subprocess.Popen(
        [sys.executable, "-m", "trlt.video.decoder_process", config.to_json()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
        env={**os.environ, "PYTHONPATH": paths, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
        start_new_session=True,
    )
    if process.stdout is not None and hasattr(fcntl, "F_SETPIPE_SZ"):
        with contextlib.suppress(OSError):
            fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    return process


def _receive(process: subprocess.Popen[bytes], deadline: float) -> tuple[bytes, NDArray[np.uint8]]:
    """The kind and the bytes of an answer.

    Raises:
        TimeoutError: the deadline passed.
        EOFError: the process ended.
    """
    assert process.stdout is not None
    handle = process.stdout.fileno()
    kind, size = HEAD.unpack(_read(handle, HEAD.size, deadline).tobytes())
    return kind, _read(handle, size, deadline)


def _read(handle: int, size: int, deadline: float) -> NDArray[np.uint8]:
    data = np.empty(size, np.uint8)
    rest = data.data
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    while rest:
        left_ms = (deadline - time.monotonic()) * 1000
        if left_ms <= 0 or not poll.poll(left_ms):
            raise TimeoutError
        count = os.readv(handle, [rest])
        if not count:
            raise EOFError
        rest = rest[count:]
    return data
