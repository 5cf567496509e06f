"""Servers of `fake_server.py` in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request

from paths import TESTS


class Fake:
    """A server process of `fake_server.py`."""

    def __init__(self, *args: str, env: dict[str, str] | None = None) -> None:
        program = [sys.executable, str(TESTS / "fake_server.py"), *args]
        self.process = subprocess.Popen(program, stdout=subprocess.PIPE, text=True, env={**os.environ, **(env or {})})
        assert self.process.stdout
        self.port = int(self.process.stdout.readline())
        self.url = f"http://127.0.0.1:{self.port}"

    def control(self, *, queue=(), traits=()) -> None:
        data = json.dumps({"queue": list(queue), "traits": list(traits)}).encode()
        urllib.request.urlopen(urllib.request.Request(f"{self.url}/control", data), timeout=5).close()

    def seen(self) -> dict:
        with urllib.request.urlopen(f"{self.url}/log", timeout=5) as answer:
            return json.load(answer)

    @property
    def log(self) -> list[dict]:
        return [entry for entry in self.seen()["log"] if entry["text"] != "?"]

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
