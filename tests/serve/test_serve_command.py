"""`trlt serve` as a process of its own, with the random model; and what it refuses to start with."""

from __future__ import annotations

import builtins
import os
import re
import signal
import socket
import subprocess
import sys

import pytest
from running import Running

from trlt.commands._output import Output
from trlt.commands.serve import serve
from trlt.errors import ModelError, UsageError

SETS = ["model.dtype=float32", "model.device=cpu", "eval.max_new_tokens=6", "video.max_tokens=64"]
CODE = (
    "import sys; from trlt.commands.serve import serve; from trlt.commands._output import Output; "
    "serve(model=sys.argv[1], port=0, sets=sys.argv[2:], output=Output())"
)


class Process(Running):
    """The client of `Running`, for a server of another process."""

    def __init__(self, port: int) -> None:
        self.port, self.url = port, f"http://127.0.0.1:{port}"


@pytest.mark.slow
def test_a_process_serves_and_leaves_nothing(tiny_path, tmp_path, video):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", CODE, str(tiny_path), *SETS],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(temporary), "PYTHONUNBUFFERED": "1"},
    )
    try:
        assert process.stdout
        found = re.search(r"at http://127\.0\.0\.1:(\d+) ", process.stdout.readline())
        assert found, process.stderr.read() if process.stderr else ""
        server = Process(int(found[1]))
        seen, *_, done = server.ask(video=server.upload(video.read_bytes()), think=False)
        assert seen["kind"] == "seen" and done["kind"] == "done" and done["finished"] is False and done["text"]
        assert server.call("GET", "/v1/models")[1]["data"][0]["id"] == tiny_path.name
        assert list(temporary.glob("trlt-serve-*/*/*"))
    finally:
        process.terminate()
        out, err = process.communicate(timeout=30)
    assert process.returncode == -signal.SIGTERM and "Traceback" not in err
    assert not list(temporary.glob("trlt-serve-*"))


def test_an_interrupt_is_the_usual_end(tiny_path, monkeypatch, capsys):
    def interrupted(self, sockets):
        raise KeyboardInterrupt

    monkeypatch.setattr("uvicorn.Server.run", interrupted)
    start(model=str(tiny_path), port=0, sets=SETS)
    assert f"Serving {tiny_path.name} at http://127.0.0.1:" in capsys.readouterr().out


def start(**options):
    serve(output=Output(), **options)


def test_what_cannot_be_served_is_told_before_the_model_loads(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("trlt.commands.serve.load", pytest.fail)
    with pytest.raises(UsageError, match="--max-mb 0, --keep-minutes 60: both must be above 0"):
        start(max_mb=0.0, model="miniature")
    with pytest.raises(ModelError):
        start(model=str(tmp_path / "absent"))
    with pytest.raises(UsageError, match="--host no.such.invalid: no address"):
        start(model="miniature", host="no.such.invalid")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        with pytest.raises(UsageError, match=r"can't be listened on .* another --port"):
            start(model="miniature", port=taken.getsockname()[1])


def test_another_host_warns(monkeypatch, capsys):
    class Stopped(Exception):
        pass

    def stop(*_):
        raise Stopped

    monkeypatch.setattr("trlt.commands.serve.load", stop)
    for host, warned in (("0.0.0.0", True), ("127.0.0.1", False), ("localhost", False)):
        with pytest.raises(Stopped):
            start(model="miniature", port=0, host=host)
        assert ("whoever reaches this machine" in capsys.readouterr().err.replace("\n", " ")) is warned


def test_missing_libraries_are_named(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "uvicorn":
            raise ImportError("no", name="uvicorn")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UsageError, match=r"uvicorn isn't installed; pip install 'trlt\[serve\]'"):
        start(model="miniature")
